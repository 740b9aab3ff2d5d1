//! Clients that write all the time, each transaction with a reference of its own. They note every answer in one file, so
//! that what was acknowledged can be looked up afterwards, also after the sandbox was stopped and resumed.

use super::balancer::{Balancer, Routed};
use super::http::Ledger;
use super::seed::WRITTEN;
use crate::trouble::Trouble;
use hyper::StatusCode;
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Between two writes of one client.
const PACE: Duration = Duration::from_millis(20);
/// Between two tries of a write that another instance's lock refused.
const AGAIN: Duration = Duration::from_millis(5);
/// How many tries such a write gets.
const TRIES: u32 = 100;
/// How many clients write at once, at most; one a instance below.
const CLIENTS: usize = 3;

/// How one write went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Answer {
    /// 200: it must exist for ever.
    Acknowledged,
    /// No answer: nobody may rely on either.
    Unanswered,
    /// Another status.
    Refused(u16),
    /// No instance was in rotation, so it was sent nowhere.
    Nowhere,
}

/// One write, as it is noted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Write {
    /// Its reference.
    pub(super) reference: String,
    /// When it was answered, or given up, in milliseconds since the machine started.
    pub(super) at: u64,
    /// In which run of the sandbox: moments of different runs have a gap between them that is not the ledger's.
    pub(super) run: u32,
    /// How often it was refused with 409 and tried again before that: the ledger's `memory` lock knows one instance only,
    /// so that parallel writes through two of them refuse each other. Nothing was written then.
    #[serde(default)]
    pub(super) conflicts: u32,
    /// How it went.
    pub(super) answer: Answer,
}

/// The clients, writing.
#[derive(Debug)]
pub(super) struct Writer {
    stop: CancellationToken,
    tasks: JoinSet<Result<(), Trouble>>,
    answered: Arc<AtomicU64>,
}

fn uptime() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    let millis = now.tv_sec.saturating_mul(1000).saturating_add(now.tv_nsec / 1_000_000);
    u64::try_from(millis).unwrap_or(0)
}

impl Writer {
    /// Begins to write through the balancer, with one client for each of its instances up to [`CLIENTS`]. `file` is where
    /// answers are noted; writes of earlier runs stay.
    ///
    /// # Errors
    /// When the file cannot be used.
    pub(super) fn begin(to: Balancer, file: &Path) -> Result<Self, Trouble> {
        let run = read(file)?.last().map_or(1, |write| write.run + 1);
        let notes = Arc::new(Notes { file: Mutex::new(open(file)?), path: file.to_owned() });
        let stop = CancellationToken::new();
        let answered = Arc::new(AtomicU64::new(0));
        let clients = to.instances().clamp(1, CLIENTS);
        let to = Arc::new(to);
        let mut tasks = JoinSet::new();
        for number in 1..=clients {
            let client = Client {
                to: Arc::clone(&to),
                name: format!("client-{run}-{number}"),
                run,
                notes: Arc::clone(&notes),
                answered: Arc::clone(&answered),
            };
            tasks.spawn(client.write_on(stop.clone()));
        }
        Ok(Self { stop, tasks, answered })
    }

    /// How many writes were acknowledged in this run so far.
    pub(super) fn acknowledged(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// Waits until `more` further writes were acknowledged, or `patience` is over.
    pub(super) async fn goes_on(&self, more: u64, patience: Duration) -> bool {
        let wanted = self.acknowledged() + more;
        let waiting = async {
            while self.acknowledged() < wanted {
                tokio::time::sleep(PACE).await;
            }
        };
        tokio::time::timeout(patience, waiting).await.is_ok()
    }

    /// Ends after the writes that are under way.
    ///
    /// # Errors
    /// When answers could not be noted.
    pub(super) async fn end(mut self) -> Result<(), Trouble> {
        self.stop.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            ended
                .map_err(|error| Trouble::failed("a client of the sandbox ended in a fault of the program", error))??;
        }
        Ok(())
    }
}

/// Where answers are noted, in the order in which they came.
#[derive(Debug)]
struct Notes {
    file: Mutex<File>,
    path: PathBuf,
}

impl Notes {
    fn note(&self, write: &Write) -> Result<(), Trouble> {
        let mut line =
            serde_json::to_vec(write).map_err(|error| Trouble::failed("cannot write a note as JSON", error))?;
        line.push(b'\n');
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(&line).map_err(|error| cannot_note(&self.path, error))
    }
}

fn cannot_note(file: &Path, error: std::io::Error) -> Trouble {
    Trouble::failed(format!("cannot note the clients' writes in {}", file.display()), error)
}

fn open(file: &Path) -> Result<File, Trouble> {
    OpenOptions::new().create(true).append(true).open(file).map_err(|error| cannot_note(file, error))
}

/// One client.
struct Client {
    to: Arc<Balancer>,
    name: String,
    run: u32,
    notes: Arc<Notes>,
    answered: Arc<AtomicU64>,
}

impl Client {
    async fn write_on(self, stop: CancellationToken) -> Result<(), Trouble> {
        let mut number: u64 = 0;
        while !stop.is_cancelled() {
            let reference = format!("{}-{number}", self.name);
            number += 1;
            let (answer, conflicts) = self.write(&reference).await;
            if answer == Answer::Acknowledged {
                self.answered.fetch_add(1, Ordering::Relaxed);
            }
            self.notes.note(&Write { reference, at: uptime(), run: self.run, conflicts, answer })?;
            tokio::select! {
                () = tokio::time::sleep(PACE) => {}
                () = stop.cancelled() => {}
            }
        }
        Ok(())
    }

    /// One write. Only a 409 is tried again: it says that nothing was written, and the reference is nobody else's.
    async fn write(&self, reference: &str) -> (Answer, u32) {
        let path = format!("/{}/transactions", WRITTEN);
        let body = json!({
            "postings": [{ "source": "world", "destination": "client:till", "amount": 1, "asset": "USD/2" }],
            "reference": reference,
        });
        let mut conflicts = 0;
        loop {
            let answer = match self.to.post(&path, &body).await {
                Routed::Answered(reply) if reply.status.is_success() => Answer::Acknowledged,
                Routed::Answered(reply) if reply.status == StatusCode::CONFLICT && conflicts < TRIES => {
                    conflicts += 1;
                    tokio::time::sleep(AGAIN).await;
                    continue;
                }
                Routed::Answered(reply) => Answer::Refused(reply.status.as_u16()),
                Routed::Unanswered => Answer::Unanswered,
                Routed::Nowhere => Answer::Nowhere,
            };
            return (answer, conflicts);
        }
    }
}

/// Every write that was noted, in order. A line that a kill cut off is left out: its answer is not known.
///
/// # Errors
/// When the file cannot be read.
pub(super) fn read(file: &Path) -> Result<Vec<Write>, Trouble> {
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Trouble::failed(format!("cannot read {}", file.display()), error)),
    };
    Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}

/// The references of every transaction of the clients' ledger from number `first` on, the newest first.
///
/// # Errors
/// When the instance does not answer, or says something else than transactions.
pub(super) async fn there(at: &Ledger, first: u64) -> Result<Vec<String>, Trouble> {
    let mut references = Vec::new();
    let mut after = None;
    loop {
        let path = match after {
            Some(txid) => format!("/{}/transactions?after={txid}", WRITTEN),
            None => format!("/{}/transactions", WRITTEN),
        };
        let reply =
            at.get(&path).await.map_err(|error| Trouble::failed("cannot look up the clients' writes", error))?;
        let Some(page) = reply.body["cursor"]["data"].as_array() else {
            return Err(Trouble::plain(format!(
                "cannot look up the clients' writes: {path} answered {}",
                reply.status
            )));
        };
        let mut lowest = after;
        for transaction in page {
            let Some(txid) = transaction["txid"].as_u64() else { continue };
            lowest = Some(lowest.map_or(txid, |lowest: u64| lowest.min(txid)));
            if txid >= first {
                references.extend(transaction["reference"].as_str().map(str::to_owned));
            }
        }
        match lowest {
            Some(txid) if txid > first && lowest != after => after = lowest,
            Some(_) | None => return Ok(references),
        }
    }
}
