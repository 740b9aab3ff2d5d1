//! Drain: fence, out of rotation, stop.

use super::{Rules, Verdict};
use crate::upgrade::state::Upgrade;
use cutover_vocabulary::hold::HoldReason;
use cutover_vocabulary::outcome::{Effect, FailureKind};
use cutover_vocabulary::{Evidence, Failure, Subject, Work};

pub(super) struct Drain;

impl Rules for Drain {
    fn subjects(&self, upgrade: &Upgrade) -> Vec<Subject> {
        upgrade.instances()
    }
    fn work(&self, upgrade: &Upgrade, _: &Subject) -> Option<Work> {
        Some(Work::Drain { patience: upgrade.plan.binding.limits.drain, for_good: upgrade.rejoins() })
    }
    /// The ledger ends within 20 ms of a SIGTERM without waiting for requests in flight, with exit code 0: a clean exit
    /// alone is no proof. Connections that were still there when it was stopped mean that requests may have been cut.
    fn judge(&self, _: &Upgrade, subject: &Subject, evidence: &Evidence) -> Verdict {
        let (Evidence::Drained(proof), Subject::Instance(instance)) = (evidence, subject) else {
            return Verdict::Wrong;
        };
        if proof.connections == 0 {
            return Verdict::Enough;
        }
        Verdict::Hold(HoldReason::UncleanStop {
            instance: instance.clone(),
            failure: Failure {
                kind: FailureKind::Unclean,
                message: format!("{} connections to {instance} were open when it was stopped", proof.connections),
                remedy: "ask the clients of this instance to look up their last references".to_owned(),
                effect: Effect::Unknown,
            },
        })
    }
}
