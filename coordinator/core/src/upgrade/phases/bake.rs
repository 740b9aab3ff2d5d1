//! Bake: after each wave, old and new instances are watched for a while before the next one moves.
//!
//! Health checks do not show that an old instance died by what a new one did to the storage: `/_info` and `/_health` go on
//! answering. So every ledger is read, through every instance, and what each answers its clients is compared with what it
//! answered before the upgrade.

use super::{Rules, Verdict};
use crate::upgrade::state::Upgrade;
use cutover_vocabulary::hold::HoldReason;
use cutover_vocabulary::{Evidence, InstanceName, Subject, Version, Work};

pub(super) struct Bake;

/// Which version an instance must answer with while a wave bakes.
fn wanted<'a>(upgrade: &'a Upgrade, instance: &InstanceName) -> Option<&'a Version> {
    let target = &upgrade.plan.binding.target.version;
    if upgrade.runs_target(instance) { Some(target) } else { Some(&upgrade.members.get(instance)?.version) }
}

/// Whether somebody stays who is not ours to take out of rotation: one that was there before, on its former version or beside a
/// rejoin. Where all have moved, what one suffers all may suffer, a database that is away for a moment, and nobody would be left.
fn others_serve(upgrade: &Upgrade, instance: &InstanceName) -> bool {
    let stays = |other: &InstanceName| other != instance && !upgrade.runs_target(other);
    !upgrade.plan.binding.beside.is_empty() || upgrade.members.keys().any(stays)
}

impl Rules for Bake {
    /// A wave that has baked is not baked again when stages are entered once more for who joined.
    fn subjects(&self, upgrade: &Upgrade) -> Vec<Subject> {
        let baked = upgrade.current().is_some_and(|stage| stage.left.is_some());
        if baked { Vec::new() } else { upgrade.all_instances() }
    }
    fn work(&self, upgrade: &Upgrade, subject: &Subject) -> Option<Work> {
        let Subject::Instance(name) = subject else { return None };
        let binding = &upgrade.plan.binding;
        Some(Work::Bake {
            version: wanted(upgrade, name)?.clone(),
            ledgers: binding.ledgers.keys().cloned().collect(),
            length: binding.limits.bake,
            withdraw: upgrade.runs_target(name) && others_serve(upgrade, name),
            before: upgrade.served.get(name).copied().unwrap_or_default(),
        })
    }
    fn judge(&self, upgrade: &Upgrade, subject: &Subject, evidence: &Evidence) -> Verdict {
        let (Evidence::Baked { version, .. }, Subject::Instance(name)) = (evidence, subject) else {
            return Verdict::Wrong;
        };
        match wanted(upgrade, name) {
            Some(wanted) if wanted == version => Verdict::Enough,
            Some(wanted) => {
                let changes = vec![format!("{subject} answers as {version}, not {wanted}")];
                Verdict::Hold(HoldReason::PlanDrifted { changes })
            }
            None => Verdict::Wrong,
        }
    }
}
