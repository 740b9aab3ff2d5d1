//! A service as a plain process that outlives the agent.

use super::allowed::allow;
use super::environment::Redactor;
use super::fence::FenceFile;
use super::launch::{Launch, output_path};
use super::record::{self, Record};
use super::{Manage, Role, Running, ServiceError, Start, Stopped};
use crate::ledger::message::error_message;
use crate::release::{ReleaseError, switch};
use crate::settings::InstanceSettings;
use crate::worker::{Program, Task, WorkFolder};
use async_trait::async_trait;
use cutover_vocabulary::outcome::CleanEnd;
use cutover_vocabulary::{Digest, Elapsed, InstanceName, UpgradeId};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::collections::HashMap;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;

/// How often a launcher is looked at until it has become the ledger: a few milliseconds in all.
const LAUNCHING: Duration = Duration::from_millis(2);

/// The processes that this agent process itself started: only a parent learns an exit status.
#[derive(Clone, Default)]
struct Children(Arc<Mutex<HashMap<u32, watch::Receiver<Option<ExitStatus>>>>>);

/// Starts, observes and stops the processes of one instance.
#[derive(Clone)]
pub struct ProcessService {
    settings: Arc<InstanceSettings>,
    dir: PathBuf,
    settings_file: PathBuf,
    launcher: Program,
    children: Children,
}

impl ProcessService {
    /// For an instance whose files lie in `dir`; `launcher` is the program that becomes the ledger.
    pub fn new(settings: Arc<InstanceSettings>, dir: PathBuf, settings_file: PathBuf, launcher: Program) -> Self {
        Self { settings, dir, settings_file, launcher, children: Children::default() }
    }

    fn name(&self) -> &InstanceName {
        &self.settings.name
    }

    fn record(&self, role: Role) -> Result<Option<Record>, ServiceError> {
        record::running(&self.dir, self.name(), role)
    }
}

#[async_trait]
impl Manage for ProcessService {
    async fn settings(&self) -> Result<InstanceSettings, ServiceError> {
        Ok((*self.settings).clone())
    }

    async fn running(&self, role: Role) -> Result<Option<Running>, ServiceError> {
        let running = |record: Record| Running {
            pid: record.pid,
            start: record.start,
            program: Some(record.program),
            address: record.address,
            starting: false,
            ending: false,
        };
        Ok(self.record(role)?.map(running))
    }

    /// Safe to repeat at any time: the launcher looks again, under a lock.
    async fn start(&self, start: Start) -> Result<(), ServiceError> {
        let Start { role, program, extra, address } = start;
        if self.record(role)?.is_some() {
            return Ok(());
        }
        let fence = FenceFile::of(&self.dir).read()?;
        if role == Role::Service && fence.standing {
            return Err(ServiceError::Fenced { instance: self.name().clone(), generation: fence.generation });
        }
        let launch = Launch { instance: self.name().clone(), role, program, extra, address };
        let folder = WorkFolder::at(self.dir.join(format!("{}.launch", role.word())));
        folder.prepare(&Task::Launch { settings: self.settings_file.clone(), launch })?;
        let child = self
            .launcher
            .spawn_launcher(&folder)
            .map_err(|source| ServiceError::Spawn { program: self.launcher.path.clone(), source })?;
        let Some(pid) = child.id() else { return Ok(()) };
        let status = self.children.keep(pid, child);
        // The launcher writes its record and becomes the ledger, or ends.
        while record::last(&self.dir, role)?.is_none_or(|record| record.pid != pid) && status.borrow().is_none() {
            tokio::time::sleep(LAUNCHING).await;
        }
        let recorded = record::last(&self.dir, role)?.is_some_and(|record| record.pid == pid);
        let why = match folder.launch_failure() {
            _ if self.record(role)?.is_some() => return Ok(()),
            Some(why) => why,
            None if recorded => return Ok(()),
            // On a full disk it can do neither; then what the one before it printed says nothing about this one.
            None => format!(
                "its launcher ended before it could note what it starts, or why it does not; is there room on the file system of {}?",
                self.dir.display()
            ),
        };
        Err(ServiceError::NotLaunched { instance: self.name().clone(), why })
    }

    /// Nothing harder than SIGTERM was sent.
    async fn ended(&self) -> Result<Stopped, ServiceError> {
        Ok(Stopped::Ended(CleanEnd::Gone))
    }

    async fn last_words(&self, role: Role) -> String {
        let folder = WorkFolder::at(self.dir.join(format!("{}.launch", role.word())));
        if let Some(refused) = folder.launch_failure() {
            return refused;
        }
        let from = record::last(&self.dir, role).ok().flatten().map_or(0, |record| record.stderr_from);
        let text = tail(&output_path(&self.dir, role, "stderr"), from);
        let redactor = match self.settings.environment() {
            Ok(environment) => Redactor::of(&self.settings.args, &environment),
            Err(_) => Redactor::of(&self.settings.args, []),
        };
        match error_message(&redactor.clean(&text)) {
            Some(message) => message,
            None => "it printed no error".to_owned(),
        }
    }

    async fn stop(&self, role: Role, patience: Elapsed) -> Result<Stopped, ServiceError> {
        let Some(record) = self.record(role)? else { return Ok(Stopped::NotRunning) };
        let error = |doing| {
            let (pid, instance) = (record.pid, self.name().clone());
            move |source: std::io::Error| ServiceError::Process { doing, pid, instance, source }
        };
        let Some(pid) = i32::try_from(record.pid).ok().and_then(Pid::from_raw) else {
            return Ok(Stopped::NotRunning);
        };
        let handle = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(handle) => handle,
            Err(rustix::io::Errno::SRCH) => return Ok(Stopped::Ended(CleanEnd::Gone)),
            Err(errno) => return Err(error("open")(errno.into())),
        };
        // The handle is for whoever had this id when it was opened: look again before signalling.
        if !record::alive(&record, self.name())? {
            return Ok(Stopped::NotRunning);
        }
        match pidfd_send_signal(&handle, Signal::TERM) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => {}
            Err(errno) => return Err(error("send SIGTERM to")(errno.into())),
        }
        #[expect(
            deprecated,
            reason = "its replacement is unsafe for types whose descriptor may change; an OwnedFd's does not"
        )]
        let gone = AsyncFd::with_interest(handle, Interest::READABLE).map_err(error("wait for"))?;
        match tokio::time::timeout(patience.duration(), gone.readable()).await {
            Ok(Ok(_)) => Ok(match self.children.status(record.pid).await {
                Some(status) if status.success() => Stopped::Ended(CleanEnd::Exited),
                // A program that installs no handler dies by the SIGTERM that was sent: nothing worse happened.
                Some(status) if status.signal() == Some(Signal::TERM.as_raw()) => Stopped::Ended(CleanEnd::Gone),
                Some(status) => Stopped::Badly(status.to_string()),
                None => Stopped::Ended(CleanEnd::Gone),
            }),
            Ok(Err(source)) => Err(error("wait for")(source)),
            Err(_) => Ok(Stopped::StillRunning { pid: record.pid }),
        }
    }

    async fn guard(&self) -> Result<bool, ServiceError> {
        Ok(false)
    }

    async fn allow(&self) -> Result<(), ServiceError> {
        Ok(allow(&self.dir, &self.settings.command)?)
    }

    async fn unguard(&self) -> Result<(), ServiceError> {
        Ok(())
    }

    async fn switch(&self, target: &Path, upgrade: &UpgradeId) -> Result<(), ReleaseError> {
        let (command, dir, target, upgrade) =
            (self.settings.command.clone(), self.dir.clone(), target.to_owned(), upgrade.clone());
        tokio::task::spawn_blocking(move || {
            switch::switch(&command, &target, &dir, &upgrade)?;
            Ok(allow(&dir, &command)?)
        })
        .await
        .unwrap_or_else(broke_off(&self.settings.command))
    }

    async fn switch_back(&self, upgrade: &UpgradeId) -> Result<Digest, ReleaseError> {
        let (command, dir, upgrade) = (self.settings.command.clone(), self.dir.clone(), upgrade.clone());
        tokio::task::spawn_blocking(move || {
            let switched = switch::before(&dir, &upgrade)?.is_some();
            let binary = switch::switch_back(&command, &dir, &upgrade)?;
            if switched {
                allow(&dir, &command)?;
            }
            Ok(binary)
        })
        .await
        .unwrap_or_else(broke_off(&self.settings.command))
    }
}

fn broke_off<T>(command: &Path) -> impl FnOnce(tokio::task::JoinError) -> Result<T, ReleaseError> {
    let command = command.to_owned();
    move |error| Err(ReleaseError::Switch { command, why: format!("the work broke off: {error}") })
}

impl Children {
    /// Waits for a child in the background, so that it leaves no zombie, and keeps its status.
    fn keep(&self, pid: u32, mut child: tokio::process::Child) -> watch::Receiver<Option<ExitStatus>> {
        let (tell, status) = watch::channel(None);
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, status| status.borrow().is_none());
        all.insert(pid, status.clone());
        drop(all);
        tokio::spawn(async move {
            if let Ok(status) = child.wait().await {
                tell.send_replace(Some(status));
            }
        });
        status
    }

    /// The status of a child that has ended; none if it was not a child of this process.
    async fn status(&self, pid: u32) -> Option<ExitStatus> {
        let mut status = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&pid)?.clone();
        let ended = status.wait_for(Option::is_some).await.ok()?;
        *ended
    }
}

/// The last part of a file from an offset on, at most 64 KiB.
fn tail(path: &Path, from: u64) -> String {
    const MOST: u64 = 64 << 10;
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = std::fs::File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(from.max(length.saturating_sub(MOST))))?;
        let mut bytes = Vec::new();
        file.take(MOST).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    String::from_utf8_lossy(&read().unwrap_or_default()).into_owned()
}
