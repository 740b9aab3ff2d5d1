//! Several instances on one PostgreSQL, 1.3.1 to 1.4.6, with the real coordinator over TCP, an agent a host, real workers, a
//! real server, and the simulator of the ledger; clients write all the time through a front.

mod break_glass;
mod database;
mod disasters;
mod faults;
mod members;
mod paths;
mod rejoin;
mod rolling;
mod runbook;
mod server;
mod several;

use cutover_tests::checks::check_facts;
use cutover_tests::clients::{Told, check_exactly_once, version};
use cutover_tests::fleet::{Fleet, LEDGERS, Plan};
use cutover_vocabulary::hold::Choice;
use cutover_vocabulary::status::{State, Status};
use std::time::Duration;

/// What must hold at the end of a completed upgrade, whatever happened on the way.
fn check_completed(fleet: &Fleet, upgrade: &str, status: &Status, told: &Told) {
    fleet.until_serves("1.4.6");
    check_exactly_once(fleet.host(1).address, LEDGERS, told);
    check_facts(&fleet.voice.facts(upgrade).unwrap());
    let mut lost: Vec<String> = Vec::new();
    for ledger in &status.ledgers {
        assert!(ledger.point.is_some() && ledger.after.is_some(), "{} has no recovery point or proof", ledger.name);
        lost.extend(ledger.lost.rows.iter().map(|row| format!("{}: {} {}", ledger.name, row.target, row.key)));
    }
    lost.sort();
    let mut expected = fleet.lost.clone();
    expected.sort();
    assert_eq!(lost, expected, "exactly the known rows are lost");
    check_tidy(fleet);
}

/// What must hold after a way back.
fn check_went_back(fleet: &Fleet, upgrade: &str, told: &Told) {
    fleet.until_serves("1.3.1");
    check_exactly_once(fleet.host(1).address, LEDGERS, told);
    check_facts(&fleet.voice.facts(upgrade).unwrap());
    check_tidy(fleet);
}

/// No database of ours is left, and scan would find the ledgers and nothing else.
fn check_tidy(fleet: &Fleet) {
    // The one that was prepared is dropped beside the opening.
    cutover_tests::until("no database of ours is left", Duration::from_secs(30), || {
        fleet.sql("SELECT datname FROM pg_database WHERE datname LIKE 'cutover%'").is_empty().then_some(())
    });
    let schemas =
        fleet.sql("SELECT table_schema FROM information_schema.tables WHERE table_name = 'transactions' ORDER BY 1");
    assert_eq!(schemas.lines().collect::<Vec<_>>(), LEDGERS, "what scan takes for ledgers");
}

/// Decides the oldest hold.
fn decide(fleet: &Fleet, upgrade: &str, status: &Status, choice: Choice) {
    let hold = status.holds.first().unwrap();
    fleet.voice.decide(upgrade, hold.id.0, choice).unwrap();
}

/// Says to every hold that it is to be tried again.
fn try_again(fleet: &Fleet, upgrade: &str, status: &Status) {
    for hold in &status.holds {
        let _ = fleet.voice.decide(upgrade, hold.id.0, Choice::Retry);
    }
}

/// Waits until it ends, and has what holds tried again meanwhile, for lanes and hosts meet a trouble one after another.
fn tried_on(fleet: &Fleet, upgrade: &str) -> Status {
    let mut status = fleet.until_rests(upgrade);
    for _ in 0..4 {
        if status.state != State::Held {
            break;
        }
        try_again(fleet, upgrade, &status);
        status = fleet.until_rests(upgrade);
    }
    status
}

/// Waits for a hold and returns where it stands.
fn held(fleet: &Fleet, upgrade: &str) -> Status {
    let status = fleet.until_rests(upgrade);
    assert_eq!(status.state, State::Held, "{:?}\n{}", status.turned_back, fleet.logs());
    status
}

#[test]
fn three_instances_are_upgraded_while_clients_write() {
    let Some(fleet) = Fleet::new(Plan::default()) else { return };
    let writer = fleet.writer();
    let upgrade = fleet.begin();
    let status = fleet.until_state(&upgrade, State::Completed);
    let before = writer.acknowledged();
    cutover_tests::until("clients are served again", Duration::from_secs(10), || {
        (writer.acknowledged() > before + 5).then_some(())
    });
    let told = writer.end();
    println!(
        "downtime as the clients saw it: {:?}; refused: {:?}, collided: {}",
        told.longest_gap, told.refused, told.collided
    );
    check_completed(&fleet, &upgrade, &status, &told);
    for host in &fleet.hosts {
        assert_eq!(version(host.address).as_deref(), Some("1.4.6"), "host {}", host.number);
    }
}
