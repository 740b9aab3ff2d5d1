//! `Bake`: for a while an instance answers with its version, every ledger is read through it, and its request log shows no
//! growth of errors.
//!
//! Looks only, but for one thing: an instance of the wave that was just moved is taken out of rotation when it does not answer
//! as it must, so that clients are sent to those that do; a bake that ends well turns it back in. A stop ends the watching.
//! Half done: perhaps out of rotation; again watches from the beginning.

use super::place;
use super::rotation::{Rotation, turn};
use super::site::{REQUEST, Site, address, note};
use super::trouble::Trouble;
use crate::ledger::http::Http;
use crate::service::requests::RequestLog;
use crate::{files, machine};
use cutover_vocabulary::outcome::{Effect, Evidence, FailureKind};
use cutover_vocabulary::served::Served;
use cutover_vocabulary::{Elapsed, LedgerName, Order, OrderId, Version};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Between two looks.
const EVERY: Duration = Duration::from_millis(500);
/// So many looks in a row must fail: one request may meet a restarted connection.
const IN_A_ROW: u32 = 3;
/// Which order took the instance out of rotation.
const WITHDRAWN: &str = "withdrawn.json";

/// What the order says.
pub(super) struct Ask<'a> {
    pub(super) version: &'a Version,
    pub(super) ledgers: &'a [LedgerName],
    pub(super) length: Elapsed,
    pub(super) withdraw: bool,
    pub(super) before: Served,
}

/// Watches an instance.
pub(super) async fn bake(
    site: &Site,
    order: &Order,
    ask: Ask<'_>,
    stop: &CancellationToken,
) -> Result<Evidence, Trouble> {
    let service = site.subject(order).await?;
    let settings = service.settings();
    let place = place::of(&settings)?;
    let http = Http::new(address(service)?, REQUEST).with(place.resolved.credentials());
    for ledger in ask.ledgers {
        // A read of a name that is not there would create it.
        if !place::apart(|| place.storage.exists(ledger))? {
            return Err(Trouble::refused(
                format!("ledger {ledger} is not in {}", place.storage.identity()),
                "find out where it went; nothing is created in its place",
            ));
        }
    }
    let until = machine::uptime().plus(ask.length);
    let (mut looks, mut in_a_row) = (0, 0);
    let mut requests = RequestLog::from_now(service.dir());
    loop {
        match look(&http, ask.version, ask.ledgers).await {
            Ok(()) => (looks, in_a_row) = (looks + 1, 0),
            Err(why) => {
                in_a_row += 1;
                if in_a_row >= IN_A_ROW {
                    return Err(failed(site, order, &ask, &why).await?);
                }
            }
        }
        let served = requests.read();
        if served.worse_than(&ask.before) {
            let why = format!("it answered {served} while it was watched; before the upgrade {}", ask.before);
            return Err(failed(site, order, &ask, &why).await?);
        }
        if in_a_row == 0 && machine::uptime() >= until {
            break;
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = stop.cancelled() => {
                return Err(Trouble::stopped(format!("stopped while watching instance {}", service.name())));
            }
        }
    }
    let withdrawn = note(service, WITHDRAWN);
    if ask.withdraw && files::read_json::<OrderId>(&withdrawn)?.is_some() {
        turn(service, Rotation::Into).await?;
        files::remove(&withdrawn)?;
    }
    Ok(Evidence::Baked { version: ask.version.clone(), looks, served: requests.read() })
}

/// One look: what is wrong, if anything is.
async fn look(http: &Http, version: &Version, ledgers: &[LedgerName]) -> Result<(), String> {
    let found = http.version().await.map_err(|error| error.to_string())?;
    if found != *version {
        return Err(format!("it answers as {found}, not {version}"));
    }
    for ledger in ledgers {
        http.read(ledger).await.map_err(|error| format!("ledger {ledger} cannot be read: {error}"))?;
    }
    Ok(())
}

async fn failed(site: &Site, order: &Order, ask: &Ask<'_>, why: &str) -> Result<Trouble, Trouble> {
    let service = site.subject(order).await?;
    let name = service.name();
    let mut message = format!("instance {name} does not serve as it must: {why}");
    if ask.withdraw {
        files::write_json(&note(service, WITHDRAWN), &order.id)?;
        turn(service, Rotation::Out).await?;
        message += if service.settings().out_of_rotation.is_empty() {
            "; no command takes it out of rotation, so clients still reach it"
        } else {
            "; it was taken out of rotation, the others serve"
        };
    }
    let remedy = "look at its output in the agent's state directory; go back unless the cause is found and mended";
    Ok(Trouble::new(FailureKind::Failed, message, remedy).effect(Effect::Unknown))
}
