//! Verify: the closed instance has the target's version and reads every ledger.

use super::{Rules, Verdict};
use crate::upgrade::state::Upgrade;
use cutover_vocabulary::hold::HoldReason;
use cutover_vocabulary::{Evidence, LedgerName, Subject, Work};
use std::collections::BTreeSet;

pub(super) struct Verify;

impl Rules for Verify {
    fn subjects(&self, upgrade: &Upgrade) -> Vec<Subject> {
        upgrade.starting_closed()
    }
    fn work(&self, upgrade: &Upgrade, _: &Subject) -> Option<Work> {
        let binding = &upgrade.plan.binding;
        let ledgers = binding.ledgers.keys().cloned().collect();
        Some(Work::Verify { version: binding.target.version.clone(), ledgers })
    }
    fn judge(&self, upgrade: &Upgrade, subject: &Subject, evidence: &Evidence) -> Verdict {
        let Evidence::Verified { version, ledgers } = evidence else { return Verdict::Wrong };
        let binding = &upgrade.plan.binding;
        let mut changes = Vec::new();
        if *version != binding.target.version {
            changes.push(format!("{subject} answers as {version}, not {}", binding.target.version));
        }
        let read: BTreeSet<&LedgerName> = ledgers.iter().collect();
        changes.extend(
            binding
                .ledgers
                .keys()
                .filter(|name| !read.contains(name))
                .map(|name| format!("{subject} did not read ledger {name}")),
        );
        if changes.is_empty() { Verdict::Enough } else { Verdict::Hold(HoldReason::PlanDrifted { changes }) }
    }
}
