//! A client that writes all the time, each transaction with a reference of its own. It notes every answer in a file, so
//! that what was acknowledged can be looked up afterwards, also after the sandbox was stopped and resumed.

use super::http::Ledger;
use super::seed::LEDGERS;
use crate::trouble::Trouble;
use cutover_vocabulary::Elapsed;
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Between two writes.
const PACE: Duration = Duration::from_millis(20);

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
    /// How it went.
    pub(super) answer: Answer,
}

/// The client, writing.
#[derive(Debug)]
pub(super) struct Writer {
    stop: CancellationToken,
    task: JoinHandle<Result<(), Trouble>>,
    answered: Arc<Mutex<u64>>,
}

fn uptime() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    let millis = now.tv_sec.saturating_mul(1000).saturating_add(now.tv_nsec / 1_000_000);
    u64::try_from(millis).unwrap_or(0)
}

impl Writer {
    /// Begins to write to the ledger of that instance. `file` is where answers are noted; writes of earlier runs stay.
    ///
    /// # Errors
    /// When the file cannot be used.
    pub(super) fn begin(to: Ledger, file: &Path) -> Result<Self, Trouble> {
        let run = read(file)?.last().map_or(1, |write| write.run + 1);
        let notes = open(file)?;
        let stop = CancellationToken::new();
        let answered = Arc::new(Mutex::new(0));
        let task = tokio::spawn(write_on(to, run, notes, file.to_owned(), stop.clone(), Arc::clone(&answered)));
        Ok(Self { stop, task, answered })
    }

    /// How many writes were acknowledged in this run so far.
    pub(super) fn acknowledged(&self) -> u64 {
        *self.answered.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// Ends after the write that is under way.
    ///
    /// # Errors
    /// When answers could not be noted.
    pub(super) async fn end(self) -> Result<(), Trouble> {
        self.stop.cancel();
        self.task
            .await
            .map_err(|error| Trouble::failed("the sandbox's client ended in a fault of the program", error))?
    }
}

fn open(file: &Path) -> Result<File, Trouble> {
    let cannot = |error| Trouble::failed(format!("cannot note the client's writes in {}", file.display()), error);
    OpenOptions::new().create(true).append(true).open(file).map_err(cannot)
}

async fn write_on(
    to: Ledger,
    run: u32,
    mut notes: File,
    file: PathBuf,
    stop: CancellationToken,
    answered: Arc<Mutex<u64>>,
) -> Result<(), Trouble> {
    let path = format!("/{}/transactions", LEDGERS[0]);
    let mut number: u64 = 0;
    while !stop.is_cancelled() {
        let reference = format!("client-{run}-{number}");
        number += 1;
        let body = json!({
            "postings": [{ "source": "world", "destination": "client:till", "amount": 1, "asset": "USD/2" }],
            "reference": reference,
        });
        let answer = match to.post(&path, &body).await {
            Ok(reply) if reply.status.is_success() => Answer::Acknowledged,
            Ok(reply) => Answer::Refused(reply.status.as_u16()),
            Err(_) => Answer::Unanswered,
        };
        if answer == Answer::Acknowledged {
            *answered.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        }
        let mut line = serde_json::to_vec(&Write { reference, at: uptime(), run, answer })
            .map_err(|error| Trouble::failed("cannot write a note as JSON", error))?;
        line.push(b'\n');
        notes.write_all(&line).map_err(|error| {
            Trouble::failed(format!("cannot note the client's writes in {}", file.display()), error)
        })?;
        tokio::select! {
            () = tokio::time::sleep(PACE) => {}
            () = stop.cancelled() => {}
        }
    }
    Ok(())
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

/// How long no write was answered: from the last acknowledged one before the longest gap with a failure in it, to the
/// first acknowledged one after it. None: there was no such gap within one run.
pub(super) fn downtime(writes: &[Write]) -> Option<Elapsed> {
    let mut longest = None;
    let mut last: Option<&Write> = None;
    let mut failed = false;
    for write in writes {
        if last.is_some_and(|last| last.run != write.run) {
            (last, failed) = (None, false);
        }
        match write.answer {
            Answer::Acknowledged => {
                if let (Some(last), true) = (last, failed) {
                    longest = longest.max(Some(Elapsed(write.at.saturating_sub(last.at))));
                }
                (last, failed) = (Some(write), false);
            }
            Answer::Unanswered | Answer::Refused(_) => failed = true,
        }
    }
    longest
}

/// What the writes came to, compared with what is there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(super) struct Tally {
    /// How many were acknowledged.
    pub(super) acknowledged: u64,
    /// How many got no answer.
    pub(super) unanswered: u64,
    /// How many of those exist all the same.
    pub(super) unanswered_but_there: u64,
    /// How many were refused.
    pub(super) refused: u64,
    /// Acknowledged ones that do not exist.
    pub(super) missing: Vec<String>,
    /// Any that exist more than once.
    pub(super) doubled: Vec<String>,
}

impl Tally {
    /// Whether every acknowledged write exists exactly once.
    pub(super) fn right(&self) -> bool {
        self.missing.is_empty() && self.doubled.is_empty()
    }

    /// Compares. `there` are the references that exist, one entry for each time.
    pub(super) fn of(writes: &[Write], there: &[String]) -> Self {
        let mut once = BTreeSet::new();
        let mut tally = Self::default();
        for reference in there.iter().filter(|reference| reference.starts_with("client-")) {
            if !once.insert(reference.as_str()) {
                tally.doubled.push(reference.clone());
            }
        }
        for write in writes {
            let exists = once.contains(write.reference.as_str());
            match write.answer {
                Answer::Acknowledged => {
                    tally.acknowledged += 1;
                    if !exists {
                        tally.missing.push(write.reference.clone());
                    }
                }
                Answer::Unanswered => {
                    tally.unanswered += 1;
                    tally.unanswered_but_there += u64::from(exists);
                }
                Answer::Refused(_) => tally.refused += 1,
            }
        }
        tally
    }
}

/// The references of every transaction of the client's ledger from number `first` on, the newest first.
///
/// # Errors
/// When the instance does not answer, or says something else than transactions.
pub(super) async fn there(at: &Ledger, first: u64) -> Result<Vec<String>, Trouble> {
    let mut references = Vec::new();
    let mut after = None;
    loop {
        let path = match after {
            Some(txid) => format!("/{}/transactions?after={txid}", LEDGERS[0]),
            None => format!("/{}/transactions", LEDGERS[0]),
        };
        let reply =
            at.get(&path).await.map_err(|error| Trouble::failed("cannot look up the client's writes", error))?;
        let Some(page) = reply.body["cursor"]["data"].as_array() else {
            return Err(Trouble::plain(format!(
                "cannot look up the client's writes: {path} answered {}",
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

#[cfg(test)]
mod tests {
    use super::*;

    fn write(number: u64, at: u64, run: u32, answer: Answer) -> Write {
        Write { reference: format!("client-{run}-{number}"), at, run, answer }
    }

    #[test]
    fn downtime_is_from_the_last_answered_to_the_first_answered_write() {
        let writes = [
            write(0, 100, 1, Answer::Acknowledged),
            write(1, 130, 1, Answer::Unanswered),
            write(2, 900, 1, Answer::Refused(503)),
            write(3, 1100, 1, Answer::Acknowledged),
            write(4, 9000, 1, Answer::Acknowledged),
            write(0, 90_000, 2, Answer::Acknowledged),
        ];
        assert_eq!(downtime(&writes), Some(Elapsed(1000)));
        assert_eq!(downtime(&writes[3..]), None);
    }

    #[test]
    fn an_acknowledged_write_that_is_missing_or_doubled_is_told() {
        let writes = [
            write(0, 1, 1, Answer::Acknowledged),
            write(1, 2, 1, Answer::Acknowledged),
            write(2, 3, 1, Answer::Unanswered),
        ];
        let there = |references: &[&str]| references.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
        let right = Tally::of(&writes, &there(&["client-1-0", "client-1-1", "client-1-2", "seed-main-1"]));
        assert!(right.right() && right.unanswered_but_there == 1);
        assert_eq!(Tally::of(&writes, &there(&["client-1-0"])).missing, ["client-1-1"]);
        assert_eq!(Tally::of(&writes, &there(&["client-1-0", "client-1-1", "client-1-1"])).doubled, ["client-1-1"]);
    }
}
