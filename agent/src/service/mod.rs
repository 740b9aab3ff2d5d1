//! Services: start, observe, stop, and keep from starting.
//!
//! [`Service`] is one instance; [`Manage`] is what runs it. [`systemd`] speaks to the host's systemd, whose own guard keeps a
//! fenced unit from starting. [`process`] runs a service as a plain process that outlives the agent. It has no guard outside the
//! agent: whoever starts the ledger by hand while it is fenced is not kept from it, and proofs say so (`guarded: false`).

pub mod allowed;
pub mod environment;
pub mod fence;
pub mod idle;
pub mod launch;
pub mod permit;
pub mod ports;
pub mod process;
pub mod record;
pub mod requests;
pub mod systemd;

use crate::files::FileError;
use crate::machine;
use crate::release::ReleaseError;
use crate::settings::{InstanceSettings, Settings};
use crate::worker::Program;
use async_trait::async_trait;
use cutover_vocabulary::instance::{Manager, RunState};
use cutover_vocabulary::outcome::CleanEnd;
use cutover_vocabulary::{Digest, Elapsed, InstanceName, UpgradeId};
use environment::EnvironmentError;
use fence::FenceFile;
use process::ProcessService;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use systemd::SystemdUnit;
use tokio::sync::Mutex;

/// For how long reports go by settings that were read before, while no order is at work.
const SETTINGS_HOLD: Elapsed = Elapsed::from_secs(5);

/// Which process of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// The service itself, which clients talk to.
    Service,
    /// A copy on a loopback port that nobody knows.
    Closed,
}
impl Role {
    /// The first part of its files' names.
    pub fn word(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Closed => "closed",
        }
    }
}

/// A process of an instance that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    /// Process id.
    pub pid: u32,
    /// When it started, in ticks since boot: a process id is used again, both together are not.
    pub start: u64,
    /// Which binary it is, if the agent chose that.
    pub program: Option<PathBuf>,
    /// Where it listens, if the agent chose that.
    pub address: Option<String>,
    /// Whether its manager is starting it: what runs now comes before the ledger, and may keep it from starting.
    pub starting: bool,
    /// Whether its manager is stopping it: it may answer for a while, and is gone then.
    pub ending: bool,
}

/// What is to be started.
#[derive(Debug, Clone)]
pub struct Start {
    /// As what.
    pub role: Role,
    /// Which binary; of a unit the service itself always starts what the unit names.
    pub program: PathBuf,
    /// Appended to the service's own arguments; of a repeated flag the ledger takes the last.
    pub extra: Vec<String>,
    /// Where it will listen, if the agent chose that.
    pub address: Option<String>,
}

/// How a stop went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stopped {
    /// It was not running.
    NotRunning,
    /// It ended well after SIGTERM.
    Ended(CleanEnd),
    /// It ended after SIGTERM, but badly: `ended with status 1`, `killed after its TimeoutStopSec`.
    Badly(String),
    /// It still runs: SIGTERM had no effect within the patience.
    StillRunning {
        /// Its process.
        pid: u32,
    },
}

/// What runs an instance. Every method may be repeated at any time.
#[async_trait]
pub trait Manage: Send + Sync {
    /// The settings as they are now: of a unit, what systemd has loaded.
    ///
    /// # Errors
    /// Why they cannot be told.
    async fn settings(&self) -> Result<InstanceSettings, ServiceError>;

    /// The process of that role, if it runs.
    async fn running(&self, role: Role) -> Result<Option<Running>, ServiceError>;

    /// Starts a process of that role unless it runs; returns once it is known, not once it answers.
    ///
    /// # Errors
    /// [`ServiceError::Fenced`] for the service while it is fenced; what keeps it from starting.
    async fn start(&self, start: Start) -> Result<(), ServiceError>;

    /// SIGTERM, then waits until it is gone, at most `patience`. The agent never sends SIGKILL: a ledger that will not stop is
    /// in the middle of something, and a person decides.
    async fn stop(&self, role: Role, patience: Elapsed) -> Result<Stopped, ServiceError>;

    /// How the service ended that was told to and is down by now, where nobody waited for it until then.
    async fn ended(&self) -> Result<Stopped, ServiceError>;

    /// Why the process of that role ended, in the ledger's own words without secrets, for messages.
    async fn last_words(&self, role: Role) -> String;

    /// Sees to it that nothing but the agent's word starts the service while it is fenced, a person and a reboot included, and
    /// proves it. False: there is no such guard here.
    ///
    /// # Errors
    /// Why it cannot be put in place, or what else could start the service.
    async fn hold(&self) -> Result<bool, ServiceError> {
        Ok(false)
    }

    /// [`Self::hold`], and that what the service would start is what it may.
    ///
    /// # Errors
    /// As there; what it would start instead.
    async fn guard(&self) -> Result<bool, ServiceError>;

    /// Where its guard would lie and nothing does. None: it lies there, or there is no such guard here.
    fn missing_guard(&self) -> Option<PathBuf> {
        None
    }

    /// That it can be upgraded at all, by what is looked at only for a plan and before an upgrade.
    ///
    /// # Errors
    /// Why not, and what to do.
    async fn fit(&self) -> Result<(), ServiceError> {
        Ok(())
    }

    /// Notes that the binary may start that lies at the command's path now: the guard, where there is one, lets it, and no other.
    ///
    /// # Errors
    /// When that binary cannot be read.
    async fn allow(&self) -> Result<(), ServiceError>;

    /// Lets the service be started in this boot, by whoever starts it. True: a start was refused before for want of that, and is to
    /// be made up for. Nothing to do where there is no guard.
    ///
    /// # Errors
    /// When that cannot be written.
    async fn permit(&self, _by: &str) -> Result<bool, ServiceError> {
        Ok(false)
    }

    /// Notes that a start was refused for a fence alone, where one was since the host booted; whether it was.
    ///
    /// # Errors
    /// When that cannot be told or written.
    async fn note_fenced_start(&self) -> Result<bool, ServiceError> {
        Ok(false)
    }

    /// A refused start was made up for, or is not to be.
    ///
    /// # Errors
    /// When that cannot be written.
    async fn forget_refusal(&self) -> Result<(), ServiceError> {
        Ok(())
    }

    /// Takes the guard away. Nothing to do where there is none.
    ///
    /// # Errors
    /// When its file cannot be removed.
    async fn unguard(&self) -> Result<(), ServiceError>;

    /// What else may start the service, by name. Nothing where that cannot be.
    ///
    /// # Errors
    /// When it cannot be told.
    async fn triggers(&self) -> Result<Vec<String>, ServiceError> {
        Ok(Vec::new())
    }

    /// Makes `target` the binary that the service starts. Idempotent.
    ///
    /// # Errors
    /// [`ReleaseError::Switch`].
    async fn switch(&self, target: &Path, upgrade: &UpgradeId) -> Result<(), ReleaseError>;

    /// Makes what was there before the upgrade the binary that the service starts, and gives its digest. Idempotent.
    ///
    /// # Errors
    /// [`ReleaseError::Switch`] when what was kept is gone or was changed since.
    async fn switch_back(&self, upgrade: &UpgradeId) -> Result<Digest, ReleaseError>;
}

/// One instance of this host.
pub struct Service {
    settings: RwLock<Arc<InstanceSettings>>,
    /// Their last reading. Held while they are read, so that an earlier answer never replaces a later one.
    read: Mutex<Option<Reading>>,
    /// Orders that are at work, any of which may change them.
    orders: AtomicU64,
    /// Orders that have ended.
    ended: AtomicU64,
    dir: PathBuf,
    manager: Box<dyn Manage>,
}

/// When an instance's settings were asked for.
#[derive(Debug, Clone, Copy)]
struct Reading {
    /// On [`machine::uptime`].
    at: Elapsed,
    /// How many orders had ended by then.
    ended: u64,
}

/// See [`Service::at_work`].
pub struct AtWork<'a>(&'a Service);
impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Ordering::SeqCst);
        self.0.orders.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Service {
    /// An instance of these settings; `launcher` is the program that becomes the ledger where no systemd starts it.
    pub fn new(settings: &Settings, instance: &InstanceSettings, launcher: &Program) -> Self {
        let dir = settings.instance_dir(&instance.name);
        let own = Arc::new(instance.clone());
        let manager: Box<dyn Manage> = match instance.manager {
            Manager::Process => {
                Box::new(ProcessService::new(Arc::clone(&own), dir.clone(), settings.file.clone(), launcher.clone()))
            }
            Manager::Systemd => Box::new(SystemdUnit::new(Arc::clone(&own), dir.clone(), launcher.clone())),
        };
        Self {
            settings: RwLock::new(own),
            read: Mutex::new(None),
            orders: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            dir,
            manager,
        }
    }

    /// The instance's settings as they were at the last [`refresh`](Self::refresh).
    pub fn settings(&self) -> Arc<InstanceSettings> {
        Arc::clone(&self.settings.read().unwrap_or_else(PoisonError::into_inner))
    }
    /// Reads them again.
    ///
    /// # Errors
    /// As [`Manage::settings`]; the former ones stay.
    pub async fn refresh(&self) -> Result<(), ServiceError> {
        self.read_into(&mut *self.read.lock().await).await
    }
    /// The same, for looks that prove nothing: not where they were read a moment ago and nothing was done to the service since. To
    /// ask systemd for all of it for every report was half of what an idle agent did.
    pub async fn refresh_for_a_report(&self) {
        let mut read = self.read.lock().await;
        let known = read.is_some_and(|last| {
            last.ended == self.ended.load(Ordering::SeqCst) && machine::uptime().since(last.at) < SETTINGS_HOLD
        });
        if !known || self.orders.load(Ordering::SeqCst) > 0 {
            // Where they cannot be told, the run state says so.
            let _ = self.read_into(&mut read).await;
        }
    }
    async fn read_into(&self, read: &mut Option<Reading>) -> Result<(), ServiceError> {
        // Of before the answer: an order that ends while it is given may have changed what was told already.
        let reading = Reading { at: machine::uptime(), ended: self.ended.load(Ordering::SeqCst) };
        let now = Arc::new(self.manager.settings().await?);
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = now;
        *read = Some(reading);
        Ok(())
    }
    /// An order is at work until this is dropped.
    pub fn at_work(&self) -> AtWork<'_> {
        self.orders.fetch_add(1, Ordering::SeqCst);
        AtWork(self)
    }
    /// The instance's own folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
    /// Its name.
    pub fn name(&self) -> InstanceName {
        self.settings().name.clone()
    }
    /// Its fence.
    pub fn fence(&self) -> FenceFile {
        FenceFile::of(&self.dir)
    }
    /// Whether the service runs, as reports say it.
    pub async fn run_state(&self) -> RunState {
        match self.running(Role::Service).await {
            Ok(Some(running)) => RunState::Running { pid: running.pid },
            Ok(None) => RunState::Stopped,
            Err(error) => RunState::Unknown { why: error.to_string() },
        }
    }

    /// As [`Manage::running`].
    pub async fn running(&self, role: Role) -> Result<Option<Running>, ServiceError> {
        self.manager.running(role).await
    }
    /// Starts the service itself, as [`Manage::start`].
    pub async fn start(&self) -> Result<(), ServiceError> {
        let program = self.settings().command.clone();
        self.manager.start(Start { role: Role::Service, program, extra: Vec::new(), address: None }).await
    }
    /// Starts a closed copy: `program` with the service's own arguments, listening on `address`.
    pub async fn start_closed(&self, program: PathBuf, address: String) -> Result<(), ServiceError> {
        let extra = vec![format!("--server.http.bind_address={address}")];
        self.manager.start(Start { role: Role::Closed, program, extra, address: Some(address) }).await
    }
    /// As [`Manage::stop`].
    pub async fn stop(&self, role: Role, patience: Elapsed) -> Result<Stopped, ServiceError> {
        self.manager.stop(role, patience).await
    }
    /// As [`Manage::ended`].
    pub async fn ended(&self) -> Result<Stopped, ServiceError> {
        self.manager.ended().await
    }
    /// As [`Manage::last_words`].
    pub async fn last_words(&self, role: Role) -> String {
        self.manager.last_words(role).await
    }
    /// As [`Manage::hold`].
    pub async fn hold(&self) -> Result<bool, ServiceError> {
        self.manager.hold().await
    }
    /// As [`Manage::guard`].
    pub async fn guard(&self) -> Result<bool, ServiceError> {
        self.manager.guard().await
    }
    /// As [`Manage::missing_guard`].
    pub fn missing_guard(&self) -> Option<PathBuf> {
        self.manager.missing_guard()
    }
    /// As [`Manage::fit`].
    pub async fn fit(&self) -> Result<(), ServiceError> {
        self.manager.fit().await
    }
    /// As [`Manage::triggers`].
    pub async fn triggers(&self) -> Result<Vec<String>, ServiceError> {
        self.manager.triggers().await
    }
    /// As [`Manage::allow`].
    pub async fn allow(&self) -> Result<(), ServiceError> {
        self.manager.allow().await
    }
    /// As [`Manage::permit`].
    pub async fn permit(&self, by: &str) -> Result<bool, ServiceError> {
        self.manager.permit(by).await
    }
    /// As [`Manage::note_fenced_start`].
    pub async fn note_fenced_start(&self) -> Result<bool, ServiceError> {
        self.manager.note_fenced_start().await
    }
    /// As [`Manage::forget_refusal`].
    pub async fn forget_refusal(&self) -> Result<(), ServiceError> {
        self.manager.forget_refusal().await
    }
    /// As [`Manage::unguard`].
    pub async fn unguard(&self) -> Result<(), ServiceError> {
        self.manager.unguard().await
    }
    /// As [`Manage::switch`].
    pub async fn switch(&self, target: &Path, upgrade: &UpgradeId) -> Result<(), ReleaseError> {
        self.manager.switch(target, upgrade).await
    }
    /// As [`Manage::switch_back`].
    pub async fn switch_back(&self, upgrade: &UpgradeId) -> Result<Digest, ReleaseError> {
        self.manager.switch_back(upgrade).await
    }
}

/// Something that went wrong with a service, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// A file of the agent's own.
    #[error(transparent)]
    File(#[from] FileError),
    /// The service's environment file.
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
    /// It is fenced.
    #[error(
        "instance {instance} is fenced (generation {generation}): it is started only by the order that opens it, or after `local unfence`"
    )]
    Fenced {
        /// Which instance.
        instance: InstanceName,
        /// The fence's generation.
        generation: u64,
    },
    /// The program that starts services cannot be started.
    #[error("cannot start {}: {source}; check that it is there and executable", program.display())]
    Spawn {
        /// Which program.
        program: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The launcher did not become the ledger.
    #[error("instance {instance} was not started: {why}")]
    NotLaunched {
        /// Which instance.
        instance: InstanceName,
        /// Why not.
        why: String,
    },
    /// The operating system would not let us look at or signal a process.
    #[error(
        "cannot {doing} process {pid} of instance {instance}: {source}; the agent must run as root or as the service's user"
    )]
    Process {
        /// What was tried.
        doing: &'static str,
        /// Which process.
        pid: u32,
        /// Of which instance.
        instance: InstanceName,
        /// Why not.
        source: std::io::Error,
    },
    /// A unit that cannot be used as it is.
    #[error("unit {unit} of instance {instance}: {why}")]
    Unit {
        /// Which instance.
        instance: InstanceName,
        /// Which unit.
        unit: String,
        /// Why not, and what to do.
        why: String,
    },
    /// The table of connections cannot be read.
    #[error("cannot read the connections of this host: {0}; not visible is not quiet, so the step cannot be proved")]
    Connections(String),
    /// No address can be made out of the settings.
    #[error("cannot tell which port instance {instance} serves: {why}")]
    Address {
        /// Which instance.
        instance: InstanceName,
        /// Why not.
        why: String,
    },
}
