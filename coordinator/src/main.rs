//! The coordinator's program: reads settings, opens the store, listens, runs until it is told to stop.

use clap::{Parser, Subcommand};
use cutover_coordinator::archive::{export_store, import_store};
use cutover_coordinator::{Settings, open_store, raise_epochs, run};
use cutover_log::LogFormat;
use cutover_proto::transport::{Tls, listen_on};
use cutover_vocabulary::Epoch;
use sd_notify::NotifyState;
use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// The coordinator of Cutover: plans and leads upgrades of the ledger.
#[derive(Debug, Parser)]
#[command(
    name = "cutover-coordinator",
    version,
    max_term_width = 80,
    after_help = "Every key of the settings file: `cutover explain coordinator`."
)]
struct Arguments {
    /// Settings file (TOML).
    #[arg(long, global = true, env = "CUTOVER_COORDINATOR_SETTINGS", default_value = "/etc/cutover/coordinator.toml")]
    settings: PathBuf,
    /// Only read the settings, and say whether they can be used.
    #[arg(long)]
    check: bool,
    /// Lead with epochs above this one from now on. For a store that was restored from a backup or made anew: agents know the
    /// epochs that were given since, and refuse lower ones. Ends after it.
    #[arg(long, value_name = "EPOCH")]
    epochs_above: Option<u64>,
    /// How to log, on standard error.
    #[arg(long, global = true, env = "CUTOVER_LOG_FORMAT", value_enum, default_value = "text")]
    log_format: LogFormat,
    /// What to log, like `info` or `cutover_coordinator=debug`.
    #[arg(long, global = true, env = "CUTOVER_LOG", default_value = "info")]
    log: String,
    /// Instead of coordinating.
    #[command(subcommand)]
    instead: Option<Instead>,
}

/// What the program does instead of coordinating. Every coordinator on the store is stopped before.
#[derive(Debug, Subcommand)]
enum Instead {
    /// Write the whole store that the settings name to a new file: to move it to another kind of store, or to keep it.
    Export {
        /// The file. It must not exist yet; whoever has it knows everything the store knows.
        file: PathBuf,
    },
    /// Fill the empty store that the settings name with what `export` wrote. Everything is checked before and after. Epochs go on
    /// far above the exported ones.
    Import {
        /// The file.
        file: PathBuf,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = EnvFilter::try_new(&arguments.log).unwrap_or_else(|_| EnvFilter::new("info"));
    cutover_log::init("cutover-coordinator", filter, arguments.log_format);
    match work(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{}", chain(&*error));
            ExitCode::FAILURE
        }
    }
}

fn work(arguments: &Arguments) -> Result<(), Box<dyn Error + Send + Sync>> {
    let settings = Settings::load(&arguments.settings)?;
    if arguments.check {
        tracing::info!(settings = %arguments.settings.display(), "these settings can be used");
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let shutdown = CancellationToken::new();
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let stop = shutdown.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            tracing::info!("stops: finishes what is being stored, then gives up leadership");
            stop.cancel();
        });
        if let Some(floor) = arguments.epochs_above {
            raise_epochs(&settings.store, Epoch(floor)).await?;
            tracing::info!(
                above = floor,
                "the next epoch is above this; start the coordinator without --epochs-above now"
            );
            return Ok(());
        }
        match &arguments.instead {
            Some(Instead::Export { file }) => {
                let counts = export_store(&settings, file).await?;
                tracing::info!(file = %file.display(), "exported {counts}");
                return Ok(());
            }
            Some(Instead::Import { file }) => {
                let counts = import_store(&settings, file).await?;
                let now = "start the coordinators on this store now, and none on the former one";
                tracing::info!(file = %file.display(), "imported {counts}; {now}");
                return Ok(());
            }
            None => {}
        }
        let store = open_store(&settings.store).await?;
        let tls = settings.tls.clone().map(Tls::new);
        let listening = listen_on(&settings.listen, tls.as_ref()).await?;
        // Where no systemd started this coordinator, nobody is told.
        let _ = sd_notify::notify(&[NotifyState::Ready]);
        if let Some(within) = sd_notify::watchdog_enabled() {
            tokio::spawn(async move {
                loop {
                    let _ = sd_notify::notify(&[NotifyState::Watchdog]);
                    tokio::time::sleep(within / 3).await;
                }
            });
        }
        run(settings, store, listening, shutdown).await?;
        Ok(())
    })
}

/// An error with its causes, in one line.
fn chain(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(error.source(), |cause| (*cause).source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
