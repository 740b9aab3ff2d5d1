//! `StartClosed` and `Verify`: the target on the migrated storage, where no client reaches it.
//!
//! The copy is the service's own command (the target's binary, its own arguments and environment) with one flag appended:
//! `--server.http.bind_address` with a loopback port that the agent chose; of a repeated flag the ledger takes the last.
//!
//! Looks first: a copy that runs and answers is taken as it is. Whatever fails or is stopped ends the copy before it is
//! reported, so that none is left behind; but a verification that could not look, for a reason that may pass, leaves it for
//! its next attempt, and whatever comes instead of that (a round of attestations, a drain, a switch, an opening) ends it. Half
//! done: a copy runs that the record knows; again finds it.

use super::place;
use super::site::{REQUEST, Site, address, end_closed_copy, note, own_folder, wait_for_answer};
use super::trouble::Trouble;
use crate::files;
use crate::ledger::http::{Http, HttpError};
use crate::release::stage;
use crate::service::{Role, Service, ports};
use cutover_vocabulary::outcome::{Effect, Evidence, FailureKind};
use cutover_vocabulary::release::StagedRelease;
use cutover_vocabulary::storage::StorageIdentity;
use cutover_vocabulary::{LedgerName, Order, OrderId, Version};
use serde::{Deserialize, Serialize};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use tokio_util::sync::CancellationToken;

/// Which storage the closed copy was started on.
const STARTED_ON: &str = "closed-storage.json";

/// How often another port is tried when somebody took the chosen one meanwhile.
const PORTS: u32 = 3;

/// Starts the closed copy.
pub(super) async fn start(
    site: &Site,
    order: &Order,
    target: &StagedRelease,
    storage: Option<&StorageIdentity>,
    stop: &CancellationToken,
) -> Result<SocketAddr, Trouble> {
    let service = site.subject(order).await?;
    own_folder(service)?;
    refuse_beside_the_service(service).await?;
    place::must_use(&service.settings(), storage)?;
    let program = stage::check(&site.settings, target)?;
    if let Some(running) = answering(service, &program, &target.release.version).await? {
        return Ok(running);
    }
    end_closed_copy(service).await?;
    let found = place::of(&service.settings())?;
    files::write_json(&note(service, STARTED_ON), found.storage.identity())?;
    let mut tries = 0;
    loop {
        tries += 1;
        let address = free_port()?;
        service.start_closed(program.clone(), address.to_string()).await?;
        match wait_for_answer(service, Role::Closed, address, stop).await {
            Ok(version) if version == target.release.version => return Ok(address),
            Ok(version) => {
                end_closed_copy(service).await?;
                return Err(Trouble::refused(
                    format!(
                        "the closed copy of instance {} answers as {version}, ordered was {}",
                        service.name(),
                        target.release.version
                    ),
                    "stage the release again",
                ));
            }
            Err(trouble) => {
                end_closed_copy(service).await?;
                if tries < PORTS && trouble.0.message.contains("address already in use") {
                    continue;
                }
                return Err(trouble.effect(Effect::None));
            }
        }
    }
}

/// What a verification showed, kept until its outcome is known to the daemon: the copy is ended right after it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Verified {
    order: OrderId,
    evidence: Evidence,
}

/// Verifies the closed copy and ends it.
pub(super) async fn verify(
    site: &Site,
    order: &Order,
    version: &Version,
    ledgers: &[LedgerName],
) -> Result<Evidence, Trouble> {
    let service = site.subject(order).await?;
    let path = note(service, "verified.json");
    let earlier: Option<Verified> = files::read_json(&path)?;
    if let Some(earlier) = earlier
        && earlier.order == order.id
    {
        end_closed_copy(service).await?;
        return Ok(earlier.evidence);
    }
    let evidence = Evidence::Verified { version: version.clone(), ledgers: ledgers.to_vec() };
    let looked = match look(service, version, ledgers).await {
        Ok(()) => {
            let verified = Verified { order: order.id.clone(), evidence: evidence.clone() };
            files::write_json(&path, &verified).map_err(Trouble::from)
        }
        // The next attempt needs the copy where this one could not look, for a reason that may pass.
        Err(trouble) if trouble.0.kind == FailureKind::Transient => return Err(trouble),
        Err(trouble) => Err(trouble),
    };
    // Else it ends, whatever was seen; what was seen first is the one to tell.
    let ended = end_closed_copy(service).await;
    looked?;
    ended?;
    Ok(evidence)
}

async fn look(service: &Service, version: &Version, ledgers: &[LedgerName]) -> Result<(), Trouble> {
    let name = service.name();
    refuse_beside_the_service(service).await?;
    let place = place_it_was_started_on(service)?;
    let record = service.running(Role::Closed).await?;
    let closed = record.and_then(|record| record.address).and_then(|text| text.parse::<SocketAddr>().ok());
    let Some(closed) = closed else {
        return Err(Trouble::new(
            FailureKind::Failed,
            format!("the closed copy of instance {name} does not run: {}", service.last_words(Role::Closed).await),
            "start it closed again",
        ));
    };
    let http = Http::new(closed, REQUEST).with(place.resolved.credentials());
    let found =
        http.version().await.map_err(|error| unanswered(error, &format!("asking the closed copy of {name}")))?;
    if found != *version {
        return Err(Trouble::refused(
            format!("the closed copy of instance {name} answers as {found}, ordered was {version}"),
            "stage and switch the release again",
        ));
    }
    for ledger in ledgers {
        // A read of a name that is not there would create it.
        if !super::place::apart(|| place.storage.exists(ledger))? {
            return Err(Trouble::refused(
                format!("ledger {ledger} is not in {}", place.storage.identity()),
                "find out where it went; nothing is created in its place",
            ));
        }
        let reading = || format!("reading ledger {ledger} through the closed copy");
        http.read(ledger).await.map_err(|error| unanswered(error, &reading()))?;
    }
    place_it_was_started_on(service).map(drop)
}

/// The storage of the closed copy, which is the one that it was started on: whoever promotes a standby meanwhile puts another server
/// behind the same name, and the first request to a ledger whose migration did not arrive there would migrate it.
fn place_it_was_started_on(service: &Service) -> Result<place::Place, Trouble> {
    let place = place::of(&service.settings())?;
    let started_on: Option<StorageIdentity> = files::read_json(&note(service, STARTED_ON))?;
    let found = place.storage.identity();
    // No note is of a copy that an agent from before started.
    let Some(storage) = started_on.filter(|storage| !storage.is_same(found)) else { return Ok(place) };
    let promoted = match (&storage, found) {
        (StorageIdentity::Postgres { timeline: then, .. }, StorageIdentity::Postgres { timeline: now, .. })
            if then != now =>
        {
            format!(" (timeline {then} then, {now} now: a standby was promoted)")
        }
        _ => String::new(),
    };
    Err(Trouble::refused(
        format!(
            "the closed copy of instance {} was started on {storage}, and its settings lead to {found} now{promoted}",
            service.name()
        ),
        "find out what that one lacks; no ledger is read there before that is known, because a read may migrate it",
    ))
}

/// What the copy did not answer well.
fn unanswered(error: HttpError, doing: &str) -> Trouble {
    let kind = if error.may_pass() { FailureKind::Transient } else { FailureKind::Failed };
    Trouble::new(kind, format!("{doing}: {error}"), "look at the copy's output in the agent's state directory")
}

/// The service's real port must refuse while a closed copy runs: no client may reach the new version yet.
async fn refuse_beside_the_service(service: &Service) -> Result<(), Trouble> {
    let name = service.name();
    if let Some(record) = service.running(Role::Service).await? {
        return Err(Trouble::refused(
            format!("instance {name} runs (process {}): a closed copy is only started while it is down", record.pid),
            "drain it first",
        ));
    }
    let port = address(service)?.port();
    if ports::look(port)?.listening {
        return Err(Trouble::refused(
            format!("somebody listens on port {port} of instance {name}, which must refuse clients now"),
            "find that process (`ss -ltnp`) and stop it",
        ));
    }
    Ok(())
}

/// Where a copy of that binary runs and answers already.
async fn answering(
    service: &Service,
    program: &std::path::Path,
    version: &Version,
) -> Result<Option<SocketAddr>, Trouble> {
    let Some(record) = service.running(Role::Closed).await? else { return Ok(None) };
    let address = record.address.and_then(|text| text.parse::<SocketAddr>().ok());
    match address {
        Some(address) if record.program.as_deref() == Some(program) => {
            let credentials = super::place::settings_of(&service.settings())?.credentials();
            let answer = Http::new(address, REQUEST).with(credentials).version().await;
            Ok(answer.is_ok_and(|found| found == *version).then_some(address))
        }
        Some(_) | None => Ok(None),
    }
}

/// A loopback port that nobody has at this moment.
pub(super) fn free_port() -> Result<SocketAddr, Trouble> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr()).map_err(|error| {
        Trouble::new(FailureKind::Transient, format!("no free port on the loopback interface: {error}"), "try again")
    })
}
