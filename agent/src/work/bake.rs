//! `Bake`: for a while an instance answers with its version, every ledger is read through it, and its request log shows no
//! growth of errors.
//!
//! Looks only, but for one thing: where the order says so, an instance that does not answer as it must is taken out of rotation, so
//! that clients are sent to those that do; a bake that ends well turns it back in. A stop ends the watching.
//! Half done: perhaps out of rotation; again watches from the beginning.

use super::place;
use super::rotation::{self, Rotation, turn};
use super::site::{REQUEST, Site, address, note};
use super::trouble::Trouble;
use crate::ledger::http::{Http, HttpError};
use crate::service::requests::RequestLog;
use crate::service::{Role, Service, record};
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
/// For so long, without a good look in between, must last what may pass by itself: a database that fails over is away for some
/// seconds, and every instance with it.
const LASTS: Elapsed = Elapsed::from_secs(20);
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
    let (mut looks, mut process) = (0, None);
    let (mut failing, mut answers) = (Failing::default(), Answers::from_now(service));
    loop {
        let mut looked = look(&http, ask.version, ask.ledgers).await;
        let (watched, runs) = (process, process_of(service).await);
        match (watched, runs) {
            (Some((former, _)), Runs::As(now)) if process != Some(now) => {
                let (pid, start) = now;
                let age = record::age(start);
                let why = format!(
                    "it was restarted while it was watched: process {former} ended, process {pid} has run for {age}"
                );
                return Err(failed(site, order, &ask, &why).await?);
            }
            (Some((former, _)), Runs::Not) => {
                looked = Err(Wrong::Stays(format!("its process {former} ended, and nothing runs in its place")));
            }
            (None, Runs::As(now)) => process = Some(now),
            (Some(_), Runs::As(_) | Runs::Unknown) | (None, Runs::Not | Runs::Unknown) => {}
        }
        let now = machine::uptime();
        answers.count(looked.is_ok());
        failing.note(now, &looked);
        match looked {
            Ok(()) => looks += 1,
            Err(Wrong::Passes(why) | Wrong::Stays(why)) => {
                if failing.is_decided(now, (now >= until).then_some(ask.length)) {
                    let why = format!("{why} (for {}, {} looks in a row)", failing.lasted(now), failing.in_a_row);
                    return Err(failed(site, order, &ask, &why).await?);
                }
            }
        }
        let served = answers.counted;
        if served.worse_than(&ask.before) {
            let why = format!("it answered {served} while it was watched; before the upgrade {}", ask.before);
            return Err(failed(site, order, &ask, &why).await?);
        }
        if failing.in_a_row == 0 && now >= until {
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
    let by = files::read_json::<OrderId>(&withdrawn)?;
    // Nobody else may serve by now, so that it would not be taken out today.
    if by.is_some_and(|by| ask.withdraw || by.upgrade == order.id.upgrade) {
        turn(service, Rotation::Into).await?;
        files::remove(&withdrawn)?;
    }
    Ok(Evidence::Baked { version: ask.version.clone(), looks, served: answers.log.read() })
}

/// What a look found wrong.
#[derive(Debug)]
enum Wrong {
    /// It may pass by itself.
    Passes(String),
    /// It does not pass by itself.
    Stays(String),
}

/// One look: what is wrong, if anything is.
async fn look(http: &Http, version: &Version, ledgers: &[LedgerName]) -> Result<(), Wrong> {
    let wrong = |error: &HttpError, what| if error.may_pass() { Wrong::Passes(what) } else { Wrong::Stays(what) };
    let found = http.version().await.map_err(|error| wrong(&error, error.to_string()))?;
    if found != *version {
        return Err(Wrong::Stays(format!("it answers as {found}, not {version}")));
    }
    for ledger in ledgers {
        http.read(ledger).await.map_err(|error| {
            let what = format!("ledger {ledger} cannot be read: {error}");
            wrong(&error, what)
        })?;
    }
    Ok(())
}

/// The looks that failed since the last good one.
#[derive(Debug, Default)]
struct Failing {
    since: Option<Elapsed>,
    in_a_row: u32,
    /// Those of them that found what does not pass by itself.
    staying: u32,
}

impl Failing {
    fn note(&mut self, now: Elapsed, looked: &Result<(), Wrong>) {
        match looked {
            Ok(()) => *self = Self::default(),
            Err(wrong) => {
                self.since.get_or_insert(now);
                self.in_a_row += 1;
                self.staying += u32::from(matches!(wrong, Wrong::Stays(_)));
            }
        }
    }

    fn lasted(&self, now: Elapsed) -> Elapsed {
        self.since.map_or(Elapsed(0), |since| now.since(since))
    }

    /// Whether the instance has failed. What may pass by itself is waited for, beyond the end of the bake as well; there, of a short one,
    /// for no longer than that was. `over`: how long it was, once it is.
    fn is_decided(&self, now: Elapsed, over: Option<Elapsed>) -> bool {
        let lasted = self.lasted(now);
        let long = lasted >= LASTS || over.is_some_and(|length| lasted >= length);
        self.staying >= IN_A_ROW || self.in_a_row >= IN_A_ROW && long
    }
}

/// What it answers its clients.
struct Answers {
    log: RequestLog,
    /// All of it, at the last look.
    before: Served,
    /// What its errors are judged by: without those of the first time that it could not be read, which is judged by how long it
    /// lasts. It is left out once: who fails now and then fails.
    counted: Served,
    left_out: LeftOut,
}

/// The time that is left out of what is counted.
#[derive(Debug, PartialEq, Eq)]
enum LeftOut {
    Nothing,
    /// The present one: looks fail.
    Now,
    /// It is over.
    Once,
}

impl Answers {
    fn from_now(service: &Service) -> Self {
        let log = RequestLog::from_now(service.dir());
        Self { log, before: Served::default(), counted: Served::default(), left_out: LeftOut::Nothing }
    }

    /// After each look, with whether it was a good one.
    fn count(&mut self, good: bool) {
        let now = self.log.read();
        let counts = match (&self.left_out, good) {
            (LeftOut::Nothing, false) => {
                self.left_out = LeftOut::Now;
                false
            }
            (LeftOut::Now, false) => false,
            (LeftOut::Now, true) => {
                self.left_out = LeftOut::Once;
                false
            }
            (LeftOut::Nothing, true) | (LeftOut::Once, _) => true,
        };
        if counts {
            self.counted.requests += now.requests.saturating_sub(self.before.requests);
            self.counted.errors += now.errors.saturating_sub(self.before.errors);
        }
        self.before = now;
    }
}

/// Which process the service is.
enum Runs {
    /// Its id, and when it started.
    As((u32, u64)),
    Not,
    /// It is being started or stopped, or nobody can tell.
    Unknown,
}

async fn process_of(service: &Service) -> Runs {
    match service.running(Role::Service).await {
        Ok(None) => Runs::Not,
        Ok(Some(running)) if running.pid != 0 && running.start != 0 && !running.starting && !running.ending => {
            Runs::As((running.pid, running.start))
        }
        Ok(Some(_)) | Err(_) => Runs::Unknown,
    }
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
    } else if rotation::is_in(service) {
        message += "; it was not taken out of rotation";
    } else {
        message += "; it is out of rotation since an earlier attempt";
    }
    let remedy = "look at its output in the agent's state directory; go back unless the cause is found and mended";
    Ok(Trouble::new(FailureKind::Failed, message, remedy).effect(Effect::Unknown))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: u64) -> Elapsed {
        Elapsed(millis)
    }
    fn passes() -> Result<(), Wrong> {
        Err(Wrong::Passes("no database".to_owned()))
    }
    fn stays() -> Result<(), Wrong> {
        Err(Wrong::Stays("another version".to_owned()))
    }

    #[test]
    fn what_may_pass_by_itself_must_last_and_anything_else_fails_three_looks() {
        let mut failing = Failing::default();
        for millis in (0..20_000).step_by(500) {
            failing.note(at(millis), &passes());
            assert!(!failing.is_decided(at(millis), None), "after {millis} ms");
            assert!(!failing.is_decided(at(millis), Some(at(60_000))), "after {millis} ms, at the end of a long bake");
        }
        assert!(failing.is_decided(at(19_500), Some(at(19_500))), "as long as a short bake was");
        failing.note(at(20_000), &passes());
        assert!(failing.is_decided(at(20_000), None));

        failing.note(at(20_500), &Ok(()));
        failing.note(at(21_000), &passes());
        failing.note(at(21_500), &passes());
        assert!(!failing.is_decided(at(21_500), Some(at(500))), "two looks decide nothing");
        assert!(!failing.is_decided(at(40_999), None), "it is counted from the good look on");
        for _ in 0..2 {
            failing.note(at(22_000), &stays());
        }
        assert!(!failing.is_decided(at(22_000), None));
        failing.note(at(22_500), &stays());
        assert!(failing.is_decided(at(22_500), None));
    }
}
