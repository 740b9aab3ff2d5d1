//! `cutover-agent`: the daemon of a host, its worker processes, and the break-glass commands.

use clap::{Parser, Subcommand};
use cutover_agent::adopt::{AdoptArguments, UnadoptArguments, adopt, unadopt};
use cutover_agent::local::{self, LocalCommand};
use cutover_agent::run::{self, AgentError};
use cutover_agent::service::systemd::{guard_main, settings_now};
use cutover_agent::settings::AtBoot;
use cutover_agent::worker::{Program, child};
use cutover_log::LogFormat;
use std::error::Error;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};
use tracing_subscriber::EnvFilter;

/// Speaks for the ledger instances of this host and carries out the coordinator's orders.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 80, after_help = "Every key of the settings file: `cutover explain agent`.")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the agent until SIGTERM.
    ///
    /// Work that is under way goes on in its own processes and is taken up at the next start.
    Run {
        /// The settings file.
        #[arg(long, env = "CUTOVER_AGENT_SETTINGS", default_value = "/etc/cutover/agent.toml")]
        settings: PathBuf,
        /// How to log, on standard error.
        #[arg(long, env = "CUTOVER_LOG_FORMAT", value_enum, default_value = "text")]
        log_format: LogFormat,
    },
    /// Take units that run the ledger already into the agent's settings. Shows what each really is; changes nothing of a unit.
    Adopt(AdoptArguments),
    /// Take away everything that Cutover has put on this host for a unit.
    Unadopt(UnadoptArguments),
    /// Whether an instance may start what lies at its command's path; a unit's guard runs this before every start.
    #[command(hide = true)]
    Guard {
        /// What to do while no coordinator was heard since the host booted. A guard of before does not say.
        #[arg(long, value_enum, default_value = "start")]
        at_boot: AtBoot,
        /// The instance's folder in the agent's state directory.
        folder: PathBuf,
        /// The unit.
        unit: String,
    },
    /// A worker process; started by the agent, never by hand.
    #[command(hide = true)]
    Work(child::Arguments),
    /// Break glass: look and act on this host without any coordinator.
    Local {
        /// The settings file.
        #[arg(long, global = true, env = "CUTOVER_AGENT_SETTINGS", default_value = "/etc/cutover/agent.toml")]
        settings: PathBuf,
        #[command(subcommand)]
        command: LocalCommand,
    },
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        // Before any thread exists: a worker may become the ledger.
        Command::Work(arguments) => child::main(&arguments),
        Command::Guard { folder, unit, at_boot } => match guard_main(&folder, &unit, at_boot) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                // To the journal of the unit that is refused.
                let _ = writeln!(io::stderr(), "cutover-agent: {}", with_causes(&error));
                ExitCode::FAILURE
            }
        },
        Command::Run { settings, log_format } => daemon(&settings, log_format),
        Command::Local { settings, command } => by_hand(async {
            let settings = settings_now(&settings).await.map_err(|error| with_causes(&error))?;
            local::run(&settings, &command).await.map_err(|error| with_causes(&error))
        }),
        Command::Adopt(arguments) => by_hand(async { adopt(&arguments).await.map_err(|error| with_causes(&error)) }),
        Command::Unadopt(arguments) => {
            by_hand(async { unadopt(&arguments).await.map_err(|error| with_causes(&error)) })
        }
    }
}

/// Two threads: the agent mostly waits, and what is heavy runs in workers.
fn daemon(settings: &Path, format: LogFormat) -> ExitCode {
    let level = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    cutover_log::init("cutover-agent", level, format);
    let ran = runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(AgentError::Start)
        .and_then(|runtime| runtime.block_on(until_signal(settings)));
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!("{}", with_causes(&error));
            ExitCode::FAILURE
        }
    }
}

async fn until_signal(settings: &Path) -> Result<(), AgentError> {
    let settings = settings_now(settings).await?;
    let worker = Program::current().map_err(AgentError::Start)?;
    let shutdown = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate()).map_err(AgentError::Start)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(AgentError::Start)?;
    let asked = shutdown.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        info!("the agent is asked to end");
        asked.cancel();
    });
    run::start(settings, worker, shutdown).await
}

/// Runs what a person asked for, and prints it.
fn by_hand(run: impl Future<Output = Result<String, String>>) -> ExitCode {
    let runtime = runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let done = runtime.map_err(|error| format!("cannot start: {error}")).and_then(|runtime| runtime.block_on(run));
    let (text, code) = match &done {
        Ok(text) => (text, ExitCode::SUCCESS),
        Err(text) => (text, ExitCode::FAILURE),
    };
    let end = if text.ends_with('\n') { "" } else { "\n" };
    let printed = match &done {
        Ok(_) => write!(io::stdout(), "{text}{end}"),
        Err(_) => write!(io::stderr(), "cutover-agent: {text}{end}"),
    };
    if printed.is_ok() { code } else { ExitCode::FAILURE }
}

/// An error and what caused it; a cause whose words are in the error's own already is not said twice.
fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        cause = error.source();
    }
    text
}
