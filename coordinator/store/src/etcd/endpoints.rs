//! Calls to etcd: one client for each endpoint, one of which is used until it fails. Every call has a deadline.

use super::dial::{CannotDial, dial};
use super::settings::EtcdSettings;
use crate::StoreError;
use etcd_client::Client;
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{Mutex, watch};
use tonic::Code;

/// How often each endpoint is tried before a call fails: while etcd elects a leader of its own, the first answers are refusals.
const ROUNDS: usize = 3;
/// Between two rounds.
const PAUSE: Duration = Duration::from_millis(100);

/// What a call that is repeated does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    /// Nothing more than once: it may be asked elsewhere whenever no answer comes.
    Harmless,
    /// Harm: without an answer it may have happened, and only what was certainly not sent is sent elsewhere.
    Harmful,
}

/// Everything that etcd may be asked at.
#[derive(Debug)]
pub(super) struct Endpoints {
    settings: EtcdSettings,
    slots: Vec<Slot>,
    current: AtomicUsize,
    /// Counts how often another endpoint was taken.
    rotated: watch::Sender<u64>,
}

struct Slot {
    url: String,
    /// With a number of its own, so that of many who see one client fail only the first throws it away.
    client: Mutex<(u64, Option<Client>)>,
}
impl std::fmt::Debug for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Slot").field("url", &self.url).finish_non_exhaustive()
    }
}

/// What an error of a call means.
enum Meaning {
    /// It did not happen, and asking again elsewhere gives the same answer.
    Refused,
    /// It did not happen; another endpoint may do it.
    NotDone,
    /// It may have happened.
    Unclear,
}

impl Endpoints {
    pub(super) fn new(settings: EtcdSettings) -> Self {
        let slot = |url: &String| Slot { url: url.clone(), client: Mutex::new((0, None)) };
        let slots = settings.endpoints.iter().map(slot).collect();
        Self { settings, slots, current: AtomicUsize::new(0), rotated: watch::Sender::new(0) }
    }

    pub(super) fn settings(&self) -> &EtcdSettings {
        &self.settings
    }

    /// Told whenever another endpoint is taken, or the same one anew.
    pub(super) fn rotations(&self) -> watch::Receiver<u64> {
        self.rotated.subscribe()
    }

    /// Asks etcd, at one endpoint after the other until one answers.
    pub(super) async fn call<T, F: Future<Output = Result<T, etcd_client::Error>>>(
        &self,
        doing: &'static str,
        repeat: Repeat,
        call: impl Fn(Client) -> F,
    ) -> Result<T, StoreError> {
        let within = match repeat {
            Repeat::Harmless => self.settings.read_within(),
            Repeat::Harmful => self.settings.write_within(),
        };
        let mut why = "there is no endpoint".to_owned();
        for round in 0..ROUNDS {
            for _endpoint in &self.slots {
                let at = self.current.load(Ordering::Relaxed) % self.slots.len();
                let url = &self.slots[at].url;
                let (number, client) = match self.client(at).await {
                    Ok(client) => client,
                    Err(CannotDial::Settings(error)) => return Err(error),
                    Err(CannotDial::Etcd(error)) => match meaning(&error) {
                        Meaning::Refused => return Err(refused(doing, url, &error)),
                        Meaning::NotDone | Meaning::Unclear => {
                            why = format!("{url}: {}", describe(&error));
                            self.rotate(at, None).await;
                            continue;
                        }
                    },
                };
                let error = match tokio::time::timeout(within, call(client)).await {
                    Ok(Ok(answer)) => return Ok(answer),
                    Ok(Err(error)) => error,
                    Err(_elapsed) => tonic::Status::deadline_exceeded(format!("no answer within {within:?}")).into(),
                };
                why = format!("{url}: {}", describe(&error));
                if STALE.iter().any(|stale| why.contains(stale)) {
                    self.rotate(at, Some(number)).await;
                    continue;
                }
                match (meaning(&error), repeat) {
                    (Meaning::Refused, _) => return Err(refused(doing, url, &error)),
                    (Meaning::Unclear, Repeat::Harmful) => {
                        self.rotate(at, Some(number)).await;
                        return Err(StoreError::EtcdLost { doing, endpoint: url.clone(), why: describe(&error) });
                    }
                    (Meaning::NotDone, _) | (Meaning::Unclear, Repeat::Harmless) => {
                        self.rotate(at, Some(number)).await;
                    }
                }
            }
            if round + 1 < ROUNDS {
                tokio::time::sleep(PAUSE).await;
            }
        }
        // With TLS 1.3 a server refuses a client's certificate after the client takes the connection for made.
        if self.settings.tls.is_some() {
            why.push_str(
                "; a member closes the connection like that where it does not accept our certificate, or wants one",
            );
        }
        Err(StoreError::EtcdUnreachable { doing, endpoints: self.settings.endpoints.join(","), why })
    }

    async fn client(&self, at: usize) -> Result<(u64, Client), CannotDial> {
        let mut slot = self.slots[at].client.lock().await;
        if let (number, Some(client)) = &*slot {
            return Ok((*number, client.clone()));
        }
        let client = dial(&self.slots[at].url, &self.settings).await?;
        slot.0 += 1;
        slot.1 = Some(client.clone());
        Ok((slot.0, client))
    }

    /// Goes on with the next endpoint, and throws away the client that failed: the next one reads password and certificates anew.
    async fn rotate(&self, from: usize, failed: Option<u64>) {
        let mut slot = self.slots[from].client.lock().await;
        if failed.is_some_and(|failed| failed != slot.0) {
            return;
        }
        slot.1 = None;
        drop(slot);
        let next = (from + 1) % self.slots.len();
        if self.current.compare_exchange(from, next, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            tracing::debug!(from = self.slots[from].url, to = self.slots[next].url, "takes another endpoint of etcd");
            self.rotated.send_modify(|count| *count += 1);
        }
    }

    /// Another endpoint, because this one's watch fell silent or ended.
    pub(super) async fn next(&self) {
        self.rotate(self.current.load(Ordering::Relaxed) % self.slots.len(), None).await;
    }
}

/// What etcd answers where its quota is reached (rpctypes.ErrGRPCNoSpace), also to a write that took the last of the space and was
/// done.
const NO_SPACE: &str = "database space exceeded";
/// What it answers before it looks at a request (rpctypes.ErrGRPCNoLeader), because `with_require_leader` asks for it.
const NO_LEADER: &str = "etcdserver: no leader";
/// What it answers to a write under a lease that is gone (rpctypes.ErrGRPCLeaseNotFound).
const NO_LEASE: &str = "requested lease not found";
/// What it answers to a read at a revision that is gone (rpctypes.ErrGRPCCompacted).
const COMPACTED: &str = "required revision has been compacted";

/// What it answers, before it does anything, to a token that is not valid any more, or of before users or roles were changed, and
/// to a password that is not the right one any more (rpctypes.ErrGRPCInvalidAuthToken, ErrGRPCAuthOldRevision,
/// ErrGRPCAuthFailed). A new client reads the password anew.
const STALE: [&str; 3] = ["invalid auth token", "auth store is old", "authentication failed"];

fn meaning(error: &etcd_client::Error) -> Meaning {
    let status = match error {
        etcd_client::Error::GRpcStatus(status) => status,
        etcd_client::Error::TransportError(_) | etcd_client::Error::IoError(_) => return Meaning::Unclear,
        // Found by the client before it sends, or an answer.
        etcd_client::Error::InvalidArgs(_)
        | etcd_client::Error::InvalidUri(_)
        | etcd_client::Error::WatchError(_)
        | etcd_client::Error::Utf8Error(_)
        | etcd_client::Error::LeaseKeepAliveError(_)
        | etcd_client::Error::ElectError(_)
        | etcd_client::Error::InvalidMetadataValue(_)
        | etcd_client::Error::EndpointError(_)
        | etcd_client::Error::EndpointsNotManaged
        | etcd_client::Error::Internal(_) => return Meaning::Refused,
    };
    if never_connected(status) || status.message().contains(NO_LEADER) {
        return Meaning::NotDone;
    }
    if status.message().contains(NO_SPACE) {
        return Meaning::Refused;
    }
    match status.code() {
        Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::Unauthenticated => Meaning::Refused,
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::DeadlineExceeded
        | Code::ResourceExhausted
        | Code::Aborted
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss => Meaning::Unclear,
    }
}

fn never_connected(status: &tonic::Status) -> bool {
    let first = std::error::Error::source(status);
    std::iter::successors(first, |error| error.source()).any(|error| error.is::<tonic::ConnectError>())
}

fn refused(doing: &'static str, url: &str, error: &etcd_client::Error) -> StoreError {
    let why = describe(error);
    let endpoint = url.to_owned();
    if why.contains(NO_SPACE) {
        return StoreError::EtcdFull { doing, endpoint };
    }
    let kind = if why.contains(NO_LEASE) {
        EtcdRefusal::NoLease
    } else if why.contains(COMPACTED) {
        EtcdRefusal::Compacted
    } else {
        EtcdRefusal::Other
    };
    StoreError::EtcdRefused { doing, endpoint, kind, why }
}

/// Refusals of etcd that this store answers by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EtcdRefusal {
    /// The lease that a key was to be written under is gone.
    NoLease,
    /// What was to be read has been compacted.
    Compacted,
    /// Anything else: rights, limits, a faulty request.
    Other,
}

/// The client's errors have no source, so what lies in them is told in one text.
fn describe(error: &etcd_client::Error) -> String {
    let etcd_client::Error::GRpcStatus(status) = error else { return error.to_string() };
    let first = std::error::Error::source(status);
    let causes = first.map(|first| format!(": {}", super::chain(first))).unwrap_or_default();
    format!("{}{causes}", status.message())
}
