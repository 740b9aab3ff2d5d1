//! Rehearse: the target migrates a copy and starts on it with each instance's own arguments, while clients are served.
//! It finds, before the downtime, a row that stops the migration, a flag that the target does not know, and any loss
//! that nobody approved.

use super::{Rules, Verdict};
use crate::upgrade::state::Upgrade;
use cutover_vocabulary::hold::HoldReason;
use cutover_vocabulary::{Evidence, Subject, Work};

pub(super) struct Rehearse;

impl Rules for Rehearse {
    /// Once: it takes as long as the migration, and who joins later changes no ledger's rows.
    fn subjects(&self, upgrade: &Upgrade) -> Vec<Subject> {
        if upgrade.drain_begun() { Vec::new() } else { vec![Subject::Storage] }
    }
    fn work(&self, upgrade: &Upgrade, _: &Subject) -> Option<Work> {
        let target = upgrade.runner_staged()?.clone();
        Some(Work::Rehearse { target, ledgers: upgrade.plan.binding.ledgers.keys().cloned().collect() })
    }
    fn judge(&self, _: &Upgrade, _: &Subject, evidence: &Evidence) -> Verdict {
        let Evidence::Rehearsed(rehearsal) = evidence else { return Verdict::Wrong };
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
