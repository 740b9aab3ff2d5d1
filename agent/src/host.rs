//! This host: carries out orders, looks closely, looks briefly.

use crate::files::FileError;
use crate::perform::Perform;
use crate::service::{AtWork, Service, ServiceError};
use crate::settings::{Settings, SettingsError};
use crate::work::{self, Site};
use crate::worker::{Program, WorkFolder};
use async_trait::async_trait;
use cutover_vocabulary::instance::{InstanceReport, Manager};
use cutover_vocabulary::link::Permit;
use cutover_vocabulary::survey::{HostSurvey, SurveyAsk};
use cutover_vocabulary::{Epoch, InstanceName, Order, OrderId, Outcome};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio_util::sync::CancellationToken;

/// The services and storages of this host as the desk sees them.
pub struct Host {
    site: Site,
    surveys: AtomicU64,
}

impl Host {
    /// Prepares the state directory. `incarnation` was made with the agent's journal; `worker` is the program that workers and
    /// launchers are, usually [`Program::current`].
    ///
    /// # Errors
    /// When the state directory cannot be used.
    pub fn new(settings: Settings, incarnation: String, worker: Program) -> Result<Self, SettingsError> {
        settings.prepare()?;
        forget_old_surveys(&settings);
        Ok(Self { site: Site::new(settings, incarnation, worker), surveys: AtomicU64::new(0) })
    }

    /// Starts every service whose settings say so, unless it is fenced or runs, and goes on with what an agent before had begun
    /// to tidy up. Called when the agent starts; waits for none of them to answer.
    pub async fn start_services(&self) -> Vec<(InstanceName, Result<(), ServiceError>)> {
        work::resume_tidying(&self.site);
        let mut results = Vec::new();
        for service in self
            .site
            .services()
            .filter(|service| service.settings().manager == Manager::Process)
            .filter(|service| service.settings().start && !service.settings().observe_only)
        {
            let standing = service.fence().read().map(|fence| fence.standing);
            let result = match standing {
                Ok(true) => continue,
                Ok(false) => service.start().await,
                Err(error) => Err(error.into()),
            };
            results.push((service.name().clone(), result));
        }
        results
    }

    /// Whether clients may be sent to the instance of that name; none where there is no such instance.
    pub async fn ready(&self, instance: &str) -> Option<Result<(), &'static str>> {
        work::ready(&self.site, instance).await
    }

    /// Removes what was kept of an order's worker; for orders whose outcome is acknowledged. Again: nothing.
    ///
    /// # Errors
    /// When the folder cannot be removed.
    pub fn forget(&self, order: &OrderId) -> Result<(), FileError> {
        let folder = work::folder_of(&self.site.settings, order);
        if folder.is_alive() { Ok(()) } else { folder.remove() }
    }
}

/// A survey's answer is asked for again by whoever still wants it: folders of an agent that was killed are of no use.
fn forget_old_surveys(settings: &Settings) {
    let Ok(entries) = std::fs::read_dir(settings.work()) else { return };
    for entry in entries.flatten() {
        if entry.file_name().to_string_lossy().starts_with("survey-") {
            let folder = WorkFolder::at(entry.path());
            if !folder.is_alive() {
                let _ = folder.remove();
            }
        }
    }
}

#[async_trait]
impl Perform for Host {
    async fn perform(&self, order: &Order, stop: CancellationToken) -> Outcome {
        let _at_work: Vec<AtWork<'_>> = self.site.services().map(Service::at_work).collect();
        work::perform(&self.site, order, &stop).await
    }

    async fn survey(&self, ask: &SurveyAsk) -> HostSurvey {
        let number = self.surveys.fetch_add(1, Ordering::Relaxed);
        let name = format!("survey-{}-{number}", std::process::id());
        let folder = WorkFolder::at(self.site.settings.work().join(name));
        // A process id may come again after a reboot.
        let _ = folder.remove();
        let survey = work::survey(&self.site, ask, &folder).await;
        let _ = folder.remove();
        survey
    }

    async fn observe(&self) -> Vec<InstanceReport> {
        work::observe(&self.site).await
    }

    async fn permitted(&self, epoch: Epoch, permits: &BTreeMap<InstanceName, Permit>) -> bool {
        work::permitted(&self.site, epoch, permits).await
    }
}
