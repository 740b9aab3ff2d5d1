//! Preflight: is every instance still what the plan froze?

use super::{Rules, Verdict};
use crate::upgrade::state::Upgrade;
use cutover_vocabulary::hold::HoldReason;
use cutover_vocabulary::{Evidence, Subject, Work};

pub(super) struct Preflight;

impl Rules for Preflight {
    /// Once a drain has begun the members are down on purpose; only who joins since is looked at.
    fn subjects(&self, upgrade: &Upgrade) -> Vec<Subject> {
        let joining = upgrade.joining.keys().cloned().map(Subject::Instance);
        if upgrade.drain_begun() { joining.collect() } else { upgrade.instances().into_iter().chain(joining).collect() }
    }
    fn work(&self, _: &Upgrade, _: &Subject) -> Option<Work> {
        Some(Work::Inspect)
    }
    fn judge(&self, upgrade: &Upgrade, subject: &Subject, evidence: &Evidence) -> Verdict {
        let (Evidence::Inspected(found), Subject::Instance(name)) = (evidence, subject) else { return Verdict::Wrong };
        if found.storage != upgrade.plan.binding.storage {
            let planned = upgrade.plan.binding.storage.clone();
            return Verdict::Hold(HoldReason::OtherStorage { planned, found: found.storage.clone() });
        }
        let Some(member) = upgrade.members.get(name) else {
            return match upgrade.newcomer(name, found) {
                Ok(_) => Verdict::Enough,
                Err(change) => Verdict::Hold(HoldReason::PlanDrifted { changes: vec![change] }),
            };
        };
        let mut changes = Vec::new();
        // What a rejoin brings in is down as a rule, and it does not matter whether somebody started it meanwhile.
        let present = match upgrade.rejoins() {
            true => found.running.as_ref().or(found.on_disk.as_ref()),
            false => found.running.as_ref(),
        };
        if present != Some(&member.version) {
            let now = present.map_or("nothing answers".to_owned(), ToString::to_string);
            changes.push(format!("{name} had {}, now {now}", member.version));
        }
        if found.binary != Some(member.binary) {
            changes.push(format!("the binary of {name} is another one than when the plan was made"));
        }
        if found.settings != member.settings {
            changes.push(format!("the settings of {name} are not those that the plan was made with"));
        }
        if changes.is_empty() { Verdict::Enough } else { Verdict::Hold(HoldReason::PlanDrifted { changes }) }
    }
}
