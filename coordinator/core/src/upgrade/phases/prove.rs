//! Prove: every ledger holds what it held before, but for the approved losses.

use super::{Rules, Verdict};
use crate::upgrade::state::Upgrade;
use cutover_vocabulary::hold::HoldReason;
use cutover_vocabulary::storage::RecoveryItem;
use cutover_vocabulary::{Evidence, Subject, Work};

pub(super) struct Prove;

impl Rules for Prove {
    fn subjects(&self, upgrade: &Upgrade) -> Vec<Subject> {
        upgrade.plan.binding.ledgers.keys().cloned().map(Subject::Ledger).collect()
    }
    fn longest_first(&self) -> bool {
        true
    }
    fn may_begin(&self, upgrade: &Upgrade, _: &Subject) -> bool {
        upgrade.orders.len() < usize::from(upgrade.plan.binding.limits.lanes)
    }
    fn work(&self, upgrade: &Upgrade, subject: &Subject) -> Option<Work> {
        let Subject::Ledger(name) = subject else { return None };
        let point = upgrade.points.get(&RecoveryItem::Ledger(name.clone()))?;
        let expected = upgrade.expected(name)?.clone();
        Some(Work::Prove { point: Box::new(point.clone()), expected, serving: upgrade.rolling() })
    }
    fn judge(&self, upgrade: &Upgrade, subject: &Subject, evidence: &Evidence) -> Verdict {
        let (Evidence::Proved(proof), Subject::Ledger(ledger)) = (evidence, subject) else { return Verdict::Wrong };
        let point = upgrade.points.get(&RecoveryItem::Ledger(ledger.clone()));
        let must_hold = point.and_then(|point| point.expected.as_ref());
        // What clients wrote since the point was taken is in the digest too; the comparison, row by row, left it out.
        let same = upgrade.rolling() || must_hold == Some(&proof.digest);
        if proof.difference_count > 0 || !same {
            return Verdict::Hold(HoldReason::UnexplainedDifferences {
                ledger: ledger.clone(),
                differences: proof.differences.clone(),
                count: proof.difference_count,
            });
        }
        let mut what = proof.inconsistencies.clone();
        let expected = upgrade.expected(ledger);
        if expected != Some(&proof.migrations) {
            what.push(format!("it records migrations {:?}, expected {expected:?}", proof.migrations));
        }
        if what.is_empty() {
            Verdict::Enough
        } else {
            Verdict::Hold(HoldReason::Inconsistent { ledger: ledger.clone(), what })
        }
    }
}
