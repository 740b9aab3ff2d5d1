//! Restore: what a migration may have changed becomes what it was.

use super::{Rules, Verdict};
use crate::upgrade::state::Upgrade;
use cutover_vocabulary::hold::HoldReason;
use cutover_vocabulary::storage::RecoveryItem;
use cutover_vocabulary::{Evidence, Subject, Work};

pub(super) struct Restore;

fn item(subject: &Subject) -> Option<RecoveryItem> {
    match subject {
        Subject::Ledger(name) => Some(RecoveryItem::Ledger(name.clone())),
        Subject::Storage => Some(RecoveryItem::System),
        Subject::Instance(_) => None,
    }
}

impl Rules for Restore {
    /// Only what an order may have changed; the agent looks whether it did, because a report can be lost.
    fn subjects(&self, upgrade: &Upgrade) -> Vec<Subject> {
        let subject = |item: &RecoveryItem| match item {
            RecoveryItem::Ledger(name) => Subject::Ledger(name.clone()),
            RecoveryItem::System => Subject::Storage,
        };
        upgrade.touched.iter().map(subject).collect()
    }
    fn may_begin(&self, upgrade: &Upgrade, _: &Subject) -> bool {
        upgrade.orders.len() < upgrade.lanes()
    }
    fn work(&self, upgrade: &Upgrade, subject: &Subject) -> Option<Work> {
        let point = upgrade.points.get(&item(subject)?)?;
        Some(Work::Restore { point: Box::new(point.clone()), storage: upgrade.plan.binding.storage.clone() })
    }
    fn judge(&self, upgrade: &Upgrade, subject: &Subject, evidence: &Evidence) -> Verdict {
        let Evidence::Restored(restored) = evidence else { return Verdict::Wrong };
        let point = item(subject).and_then(|item| upgrade.points.get(&item));
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
