//! Every kind of work, one file each: what it looks at, what it does, what it looks at again; what a stop does to it and
//! what half done means stands at the top of its file.
//!
//! What touches a database or may take long runs in a worker process ([`crate::worker`]); the rest runs in the daemon.

mod agrees;
mod attest_storage;
mod bake;
mod bench;
mod closed;
mod drain;
mod drift;
mod first_start;
mod inspect;
mod migrate;
mod observe_only;
mod open;
mod permitted;
pub(crate) mod place;
mod prove;
mod ready;
mod register;
mod rehearse;
mod restore;
mod rotation;
mod secure;
mod site;
mod stopping;
mod strays;
mod survey;
mod switch;
mod tidy;
mod trouble;
mod trying;
mod visit;

pub(crate) use permitted::permitted;
pub(crate) use ready::ready;
pub(crate) use rotation::forget as return_to_rotation;
pub use site::Site;
pub use tidy::in_worker as tidy_in_worker;
pub use tidy::resume as resume_tidying;
pub use trouble::Trouble;

use crate::files::FileError;
use crate::release::download;
use crate::service::systemd::settings_now;
use crate::settings::Settings;
use crate::worker::{self, Program, Task, WorkFolder, WorkerError};
use bench::Bench;
use cutover_vocabulary::instance::InstanceReport;
use cutover_vocabulary::outcome::Effect;
use cutover_vocabulary::survey::{HostSurvey, SurveyAsk};
use cutover_vocabulary::{Evidence, Order, Outcome, Version, Work};
use std::path::Path;
use tokio_util::sync::CancellationToken;

/// Carries out an order, in the daemon or in a worker.
pub async fn perform(site: &Site, order: &Order, stop: &CancellationToken) -> Outcome {
    match here(site, order, stop).await {
        Ok(Some(evidence)) => Outcome::Done(evidence),
        Ok(None) => in_worker(site, order, stop).await,
        Err(trouble) if folder_of(&site.settings, &order.id).has_begun() => whatever_ran_before(order, trouble.into()),
        Err(trouble) => trouble.into(),
    }
}

/// What runs in the daemon; none for what runs in a worker.
async fn here(site: &Site, order: &Order, stop: &CancellationToken) -> Result<Option<Evidence>, Trouble> {
    observe_only::refuse(&site.settings, order)?;
    Ok(Some(match &order.work {
        Work::Inspect => Evidence::Inspected(inspect::inspect(site, site.subject(order).await?).await?),
        Work::StageRelease { release } => Evidence::Staged(site.stage(order, release).await?),
        Work::Drain { patience, for_good: _ } => Evidence::Drained(drain::drain(site, order, *patience, stop).await?),
        Work::Attest => Evidence::Drained(drain::attest(site, order).await?),
        Work::Switch { to } => Evidence::Switched { binary: switch::switch(site, order, to).await? },
        Work::SwitchBack { to } => Evidence::Switched { binary: switch::switch_back(site, order, to).await? },
        Work::StartClosed { target, storage } => Evidence::StartedClosed {
            address: closed::start(site, order, target, storage.as_ref(), stop).await?.to_string(),
        },
        Work::Verify { version, ledgers } => closed::verify(site, order, version, ledgers).await?,
        Work::Open { version, storage } => {
            let opened = open::open(site, order, version, storage.as_ref(), stop).await?;
            tidy::begin(site, order);
            opened
        }
        Work::Bake { version, ledgers, length, withdraw, before } => {
            let ask = bake::Ask { version, ledgers, length: *length, withdraw: *withdraw, before: *before };
            bake::bake(site, order, ask, stop).await?
        }
        Work::Rehearse { .. }
        | Work::AttestStorage { .. }
        | Work::Secure { .. }
        | Work::Register { .. }
        | Work::Migrate { .. }
        | Work::Prove { .. }
        | Work::Restore { .. } => return Ok(None),
    }))
}

/// The folder of an order's worker.
pub fn folder_of(settings: &Settings, order: &cutover_vocabulary::OrderId) -> WorkFolder {
    WorkFolder::at(settings.work().join(order.file_name()))
}

async fn in_worker(site: &Site, order: &Order, stop: &CancellationToken) -> Outcome {
    let folder = folder_of(&site.settings, &order.id);
    let task = Task::Order { settings: site.settings.file.clone(), order: Box::new(order.clone()) };
    match worker::run::<Outcome>(&site.worker, &folder, &task, stop).await {
        Ok(outcome) => outcome,
        Err(error) => {
            let nothing_ran = matches!(error, WorkerError::NeverBegun | WorkerError::OtherOrder { .. });
            let outcome = Trouble::from(error).while_trying(&order.id).into();
            if nothing_ran { outcome } else { whatever_ran_before(order, outcome) }
        }
    }
}

/// What this run says of an order that an earlier run may have carried out, when nobody read that one's word any more: that it
/// failed is true, and that nothing was changed it cannot know. A way back leaves alone what was not changed, and restores what was.
fn whatever_ran_before(order: &Order, outcome: Outcome) -> Outcome {
    match (outcome, &order.work) {
        (Outcome::Failed(failure), Work::Register { .. } | Work::Migrate { .. } | Work::Restore { .. }) => {
            Trouble(failure).effect(Effect::Unknown).into()
        }
        (outcome, _) => outcome,
    }
}

/// Looks closely at a deployment, in a worker: digests of large ledgers need memory and time.
pub async fn survey(site: &Site, ask: &SurveyAsk, folder: &WorkFolder) -> HostSurvey {
    let task = Task::Survey { settings: site.settings.file.clone(), ask: ask.clone() };
    match worker::run::<HostSurvey>(&site.worker, folder, &task, &CancellationToken::new()).await {
        Ok(survey) => survey,
        Err(error) => survey_without_worker(site, ask, &error.to_string()).await,
    }
}

/// What can be told where no worker can be run: every instance, and why it could not be looked at.
async fn survey_without_worker(site: &Site, ask: &SurveyAsk, why: &str) -> HostSurvey {
    let mut instances = Vec::new();
    for service in site.services().filter(|service| service.settings().deployment == ask.deployment) {
        instances.push(cutover_vocabulary::survey::InstanceSurvey {
            instance: service.name().clone(),
            report: inspect::report(site, service).await,
            lock: None,
            inspection: Err(why.to_owned()),
            storage: Err(why.to_owned()),
            manager: service.settings().manager,
            tried: None,
            settings_file: None,
            triggers: Vec::new(),
        });
    }
    let missing = cutover_vocabulary::survey::ReleaseProblem::Missing {
        version: ask.target.clone(),
        place: format!("{} ({why})", site.settings.releases.place),
    };
    HostSurvey {
        agent: site.settings.name.clone(),
        machine: crate::machine::machine_id(),
        instances,
        target: Err(missing),
        about: None,
    }
}

/// Looks briefly at every instance.
pub async fn observe(site: &Site) -> Vec<InstanceReport> {
    futures::future::join_all(site.services().map(|service| inspect::report(site, service))).await
}

/// A worker's whole life for an order.
///
/// # Errors
/// When the result cannot be written; then the daemon starts another worker, which looks first.
pub async fn order_in_worker(settings: &Path, order: &Order, folder: &WorkFolder) -> Result<(), FileError> {
    let again = folder.begin()?;
    let outcome = match settings_now(settings).await {
        Ok(settings) => match storage_work(&Bench { settings: &settings, order, folder }).await {
            Ok(evidence) => Outcome::Done(evidence),
            Err(trouble) => trouble.into(),
        },
        Err(error) => Trouble::refused(error.to_string(), "correct the agent's settings").into(),
    };
    let _ = std::fs::remove_dir_all(folder.path().join("scratch"));
    folder.write_result(&if again { whatever_ran_before(order, outcome) } else { outcome })
}

/// What runs in a worker.
async fn storage_work(bench: &Bench<'_>) -> Result<Evidence, Trouble> {
    observe_only::refuse(bench.settings, bench.order)?;
    Ok(match &bench.order.work {
        Work::Rehearse { target, ledgers } => Evidence::Rehearsed(rehearse::rehearse(bench, target, ledgers).await?),
        Work::AttestStorage { storage } => Evidence::StorageAttested(attest_storage::attest(bench, storage)?),
        Work::Secure { item, storage, lossy, serving } => {
            Evidence::Secured(Box::new(secure::secure(bench, item, storage, *lossy, *serving)?))
        }
        Work::Register { target, ledgers, storage, serving } => {
            Evidence::Registered { ledgers: register::register(bench, target, ledgers, storage, *serving).await? }
        }
        Work::Migrate { target, storage, expected, mark, apart, serving } => {
            let mark = mark.as_deref();
            let ask = migrate::Ask { target, storage, expected, mark, apart: *apart, serving: *serving };
            Evidence::Migrated(migrate::migrate(bench, ask).await?)
        }
        Work::Prove { point, expected, serving } => Evidence::Proved(prove::prove(bench, point, expected, *serving)?),
        Work::Restore { point, storage, first_start } => {
            Evidence::Restored(restore::restore(bench, point, storage, *first_start)?)
        }
        Work::Inspect
        | Work::StageRelease { .. }
        | Work::Drain { .. }
        | Work::Attest
        | Work::Switch { .. }
        | Work::SwitchBack { .. }
        | Work::StartClosed { .. }
        | Work::Verify { .. }
        | Work::Open { .. }
        | Work::Bake { .. } => {
            return Err(Trouble::refused(
                format!("{} is not work for a worker process", bench.order.id),
                "this is a fault of the agent; report it",
            ));
        }
    })
}

/// A worker's whole life for a survey.
///
/// # Errors
/// When the settings cannot be read or the result cannot be written.
pub async fn survey_in_worker(settings: &Path, ask: &SurveyAsk, folder: &WorkFolder) -> Result<(), SurveyFailed> {
    let settings = settings_now(settings).await?;
    let scratch = folder.path().join("scratch");
    crate::files::folder(&scratch)?;
    // A survey starts nothing, so the program that would become a worker is never asked for.
    let program = Program { path: "/nonexistent".into(), args: Vec::new(), leaves: false };
    let site = Site::new(settings, String::new(), program);
    let survey = survey::survey(&site, ask, &scratch).await;
    let _ = std::fs::remove_dir_all(&scratch);
    Ok(folder.write_result(&survey)?)
}

/// A worker's whole life for a download.
///
/// # Errors
/// When the settings cannot be read or the result cannot be written.
pub async fn download_in_worker(settings: &Path, version: &Version, folder: &WorkFolder) -> Result<(), SurveyFailed> {
    let downloaded = download::download(&settings_now(settings).await?, version).await;
    Ok(folder.write_result(&downloaded)?)
}

/// Why there is no survey.
#[derive(Debug, thiserror::Error)]
pub enum SurveyFailed {
    /// The settings.
    #[error(transparent)]
    Settings(#[from] crate::settings::SettingsError),
    /// A file of the agent's own.
    #[error(transparent)]
    File(#[from] FileError),
}
