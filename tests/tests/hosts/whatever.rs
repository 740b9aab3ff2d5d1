//! Fault tier (d): each upgrade meets a fault at each of its phases and around each of its borders, until every fault has
//! happened at every place. The places come from the machine's own list.

use crate::fault::Fault;
use crate::site::{Plan, Site};
use cutover_core::upgrade::{Way, forward};
use cutover_proto::v1::Strategy;
use cutover_test_hosts::Lab;
use cutover_tests::tier::{self, Coverage, Direction, drive};
use cutover_vocabulary::status::State;
use std::time::Instant;

/// How many upgrades may be needed: about one a fault, and more where some come too late or turn it back. Whoever needs as many as
/// this does not come to what is missing.
const UPGRADES: usize = 50;

/// Upgrades until every fault has happened at every place.
fn is_covered(lab: &Lab, name: &str, plan: &Plan, way: Way, wanted: fn(&Fault) -> bool) {
    let began = Instant::now();
    let stages = forward(way);
    let way = tier::Way { stages: &stages, direction: Direction::Forward, turn: None };
    let mut coverage: Option<Coverage<Fault>> = None;
    let mut upgrades = 0;
    let mut site = Site::new(lab, plan.clone());
    while coverage.as_ref().is_none_or(|coverage| !coverage.missing().is_empty()) && upgrades < UPGRADES {
        let coverage = coverage.get_or_insert_with(|| {
            let faults: Vec<Fault> = Fault::all(&site).into_iter().filter(wanted).collect();
            Coverage::of(&stages, &faults)
        });
        let writer = site.writer();
        let status = drive(&mut site, &way, coverage);
        upgrades += 1;
        let completed = status.state == State::Completed;
        site.check_end(if completed { plan.to } else { plan.from }, writer);
        // One that went back can be begun again where it is.
        if completed {
            site.begin_anew();
        }
    }
    let coverage = coverage.unwrap();
    println!("{name}: {upgrades} upgrades, {:.0} s\n{coverage}", began.elapsed().as_secs_f64());
    // Each test has a process of its own, so no line can add them up.
    tier::count(&format!("(d) {name}"), (1, "configuration"), upgrades as u64, coverage.points() as u64, began);
    let missing = coverage.missing();
    assert!(missing.is_empty(), "{name}: never met in {upgrades} upgrades: {missing:?}");
}

#[test]
fn whatever_happens_to_five_hosts_their_upgrade_with_downtime_ends_as_it_should() {
    Lab::run(|lab| is_covered(lab, "A on five hosts", &Plan::default(), Way::Downtime, |_| true));
}

#[test]
fn whatever_happens_to_five_hosts_their_roll_that_migrates_first_ends_as_it_should() {
    Lab::run(|lab| {
        let plan = Plan { from: "1.4.6", to: "1.7.3", strategy: Strategy::Rolling, ..Plan::default() };
        // Killed programs and cut connections are what tier (b) does to a roll.
        let of_hosts = |fault: &Fault| matches!(fault, Fault::Power(_) | Fault::Freeze(_));
        let way = Way::Rolling { waves: 5, migrates: true };
        is_covered(lab, "B on five hosts, migrated first", &plan, way, of_hosts);
    });
}

#[test]
fn whatever_happens_to_the_host_that_leads_of_three_an_upgrade_goes_on_under_another() {
    Lab::run(|lab| {
        let plan = Plan { hosts: Some(3), coordinators: 3, ..Plan::default() };
        is_covered(lab, "A under three coordinators, each with a member of etcd", &plan, Way::Downtime, |_| true);
    });
}

#[test]
fn whatever_happens_to_a_single_host_on_sqlite_its_upgrade_ends_as_it_should() {
    Lab::run(|lab| {
        let plan = Plan { hosts: None, ..Plan::default() };
        is_covered(lab, "C on a host with SQLite", &plan, Way::Downtime, |_| true);
    });
}
