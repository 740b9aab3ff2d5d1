//! Restore: what a migration may have changed becomes what it was.

use super::{Rules, Verdict};
use crate::upgrade::state::Upgrade;
use cutover_vocabulary::hold::HoldReason;
use cutover_vocabulary::storage::RecoveryItem;
use cutover_vocabulary::{Evidence, Subject, Work};

pub(super) struct Restore;

impl Rules for Restore {
    /// Only what an order may have changed since it was last what its point holds; the agent looks whether it did, because a
    /// report can be lost. What was restored is not restored again: whatever is there by then, somebody wrote.
    fn subjects(&self, upgrade: &Upgrade) -> Vec<Subject> {
        upgrade.touched.keys().map(RecoveryItem::subject).collect()
    }
    fn longest_first(&self) -> bool {
        true
    }
    fn may_begin(&self, upgrade: &Upgrade, _: &Subject) -> bool {
        upgrade.orders.len() < upgrade.lanes()
    }
    fn work(&self, upgrade: &Upgrade, subject: &Subject) -> Option<Work> {
        let point = upgrade.points.get(&RecoveryItem::of(subject)?)?;
        let binding = &upgrade.plan.binding;
        let (point, storage) = (Box::new(point.clone()), binding.storage.clone());
        Some(Work::Restore { point, storage, first_start: binding.first_start })
    }
    fn judge(&self, upgrade: &Upgrade, subject: &Subject, evidence: &Evidence) -> Verdict {
        let Evidence::Restored(restored) = evidence else { return Verdict::Wrong };
        let point = RecoveryItem::of(subject).and_then(|item| upgrade.points.get(&item));
        match (point, subject) {
            (Some(point), Subject::Ledger(ledger)) if restored.digest != point.digest => {
                Verdict::Hold(HoldReason::UnexplainedDifferences {
                    ledger: ledger.clone(),
                    differences: Vec::new(),
                    count: 0,
                })
            }
            (Some(_), Subject::Ledger(_) | Subject::Storage) => Verdict::Enough,
            (Some(_) | None, Subject::Instance(_) | Subject::Ledger(_) | Subject::Storage) => Verdict::Wrong,
        }
    }
}
