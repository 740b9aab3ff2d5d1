//! A service as a systemd unit of this host, over D-Bus.
//!
//! The unit is the only source of what is started, by whom and with which settings: it is read anew for every order, and the
//! agent's own file repeats nothing of it. What systemd reports of a job is not taken as proof: a stop that ran into
//! `TimeoutStopSec` is a job that was done, of a unit whose `Result` is `timeout` (measured, systemd 252).

mod bus;
mod closed;
mod file;
mod fit;
mod guard;
mod inventory;
mod job;
mod leave;
mod loaded;
mod release;
mod scope;
mod words;

pub use guard::{NotAllowed, main as guard_main};
pub use inventory::{Command as UnitCommand, Described, describe, ledger_units};
pub use leave::{KEPT, Leaving};
pub(crate) use loaded::NO_HOME;
pub use scope::{leave as leave_unit, runs_as_unit};

use super::allowed;
use super::environment::Redactor;
use super::fence::FenceFile;
use super::permit::Permit;
use super::{Manage, Role, Running, ServiceError, Start, Stopped, record};
use crate::files;
use crate::ledger::message::error_message;
use crate::release::ReleaseError;
use crate::settings::{InstanceSettings, Settings, SettingsError};
use crate::worker::Program;
use async_trait::async_trait;
use bus::Bus;
use cutover_vocabulary::instance::Manager;
use cutover_vocabulary::outcome::CleanEnd;
use cutover_vocabulary::{Digest, Elapsed, UpgradeId};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::process::Command;

/// `code` of a process that exited, in `ExecMainCode` (`CLD_EXITED`).
const EXITED: i32 = 1;

/// What systemd says of a unit that it knows nothing of.
const NO_SUCH_UNIT: &str = "org.freedesktop.systemd1.NoSuchUnit";

/// How many lines of a unit's journal are looked through for its last words.
const LINES: &str = "200";

/// An agent's settings with what its units have loaded now. An instance whose unit cannot be read says so wherever it is used.
///
/// # Errors
/// As [`Settings::load`].
pub async fn settings_now(path: &Path) -> Result<Settings, SettingsError> {
    let mut settings = Settings::load(path)?;
    read_units(&mut settings).await;
    Ok(settings)
}

/// Fills in what the units of these settings have loaded now.
pub async fn read_units(settings: &mut Settings) {
    for instance in settings.instances.iter_mut().filter(|instance| instance.manager == Manager::Systemd) {
        match loaded::settings(instance, instance.unit_name()).await {
            Ok(full) => *instance = full,
            Err(why) => instance.unreadable = Some(format!("unit {}: {why}", instance.unit_name())),
        }
    }
    // Only now it is known what units start. Nobody else's work, and no break-glass, stops for it.
    if let Err(what) = settings.check_commands() {
        let units = settings.instances.iter_mut().filter(|instance| instance.manager == Manager::Systemd);
        units.for_each(|instance| _ = instance.unreadable.get_or_insert_with(|| what.clone()));
    }
}

/// Starts, observes and stops one unit, and copies of it that no client knows.
pub struct SystemdUnit {
    own: Arc<InstanceSettings>,
    dir: PathBuf,
    agent: Program,
}

/// What is kept of a closed copy beside what systemd knows.
#[derive(Debug, Serialize, Deserialize)]
struct Closed {
    program: PathBuf,
    address: Option<String>,
}

impl SystemdUnit {
    /// The unit of an instance whose files lie in `dir`; `agent` is the program that the guard runs.
    pub fn new(own: Arc<InstanceSettings>, dir: PathBuf, agent: Program) -> Self {
        Self { own, dir, agent }
    }

    fn name(&self) -> &str {
        self.own.unit_name()
    }
    fn unit_of(&self, role: Role) -> String {
        unit_of(&self.own, role)
    }
    fn wrong(&self, why: String) -> ServiceError {
        ServiceError::Unit { instance: self.own.name.clone(), unit: self.name().to_owned(), why }
    }
    fn bus_error(&self, doing: &str) -> impl FnOnce(zbus::Error) -> ServiceError {
        let (instance, unit, doing) = (self.own.name.clone(), self.name().to_owned(), doing.to_owned());
        move |error| ServiceError::Unit { instance, unit, why: format!("systemd does not {doing}: {error}") }
    }
    /// What systemd has loaded, with every change of ours.
    async fn now(&self) -> Result<InstanceSettings, String> {
        closed::reload_if_due(&self.dir).await?;
        loaded::settings(&self.own, self.name()).await
    }
    fn closed_note(&self) -> PathBuf {
        self.dir.join("closed-unit.json")
    }

    /// A unit's state and its processes, the main process first. One that left the unit's control group is not seen here: the
    /// port and the storage tell of it. Asked at once, as every report does it: an agent that waits three times wakes three times.
    async fn state_of(&self, unit: &str) -> Result<(String, Vec<u32>), zbus::Error> {
        let ((general, service), manager) = tokio::try_join!(Bus.unit(unit), Bus.manager())?;
        let (state, main, all) =
            tokio::join!(general.active_state(), service.main_pid(), manager.get_unit_processes(unit));
        let main = main?;
        let all = match all {
            // A copy that was never made, or that is gone.
            Err(zbus::Error::MethodError(name, ..)) if name.as_str() == NO_SUCH_UNIT => Vec::new(),
            all => all?,
        };
        let others = all.into_iter().map(|(_, pid, _)| pid).filter(|pid| *pid != main);
        Ok((state?, Some(main).filter(|pid| *pid != 0).into_iter().chain(others).collect()))
    }

    /// How the unit's last run ended, once it is down.
    async fn end_of(&self, unit: &str) -> Result<Stopped, zbus::Error> {
        let (_, service) = Bus.unit(unit).await?;
        let (result, code, status) =
            (service.result().await?, service.exec_main_code().await?, service.exec_main_status().await?);
        Ok(match result.as_str() {
            "success" if code == EXITED => Stopped::Ended(CleanEnd::Exited),
            // A program that installs no handler dies by the SIGTERM that was sent: nothing worse happened.
            "success" => Stopped::Ended(CleanEnd::Gone),
            "timeout" => Stopped::Badly("systemd killed it once its TimeoutStopSec was over".to_owned()),
            "exit-code" => Stopped::Badly(format!("exit status: {status}")),
            "signal" | "core-dump" => Stopped::Badly(format!("signal: {status}")),
            other => Stopped::Badly(format!("systemd's result is {other}")),
        })
    }
}

#[async_trait]
impl Manage for SystemdUnit {
    async fn settings(&self) -> Result<InstanceSettings, ServiceError> {
        self.now().await.map_err(|why| self.wrong(why))
    }

    async fn running(&self, role: Role) -> Result<Option<Running>, ServiceError> {
        let name = self.unit_of(role);
        let (state, processes) = self.state_of(&name).await.map_err(self.bus_error("tell whether it runs"))?;
        // One that waits for its next automatic start has no process, and is not down.
        if matches!(state.as_str(), "inactive" | "failed") && processes.is_empty() {
            return Ok(None);
        }
        let pid = processes.first().copied().unwrap_or_default();
        let start = record::start_time(pid).ok().flatten().unwrap_or_default();
        let closed = match role {
            Role::Service => None,
            Role::Closed => files::read_json::<Closed>(&self.closed_note())?,
        };
        let (program, address) = closed.map(|closed| (closed.program, closed.address)).unzip();
        let (starting, ending) = (state == "activating", state == "deactivating");
        Ok(Some(Running { pid, start, program, address: address.flatten(), starting, ending }))
    }

    async fn start(&self, start: Start) -> Result<(), ServiceError> {
        match self.running(start.role).await? {
            None => {}
            Some(running) if running.ending => {
                return Err(self.wrong("systemd is still stopping it; wait until it is down".to_owned()));
            }
            Some(_) => return Ok(()),
        }
        let name = self.unit_of(start.role);
        match start.role {
            Role::Service => {
                let fence = FenceFile::of(&self.dir).read()?;
                if fence.standing {
                    let (instance, generation) = (self.own.name.clone(), fence.generation);
                    return Err(ServiceError::Fenced { instance, generation });
                }
            }
            Role::Closed => {
                files::write_json(
                    &self.closed_note(),
                    &Closed { program: start.program.clone(), address: start.address },
                )?;
                closed::put(self.name(), &start.program, &start.extra).await.map_err(|why| self.wrong(why))?;
            }
        }
        // Failed too often, it would not be started again for a while.
        let manager = Bus.manager().await.map_err(self.bus_error("answer"))?;
        let _ = manager.reset_failed_unit(&name).await;
        let patience = Elapsed::from_secs(self.own.start_seconds);
        match job::start(&name, patience).await.map_err(self.bus_error("start it"))? {
            job::Ended::Done | job::Ended::NotYet => Ok(()),
            job::Ended::Otherwise(result) => {
                let words = match result.as_str() {
                    "assert" => format!("its guard {} refused", guard::path(self.name()).display()),
                    _ => self.last_words(start.role).await,
                };
                let why = format!("systemd says `{result}`: {words}");
                Err(ServiceError::NotLaunched { instance: self.own.name.clone(), why })
            }
        }
    }

    async fn stop(&self, role: Role, patience: Elapsed) -> Result<Stopped, ServiceError> {
        let name = self.unit_of(role);
        let Some(running) = self.running(role).await? else {
            if role == Role::Closed {
                closed::take(self.name()).await.map_err(|why| self.wrong(why))?;
            }
            return Ok(Stopped::NotRunning);
        };
        job::stop(&name, patience).await.map_err(self.bus_error("stop it"))?;
        if let Some(still) = self.running(role).await? {
            return Ok(Stopped::StillRunning { pid: if still.pid == 0 { running.pid } else { still.pid } });
        }
        let ended = self.end_of(&name).await.map_err(self.bus_error("tell how it ended"))?;
        if role == Role::Closed {
            closed::take(self.name()).await.map_err(|why| self.wrong(why))?;
        }
        Ok(ended)
    }

    /// systemd may have killed it meanwhile.
    async fn ended(&self) -> Result<Stopped, ServiceError> {
        self.end_of(self.name()).await.map_err(self.bus_error("tell how it ended"))
    }

    /// Its last run's lines in the journal. `journalctl` is the only reader of that which its authors promise to keep.
    async fn last_words(&self, role: Role) -> String {
        let name = self.unit_of(role);
        let look = async {
            let (unit, _) = Bus.unit(&name).await.ok()?;
            let run = hex(&unit.invocation_id().await.ok()?);
            let mut command = Command::new("journalctl");
            command
                .args(["--quiet", "--no-pager", "--output=cat", "--lines", LINES])
                .arg(format!("_SYSTEMD_INVOCATION_ID={run}"));
            let output = command.kill_on_drop(true).output().await.ok()?;
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let redactor = match self.settings().await {
                Ok(now) => Redactor::of(&now.args, &now.env),
                Err(_) => return None,
            };
            error_message(&redactor.clean(&text))
        };
        let said = tokio::time::timeout(std::time::Duration::from_secs(10), look).await.ok().flatten();
        said.unwrap_or_else(|| format!("it printed no error; `journalctl -u {name}` has all it printed"))
    }

    async fn hold(&self) -> Result<bool, ServiceError> {
        guard::put(self.name(), &self.dir, &self.agent, self.own.at_boot).await.map_err(|why| self.wrong(why))?;
        Ok(true)
    }

    async fn guard(&self) -> Result<bool, ServiceError> {
        self.hold().await?;
        let now = self.settings().await?;
        guard::lets_start(&self.dir, &now.command).map_err(|error| self.wrong(error.to_string()))?;
        Ok(true)
    }

    /// By its file alone: what systemd has not read yet makes the unit unreadable.
    fn missing_guard(&self) -> Option<PathBuf> {
        Some(guard::path(self.name())).filter(|path| !path.exists())
    }

    async fn fit(&self) -> Result<(), ServiceError> {
        fit::fit(self.name()).await.map_err(|why| self.wrong(why))
    }

    async fn allow(&self) -> Result<(), ServiceError> {
        let now = self.settings().await?;
        Ok(allowed::allow(&self.dir, &now.command)?)
    }

    /// Given before the note is looked for: the guard looks the other way round, so one of both sees the other.
    async fn permit(&self, by: &str) -> Result<bool, ServiceError> {
        let permit = Permit::of(self.name());
        permit.give(by)?;
        Ok(permit.was_refused())
    }

    /// A fence that stands is seen by systemd before the guard runs, which would have noted it.
    async fn note_fenced_start(&self) -> Result<bool, ServiceError> {
        let asked = async {
            let (unit, _) = Bus.unit(self.name()).await?;
            Ok(unit.assert_timestamp().await? != 0 && !unit.assert_result().await?)
        };
        let refused = asked.await.map_err(self.bus_error("tell whether its last start was refused"))?;
        if refused {
            Permit::of(self.name()).note_refusal("its fence")?;
        }
        Ok(refused)
    }

    async fn forget_refusal(&self) -> Result<(), ServiceError> {
        Ok(Permit::of(self.name()).forget_refusal()?)
    }

    /// Timers, sockets and paths. Fenced, the unit is started by none of them.
    async fn triggers(&self) -> Result<Vec<String>, ServiceError> {
        let (unit, _) = Bus.unit(self.name()).await.map_err(self.bus_error("tell what starts it"))?;
        unit.triggered_by().await.map_err(self.bus_error("tell what starts it"))
    }

    async fn unguard(&self) -> Result<(), ServiceError> {
        guard::take(self.name(), &self.dir).await.map_err(|why| self.wrong(why))
    }

    async fn switch(&self, target: &Path, upgrade: &UpgradeId) -> Result<(), ReleaseError> {
        release::switch(self, target, upgrade).await
    }

    async fn switch_back(&self, upgrade: &UpgradeId) -> Result<Digest, ReleaseError> {
        release::switch_back(self, upgrade).await
    }
}

/// The unit that an instance is in that role.
pub(crate) fn unit_of(instance: &InstanceSettings, role: Role) -> String {
    match role {
        Role::Service => instance.unit_name().to_owned(),
        Role::Closed => closed::name(instance.unit_name()),
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
