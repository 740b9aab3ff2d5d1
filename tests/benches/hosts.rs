//! Twenty hosts with a systemd each: what an idle agent takes of its host, and what an upgrade of all takes beside its own work.
//!
//! `cargo bench -p cutover-tests --bench hosts [-- HOSTS]`, with the programs built for release before.
#![allow(clippy::disallowed_methods, reason = "a bench measures time")]
#![allow(clippy::wildcard_enum_match_arm, reason = "it looks for some facts")]

#[allow(dead_code, reason = "the scenarios use the rest")]
#[path = "../tests/hosts/site.rs"]
mod site;

use cutover_test_hosts::{Host, Lab};
use cutover_tests::tier::Driven as _;
use cutover_vocabulary::OrderId;
use cutover_vocabulary::fact::{Fact, Recorded};
use cutover_vocabulary::phase::{Phase, Stage};
use cutover_vocabulary::status::State;
use site::{Plan, Site};
use std::collections::BTreeMap;
use std::time::Duration;

/// How long idle agents are watched.
const IDLE: Duration = Duration::from_secs(60);
/// Ticks of the processor's clock a second, of every Linux for programs.
const TICKS: f64 = 100.0;

fn main() {
    let hosts = std::env::args().find_map(|arg| arg.parse().ok()).unwrap_or(20);
    let ran = Lab::by_hand(|lab| {
        let site = Site::new(lab, Plan { hosts: Some(hosts), ..Plan::default() });
        site.voice.plan_when_ready("prod", "1.4.6");
        idle(&site.hosts);
        let writer = site.writer();
        let upgrade = site.begin();
        let status = site.until_state(&upgrade, State::Completed);
        println!("downtime of {hosts} hosts: {} ms", status.downtime.map_or(0, |downtime| downtime.0));
        path(&site.voice.facts(&upgrade).unwrap());
        site.check_end("1.4.6", writer);
    });
    match ran {
        Ok(status) => std::process::exit(status.code().unwrap_or(1)),
        Err(why) => {
            eprintln!("{why}");
            std::process::exit(1);
        }
    }
}

/// What each agent takes while nothing happens.
fn idle(hosts: &[Host]) {
    let agent = |host: &Host| host.run(&["systemctl", "show", "--property=MainPID", "--value", "cutover-agent"]);
    let used = |host: &Host| {
        let line = host.read(&format!("/proc/{}/stat", agent(host)));
        let fields: Vec<&str> = line.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        // Fields 14 and 15 of proc(5), counted behind the name.
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    };
    let before: Vec<u64> = hosts.iter().map(used).collect();
    std::thread::sleep(IDLE);
    let ticks: Vec<u64> = hosts.iter().zip(before).map(|(host, before)| used(host) - before).collect();
    let resident = |host: &Host| -> u64 {
        let status = host.read(&format!("/proc/{}/status", agent(host)));
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    };
    let largest = hosts.iter().map(resident).max().unwrap_or_default();
    let busiest = ticks.iter().max().copied().unwrap_or_default();
    let percent = |ticks: f64| ticks / TICKS / IDLE.as_secs_f64() * 100.0;
    let mean = ticks.iter().sum::<u64>() as f64 / ticks.len() as f64;
    println!(
        "idle agents for {IDLE:?}: the largest has {:.1} MB resident; of a core the busiest takes {:.2} %, all of them {:.2} % in \
         the mean",
        largest as f64 / 1024.0,
        percent(busiest as f64),
        percent(mean)
    );
}

/// Each stage from the first stop to the last answer, beside the longest order in it as the coordinator saw that, from the order
/// that was stored to the outcome that was: the rest is orchestration.
fn path(facts: &[Recorded]) {
    let mut stage: Option<(Stage, i64)> = None;
    let mut opened: BTreeMap<OrderId, i64> = BTreeMap::new();
    let mut longest = 0;
    let mut down = false;
    let (mut whole, mut orders) = (0, 0);
    let mut end = |(stage, since): (Stage, i64), now: i64, longest: i64| {
        let took = now - since;
        println!("  {:16} {took:6} ms, its longest order {longest:6} ms", stage.phase.to_string());
        whole += took;
        orders += longest;
    };
    for recorded in facts {
        let now = recorded.at.as_millis();
        match &recorded.fact {
            Fact::StageEntered { stage: next, .. } => {
                if let Some(former) = stage.take() {
                    end(former, now, longest);
                }
                longest = 0;
                down |= next.phase == Phase::Drain;
                stage = down.then_some((*next, now));
            }
            Fact::AttemptOpened { order } => {
                opened.insert(order.id.clone(), now);
            }
            Fact::StepSucceeded { order, .. } => {
                longest = longest.max(opened.get(order).map_or(0, |since| now - since));
            }
            Fact::Ended { .. } => {
                if let Some(former) = stage.take() {
                    end(former, now, longest);
                }
            }
            _ => {}
        }
    }
    println!(
        "  {:16} {whole:6} ms, the longest orders {orders:6} ms: {:.2} times, {} ms of orchestration",
        "all",
        whole as f64 / orders.max(1) as f64,
        whole - orders
    );
}
