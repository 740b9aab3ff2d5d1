//! What was prepared in the storage for the downtime, and is removed once traffic is let in.
//!
//! No order: nothing waits for it, and a scratch database without rows is no reason to hold an upgrade. What fails is logged and
//! tried again for some minutes; what is still there then, the next rehearsal replaces. A note says for which upgrade it was
//! prepared, so that nothing is taken away from a later one.

use super::place;
use super::site::Site;
use super::trouble::Trouble;
use crate::files::{self, FileError};
use crate::settings::Settings;
use crate::worker::{self, Program, Task, WorkFolder};
use cutover_storage::Storage;
use cutover_vocabulary::{DeploymentName, Order, UpgradeId};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// How often it is tried, and how long after one another.
const TRIES: u32 = 60;
const PAUSE: Duration = Duration::from_secs(5);

/// Says for which upgrade of a deployment something was prepared.
fn note(settings: &Settings, deployment: &DeploymentName) -> PathBuf {
    settings.state.join("prepared").join(format!("{deployment}.json"))
}

/// Prepares a storage for the downtime, and remembers to tidy up.
pub(super) fn prepare(settings: &Settings, order: &Order, storage: &dyn Storage) -> Result<(), Trouble> {
    files::folder(&settings.state.join("prepared"))?;
    files::write_json(&note(settings, &order.deployment), &order.id.upgrade)?;
    Ok(place::apart(|| storage.prepare())?)
}

/// Whether what is there was prepared for this upgrade.
fn is_of(settings: &Settings, deployment: &DeploymentName, upgrade: &UpgradeId) -> Result<bool, FileError> {
    Ok(files::read_json::<UpgradeId>(&note(settings, deployment))?.is_some_and(|prepared| prepared == *upgrade))
}

/// Removes what was prepared for an order's upgrade, beside everything else that is going on.
pub(super) fn begin(site: &Site, order: &Order) {
    let (deployment, upgrade) = (order.deployment.clone(), order.id.upgrade.clone());
    if note(&site.settings, &deployment).exists() {
        tokio::spawn(tidy(site.worker.clone(), site.settings.clone(), deployment, upgrade));
    }
}

async fn tidy(program: Program, settings: Arc<Settings>, deployment: DeploymentName, upgrade: UpgradeId) {
    for left in (0..TRIES).rev() {
        match try_once(&program, &settings, &deployment, &upgrade).await {
            Ok(()) => return,
            Err(error) => warn!(%deployment, left, "what was prepared in the storage is still there: {error}"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn try_once(
    program: &Program,
    settings: &Settings,
    deployment: &DeploymentName,
    upgrade: &UpgradeId,
) -> Result<(), String> {
    if !is_of(settings, deployment, upgrade).map_err(|error| error.to_string())? {
        return Ok(());
    }
    let folder = WorkFolder::at(settings.work().join(format!("tidy-{upgrade}")));
    let (file, upgrade) = (settings.file.clone(), upgrade.clone());
    let task = Task::Tidy { settings: file, deployment: deployment.clone(), upgrade };
    let done = worker::run::<Result<(), String>>(program, &folder, &task, &CancellationToken::new()).await;
    // What it said holds for this time only.
    let removed = folder.remove().map_err(|error| error.to_string());
    done.map_err(|error| error.to_string())?.and(removed)?;
    info!(%deployment, "what was prepared in the storage is removed");
    Ok(())
}

/// A worker's whole life for it.
///
/// # Errors
/// When the result cannot be written.
pub async fn in_worker(
    path: &Path,
    deployment: &DeploymentName,
    upgrade: &UpgradeId,
    folder: &WorkFolder,
) -> Result<(), FileError> {
    folder.write_result(&remove(path, deployment, upgrade).map_err(|trouble| trouble.0.to_string()))
}

fn remove(path: &Path, deployment: &DeploymentName, upgrade: &UpgradeId) -> Result<(), Trouble> {
    let settings =
        Settings::load(path).map_err(|error| Trouble::refused(error.to_string(), "correct the agent's settings"))?;
    if !is_of(&settings, deployment, upgrade)? {
        return Ok(());
    }
    if let Some(instance) = settings.of_deployment(deployment).next() {
        let place = place::of(instance)?;
        place::apart(|| place.storage.tidy())?;
    }
    Ok(files::remove(&note(&settings, deployment))?)
}
