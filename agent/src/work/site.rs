//! What every kind of work on this host may use.

use super::place;
use super::trouble::Trouble;
use crate::files::FileError;
use crate::ledger::http::Http;
use crate::machine;
use crate::release::{ReleaseError, archive, stage};
use crate::service::{Role, Service, Stopped};
use crate::settings::{Account, Place, Settings};
use crate::worker::{self, Program, Task, WorkFolder};
use cutover_vocabulary::outcome::{Effect, FailureKind};
use cutover_vocabulary::release::{Release, StagedRelease};
use cutover_vocabulary::survey::ReleaseProblem;
use cutover_vocabulary::{Digest, Elapsed, InstanceName, Order, Subject, Version};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often a condition is looked at that nothing announces.
pub(super) const LOOKING: Duration = Duration::from_millis(10);

/// How long a binary may take to tell its version where that is only reported: half of what a whole look may take.
const REPORTED_WITHIN: Duration = Duration::from_secs(5);

/// How long a closed copy may take to end.
pub(super) const CLOSED_END: Elapsed = Elapsed::from_secs(30);

/// For how long reports do not ask a binary again that gave no version, at first and at most: each question to one that hangs is
/// another process. A host that has just booted may only be slow.
const MUTE_FIRST: Elapsed = Elapsed::from_secs(10);
const MUTE_AT_MOST: Elapsed = Elapsed::from_secs(300);

/// How long one request to a ledger may take.
pub(super) const REQUEST: Duration = Duration::from_secs(10);

/// A host with its services.
pub struct Site {
    /// The agent's settings.
    pub settings: Arc<Settings>,
    /// Made with the agent's journal; proofs carry it.
    pub incarnation: String,
    /// The program that workers are.
    pub worker: Program,
    services: BTreeMap<InstanceName, Service>,
    /// Two deployments, or two instances, may want one release at one moment; it is unpacked under one name.
    staging: tokio::sync::Mutex<()>,
    versions: Mutex<BTreeMap<FileId, Version>>,
    /// Binaries that were asked for their version and gave none.
    mute: Mutex<BTreeMap<FileId, Mute>>,
    digests: Mutex<BTreeMap<FileId, Digest>>,
    /// When a load balancer was last told that an instance is not ready.
    told: Mutex<BTreeMap<InstanceName, Elapsed>>,
}

/// What tells a binary from another without reading it: device, inode, size, time of change.
type FileId = (u64, u64, u64, i64, i64);

impl Site {
    /// The services of these settings.
    pub fn new(settings: Settings, incarnation: String, worker: Program) -> Self {
        let settings = Arc::new(settings);
        let services = settings
            .instances
            .iter()
            .map(|instance| (instance.name.clone(), Service::new(&settings, instance, &worker)))
            .collect();
        let (staging, versions, digests) = (tokio::sync::Mutex::default(), Mutex::default(), Mutex::default());
        let (mute, told) = (Mutex::default(), Mutex::default());
        Self { settings, incarnation, worker, services, staging, versions, mute, digests, told }
    }

    /// Stages a release; one at a time.
    pub(super) async fn stage(&self, order: &Order, release: &Release) -> Result<StagedRelease, Trouble> {
        let _one_at_a_time = self.staging.lock().await;
        self.download(order, release).await?;
        let services = self.services().map(Service::settings);
        let account = services.filter(|it| it.deployment == order.deployment).find_map(|it| it.account);
        Ok(stage::stage(&self.settings, release, account).await?)
    }

    /// Has the archive that was planned with on this host. The survey had: it is gone only if somebody removed it since.
    async fn download(&self, order: &Order, release: &Release) -> Result<(), Trouble> {
        let Settings { releases, file, .. } = &*self.settings;
        let here = || archive::verify(&self.settings.release_folder(), releases, &release.version);
        if matches!(releases.place, Place::Folder(_)) || here().is_ok_and(|archive| archive.release() == release) {
            return Ok(());
        }
        let folder = WorkFolder::at(self.settings.work().join(format!("{}-download", order.id.file_name())));
        let task = Task::Download { settings: file.clone(), version: release.version.clone() };
        let done =
            worker::run::<Result<(), ReleaseProblem>>(&self.worker, &folder, &task, &CancellationToken::new()).await;
        // Asked again, it is tried again.
        let _ = std::fs::remove_dir_all(folder.path());
        Ok(done?.map_err(ReleaseError::from)?)
    }

    /// A load balancer was told that an instance is not ready.
    pub(super) fn tell(&self, service: &Service) {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).insert(service.name(), machine::uptime());
    }

    /// Whether one was since a moment.
    pub(super) fn was_told_since(&self, service: &Service, moment: Elapsed) -> bool {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).get(&service.name()).is_some_and(|at| *at >= moment)
    }

    /// Every service.
    pub fn services(&self) -> impl Iterator<Item = &Service> {
        self.services.values()
    }

    /// A service by its name.
    pub(super) fn service(&self, name: &str) -> Option<&Service> {
        self.services.iter().find(|(known, _)| known.as_str() == name).map(|(_, service)| service)
    }

    /// The service that an order is about, with its settings as they are now.
    pub async fn subject(&self, order: &Order) -> Result<&Service, Trouble> {
        let not_here = |what: String| Trouble::refused(what, "send the order to the agent that speaks for it");
        let service = match &order.id.step.subject {
            Subject::Instance(name) => {
                self.services.get(name).ok_or_else(|| not_here(format!("instance {name} is not on this host")))
            }
            Subject::Ledger(_) | Subject::Storage => {
                Err(not_here(format!("{} is an order for an instance, and names none", order.id)))
            }
        }?;
        service.refresh().await?;
        Ok(service)
    }

    /// SHA-256 of a binary. Reads it only when its file has changed; none where it cannot be read.
    pub(super) async fn digest(&self, binary: &Path) -> Option<Digest> {
        let id = file_id(binary)?;
        if let Some(known) = self.digests.lock().unwrap_or_else(PoisonError::into_inner).get(&id) {
            return Some(*known);
        }
        let path = binary.to_owned();
        let digest = tokio::task::spawn_blocking(move || stage::digest_of(&path).ok()).await.ok()??;
        self.digests.lock().unwrap_or_else(PoisonError::into_inner).insert(id, digest);
        Some(digest)
    }

    /// The version of the binary that a service would start; none of a script. Runs the binary only when its file has changed.
    pub async fn version_on_disk(&self, command: &Path, account: Option<Account>) -> Option<Version> {
        let id = file_id(command)?;
        if let Some(known) = self.versions.lock().unwrap_or_else(PoisonError::into_inner).get(&id) {
            return Some(known.clone());
        }
        let mut question = Question { mute: &self.mute, id, answered: false };
        let version = stage::version_of(&self.settings, command, account).await?;
        question.answered = true;
        self.versions.lock().unwrap_or_else(PoisonError::into_inner).insert(id, version.clone());
        Some(version)
    }

    /// The same, for looks that prove nothing and are taken again and again: none where the binary gave no answer a while ago.
    pub(super) async fn version_on_disk_for_a_report(
        &self,
        command: &Path,
        account: Option<Account>,
    ) -> Option<Version> {
        let mute = self.mute.lock().unwrap_or_else(PoisonError::into_inner).get(&file_id(command)?).copied();
        if mute.is_some_and(|mute| machine::uptime().since(mute.since) < mute.pause) {
            return None;
        }
        // One binary that hangs must not cost the look at the others.
        tokio::time::timeout(REPORTED_WITHIN, self.version_on_disk(command, account)).await.ok().flatten()
    }
}

/// A binary that gave no version.
#[derive(Debug, Clone, Copy)]
struct Mute {
    since: Elapsed,
    /// For how long reports leave it alone.
    pause: Elapsed,
}

/// A binary is being asked for its version. Whoever asks may be dropped before it answers: a report that takes too long is.
struct Question<'a> {
    mute: &'a Mutex<BTreeMap<FileId, Mute>>,
    id: FileId,
    answered: bool,
}
impl Drop for Question<'_> {
    fn drop(&mut self) {
        let mut mute = self.mute.lock().unwrap_or_else(PoisonError::into_inner);
        let former = mute.remove(&self.id);
        if !self.answered {
            let pause = former.map_or(MUTE_FIRST, |mute| mute.pause.plus(mute.pause).min(MUTE_AT_MOST));
            mute.insert(self.id, Mute { since: machine::uptime(), pause });
        }
    }
}

fn file_id(path: &Path) -> Option<FileId> {
    let data = std::fs::metadata(path).ok()?;
    Some((data.dev(), data.ino(), data.size(), data.ctime(), data.ctime_nsec()))
}

/// Where a service listens.
pub(super) fn address(service: &Service) -> Result<SocketAddr, Trouble> {
    let settings = service.settings();
    place::address(&settings, &place::settings_of(&settings)?)
}

/// Ends a closed copy that an earlier order left behind: nothing but the agent knows it, and no proof holds beside it.
pub(super) async fn end_closed_copy(service: &Service) -> Result<(), Trouble> {
    match service.stop(Role::Closed, CLOSED_END).await? {
        Stopped::NotRunning | Stopped::Ended(_) => Ok(()),
        Stopped::Badly(how) => Err(Trouble::new(
            FailureKind::Failed,
            format!(
                "the closed copy of instance {} ended badly ({how}): {}",
                service.name(),
                service.last_words(Role::Closed).await
            ),
            "look at its output in the agent's state directory; clients never reached it",
        )),
        Stopped::StillRunning { pid } => Err(Trouble::new(
            FailureKind::StillRuns,
            format!(
                "the closed copy of instance {} (process {pid}) will not stop within {CLOSED_END} of SIGTERM",
                service.name()
            ),
            "find out what it does; no client reaches it, so it may be killed by hand",
        )),
    }
}

/// Waits until a process that was started answers over HTTP, and gives the version that answered.
pub(super) async fn wait_for_answer(
    service: &Service,
    role: Role,
    address: SocketAddr,
    stop: &CancellationToken,
) -> Result<Version, Trouble> {
    let patience = Elapsed::from_secs(service.settings().start_seconds);
    let deadline = machine::uptime().plus(patience);
    let http = Http::new(address, REQUEST).with(place::settings_of(&service.settings())?.credentials());
    let what = match role {
        Role::Service => format!("instance {}", service.name()),
        Role::Closed => format!("the closed copy of instance {}", service.name()),
    };
    loop {
        let answer = http.version().await;
        let runs = service.running(role).await?.is_some();
        // Where ours is gone somebody else has taken its port.
        if let (Ok(version), true) = (&answer, runs) {
            return Ok(version.clone());
        }
        if !runs {
            return Err(Trouble::new(
                FailureKind::Failed,
                format!("{what} ended instead of serving: {}", service.last_words(role).await),
                "correct what its message names: an unknown flag is one that this release no longer has",
            )
            .effect(Effect::Unknown));
        }
        if stop.is_cancelled() {
            return Err(Trouble::stopped(format!("stopped while waiting for {what} to answer")).effect(Effect::Unknown));
        }
        if machine::uptime() >= deadline {
            let last = answer.err().map(|error| error.to_string()).unwrap_or_default();
            return Err(Trouble::new(
                FailureKind::TimedOut,
                format!("{what} runs, but does not answer within {patience}: {last}"),
                "look at its output in the agent's state directory; start_seconds in the settings gives it longer",
            )
            .effect(Effect::Unknown));
        }
        tokio::time::sleep(LOOKING).await;
    }
}

/// A small file of work that is about one instance.
pub(super) fn note(service: &Service, name: &str) -> std::path::PathBuf {
    service.dir().join(name)
}

/// Makes the instance's own folder.
pub(super) fn own_folder(service: &Service) -> Result<(), FileError> {
    crate::files::folder(service.dir())
}
