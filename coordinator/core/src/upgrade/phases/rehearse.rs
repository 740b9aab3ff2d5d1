//! Rehearse: the target migrates a copy and starts on it with each instance's own arguments, while clients are served.
//! It finds, before the downtime, a row that stops the migration, a flag that the target does not know, and any loss
//! that nobody approved.

use super::{Rules, Verdict};
use crate::upgrade::state::Upgrade;
use cutover_vocabulary::hold::HoldReason;
use cutover_vocabulary::outcome::Rehearsal;
use cutover_vocabulary::{Evidence, Subject, Work};

pub(super) struct Rehearse;

/// Whether the copies recorded what was expected; of a target that nobody knows, that each recorded something and lost nothing of
/// what it had.
fn judge_copies(upgrade: &Upgrade, rehearsal: &Rehearsal) -> Verdict {
    let binding = &upgrade.plan.binding;
    for (ledger, planned) in &binding.ledgers {
        let found = rehearsal.migrations.get(ledger);
        let what = match (binding.unknown_target, found) {
            // An older agent does not say; the migration itself is looked at all the same.
            (false, None) => continue,
            (false, Some(found)) if found == planned => continue,
            (false, Some(found)) => format!("its copy records migrations {:?}, expected {:?}", found.0, planned.0),
            (true, Some(found)) if found.0.is_none() => "its copy records no migrations".to_owned(),
            (true, Some(found))
                if planned.0.iter().flatten().all(|one| found.0.iter().flatten().any(|it| it == one)) =>
            {
                continue;
            }
            (true, Some(found)) => {
                format!("its copy records migrations {:?}, and the ledger had {:?}", found.0, planned.0)
            }
            (true, None) => "nothing tells which migrations its copy recorded".to_owned(),
        };
        return Verdict::Hold(HoldReason::Inconsistent { ledger: ledger.clone(), what: vec![what] });
    }
    Verdict::Enough
}

impl Rules for Rehearse {
    /// Once: it takes as long as the migration, and who joins later changes no ledger's rows.
    fn subjects(&self, upgrade: &Upgrade) -> Vec<Subject> {
        if upgrade.drain_begun() { Vec::new() } else { vec![Subject::Storage] }
    }
    fn work(&self, upgrade: &Upgrade, _: &Subject) -> Option<Work> {
        let target = upgrade.runner_staged()?.clone();
        Some(Work::Rehearse { target, ledgers: upgrade.plan.binding.ledgers.keys().cloned().collect() })
    }
    fn judge(&self, upgrade: &Upgrade, _: &Subject, evidence: &Evidence) -> Verdict {
        let Evidence::Rehearsed(rehearsal) = evidence else { return Verdict::Wrong };
        match judge_copies(upgrade, rehearsal) {
            Verdict::Enough => {}
            verdict @ (Verdict::Hold(_) | Verdict::Wrong) => return verdict,
        }
        match rehearsal.differences.first() {
            None if rehearsal.difference_count == 0 => Verdict::Enough,
            None => Verdict::Wrong,
            Some((ledger, _)) => {
                let of_ledger = rehearsal.differences.iter().filter(|(name, _)| name == ledger);
                Verdict::Hold(HoldReason::UnexplainedDifferences {
                    ledger: ledger.clone(),
                    differences: of_ledger.map(|(_, difference)| difference.clone()).collect(),
                    count: rehearsal.difference_count,
                })
            }
        }
    }
}
