//! `Inspect`: what runs, what would start, which storage it uses.
//!
//! Looks only; a stop has nothing to stop, and half done means nothing was told.

use super::agrees::must_agree;
use super::drift;
use super::place;
use super::site::Site;
use super::trouble::Trouble;
use crate::ledger::http::Http;
use crate::machine;
use crate::release::stage::digest_of;
use crate::service::requests::RequestLog;
use crate::service::{Role, Service, record};
use cutover_vocabulary::instance::{InstanceReport, RunState};
use cutover_vocabulary::outcome::Inspection;
use cutover_vocabulary::survey::LockStrategy;
use cutover_vocabulary::{Elapsed, Version};
use std::time::Duration;

/// Between two looks at what is being started.
const LOOKING: Duration = Duration::from_millis(100);
/// How long a brief look waits for an answer.
const BRIEFLY: Duration = Duration::from_millis(500);

/// Looks closely.
pub(super) async fn inspect(site: &Site, service: &Service) -> Result<Inspection, Trouble> {
    let settings = service.settings();
    service.fit().await?;
    let version = version_once_it_is_up(service).await;
    let running = service.running(Role::Service).await?;
    let place = place::of(&settings)?;
    if let Some(running) = running {
        must_agree(&settings, &running, &place)?;
    }
    let command = settings.command.clone();
    let binary = tokio::task::spawn_blocking(move || digest_of(&command).ok()).await.ok().flatten();
    Ok(Inspection {
        running: version,
        on_disk: site.version_on_disk(&settings.command, settings.account).await,
        binary,
        storage: place.storage.identity().clone(),
        settings: place.resolved.digest(),
        lock: Some(LockStrategy::of(place.resolved.lock_strategy())),
        served: RequestLog::lately(service.dir()).read(),
    })
}

/// The version that answers; of a service that was started a moment ago, or waits in its guard since the host booted, once it does.
async fn version_once_it_is_up(service: &Service) -> Option<Version> {
    let patience = Elapsed::from_secs(service.settings().start_seconds);
    let deadline = machine::uptime().plus(patience);
    loop {
        let running = service.running(Role::Service).await.ok().flatten();
        let version = if running.is_some() { version_that_answers(service).await } else { None };
        let comes_up = running
            .is_some_and(|running| !running.ending && (running.starting || record::age(running.start) < patience));
        if version.is_some() || !comes_up || machine::uptime() >= deadline {
            return version;
        }
        tokio::time::sleep(LOOKING).await;
    }
}

/// The version that answers at the service's address: its own where its process runs.
async fn version_that_answers(service: &Service) -> Option<Version> {
    let settings = service.settings();
    let resolved = place::settings_of(&settings).ok()?;
    let address = place::address(&settings, &resolved).ok()?;
    Http::new(address, BRIEFLY).with(resolved.credentials()).version().await.ok()
}

/// Looks briefly: telemetry.
pub(super) async fn report(site: &Site, service: &Service) -> InstanceReport {
    // Before anything is looked at: what ends while a binary is being looked at must not seem to run after its end.
    let at = machine::now();
    service.refresh_for_a_report().await;
    let settings = service.settings();
    let (fenced_by, fence, run) = match service.fence().read() {
        Ok(fence) => (fence.standing.then(|| fence.by.to_string()), fence.generation, service.run_state().await),
        Err(error) => (None, 0, RunState::Unknown { why: error.to_string() }),
    };
    let on_disk = site.version_on_disk_for_a_report(&settings.command, settings.account).await;
    let drift = drift::look(site, service, &settings, &run, on_disk.as_ref()).await;
    let running = match &run {
        RunState::Running { .. } => version_that_answers(service).await,
        RunState::Stopped | RunState::Unknown { .. } => None,
    };
    InstanceReport {
        instance: settings.name.clone(),
        deployment: settings.deployment.clone(),
        run,
        running,
        on_disk,
        drift,
        fenced: fenced_by.is_some(),
        fenced_by: fenced_by.unwrap_or_default(),
        fence,
        manager: settings.manager,
        observe_only: settings.observe_only,
        at,
        missing_guard: drift::missing_guard(service).map(|path| path.display().to_string()).unwrap_or_default(),
    }
}
