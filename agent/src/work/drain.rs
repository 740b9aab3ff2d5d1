//! `Drain`: fence, out of rotation, wait for idle connections, stop; and `Attest`: prove again that it is down.
//!
//! The ledger ends within 20 ms of SIGTERM without waiting for requests in flight, with status 0 (measured in every
//! release). So the status proves nothing about requests: no connection may be active at the signal (`service/idle.rs`).
//!
//! Looks first: an instance that is down already is proved down. A stop ends the waiting, never the stopping: once SIGTERM
//! is sent the work goes on to its end. Half done: fenced, perhaps out of rotation, perhaps stopped; again does the rest.
//! Nothing here ever sends SIGKILL.

use super::rotation::{self, Rotation, turn};
use super::site::{LOOKING, Site, address, end_closed_copy, own_folder};
use super::stopping::{End, Left, Stopping};
use super::strays;
use super::trouble::Trouble;
use crate::machine;
use crate::service::fence::By;
use crate::service::idle::Rule;
use crate::service::ports::Connection;
use crate::service::{Role, Running, Service, Stopped, launch, ports};
use cutover_vocabulary::instance::Manager;
use cutover_vocabulary::outcome::{DrainProof, Effect, FailureKind};
use cutover_vocabulary::{Elapsed, Order};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How long a port may stay open after its process has ended.
const PORT_CLOSES: Elapsed = Elapsed::from_secs(5);

/// How many clients a message names.
const NAMED_PEERS: usize = 10;

/// Drains an instance.
pub(super) async fn drain(
    site: &Site,
    order: &Order,
    patience: Elapsed,
    stop: &CancellationToken,
) -> Result<DrainProof, Trouble> {
    let service = site.subject(order).await?;
    let port = address(service)?.port();
    own_folder(service)?;
    end_closed_copy(service).await?;
    service.guard().await?;
    let fence = service.fence().set(By::Order(order.id.clone()))?;
    launch::settled(service.dir())?;
    rotation::mark_out(service)?;
    until_past_its_guard(service, patience, stop).await?;
    let told = Stopping::under(service, fence.generation)?;
    let mut left = told.as_ref().map(|told| told.left_under(&order.id)).unwrap_or_default();
    if let Some(record) = service.running(Role::Service).await? {
        turn(service, Rotation::Out).await?;
        let out = taken_out(site, service, stop).await?;
        left = left.or_more(wait_until_idle(service, port, &record, out, patience, stop).await?);
        let mut stopping = Stopping::of(&record, fence.generation, &order.id, left, told);
        stopping.write(service)?;
        let stopped = service.stop(Role::Service, patience).await?;
        stopping.end = end(service, order, stopping.pid, stopped, patience).await?;
        stopping.write(service)?;
    } else if let Some(mut stopping) = told
        && stopping.end == End::NotSeen
    {
        stopping.end = end(service, order, stopping.pid, service.ended().await?, patience).await?;
        stopping.write(service)?;
    }
    if let Some(Stopping { end: End::Badly { order: seen_by, failure }, .. }) =
        Stopping::under(service, fence.generation)?
        && *seen_by == order.id
    {
        return Err(Trouble(failure));
    }
    prove(site, service, port, left, PORT_CLOSES).await
}

/// Waits until what is being started is past its guard. The guard sees the fence and refuses; to stop it there would look like a ledger
/// that ended badly.
async fn until_past_its_guard(service: &Service, patience: Elapsed, stop: &CancellationToken) -> Result<(), Trouble> {
    let deadline = machine::uptime().plus(patience);
    let on_its_way = |running: Running| running.starting || running.ending;
    while service.running(Role::Service).await?.is_some_and(on_its_way) && machine::uptime() < deadline {
        if stop.is_cancelled() {
            let what = format!("stopped while instance {} was being started: it is fenced", service.name());
            return Err(Trouble::stopped(what).effect(Effect::Unknown));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

/// Proves that an instance is down and fenced at this moment. Changes nothing of the instance; a closed copy that an
/// earlier order left behind is ended, because nothing may run beside what follows.
pub(super) async fn attest(site: &Site, order: &Order) -> Result<DrainProof, Trouble> {
    let service = site.subject(order).await?;
    let port = address(service)?.port();
    end_closed_copy(service).await?;
    prove(site, service, port, Left::default(), Elapsed(0)).await
}

/// Waits until the load balancer has seen that the instance is not ready. The moment from which it is out of rotation; none where
/// nothing takes it out.
async fn taken_out(site: &Site, service: &Service, stop: &CancellationToken) -> Result<Option<Elapsed>, Trouble> {
    let by_command = !service.settings().out_of_rotation.is_empty();
    let left = || Ok(rotation::left(service).map(Some)?);
    if site.settings.readiness.is_none() {
        return if by_command { left() } else { Ok(None) };
    }
    let began = machine::uptime();
    let grace = Duration::from_secs(site.settings.readiness_grace_seconds);
    tokio::select! {
        // Where no balancer asked about this instance, none has heard that it is not ready.
        () = tokio::time::sleep(grace) => if by_command || site.was_told_since(service, began) { left() } else { Ok(None) },
        () = stop.cancelled() => {
            let name = service.name();
            let what = format!("stopped while the load balancer was given time: instance {name} is fenced and still runs");
            Err(Trouble::stopped(what).effect(Effect::Unknown))
        }
    }
}

/// Waits until no connection to this process is active in two looks after one another. `out` is the moment from which it is out of
/// rotation.
async fn wait_until_idle(
    service: &Service,
    port: u16,
    of: &Running,
    out: Option<Elapsed>,
    patience: Elapsed,
    stop: &CancellationToken,
) -> Result<Left, Trouble> {
    let longest_request = Elapsed::from_secs(service.settings().longest_request_seconds);
    let deadline = machine::uptime().plus(patience);
    let mut quiet_before = false;
    let mut active_before = 0;
    loop {
        let rule = Rule { out_for: out.map(|out| machine::uptime().since(out)), longest_request };
        let seen = ports::look(port)?;
        let (idle, active): (Vec<_>, Vec<_>) =
            seen.connections.into_iter().partition(|connection| rule.is_idle(connection));
        let left = Left { active: count(&active), idle: count(&idle) };
        let now = service.running(Role::Service).await?;
        if !seen.listening || !now.is_some_and(|now| (now.pid, now.start) == (of.pid, of.start) && !now.ending) {
            // It ends, by itself or by somebody, and its connections with it: those of a moment ago were cut. A ledger that is told to
            // end closes its port first, and its manager may have begun another one by now, or be about to.
            return Ok(Left { active: left.active.max(active_before), ..left });
        }
        match (active.is_empty(), quiet_before) {
            (true, true) => return Ok(left),
            (true, false) => quiet_before = true,
            (false, _) => quiet_before = false,
        }
        active_before = left.active;
        let state = || {
            format!(
                "instance {} is fenced and still runs, with {} active and {} idle connections on port {port}{}",
                service.name(),
                left.active,
                left.idle,
                peers(&active)
            )
        };
        if stop.is_cancelled() {
            let what = format!("stopped while waiting for clients: {}", state());
            return Err(Trouble::stopped(what).effect(Effect::Unknown));
        }
        if !active.is_empty() && machine::uptime() >= deadline {
            return Err(Trouble::new(
                FailureKind::StillRuns,
                format!(
                    "clients stayed connected for {patience}: {}; SIGTERM would cut their requests, so none was sent",
                    state()
                ),
                "take it out of the load balancer (out_of_rotation or readiness in the settings) or end those clients, then \
                 try again",
            )
            .effect(Effect::Unknown));
        }
        tokio::time::sleep(LOOKING).await;
    }
}

fn count(connections: &[Connection]) -> u32 {
    u32::try_from(connections.len()).unwrap_or(u32::MAX)
}

/// Who is at the other end of active connections.
fn peers(active: &[Connection]) -> String {
    if active.is_empty() {
        return String::new();
    }
    let more = active.len().saturating_sub(NAMED_PEERS);
    let named: Vec<String> = active.iter().take(NAMED_PEERS).map(|connection| connection.peer.to_string()).collect();
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!(" (active: {}{more})", named.join(", "))
}

/// What a stop of that process comes to.
async fn end(service: &Service, order: &Order, pid: u32, stopped: Stopped, patience: Elapsed) -> Result<End, Trouble> {
    let name = service.name();
    match stopped {
        Stopped::NotRunning => Ok(End::Before),
        // There was none to signal: its manager was to start it again later, and tells how the last one had ended.
        Stopped::Badly(_) if pid == 0 => Ok(End::Before),
        Stopped::Ended(end) => Ok(End::Clean(end)),
        Stopped::Badly(how) => {
            let trouble = Trouble::new(
                FailureKind::Unclean,
                format!("instance {name} ended badly after SIGTERM ({how}): {}", service.last_words(Role::Service).await),
                "look at its output; requests in flight may have been cut, so compare with your clients before going on",
            );
            Ok(End::Badly { order: Box::new(order.id.clone()), failure: trouble.effect(Effect::Unknown).0 })
        }
        Stopped::StillRunning { pid } => Err(Trouble::new(
            FailureKind::StillRuns,
            match service.settings().manager {
                Manager::Process => format!(
                    "instance {name} (process {pid}) will not stop: SIGTERM had no effect within {patience}, and nothing harder \
                     was sent"
                ),
                Manager::Systemd => format!(
                    "instance {name} (process {pid}) will not stop within {patience}; systemd goes on stopping it, and kills it \
                     once the TimeoutStopSec of its unit is over"
                ),
            },
            "find out what it is doing; a kill may cut a write that a client waits for",
        )
        .effect(Effect::Unknown)),
    }
}

async fn prove(
    site: &Site,
    service: &Service,
    port: u16,
    left: Left,
    patience: Elapsed,
) -> Result<DrainProof, Trouble> {
    let name = service.name();
    let fence = service.fence().read()?;
    if !fence.standing {
        return Err(Trouble::refused(
            format!("instance {name} is not fenced: the fence was lifted by {} at {}", fence.by, fence.since),
            "drain it again",
        ));
    }
    if let Some(record) = service.running(Role::Service).await? {
        return Err(Trouble::refused(
            format!("instance {name} runs (process {}) though it is fenced", record.pid),
            "find out who started it; drain it again",
        ));
    }
    let deadline = machine::uptime().plus(patience);
    while ports::look(port)?.listening {
        if machine::uptime() >= deadline {
            return Err(Trouble::new(
                FailureKind::StillRuns,
                format!(
                    "instance {name} is down, but {} listens on its port {port}",
                    ports::listener(port).unwrap_or_else(|| "another process".to_owned())
                ),
                "find that process (`ss -ltnp`) and stop it: a ledger that was started by hand may write to the storage",
            )
            .effect(Effect::Unknown));
        }
        tokio::time::sleep(LOOKING).await;
    }
    // Of a plain process the agent knows no more than its own record; who has the storage open is looked at with the storage.
    if service.settings().manager == Manager::Systemd {
        let strays = strays::look(site, service).await.map_err(|trouble| {
            // Its kind stays: what may pass by itself is tried again.
            trouble
                .while_trying(format_args!("looking whether another ledger uses the storage of instance {name}"))
                .effect(Effect::Unknown)
        })?;
        if !strays.is_empty() {
            return Err(Trouble::new(
                FailureKind::StillRuns,
                format!("instance {name} is down, but {}, and its unit does not know it", strays.join("; ")),
                "stop that process, and find out who started it: it may write to the storage",
            )
            .effect(Effect::Unknown));
        }
    }
    let ended = match Stopping::under(service, fence.generation)?.map(|stopping| stopping.end) {
        Some(End::NotSeen) => match service.ended().await? {
            Stopped::Ended(end) => Some(end),
            Stopped::NotRunning | Stopped::Badly(_) | Stopped::StillRunning { .. } => None,
        },
        Some(End::Clean(end)) => Some(end),
        Some(End::Before | End::Badly { .. }) | None => None,
    };
    Ok(DrainProof {
        boot: machine::boot_id(),
        incarnation: site.incarnation.clone(),
        fence: fence.generation,
        ended,
        connections: left.active,
        idle: left.idle,
        at: machine::now(),
        guarded: service.guard().await?,
    })
}
