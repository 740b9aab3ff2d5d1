//! Which release a deployment is to run when no upgrade is under way. It follows from the facts of its latest upgrade, which every
//! leadership has at hand, so nothing is kept beside them: a host that was away for a week is held against it when it comes back.

use crate::leadership::{Entry, Leadership};
use crate::upgrade_loop::Handle;
use cutover_core::upgrade::Upgrade;
use cutover_vocabulary::fact::Ending;
use cutover_vocabulary::instance::InstanceReport;
use cutover_vocabulary::plan::Strategy;
use cutover_vocabulary::{DeploymentName, Version};
use std::collections::BTreeSet;
use std::sync::Arc;

impl Leadership {
    /// The release that every instance of a deployment is to run. None while an upgrade is under way that moves all of them, where
    /// there never was one, and where a person finished by hand.
    pub(crate) fn allowed(&self, deployment: &DeploymentName) -> Option<Version> {
        self.sees_all_of(deployment).ok()?;
        release_left_by(&*self.latest(deployment)?)
    }

    /// The latest upgrade of a deployment, ended or not. None also where it is not understood here.
    pub(crate) fn latest(&self, deployment: &DeploymentName) -> Option<Arc<Upgrade>> {
        match self.entry(&self.latest_id(deployment)?)? {
            Entry::Led(handle) => Some(handle.now().upgrade),
            Entry::Quarantined { .. } => None,
        }
    }

    /// The latest upgrade of each deployment that has one that is understood here.
    pub(crate) fn latest_of_each(&self) -> Vec<(DeploymentName, Handle)> {
        let led = |(deployment, id)| match self.entry(&id)? {
            Entry::Led(handle) => Some((deployment, handle)),
            Entry::Quarantined { .. } => None,
        };
        let ids = self.latest_ids().clone();
        ids.into_iter().filter_map(led).collect()
    }
}

/// What every instance is to run after an upgrade.
pub(crate) fn release_left_by(latest: &Upgrade) -> Option<Version> {
    let binding = &latest.plan().binding;
    match binding.strategy {
        Strategy::Downtime | Strategy::Rolling => {}
        // It brings instances to what the others run all the while: however it ends, and before it has, that is the release.
        Strategy::Rejoin => return Some(binding.target.version.clone()),
    }
    match latest.ending()? {
        Ending::Completed => Some(binding.target.version.clone()),
        Ending::Aborted | Ending::RolledBack | Ending::Rehearsed => {
            // Where they differ one was away from the upgrade before: the newest is what that left.
            let former: BTreeSet<&Version> = latest.members().values().map(|member| &member.version).collect();
            former.last().map(|version| (*version).clone())
        }
        Ending::TakenOver => None,
    }
}

/// The version of an instance that is not the allowed one: what answers, or else what would start.
pub(crate) fn other_than(allowed: &Version, report: &InstanceReport) -> Option<Version> {
    report.running.clone().or_else(|| report.on_disk.clone()).filter(|version| version != allowed)
}
