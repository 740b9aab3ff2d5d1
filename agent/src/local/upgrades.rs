//! What this host knows of upgrades without any coordinator: of which deployment each was, which came last, what is kept.
//!
//! A host may serve several deployments, and each has upgrades of its own: what is printed of one must touch no other.

use super::LocalError;
use crate::release::switch;
use crate::service::fence::{By, FenceFile};
use crate::settings::{InstanceSettings, Settings};
use cutover_desk::Entry;
use cutover_storage::points::{Manifest, manifest};
use cutover_vocabulary::storage::RecoveryItem;
use cutover_vocabulary::{DeploymentName, Outcome, Phase, UpgradeId, Work};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The upgrades that left something on this host.
pub(super) struct Upgrades {
    /// Every recovery point, by upgrade: of each item the one that was taken last.
    pub(super) points: BTreeMap<String, Vec<Manifest>>,
    /// Of which deployment each is, as far as that is known.
    deployments: BTreeMap<String, DeploymentName>,
    /// The last of each deployment of these settings.
    latest: BTreeMap<DeploymentName, Latest>,
    /// Those whose recovery points were taken while clients wrote.
    rolling: BTreeSet<String>,
    /// Those that only bring instances to what the others run.
    rejoins: BTreeSet<String>,
}

/// The last upgrade of a deployment that this host heard of. Going back to a point from before an older one would undo what
/// came after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Latest {
    /// It may be gone back from.
    Here(String),
    /// It has let the former version in again.
    WentBack(String),
}

impl Upgrades {
    /// By the journal; where that is lost, by what fences and switches left in the instances' folders, and by the recovery
    /// points themselves.
    pub(super) fn look(settings: &Settings, entries: &[Entry]) -> Result<Self, LocalError> {
        let points = recovery_points(settings)?;
        let mut deployments = left_by_instances(settings)?;
        deployments.extend(entries.iter().filter_map(|entry| {
            let order = accepted(entry)?;
            Some((order.id.upgrade.to_string(), order.deployment.clone()))
        }));
        let ours: BTreeSet<&DeploymentName> = settings.instances.iter().map(|instance| &instance.deployment).collect();
        if let (Some(only), 1) = (ours.first(), ours.len()) {
            for upgrade in points.keys() {
                deployments.entry(upgrade.clone()).or_insert_with(|| DeploymentName::clone(only));
            }
        }
        let latest = ours.into_iter().filter_map(|deployment| {
            let id = last_of(deployment, entries, &points, &deployments)?;
            let latest = if went_back(entries, &id) { Latest::WentBack(id) } else { Latest::Here(id) };
            Some((deployment.clone(), latest))
        });
        let rolling = entries
            .iter()
            .filter_map(accepted)
            .filter(|order| matches!(order.work, Work::Secure { serving: true, .. }));
        let rolling = rolling.map(|order| order.id.upgrade.to_string()).collect();
        let rejoins = entries
            .iter()
            .filter_map(accepted)
            .filter(|order| matches!(order.work, Work::Drain { for_good: true, .. }));
        let rejoins = rejoins.map(|order| order.id.upgrade.to_string()).collect();
        Ok(Self { latest: latest.collect(), points, deployments, rolling, rejoins })
    }

    /// Of which deployment an upgrade is; none where nothing here says so.
    pub(super) fn deployment(&self, upgrade: &str) -> Option<&DeploymentName> {
        self.deployments.get(upgrade)
    }

    /// The last upgrade of a deployment that this host heard of.
    pub(super) fn latest(&self, deployment: &DeploymentName) -> Option<&Latest> {
        self.latest.get(deployment)
    }

    /// Whether nothing may be restored of it: clients wrote on beside the recovery points.
    pub(super) fn rolls(&self, upgrade: &str) -> bool {
        self.rolling.contains(upgrade)
    }

    /// Whether nothing leads back from it: what an instance had before is older than the storage.
    pub(super) fn rejoins(&self, upgrade: &str) -> bool {
        self.rejoins.contains(upgrade)
    }

    /// Every upgrade of which something is here.
    pub(super) fn names(&self) -> impl Iterator<Item = &String> {
        self.points.keys().chain(self.deployments.keys())
    }
}

fn accepted(entry: &Entry) -> Option<&cutover_vocabulary::Order> {
    match entry {
        Entry::Accepted(order) => Some(order),
        Entry::Epoch(_)
        | Entry::Revoked(_)
        | Entry::Finished { .. }
        | Entry::Acknowledged(_)
        | Entry::TakenOver { .. }
        | Entry::Forgotten(_) => None,
    }
}

fn last_of(
    deployment: &DeploymentName,
    entries: &[Entry],
    points: &BTreeMap<String, Vec<Manifest>>,
    deployments: &BTreeMap<String, DeploymentName>,
) -> Option<String> {
    // What only looks, or unpacks beside, is no reason to withhold the way back of the one before: a rehearsal for one.
    let looks =
        |work: &Work| matches!(work, Work::Inspect | Work::StageRelease { .. } | Work::Rehearse { .. } | Work::Attest);
    let ours = |order: &&cutover_vocabulary::Order| order.deployment == *deployment && !looks(&order.work);
    let accepted = entries.iter().rev().filter_map(accepted).find(ours).map(|order| order.id.upgrade.to_string());
    let taken_last = || {
        let taken = |manifests: &Vec<Manifest>| manifests.iter().map(|manifest| manifest.point.taken).max();
        let ours = points.iter().filter(|(upgrade, _)| deployments.get(*upgrade) == Some(deployment));
        ours.max_by_key(|(_, manifests)| taken(manifests)).map(|(upgrade, _)| upgrade.clone())
    };
    accepted.or_else(taken_last)
}

fn went_back(entries: &[Entry], upgrade: &str) -> bool {
    entries.iter().any(|entry| match entry {
        Entry::Finished { order, outcome } => {
            order.phase == Phase::Reopen && order.upgrade.as_str() == upgrade && matches!(**outcome, Outcome::Done(_))
        }
        Entry::Accepted(_)
        | Entry::Epoch(_)
        | Entry::Revoked(_)
        | Entry::Acknowledged(_)
        | Entry::TakenOver { .. }
        | Entry::Forgotten(_) => false,
    })
}

/// The upgrades that fenced or switched an instance here, by the instances' own folders.
fn left_by_instances(settings: &Settings) -> Result<BTreeMap<String, DeploymentName>, LocalError> {
    let mut all = BTreeMap::new();
    for instance in &settings.instances {
        let dir = settings.instance_dir(&instance.name);
        if let By::Order(order) = FenceFile::of(&dir).read()?.by {
            all.insert(order.upgrade.to_string(), instance.deployment.clone());
        }
        for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if let Some(upgrade) = name.strip_prefix("before-").and_then(|rest| rest.strip_suffix(".json")) {
                all.insert(upgrade.to_owned(), instance.deployment.clone());
            }
        }
    }
    Ok(all)
}

/// Whether one of these instances was fenced or switched by that upgrade.
pub(super) fn changed(settings: &Settings, instances: &[&InstanceSettings], upgrade: &str) -> Result<bool, LocalError> {
    let Ok(upgrade) = UpgradeId::new(upgrade) else { return Ok(false) };
    for instance in instances {
        let dir = settings.instance_dir(&instance.name);
        if FenceFile::of(&dir).read()?.standing || switch::before(&dir, &upgrade)?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Every recovery point on this host, by upgrade: of each item the one that was taken last.
fn recovery_points(settings: &Settings) -> Result<BTreeMap<String, Vec<Manifest>>, LocalError> {
    let mut all: BTreeMap<String, BTreeMap<RecoveryItem, Manifest>> = BTreeMap::new();
    for (upgrade, folder) in folders(&settings.recovery()) {
        let mut runs: Vec<_> = folders(&folder).into_iter().collect();
        runs.sort_by_key(|(name, _)| order_of_run(name));
        for (_, run) in runs {
            let Ok(files) = std::fs::read_dir(&run) else { continue };
            for file in files.flatten() {
                let name = file.file_name().to_string_lossy().into_owned();
                if let Some(copy) = name.strip_suffix(".manifest.json")
                    && let Some(manifest) = manifest(&run.join(copy))?
                {
                    all.entry(upgrade.clone()).or_default().insert(manifest.point.item.clone(), manifest);
                }
            }
        }
    }
    Ok(all.into_iter().map(|(upgrade, points)| (upgrade, points.into_values().collect())).collect())
}

/// Of `STAGE.RUN`, by which an upgrade's recovery points lie in the order in which they were taken: a clock may have been set back in
/// between.
fn order_of_run(name: &str) -> Vec<Option<u32>> {
    name.split('.').map(|part| part.parse().ok()).collect()
}

/// The folders in a folder, by name.
pub(super) fn folders(path: &Path) -> BTreeMap<String, PathBuf> {
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.path().is_dir())
        .map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::order_of_run;

    #[test]
    fn recovery_points_come_in_the_order_of_stages_and_runs_as_numbers_and_what_was_moved_aside_before_them() {
        let mut names = ["10.1", "5.10", "aside-by-hand-17", "5.9", "5.2"];
        names.sort_by_key(|name| order_of_run(name));
        assert_eq!(names, ["aside-by-hand-17", "5.2", "5.9", "5.10", "10.1"]);
    }
}
