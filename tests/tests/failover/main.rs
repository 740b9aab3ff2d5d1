//! Fault tier (e): three coordinators on three members of etcd, two hosts with a ledger each on one PostgreSQL, all real programs.
//! Clients write all the time. Whatever breaks of coordinators or etcd breaks once at each of three points of an upgrade, where
//! an order is with an agent; each upgrade meets another fault at each of its points.
#![allow(clippy::wildcard_enum_match_arm, reason = "a test looks for one variant")]
#![allow(clippy::disallowed_methods, reason = "how long a tier took")]

mod fault;
mod orders;
mod point;

use cutover_proto::v1::Strategy;
use cutover_tests::checks::{check_epochs, check_facts, check_migrations};
use cutover_tests::clients::{Told, check_exactly_once};
use cutover_tests::fleet::{Fleet, LEDGERS, Plan};
use cutover_tests::tier;
use cutover_tests::until;
use cutover_vocabulary::fact::Fact;
use cutover_vocabulary::status::State;
use fault::Fault;
use point::{Point, Upgrade};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// What a fleet is upgraded through. Each has migrations that the one before lacks.
const VERSIONS: [&str; 4] = ["1.3.1", "1.4.6", "1.7.3", "1.8.3"];
/// How many upgrades a fleet sees.
const UPGRADES: usize = VERSIONS.len() - 1;
/// How many fleets are needed for every fault to happen at every point.
const FLEETS: usize = Fault::ALL.len() / UPGRADES;

/// Three coordinators, two hosts.
fn fleet() -> Option<Fleet> {
    let limits = "drain_seconds = 30\nagent_lost_seconds = 60".to_owned();
    let (coordinators, instances, strategy) = (3, 2, Strategy::Downtime);
    // One ledger after the other, or one that collided with another comes after the last, which waits for a test.
    Fleet::new(Plan { coordinators, instances, strategy, limits, lanes: 1, transactions: 5, ..Plan::default() })
}

/// What happens in one upgrade: another fault at each point, and over all upgrades each at each.
fn what_happens(upgrade: usize) -> [(Point, Fault); 3] {
    let shift = Fault::ALL.len() / Point::ALL.len();
    let mut at = 0;
    Point::ALL.map(|point| {
        at += 1;
        (point, Fault::ALL[(upgrade + at * shift) % Fault::ALL.len()])
    })
}

/// One fault at the point where an upgrade stands.
fn breaks(fleet: &mut Fleet, upgrade: &Upgrade, point: Point, fault: Fault) {
    point.reach(fleet, upgrade);
    let before = upgrade.facts(fleet);
    let logged: Vec<String> = fleet.coordinators.all.iter().map(|one| one.log()).collect();
    let broken = fault.begin(fleet);
    if fault.lets_on() {
        let now = upgrade.facts(fleet);
        assert!(point.holds(&now), "{fault} came too late to be {point}");
        assert_eq!(now[..before.len()], before, "what was stored before a fault is there after it");
        point.let_go(fleet, upgrade);
        upgrade.until(fleet, &format!("it goes on {point}, {fault}"), |facts| (!point.holds(facts)).then_some(()));
    } else {
        point.let_go(fleet, upgrade);
        broken.lasts(fleet, &logged);
        let now = fleet.voice.facts(&upgrade.id);
        assert!(now.is_err() || now.is_ok_and(|now| point.holds(&now)), "{fault} stops it {point}");
        broken.end(fleet);
        upgrade.until(fleet, &format!("it goes on {point}, {fault}"), |facts| (!point.holds(facts)).then_some(()));
        return;
    }
    broken.end(fleet);
}

/// What must hold at an upgrade's end.
fn check(fleet: &Fleet, upgrade: &Upgrade, told: &Told) {
    let status = fleet.until_state(&upgrade.id, State::Completed);
    let facts = upgrade.facts(fleet);
    check_facts(&facts);
    check_migrations(&facts);
    check_epochs(&facts);
    let failed = facts.iter().find(|recorded| matches!(recorded.fact, Fact::StepFailed { .. } | Fact::Held { .. }));
    assert!(failed.is_none(), "nothing on a host was broken: {failed:?}\n{}", fleet.logs());
    assert!(status.ledgers.iter().all(|ledger| ledger.point.is_some() && ledger.after.is_some()), "{status:#?}");
    fleet.until_serves(upgrade.to);
    check_exactly_once(fleet.host(1).address, LEDGERS, told);
    until("no database of ours is left", Duration::from_secs(30), || {
        fleet.sql("SELECT datname FROM pg_database WHERE datname LIKE 'cutover%'").is_empty().then_some(())
    });
}

/// The upgrades of one fleet.
fn upgraded(number: usize) {
    let began = Instant::now();
    let Some(mut fleet) = fleet() else { return };
    for (turn, to) in VERSIONS.into_iter().skip(1).enumerate() {
        let writer = fleet.writers(4);
        let upgrade = Upgrade { id: fleet.begin_to(to), to };
        let all = what_happens(number * UPGRADES + turn);
        for (point, fault) in all {
            let begun = Instant::now();
            breaks(&mut fleet, &upgrade, point, fault);
            println!("{fault} {point}, to {to}: {:.1} s", begun.elapsed().as_secs_f64());
        }
        fleet.until_state(&upgrade.id, State::Completed);
        let before = writer.acknowledged();
        until("clients are served again", Duration::from_secs(60), || {
            (writer.acknowledged() > before + 5).then_some(())
        });
        check(&fleet, &upgrade, &writer.end());
    }
    tier::count("(e) failover", (1, "fleets"), UPGRADES as u64, (UPGRADES * Point::ALL.len()) as u64, began);
}

#[test]
fn every_fault_happens_at_every_point() {
    let all: BTreeSet<(Point, Fault)> = (0..FLEETS * UPGRADES).flat_map(what_happens).collect();
    assert_eq!(all.len(), Point::ALL.len() * Fault::ALL.len());
}

#[test]
fn whatever_breaks_of_coordinators_or_etcd_the_first_fleets_upgrades_end_as_they_should() {
    upgraded(0);
}
#[test]
fn whatever_breaks_of_coordinators_or_etcd_the_second_fleets_upgrades_end_as_they_should() {
    upgraded(1);
}
#[test]
fn whatever_breaks_of_coordinators_or_etcd_the_third_fleets_upgrades_end_as_they_should() {
    upgraded(2);
}
#[test]
fn whatever_breaks_of_coordinators_or_etcd_the_fourth_fleets_upgrades_end_as_they_should() {
    upgraded(3);
}
