//! Whether a coordinator answers. Never more than a warning: the sandbox and single-node mode need none.

use super::{Check, Verdict};

pub(super) const CHECKS: &[Check] = &[Check {
    name: "coordinator",
    why: "it plans and leads upgrades; every command but sandbox, single, doctor, explain, completions and man asks it",
    look: |host| {
        let (endpoint, answer) = &host.coordinator;
        vec![match answer {
            Err(silence) => Verdict::warning(&silence.why, &silence.remedy),
            Ok(None) => Verdict::well(format!("one answers at {endpoint}; who leads, it tells operators alone")),
            Ok(Some(leads)) => match &leads.leader {
                Some(leader) => Verdict::well(format!(
                    "{} answers at {endpoint}; {leader} leads, epoch {}",
                    leads.answered, leads.epoch
                )),
                None => Verdict::warning(
                    format!("{} answers at {endpoint}, and nobody leads", leads.answered),
                    "look again in a minute; if it stays so, its log says why",
                ),
            },
        }]
    },
}];
