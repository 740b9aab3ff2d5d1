//! Three coordinators on etcd: how long a failover takes, what a durable append costs, what a leader with many agents takes.
//!
//! `cargo bench -p cutover --bench coordinators -- [appends] [failover TIMES] [agents NUMBER]`, with `cutover-coordinator` built for
//! the same profile before. Temporary folders (`TMPDIR`) hold etcd's data.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a bench measures time, and prints it"
)]

mod appends;
mod fleet;
#[allow(
    clippy::all,
    clippy::wildcard_enum_match_arm,
    missing_docs,
    unused_imports,
    dead_code,
    reason = "the coordinator's test support, checked there"
)]
#[path = "../../../coordinator/tests/support/mod.rs"]
mod support;

use cutover_vocabulary::Phase;
use fleet::{Fleet, patiently};
use std::time::{Duration, Instant};

/// The lease in the coordinators' settings, and a second.
const BUDGET: Duration = Duration::from_secs(6);

#[tokio::main]
async fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let number = |word: &str| {
        let at = words.iter().position(|there| there == word)?;
        words.get(at + 1)?.parse::<usize>().ok()
    };
    if words.iter().any(|word| word == "appends") {
        appends::measure().await;
    }
    if let Some(times) = number("failover") {
        failover(times).await;
    }
    if let Some(agents) = number("agents") {
        many(agents).await;
    }
}

/// From the kill of the leader to an order that only its successor can have given: what it follows from was answered after the
/// kill.
async fn failover(times: usize) {
    let mut fleet = Fleet::start(1, None).await;
    let mut upgrade = fleet.begin().await;
    let mut took = Vec::new();
    while took.len() < times {
        waits(&fleet).await;
        let (leader, _) = fleet.leader().await;
        let killed = fleet.kill(leader);
        fleet.hosts.release();
        let first = tokio::time::timeout(Duration::from_secs(60), async {
            loop {
                if let Some(first) = fleet.hosts.asked_since(killed).first() {
                    return Some(*first);
                }
                if fleet.client.status(&upgrade).await.is_ok_and(|status| status.state.ended()) {
                    return None;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await
        .unwrap();
        fleet.start_again(leader);
        match first {
            Some(first) => took.push(first - killed),
            None => upgrade = fleet.begin().await,
        }
    }
    took.sort_unstable();
    let within = took.iter().filter(|took| **took <= BUDGET).count();
    println!(
        "from kill -9 of the leader to the next leader's first order, {times} times: median {:.2?}, worst {:.2?}; {within} of them \
         within {BUDGET:?}",
        took[took.len() / 2],
        took[took.len() - 1],
    );
}

/// Until what is asked stays the same for a while: then nothing of the leader is on its way.
async fn waits(fleet: &Fleet) {
    patiently("an order that waits", || async {
        let before = fleet.hosts.asked.lock().unwrap().len();
        tokio::time::sleep(Duration::from_millis(500)).await;
        let now = Instant::now();
        let after = fleet.hosts.asked.lock().unwrap();
        let recent = after.last().is_some_and(|(_, at)| now - *at < Duration::from_millis(400));
        (before > 0 && after.len() == before && !recent).then_some(())
    })
    .await;
}

/// What the leader takes with so many agents, and how long it is until each is led again and asked again.
async fn many(agents: usize) {
    let mut fleet = Fleet::start(agents, Some(Phase::Drain)).await;
    let begun = Instant::now();
    fleet.begin().await;
    patiently("every agent to drain", || async { (fleet.hosts.asked_of(Phase::Drain) == agents).then_some(()) }).await;
    println!(
        "{agents} agents linked to three coordinators: planned, started and asked to drain in {:.1?}",
        begun.elapsed()
    );
    let (leader, epoch) = fleet.leader().await;
    let (_, before) = fleet.used(leader);
    tokio::time::sleep(Duration::from_secs(10)).await;
    let (resident, after) = fleet.used(leader);
    let percent = (after - before) as f64 / 10.0;
    println!("the leader, while all of them drain: {} MB, {percent:.1} % of a core", resident / 1024);
    let killed = fleet.kill(leader);
    fleet.hosts.release();
    patiently("every agent to be asked again", || async {
        (fleet.hosts.asked_of(Phase::ConfirmDrained) >= agents).then_some(())
    })
    .await;
    let heard = fleet.hosts.heard.lock().unwrap();
    let led = heard.iter().filter(|((by, _), _)| *by > epoch).map(|(_, at)| *at - killed).max().unwrap_or_default();
    let mut asked: Vec<Duration> = fleet.hosts.asked_since(killed).into_iter().map(|at| at - killed).collect();
    asked.sort_unstable();
    println!(
        "from kill -9 of the leader: every agent led again after {led:.2?}; its next order had the first after {:.2?}, half of them \
         after {:.2?}, the last after {:.2?}",
        asked[0],
        asked[asked.len() / 2],
        asked[asked.len() - 1],
    );
}
