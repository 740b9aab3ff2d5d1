//! Switch: another release becomes the one that starts; and back.

use super::{Rules, Verdict};
use crate::upgrade::state::Upgrade;
use cutover_vocabulary::hold::HoldReason;
use cutover_vocabulary::{Digest, Evidence, Subject, Work};

pub(super) struct Switch;

/// Whether exactly this binary starts from now on.
fn judge_binary(subject: &Subject, evidence: &Evidence, wanted: Option<Digest>) -> Verdict {
    let Evidence::Switched { binary } = evidence else { return Verdict::Wrong };
    match wanted {
        Some(wanted) if wanted == *binary => Verdict::Enough,
        Some(wanted) => Verdict::Hold(HoldReason::PlanDrifted {
            changes: vec![format!(
                "{subject} would start a binary with SHA-256 {}, not {}",
                binary.short(),
                wanted.short()
            )],
        }),
        None => Verdict::Wrong,
    }
}

impl Rules for Switch {
    fn subjects(&self, upgrade: &Upgrade) -> Vec<Subject> {
        upgrade.instances()
    }
    fn work(&self, upgrade: &Upgrade, subject: &Subject) -> Option<Work> {
        let Subject::Instance(name) = subject else { return None };
        Some(Work::Switch { to: upgrade.staged.get(name)?.clone() })
    }
    fn judge(&self, upgrade: &Upgrade, subject: &Subject, evidence: &Evidence) -> Verdict {
        let Subject::Instance(name) = subject else { return Verdict::Wrong };
        judge_binary(subject, evidence, upgrade.staged.get(name).map(|staged| staged.binary))
    }
}

pub(super) struct SwitchBack;

impl Rules for SwitchBack {
    fn subjects(&self, upgrade: &Upgrade) -> Vec<Subject> {
        upgrade.instances()
    }
    fn work(&self, upgrade: &Upgrade, subject: &Subject) -> Option<Work> {
        let Subject::Instance(name) = subject else { return None };
        Some(Work::SwitchBack { to: upgrade.members.get(name)?.version.clone() })
    }
    fn judge(&self, upgrade: &Upgrade, subject: &Subject, evidence: &Evidence) -> Verdict {
        let Subject::Instance(name) = subject else { return Verdict::Wrong };
        judge_binary(subject, evidence, upgrade.members.get(name).map(|member| member.binary))
    }
}
