//! Servers that a worker starts: on a rehearsal's copy, and as the migration of a target without storage commands.

use cutover_tests::checks::{check_facts, until_phase};
use cutover_tests::clients::{check_exactly_once, version};
use cutover_tests::house::{House, LEDGERS, Plan, Process};
use cutover_tests::until;
use cutover_vocabulary::hold::Choice;
use cutover_vocabulary::phase::Phase;
use cutover_vocabulary::status::State;
use std::time::Duration;

fn to_a_release_without_commands() -> House {
    House::new(Plan { from: "1.2.1", to: "1.3.1", ..Plan::default() })
}

/// A server of the target that a worker started.
fn companion(house: &House) -> Process {
    until("a worker has started the target", Duration::from_secs(60), || {
        let is = |process: &Process| {
            process.words.contains("/releases/") && process.words.contains("--server.http.bind_address=127.0.0.1:")
        };
        house.processes().into_iter().find(is)
    })
}

/// Kills whoever works on an order, and waits until the server that it had started is gone too.
fn kill_the_worker_of(house: &House, server: &Process) {
    let worker = house.processes().into_iter().find(|process| process.pid == server.parent).unwrap();
    assert!(worker.words.contains(" work "), "{worker:?}");
    worker.kill();
    until("the server went with its worker", Duration::from_secs(10), || (!server.lives()).then_some(()));
}

#[test]
fn a_first_start_that_dies_with_its_worker_is_made_again_and_the_upgrade_completes() {
    let house = to_a_release_without_commands();
    let writer = house.writer();
    house.fault("1.3.1:NUMARY_SIM_MUTE_SERVER=1");
    let upgrade = house.begin();
    assert!(until_phase(&house.voice, &upgrade, Phase::Migrate));
    let server = companion(&house);
    house.no_faults();
    kill_the_worker_of(&house, &server);
    house.until_state(&upgrade, State::Completed);
    let told = writer.end();
    assert_eq!(version(house.address).as_deref(), Some("1.3.1"));
    check_exactly_once(house.address, LEDGERS, &told);
    check_facts(&house.voice.facts(&upgrade).unwrap());
}

#[test]
fn a_copy_that_was_started_dies_with_its_worker_and_the_rehearsal_is_made_again() {
    let house = House::new(Plan::default());
    house.fault_in_target("NUMARY_SIM_MUTE_SERVER=1");
    let upgrade = house.begin();
    assert!(until_phase(&house.voice, &upgrade, Phase::Rehearse));
    let server = companion(&house);
    house.fault_in_target("");
    kill_the_worker_of(&house, &server);
    house.until_state(&upgrade, State::Completed);
    check_facts(&house.voice.facts(&upgrade).unwrap());
}

#[test]
fn a_first_request_that_fails_holds_and_going_back_leaves_every_write_under_the_former_version() {
    let house = to_a_release_without_commands();
    let writer = house.writer();
    let broken = house.dir().join("reads-fail");
    std::fs::write(&broken, "").unwrap();
    // In the storage's folder, so the rehearsal's copy knows nothing of it.
    house.fault(&format!("1.3.1:NUMARY_SIM_FAIL_READS={}", broken.display()));
    let upgrade = house.begin();
    let status = house.until_rests(&upgrade);
    assert_eq!(status.state, State::Held);
    let hold = status.holds.first().unwrap();
    assert_eq!(hold.phase, Phase::Migrate);
    let text = format!("{hold:?}");
    assert!(text.contains("the target cannot read ledger"), "{text}");
    house.voice.decide(&upgrade, hold.id.0, Choice::Rollback).unwrap();
    house.until_state(&upgrade, State::RolledBack);
    house.until_serves("1.2.1");
    let before = writer.acknowledged();
    until("clients are served", Duration::from_secs(30), || (writer.acknowledged() > before + 5).then_some(()));
    let told = writer.end();
    check_exactly_once(house.address, LEDGERS, &told);
    check_facts(&house.voice.facts(&upgrade).unwrap());
}
