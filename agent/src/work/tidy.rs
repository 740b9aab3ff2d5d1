//! What was prepared in the storage for the downtime, and is removed once traffic is let in.
//!
//! No order: nothing waits for it, and a scratch database without rows is no reason to hold an upgrade. What fails is logged;
//! the note stays, so the next opening tries again, and so does the next rehearsal.

use super::place;
use super::site::Site;
use super::trouble::Trouble;
use crate::files::{self, FileError};
use crate::settings::Settings;
use crate::worker::{self, Program, Task, WorkFolder};
use cutover_storage::Storage;
use cutover_vocabulary::DeploymentName;
use std::path::{Path, PathBuf};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// Says that something was prepared for a deployment.
fn note(settings: &Settings, deployment: &DeploymentName) -> PathBuf {
    settings.state.join("prepared").join(format!("{deployment}.json"))
}

/// Prepares a storage for the downtime, and remembers to tidy up.
pub(super) fn prepare(settings: &Settings, deployment: &DeploymentName, storage: &dyn Storage) -> Result<(), Trouble> {
    files::folder(&settings.state.join("prepared"))?;
    files::write_json(&note(settings, deployment), deployment)?;
    Ok(place::apart(|| storage.prepare())?)
}

/// Removes what was prepared, beside everything else that is going on.
pub(super) fn begin(site: &Site, deployment: &DeploymentName) {
    if note(&site.settings, deployment).exists() {
        tokio::spawn(tidy(site.worker.clone(), site.settings.clone(), deployment.clone()));
    }
}

async fn tidy(program: Program, settings: std::sync::Arc<Settings>, deployment: DeploymentName) {
    let folder = WorkFolder::at(settings.work().join(format!("tidy-{deployment}")));
    let task = Task::Tidy { settings: settings.file.clone(), deployment: deployment.clone() };
    let done = match worker::run::<Result<(), String>>(&program, &folder, &task, &CancellationToken::new()).await {
        Ok(done) => done,
        Err(error) => Err(error.to_string()),
    };
    // What it said holds for this time only.
    let removed = folder.remove().map_err(|error| error.to_string());
    match done.and(removed) {
        Ok(()) => info!(%deployment, "what was prepared in the storage is removed"),
        Err(error) => warn!(%deployment, "what was prepared in the storage is still there: {error}"),
    }
}

/// A worker's whole life for it.
///
/// # Errors
/// When the result cannot be written.
pub async fn in_worker(path: &Path, deployment: &DeploymentName, folder: &WorkFolder) -> Result<(), FileError> {
    folder.write_result(&remove(path, deployment).map_err(|trouble| trouble.0.to_string()))
}

fn remove(path: &Path, deployment: &DeploymentName) -> Result<(), Trouble> {
    let settings =
        Settings::load(path).map_err(|error| Trouble::refused(error.to_string(), "correct the agent's settings"))?;
    if let Some(instance) = settings.of_deployment(deployment).next() {
        let place = place::of(instance)?;
        place::apart(|| place.storage.tidy())?;
    }
    Ok(files::remove(&note(&settings, deployment))?)
}
