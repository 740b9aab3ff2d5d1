//! What storage work in a worker process may use: the settings, the worker's folder, and whether it is to stop.

use super::place::Place;
use super::trouble::Trouble;
use crate::ledger::cli::Cli;
use crate::release::stage;
use crate::settings::Settings;
use crate::worker::WorkFolder;
use cutover_vocabulary::outcome::FailureKind;
use cutover_vocabulary::release::StagedRelease;
use cutover_vocabulary::{LedgerName, Order, Subject};
use std::path::PathBuf;

/// A worker's surroundings.
pub(super) struct Bench<'a> {
    /// The agent's settings, as the worker read them.
    pub settings: &'a Settings,
    /// The order.
    pub order: &'a Order,
    /// The worker's folder.
    pub folder: &'a WorkFolder,
}

impl Bench<'_> {
    /// Whether somebody asked for a stop.
    pub(super) fn stop(&self) -> bool {
        self.folder.stop_requested()
    }

    /// Fails when somebody asked for a stop; for the points where nothing is half done.
    pub(super) fn unless_stopped(&self, before: &str) -> Result<(), Trouble> {
        if self.stop() { Err(Trouble::stopped(format!("stopped before {before}"))) } else { Ok(()) }
    }

    /// Where temporary files of this order go; removed with the worker's folder.
    pub(super) fn scratch(&self) -> Result<PathBuf, Trouble> {
        let path = self.folder.path().join("scratch");
        crate::files::folder(&path)?;
        Ok(path)
    }

    /// Where the recovery points of this run of the stage lie. Another run has others: an instance may have written between
    /// the two, and a point from before must never pass for one of what is there now. Attempts of one run share them.
    pub(super) fn points(&self) -> PathBuf {
        let step = &self.order.id.step;
        self.of_upgrade().join(format!("{:02}.{}", step.stage, step.run))
    }

    /// Where this upgrade keeps what a person may need: recovery points, and what restoring moved aside.
    pub(super) fn of_upgrade(&self) -> PathBuf {
        self.settings.recovery().join(self.order.id.upgrade.as_str())
    }

    /// The ledger that the order is about.
    pub(super) fn ledger(&self) -> Result<&LedgerName, Trouble> {
        match &self.order.id.step.subject {
            Subject::Ledger(name) => Ok(name),
            Subject::Instance(_) | Subject::Storage => Err(Trouble::refused(
                format!("{} is an order for a ledger, and names none", self.order.id),
                "this is a fault of the coordinator; report it",
            )),
        }
    }

    /// Where the staged target's binary lies, once it is seen to be the verified one. Begins at once, on a thread of its own.
    pub(super) fn check(&self, target: &StagedRelease) -> impl Future<Output = Result<PathBuf, Trouble>> + use<> {
        let (settings, target) = (self.settings.clone(), target.clone());
        let checking = tokio::task::spawn_blocking(move || Ok(stage::check(&settings, &target)?));
        async {
            checking.await.unwrap_or_else(|error| {
                let message = format!("looking at the staged binary broke off: {error}");
                Err(Trouble::new(FailureKind::Interrupted, message, "try again"))
            })
        }
    }

    /// The target's command line on a storage; `program` as [`check`](Self::check) found it. What its commands print lies in
    /// the worker's folder.
    pub(super) fn cli(&self, target: &StagedRelease, program: PathBuf, place: &Place) -> Result<Cli, Trouble> {
        if !target.storage_commands {
            return Err(Trouble::refused(
                format!("release {} has no storage commands, by its own help", target.release.version),
                "choose a target from 1.3.2 on; below, the ledger migrates by itself at its first start",
            ));
        }
        let cli =
            Cli::new(program, place.command_environment(&self.order.id.file_name())?, self.folder.path().to_owned());
        Ok(cli.holding_the_worker_lock().as_account(place.account))
    }
}
