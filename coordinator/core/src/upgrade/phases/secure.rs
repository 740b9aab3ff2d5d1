//! Secure: a recovery point of every ledger and of the system store, each proved to restore.

use super::{Rules, Verdict};
use crate::upgrade::state::Upgrade;
use cutover_vocabulary::hold::HoldReason;
use cutover_vocabulary::storage::RecoveryItem;
use cutover_vocabulary::{Evidence, LedgerName, Subject, Work};

pub(super) struct Secure;

impl Rules for Secure {
    /// Never of what an order may have changed: what is there need not be what was there before.
    fn subjects(&self, upgrade: &Upgrade) -> Vec<Subject> {
        upgrade.untouched().map(|item| item.subject()).collect()
    }
    fn longest_first(&self) -> bool {
        true
    }
    fn may_begin(&self, upgrade: &Upgrade, _: &Subject) -> bool {
        upgrade.orders.len() < usize::from(upgrade.plan.binding.limits.lanes)
    }
    fn work(&self, upgrade: &Upgrade, subject: &Subject) -> Option<Work> {
        let binding = &upgrade.plan.binding;
        Some(Work::Secure {
            item: RecoveryItem::of(subject)?,
            storage: binding.storage.clone(),
            lossy: binding.lossy,
            serving: upgrade.rolling(),
        })
    }
    /// Instances served clients until the drain, so what would be lost can have changed since it was approved.
    fn judge(&self, upgrade: &Upgrade, subject: &Subject, evidence: &Evidence) -> Verdict {
        let Evidence::Secured(point) = evidence else { return Verdict::Wrong };
        if RecoveryItem::of(subject).as_ref() != Some(&point.item) {
            return Verdict::Wrong;
        }
        let RecoveryItem::Ledger(ledger) = &point.item else { return Verdict::Enough };
        if point.digest.is_none() || point.expected.is_none() || point.sha256.is_none() {
            return Verdict::Wrong;
        }
        if let Some(planned) = upgrade.plan.binding.before.get(ledger)
            && !point.migrations.are_among(planned)
        {
            let changes = vec![format!(
                "ledger {ledger} records migrations {} now, and what runs here knows {planned}: somebody migrated it since the plan \
                 was made",
                point.migrations
            )];
            return Verdict::Hold(HoldReason::PlanDrifted { changes });
        }
        let (approved, sha256) = approved(upgrade, ledger);
        if point.losses.count == approved && point.losses.sha256 == sha256 {
            return Verdict::Enough;
        }
        Verdict::Hold(HoldReason::LossesChanged {
            ledger: ledger.clone(),
            approved,
            now: point.losses.count,
            sha256: point.losses.sha256,
        })
    }
}

fn approved(upgrade: &Upgrade, ledger: &LedgerName) -> (u64, Option<cutover_vocabulary::Digest>) {
    let losses = upgrade.approval.as_ref().and_then(|approval| approval.losses.get(ledger));
    losses.map_or((0, None), |losses| (losses.count, Some(losses.sha256)))
}
