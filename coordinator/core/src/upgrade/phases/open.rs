//! Open: traffic is let in on the new version; and Reopen: on the former one.

use super::{Rules, Verdict};
use crate::upgrade::state::Upgrade;
use cutover_vocabulary::hold::HoldReason;
use cutover_vocabulary::{Evidence, Subject, Version, Work};

fn judge_version(subject: &Subject, evidence: &Evidence, wanted: &Version) -> Verdict {
    let Evidence::Opened { version, .. } = evidence else { return Verdict::Wrong };
    if version == wanted {
        return Verdict::Enough;
    }
    Verdict::Hold(HoldReason::PlanDrifted { changes: vec![format!("{subject} answers as {version}, not {wanted}")] })
}

fn work(upgrade: &Upgrade, version: &Version) -> Work {
    Work::Open { version: version.clone(), storage: Some(upgrade.plan.binding.storage.clone()) }
}

pub(super) struct Open;

impl Rules for Open {
    fn subjects(&self, upgrade: &Upgrade) -> Vec<Subject> {
        upgrade.instances()
    }
    fn work(&self, upgrade: &Upgrade, _: &Subject) -> Option<Work> {
        Some(work(upgrade, &upgrade.plan.binding.target.version))
    }
    fn judge(&self, upgrade: &Upgrade, subject: &Subject, evidence: &Evidence) -> Verdict {
        judge_version(subject, evidence, &upgrade.plan.binding.target.version)
    }
}

pub(super) struct Reopen;

impl Rules for Reopen {
    fn subjects(&self, upgrade: &Upgrade) -> Vec<Subject> {
        upgrade.instances()
    }
    fn work(&self, upgrade: &Upgrade, subject: &Subject) -> Option<Work> {
        let Subject::Instance(name) = subject else { return None };
        Some(work(upgrade, &upgrade.members.get(name)?.version))
    }
    fn judge(&self, upgrade: &Upgrade, subject: &Subject, evidence: &Evidence) -> Verdict {
        let Subject::Instance(name) = subject else { return Verdict::Wrong };
        match upgrade.members.get(name) {
            Some(member) => judge_version(subject, evidence, &member.version),
            None => Verdict::Wrong,
        }
    }
}
