//! The agent as a whole: journal, desk, links, reports. What `cutover-agent run` and the all-in-one program call.

use crate::desk::DeskTask;
use crate::journal::{FILE, Journal, JournalError};
use crate::link::{Identity, Links};
use crate::perform::Perform;
use crate::settings::{Settings, SettingsError};
use crate::worker::Program;
use crate::{host, machine, readiness};
use cutover_desk::{Desk, Host};
use cutover_proto::transport::{Endpoint, Tls};
use cutover_vocabulary::instance::InstanceReport;
use cutover_vocabulary::link::Permit;
use cutover_vocabulary::{Epoch, InstanceName};
use sd_notify::NotifyState;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{error, info};

/// How often things are done.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Between two reports; an order that begins or ends brings one forward.
    pub report: Duration,
    /// Between two looks for what another process journalled, and between two attempts at a journal on a full disk.
    pub look: Duration,
    /// Between two repetitions of what is not acknowledged on a standing link.
    pub remind: Duration,
    /// Before the first attempt to attach again.
    pub shortest_pause: Duration,
    /// At most, between two attempts to attach.
    pub longest_pause: Duration,
    /// Whether those pauses are spread, so that a fleet does not come back in one moment.
    pub jitter: bool,
}
impl Default for Pace {
    fn default() -> Self {
        Self {
            report: Duration::from_secs(1),
            look: Duration::from_secs(1),
            remind: Duration::from_secs(5),
            shortest_pause: Duration::from_millis(100),
            longest_pause: Duration::from_secs(5),
            jitter: true,
        }
    }
}

/// How long a look at the instances may take before the report says what was seen last.
const OBSERVE_WITHIN: Duration = Duration::from_secs(10);

/// Reports are at least this far apart, however much happens.
const REPORTS_APART: Duration = Duration::from_millis(50);

/// The newest word of a leader on what may be started, and under which epoch.
pub(crate) type Word = Option<(Epoch, BTreeMap<InstanceName, Permit>)>;

/// How long until what could not be carried out of it is tried again.
const PERMIT_AGAIN: Duration = Duration::from_secs(2);
/// The longest such pause.
const PERMIT_AT_LAST: Duration = Duration::from_secs(60);

/// Messages from the link that wait for the desk.
const INBOX: usize = 64;

/// An agent that is ready to run.
#[derive(Debug, Clone)]
pub struct Agent {
    /// Who it speaks for.
    pub host: Host,
    /// Its journal's file.
    pub journal: PathBuf,
    /// Where the coordinators listen. It is linked to each of them; one of them leads.
    pub coordinators: Vec<Endpoint>,
    /// Its certificates; needed for an address under TLS.
    pub tls: Option<Tls>,
    /// Machine id of the host.
    pub machine: String,
    /// Boot id of the host.
    pub boot: String,
    /// How often things are done.
    pub pace: Pace,
}

/// Runs the agent of these settings until shutdown. Work that is under way then goes on in its own processes, and is
/// adopted at the next start.
pub async fn run(
    settings: &Settings,
    perform: Arc<dyn Perform>,
    shutdown: CancellationToken,
) -> Result<(), JournalError> {
    let instances =
        settings.instances.iter().map(|instance| (instance.name.clone(), instance.deployment.clone())).collect();
    let agent = Agent {
        host: Host { agent: settings.name.clone(), instances },
        journal: journal_file(&settings.state),
        coordinators: settings.coordinator.0.clone(),
        tls: settings.tls(),
        machine: machine::machine_id(),
        boot: machine::boot_id(),
        pace: Pace::default(),
    };
    agent.run(perform, shutdown).await
}

/// Where the journal of a state directory lies.
pub fn journal_file(state: &Path) -> PathBuf {
    state.join(FILE)
}

/// The incarnation of the agent with this state directory, which its proofs carry. Makes the journal if there is none;
/// call it before [`run`].
pub async fn incarnation(state: &Path) -> Result<String, JournalError> {
    let (journal, _) = Journal::open(&journal_file(state)).await?;
    let incarnation = journal.incarnation().to_owned();
    journal.close().await?;
    Ok(incarnation)
}

/// Why an agent does not run.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// Its settings or its state directory.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// Its journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The address of `readiness` cannot be listened on.
    #[error("cannot listen for load balancers at {}: {}; free the address, or correct readiness in the settings", .0.address, .0.source)]
    Readiness(readiness::CannotListen),
    /// The system did not give what every program needs.
    #[error("cannot start: {0}")]
    Start(io::Error),
}

/// Prepares the host of these settings, starts its services, and runs the agent until shutdown. `worker` is the program
/// that workers are, usually [`Program::current`].
pub async fn start(settings: Settings, worker: Program, shutdown: CancellationToken) -> Result<(), AgentError> {
    settings.prepare()?;
    let listener = readiness::listen(settings.readiness).await.map_err(AgentError::Readiness)?;
    let incarnation = incarnation(&settings.state).await?;
    let host = Arc::new(host::Host::new(settings.clone(), incarnation, worker)?);
    for (instance, started) in host.start_services().await {
        match started {
            Ok(()) => info!(%instance, "service started or running"),
            // It is seen in every report; an order or a person puts it right.
            Err(error) => error!(%instance, "service not started: {error}"),
        }
    }
    tokio::select! {
        ended = run(&settings, Arc::clone(&host) as Arc<dyn Perform>, shutdown) => Ok(ended?),
        () = readiness::serve(listener, &host) => Ok(()),
    }
}

impl Agent {
    /// Runs until shutdown. Fails only at the start, when the journal cannot be used.
    pub async fn run(self, perform: Arc<dyn Perform>, shutdown: CancellationToken) -> Result<(), JournalError> {
        let (journal, entries) = Journal::open(&self.journal).await?;
        let (desk, restored) = Desk::restore(self.host.clone(), entries);
        info!(
            agent = %self.host.agent, incarnation = journal.incarnation(), epoch = %desk.epoch(),
            in_hand = desk.running().count(), "the agent starts"
        );
        // Where no systemd started this agent, nobody is told.
        let _ = sd_notify::notify(&[NotifyState::Ready]);
        let identity =
            Identity { incarnation: journal.incarnation().to_owned(), machine: self.machine, boot: self.boot };
        let changed = Arc::new(Notify::new());
        let (inbox, told) = mpsc::channel(INBOX);
        let (seen, reports) = watch::channel(Vec::new());
        let links =
            Links { tls: self.tls, identity, pace: self.pace, desk: inbox, perform: Arc::clone(&perform), reports };
        let reporting = report(&perform, seen, &changed, self.pace.report);
        let (word, permits) = watch::channel(None);
        let desk = DeskTask::new(desk, journal, Arc::clone(&perform), self.pace, Arc::clone(&changed), word);
        // One task for all: a panic in any of them ends the agent, whose service manager starts it anew. Work is
        // in tasks and processes of its own.
        tokio::select! {
            biased;
            result = desk.run(restored, told, shutdown.clone()) => result,
            () = links.run(self.coordinators, shutdown.clone()) => Ok(()),
            () = reporting => Ok(()),
            () = permit(&perform, permits) => Ok(()),
        }
    }
}

/// Looks at the instances at every turn. Never ends.
async fn report(
    perform: &Arc<dyn Perform>,
    seen: watch::Sender<Vec<InstanceReport>>,
    changed: &Notify,
    every: Duration,
) {
    loop {
        match look(perform).await {
            Some(looked) => _ = seen.send_replace(looked),
            // The link waits for the first look; it must not wait for ever. What was seen before stays.
            None => seen.send_modify(|_| {}),
        }
        // Desk, links and reports are one task: one that hangs takes this with it.
        let _ = sd_notify::notify(&[NotifyState::Watchdog]);
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            () = changed.notified() => tokio::time::sleep(REPORTS_APART).await,
        }
    }
}

/// Carries out the newest word on what may be started, one after the other, until nothing of it is left to do. Never ends.
async fn permit(perform: &Arc<dyn Perform>, mut words: watch::Receiver<Word>) {
    let mut pause = PERMIT_AGAIN;
    loop {
        let word = words.borrow_and_update().clone();
        let done = match word {
            None => true,
            Some((epoch, permits)) => {
                let perform = Arc::clone(perform);
                // In a task of its own: a fault in it must not end the link.
                let carried_out = tokio::spawn(async move { perform.permitted(epoch, &permits).await });
                let mut carried_out = AbortOnDropHandle::new(carried_out);
                tokio::select! {
                    done = &mut carried_out => done.unwrap_or_else(|panic| {
                        error!("carrying out what may be started ended in a panic: {panic}");
                        false
                    }),
                    // A newer word does not wait for a start that takes long: all of it is done again where it was not done.
                    Ok(()) = words.changed() => {
                        pause = PERMIT_AGAIN;
                        words.mark_changed();
                        false
                    }
                }
            }
        };
        let again = async { if done { std::future::pending().await } else { tokio::time::sleep(pause).await } };
        tokio::select! {
            changed = words.changed() => {
                if changed.is_err() {
                    std::future::pending().await
                }
                pause = PERMIT_AGAIN;
            }
            () = again => pause = (pause * 2).min(PERMIT_AT_LAST),
        }
    }
}

/// One look, in a task of its own: a fault in it must not end the link.
async fn look(perform: &Arc<dyn Perform>) -> Option<Vec<InstanceReport>> {
    let perform = Arc::clone(perform);
    let looking = tokio::spawn(async move { perform.observe().await });
    let stop = looking.abort_handle();
    match tokio::time::timeout(OBSERVE_WITHIN, looking).await {
        Ok(Ok(seen)) => Some(seen),
        Ok(Err(panic)) => {
            error!("a look at the instances ended in a panic: {panic}");
            None
        }
        Err(_) => {
            stop.abort();
            error!("a look at the instances took longer than {} s", OBSERVE_WITHIN.as_secs());
            None
        }
    }
}
