//! Stage: the target release lies unpacked and verified on every host, beside the present one.

use super::{Rules, Verdict};
use crate::upgrade::state::Upgrade;
use cutover_vocabulary::hold::HoldReason;
use cutover_vocabulary::{Evidence, Subject, Work};

pub(super) struct Staging;

impl Rules for Staging {
    fn subjects(&self, upgrade: &Upgrade) -> Vec<Subject> {
        upgrade.instances()
    }
    fn work(&self, upgrade: &Upgrade, _: &Subject) -> Option<Work> {
        Some(Work::StageRelease { release: upgrade.plan.binding.target.clone() })
    }
    fn judge(&self, upgrade: &Upgrade, subject: &Subject, evidence: &Evidence) -> Verdict {
        let Evidence::Staged(staged) = evidence else { return Verdict::Wrong };
        let mut changes = Vec::new();
        if staged.release != upgrade.plan.binding.target {
            changes.push(format!(
                "{subject} staged {} with archive {}, planned was {} with archive {}",
                staged.release.version,
                staged.release.archive.short(),
                upgrade.plan.binding.target.version,
                upgrade.plan.binding.target.archive.short()
            ));
        }
        // The catalogue says what a release should be able to do; the binary says what it can.
        if !staged.storage_commands {
            changes.push(format!("the binary of {} has no storage commands", staged.release.version));
        }
        if changes.is_empty() { Verdict::Enough } else { Verdict::Hold(HoldReason::PlanDrifted { changes }) }
    }
}
