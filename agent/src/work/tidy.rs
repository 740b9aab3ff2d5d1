//! What was prepared in the storage for the downtime, and is removed once traffic is let in.
//!
//! No order: nothing waits for it, and a scratch database without rows is no reason to hold an upgrade. What fails is logged and
//! tried again for some minutes, and at the agent's next start; what is still there then, the next rehearsal removes.

use super::place;
use super::site::Site;
use super::trouble::Trouble;
use crate::files::{self, FileError};
use crate::service::systemd::settings_now;
use crate::settings::Settings;
use crate::worker::{self, Program, Task, WorkFolder};
use cutover_storage::Storage;
use cutover_vocabulary::{DeploymentName, Order, UpgradeId};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, info, warn};

/// How often it is tried, and how long after one another.
const TRIES: u32 = 60;
const PAUSE: Duration = Duration::from_secs(5);

/// What was prepared for a deployment's storage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Prepared {
    deployment: DeploymentName,
    upgrade: UpgradeId,
    /// Traffic was let in; what is there is of no use any more.
    over: bool,
}

impl Prepared {
    fn of(order: &Order, over: bool) -> Self {
        Self { deployment: order.deployment.clone(), upgrade: order.id.upgrade.clone(), over }
    }
    fn folder(settings: &Settings) -> PathBuf {
        settings.state.join("prepared")
    }
    fn path(&self, settings: &Settings) -> PathBuf {
        Self::folder(settings).join(format!("{}.json", self.upgrade))
    }
    fn write(&self, settings: &Settings) -> Result<(), FileError> {
        files::folder(&Self::folder(settings))?;
        files::write_json(&self.path(settings), self)
    }
}

/// Prepares a storage for the downtime.
pub(super) fn prepare(settings: &Settings, order: &Order, storage: &dyn Storage) -> Result<(), Trouble> {
    remember(settings, order)?;
    Ok(place::apart(|| storage.prepare(&order.id.upgrade))?)
}

/// Remembers to tidy up: whoever secures may have to make what was not prepared here.
pub(super) fn remember(settings: &Settings, order: &Order) -> Result<(), FileError> {
    let prepared = Prepared::of(order, false);
    if prepared.path(settings).exists() { Ok(()) } else { prepared.write(settings) }
}

/// Removes what was prepared for an order's upgrade, beside everything else that is going on.
pub(super) fn begin(site: &Site, order: &Order) {
    let prepared = Prepared::of(order, true);
    if prepared.path(&site.settings).exists() {
        if let Err(error) = prepared.write(&site.settings) {
            warn!("{error}");
        }
        // Its lines name the order that let it begin.
        tokio::spawn(tidy(site.worker.clone(), site.settings.clone(), prepared).in_current_span());
    }
}

/// Goes on with what an agent that was ended had begun. Call it within a runtime.
pub fn resume(site: &Site) {
    let entries = std::fs::read_dir(Prepared::folder(&site.settings)).into_iter().flatten().flatten();
    for entry in entries {
        match files::read_json::<Prepared>(&entry.path()) {
            Ok(Some(prepared)) if prepared.over => {
                tokio::spawn(tidy(site.worker.clone(), site.settings.clone(), prepared));
            }
            Ok(Some(_) | None) => {}
            Err(error) => warn!("{error}"),
        }
    }
}

async fn tidy(program: Program, settings: Arc<Settings>, prepared: Prepared) {
    for left in (0..TRIES).rev() {
        match try_once(&program, &settings, &prepared).await {
            Ok(()) => {
                info!(upgrade = %prepared.upgrade, "what was prepared in the storage is removed");
                return;
            }
            Err(error) => {
                warn!(upgrade = %prepared.upgrade, left, "what was prepared in the storage is still there: {error}");
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn try_once(program: &Program, settings: &Settings, prepared: &Prepared) -> Result<(), String> {
    let folder = WorkFolder::at(settings.work().join(format!("tidy-{}", prepared.upgrade)));
    // What it said before holds for that time only.
    let forget = || if folder.is_alive() { Ok(()) } else { folder.remove().map_err(|error| error.to_string()) };
    forget()?;
    let (deployment, upgrade) = (prepared.deployment.clone(), prepared.upgrade.clone());
    let task = Task::Tidy { settings: settings.file.clone(), deployment, upgrade };
    let done = worker::run::<Result<(), String>>(program, &folder, &task, &CancellationToken::new()).await;
    forget()?;
    done.map_err(|error| error.to_string())?
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
    folder.write_result(&remove(path, deployment, upgrade).await.map_err(|trouble| trouble.0.to_string()))
}

async fn remove(path: &Path, deployment: &DeploymentName, upgrade: &UpgradeId) -> Result<(), Trouble> {
    let settings = settings_now(path)
        .await
        .map_err(|error| Trouble::refused(error.to_string(), "correct the agent's settings"))?;
    if let Some(instance) = settings.of_deployment(deployment).next() {
        let place = place::of(instance)?;
        place::apart(|| place.storage.tidy(upgrade))?;
    }
    let prepared = Prepared { deployment: deployment.clone(), upgrade: upgrade.clone(), over: true };
    Ok(files::remove(&prepared.path(&settings))?)
}
