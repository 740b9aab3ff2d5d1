//! Migrate: register every ledger, then upgrade each, in bounded lanes. A target without storage commands has nothing to
//! register with: each ledger migrates at the first request to an instance that the runner starts closed for it.

use super::{Rules, Verdict};
use crate::upgrade::state::{StepState, Upgrade};
use cutover_vocabulary::hold::HoldReason;
use cutover_vocabulary::storage::RecoveryItem;
use cutover_vocabulary::{Evidence, LedgerName, Subject, Work};
use std::collections::BTreeSet;

pub(super) struct Migrate;

impl Rules for Migrate {
    /// What is known to be done is not asked for again when the stage is entered again.
    fn subjects(&self, upgrade: &Upgrade) -> Vec<Subject> {
        let open = |name: &&LedgerName| !upgrade.migrated.contains_key(*name);
        let ledgers = upgrade.plan.binding.ledgers.keys().filter(open).cloned().map(Subject::Ledger);
        let registers = !upgrade.plan.binding.first_start && !upgrade.registered;
        let storage = registers.then_some(Subject::Storage);
        storage.into_iter().chain(ledgers).collect()
    }
    fn longest_first(&self) -> bool {
        true
    }
    /// `storage upgrade` creates a ledger that it does not know, so every ledger waits for the list.
    fn may_begin(&self, upgrade: &Upgrade, subject: &Subject) -> bool {
        match subject {
            Subject::Storage | Subject::Instance(_) => true,
            Subject::Ledger(_) => {
                let listed =
                    upgrade.steps.get(&Subject::Storage).is_none_or(|step| matches!(step, StepState::Done { .. }));
                listed && upgrade.orders.len() < upgrade.lanes()
            }
        }
    }
    fn work(&self, upgrade: &Upgrade, subject: &Subject) -> Option<Work> {
        let binding = &upgrade.plan.binding;
        let target = upgrade.runner_staged()?.clone();
        let storage = binding.storage.clone();
        match subject {
            Subject::Storage => {
                let ledgers = binding.ledgers.keys().cloned().collect();
                Some(Work::Register { target, ledgers, storage, serving: upgrade.rolling() })
            }
            // No recovery point, no order: the barrier before this stage makes it impossible, and this makes sure.
            Subject::Ledger(name) => {
                let point = upgrade.points.get(&RecoveryItem::Ledger(name.clone()))?;
                let expected = upgrade.expected(name)?.clone();
                let serving = upgrade.rolling();
                let mark = point.mark.clone().filter(|_| !serving);
                Some(Work::Migrate { target, storage, expected, mark, apart: binding.collides, serving })
            }
            Subject::Instance(_) => None,
        }
    }
    fn judge(&self, upgrade: &Upgrade, subject: &Subject, evidence: &Evidence) -> Verdict {
        match (evidence, subject) {
            (Evidence::Registered { ledgers }, Subject::Storage) => {
                let found: BTreeSet<&LedgerName> = ledgers.iter().collect();
                let planned: BTreeSet<&LedgerName> = upgrade.plan.binding.ledgers.keys().collect();
                if found == planned {
                    return Verdict::Enough;
                }
                let list = |names: Vec<&&LedgerName>| names.into_iter().map(|name| (*name).clone()).collect();
                Verdict::Hold(HoldReason::LedgersChanged {
                    appeared: list(found.difference(&planned).collect()),
                    vanished: list(planned.difference(&found).collect()),
                })
            }
            (Evidence::Migrated(migrated), Subject::Ledger(ledger)) => {
                let expected = upgrade.expected(ledger);
                if expected == Some(&migrated.migrations) {
                    return Verdict::Enough;
                }
                Verdict::Hold(HoldReason::Inconsistent {
                    ledger: ledger.clone(),
                    what: vec![format!("it records migrations {:?}, expected {expected:?}", migrated.migrations)],
                })
            }
            (
                Evidence::Inspected(_)
                | Evidence::Staged(_)
                | Evidence::Rehearsed(_)
                | Evidence::Drained(_)
                | Evidence::StorageAttested(_)
                | Evidence::Secured(_)
                | Evidence::Registered { .. }
                | Evidence::Migrated(_)
                | Evidence::Proved(_)
                | Evidence::Switched { .. }
                | Evidence::StartedClosed { .. }
                | Evidence::Verified { .. }
                | Evidence::Opened { .. }
                | Evidence::Restored(_)
                | Evidence::Baked { .. },
                Subject::Instance(_) | Subject::Ledger(_) | Subject::Storage,
            ) => Verdict::Wrong,
        }
    }
}
