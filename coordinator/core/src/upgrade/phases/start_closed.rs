//! Start closed: the target starts for the first time, on a loopback port that no client knows.

use super::{Rules, Verdict};
use crate::upgrade::state::Upgrade;
use cutover_vocabulary::{Evidence, Subject, Work};

pub(super) struct StartClosed;

impl Rules for StartClosed {
    fn subjects(&self, upgrade: &Upgrade) -> Vec<Subject> {
        upgrade.starting_closed()
    }
    fn work(&self, upgrade: &Upgrade, subject: &Subject) -> Option<Work> {
        let Subject::Instance(name) = subject else { return None };
        let storage = Some(upgrade.plan.binding.storage.clone());
        Some(Work::StartClosed { target: upgrade.staged.get(name)?.clone(), storage })
    }
    fn judge(&self, _: &Upgrade, _: &Subject, evidence: &Evidence) -> Verdict {
        match evidence {
            Evidence::StartedClosed { .. } => Verdict::Enough,
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
            | Evidence::Verified { .. }
            | Evidence::Opened { .. }
            | Evidence::Restored(_)
            | Evidence::Baked { .. } => Verdict::Wrong,
        }
    }
}
