//! Stage: the target release lies unpacked and verified on every host, beside the present one.

use super::{Rules, Verdict};
use crate::upgrade::state::Upgrade;
use cutover_vocabulary::hold::HoldReason;
use cutover_vocabulary::release::StagedRelease;
use cutover_vocabulary::{Evidence, Subject, Work};

pub(super) struct Staging;

impl Rules for Staging {
    /// Once a drain has begun, only where it is missing: clients wait.
    fn subjects(&self, upgrade: &Upgrade) -> Vec<Subject> {
        let missing = |subject: &Subject| match subject {
            Subject::Instance(name) => {
                upgrade.staged.get(name).is_none_or(|staged| !differs(upgrade, subject, staged).is_empty())
            }
            Subject::Ledger(_) | Subject::Storage => false,
        };
        let all = upgrade.instances().into_iter();
        if upgrade.drain_begun() { all.filter(missing).collect() } else { all.collect() }
    }
    fn work(&self, upgrade: &Upgrade, _: &Subject) -> Option<Work> {
        Some(Work::StageRelease { release: upgrade.plan.binding.target.clone() })
    }
    fn judge(&self, upgrade: &Upgrade, subject: &Subject, evidence: &Evidence) -> Verdict {
        let Evidence::Staged(staged) = evidence else { return Verdict::Wrong };
        let changes = differs(upgrade, subject, staged);
        if changes.is_empty() { Verdict::Enough } else { Verdict::Hold(HoldReason::PlanDrifted { changes }) }
    }
}

/// In what a staged release is not the one of the plan.
fn differs(upgrade: &Upgrade, subject: &Subject, staged: &StagedRelease) -> Vec<String> {
    let mut changes = Vec::new();
    let target = &upgrade.plan.binding.target;
    if staged.release != *target {
        changes.push(format!(
            "{subject} staged {} with archive {}, planned was {} with archive {}",
            staged.release.version,
            staged.release.archive.short(),
            target.version,
            target.archive.short()
        ));
    }
    // The catalogue says what a release should be able to do; the binary says what it can.
    if staged.storage_commands == upgrade.plan.binding.first_start {
        let has = if staged.storage_commands { "has storage commands" } else { "has no storage commands" };
        changes.push(format!("the binary of {} {has}, against what the plan was made with", staged.release.version));
    }
    changes
}
