//! Instances that the agent may only look at: what would change something of one is refused before it begins.

use super::trouble::Trouble;
use crate::settings::{InstanceSettings, Settings};
use cutover_vocabulary::{Order, Subject, Work};

/// Refuses an order that would change something of an instance that may only be looked at, or of the storage that it shares.
pub(super) fn refuse(settings: &Settings, order: &Order) -> Result<(), Trouble> {
    if looks(&order.work) {
        return Ok(());
    }
    let mut concerned: Vec<&InstanceSettings> = match &order.id.step.subject {
        Subject::Instance(name) => settings.instance(name).into_iter().collect(),
        // All instances of a deployment share its storage.
        Subject::Ledger(_) | Subject::Storage => settings.of_deployment(&order.deployment).collect(),
    };
    concerned.retain(|instance| instance.observe_only);
    match concerned.first() {
        None => Ok(()),
        Some(instance) => Err(Trouble::refused(
            format!("instance {} may only be looked at (observe-only), so {} is refused", instance.name, order.id),
            format!(
                "take observe_only out of {} and run `systemctl restart cutover-agent`, if Cutover is to upgrade it",
                settings.file.display()
            ),
        )),
    }
}

/// Whether it leaves everything as it is. A proof of quiet does not: it puts the guard in its place where that is missing.
fn looks(work: &Work) -> bool {
    match work {
        Work::Inspect => true,
        Work::StageRelease { .. }
        | Work::Rehearse { .. }
        | Work::Drain { .. }
        | Work::Attest
        | Work::AttestStorage { .. }
        | Work::Secure { .. }
        | Work::Register { .. }
        | Work::Migrate { .. }
        | Work::Prove { .. }
        | Work::Switch { .. }
        | Work::SwitchBack { .. }
        | Work::StartClosed { .. }
        | Work::Verify { .. }
        | Work::Open { .. }
        | Work::Bake { .. }
        | Work::Restore { .. } => false,
    }
}
