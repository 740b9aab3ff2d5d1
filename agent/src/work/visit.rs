//! A visit: the target started by a worker on a storage, each ledger read once, the target ended.
//!
//! It listens on a loopback port that nobody else knows. Whatever happens, it has ended when the visit has.

use super::bench::Bench;
use super::closed::free_port;
use super::trouble::Trouble;
use crate::files::io_error;
use crate::ledger::http::Http;
use crate::ledger::message::error_message;
use crate::ledger::server::{Server, Start};
use crate::machine;
use crate::service::environment::Redactor;
use crate::settings::Account;
use cutover_vocabulary::outcome::FailureKind;
use cutover_vocabulary::{Elapsed, LedgerName, Version};
use secrecy::SecretString;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What is started, and how long it is waited for.
pub(super) struct Visit<'a> {
    /// The target's binary.
    pub(super) program: &'a Path,
    /// Which version must answer.
    pub(super) version: &'a Version,
    /// All of its environment.
    pub(super) environment: BTreeMap<String, SecretString>,
    /// Its arguments; where it listens is added.
    pub(super) arguments: Vec<SecretString>,
    /// Where it works.
    pub(super) directory: &'a Path,
    /// Whom it runs as; the agent's own user if none.
    pub(super) account: Option<Account>,
    /// With which it may let us in.
    pub(super) credentials: Vec<SecretString>,
    /// How long it may take until it answers.
    pub(super) patience: Elapsed,
    /// How long one read may take.
    pub(super) read: Duration,
    /// For messages: how it was started, and what it stands on.
    pub(super) words: Words<'a>,
}

/// How often a read that takes long looks whether it is to be stopped.
const STOP_LOOK: Duration = Duration::from_millis(100);

/// How messages of a visit name things.
pub(super) struct Words<'a> {
    /// `with the arguments of instance ledger-1`.
    pub(super) started: String,
    /// `the copy of ledger` before a name.
    pub(super) ledger: &'static str,
    /// Takes secrets out of what it printed.
    pub(super) redactor: &'a Redactor,
}

/// Makes a visit, and tells how long each ledger's first read took. Only ledgers that exist may be named: a read creates.
pub(super) async fn visit(
    bench: &Bench<'_>,
    visit: Visit<'_>,
    ledgers: &[LedgerName],
) -> Result<Vec<(LedgerName, Elapsed)>, Trouble> {
    let address = free_port()?;
    let path = bench.folder.path().join("visit.stderr");
    let stderr = std::fs::File::create(&path).map_err(io_error("create", &path))?;
    let mut arguments = visit.arguments.clone();
    // Of a repeated flag the last counts.
    arguments.push(format!("--server.http.bind_address={address}").into());
    let start = Start {
        program: visit.program,
        environment: &visit.environment,
        arguments: &arguments,
        directory: visit.directory,
        account: visit.account,
        stderr,
    };
    let mut server = Server::start(start).map_err(|error| {
        Trouble::new(FailureKind::Transient, format!("the target cannot be started: {error}"), "try again")
    })?;
    let seen = look(bench, &visit, &mut server, address, ledgers).await;
    let ended = server.end().await;
    let printed = said(&path, visit.words.redactor);
    let seen = seen.map_err(|mut trouble| {
        if let Some(message) = printed.as_deref().and_then(error_message) {
            trouble.0.message = format!("{}: {message}", trouble.0.message);
        }
        trouble
    })?;
    if ended {
        return Ok(seen);
    }
    Err(Trouble::new(
        FailureKind::Failed,
        format!("the target, started {}, does not end on SIGTERM", visit.words.started),
        "a service that cannot be stopped cleanly cannot be drained next time; choose another target",
    ))
}

/// What it printed, without secrets. The file goes: what matters of it is in the failure.
fn said(path: &PathBuf, redactor: &Redactor) -> Option<String> {
    let text = std::fs::read_to_string(path).ok();
    let _ = std::fs::remove_file(path);
    text.map(|text| redactor.clean(&text))
}

async fn look(
    bench: &Bench<'_>,
    visit: &Visit<'_>,
    server: &mut Server,
    address: SocketAddr,
    ledgers: &[LedgerName],
) -> Result<Vec<(LedgerName, Elapsed)>, Trouble> {
    let Visit { version, patience, words, .. } = visit;
    let started = &words.started;
    let credentials = |http: Http| http.with(visit.credentials.clone());
    let http = credentials(Http::new(address, super::site::REQUEST));
    let deadline = machine::uptime().plus(*patience);
    let found = loop {
        if let Ok(found) = http.version().await {
            break found;
        }
        if let Some(status) = server.ended() {
            return Err(Trouble::new(
                FailureKind::Failed,
                format!("the target does not start {started} ({status})"),
                "correct what its message names: an unknown flag is one that the target no longer has",
            ));
        }
        bench.unless_stopped("the target answered")?;
        if machine::uptime() >= deadline {
            return Err(Trouble::new(
                FailureKind::TimedOut,
                format!("the target, started {started}, does not answer within {patience}"),
                "look at what its arguments name; start_seconds in the settings gives it longer",
            ));
        }
        tokio::time::sleep(super::site::LOOKING).await;
    };
    if found != **version {
        return Err(Trouble::refused(
            format!("the target answers as {found}, ordered was {version}"),
            "stage the release again",
        ));
    }
    let http = credentials(Http::new(address, visit.read));
    let mut took = Vec::new();
    for ledger in ledgers {
        bench.unless_stopped(&format!("{} {ledger} was read", words.ledger))?;
        let begun = machine::uptime();
        let read = http.read(ledger);
        tokio::pin!(read);
        let read = loop {
            match tokio::time::timeout(STOP_LOOK, &mut read).await {
                Ok(read) => break read,
                Err(_) => bench.unless_stopped(&format!("{} {ledger} was read", words.ledger))?,
            }
        };
        read.map_err(|error| {
            Trouble::new(
                FailureKind::Failed,
                format!("the target cannot read {} {ledger}: {error}", words.ledger),
                "choose another target",
            )
        })?;
        took.push((ledger.clone(), machine::uptime().since(begun)));
    }
    Ok(took)
}
