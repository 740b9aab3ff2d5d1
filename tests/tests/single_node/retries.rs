//! What a person decides at a hold does what it says, seen with the real programs.

use crate::{check_completed, check_went_back, until_phase};
use cutover_tests::clients::{request, version};
use cutover_tests::house::{House, Plan};
use cutover_vocabulary::Phase;
use cutover_vocabulary::hold::{Choice, HoldReason};
use cutover_vocabulary::status::{State, Status};

/// From the drain on, the command that lets the instance into rotation fails: the opening starts the instance, whose own
/// port clients reach at once, and then fails.
fn break_into_rotation(house: &House) {
    let out = house.dir().join("out-of-rotation");
    cutover_tests::until("it is out of rotation", std::time::Duration::from_secs(60), || out.exists().then_some(()));
    std::fs::remove_file(&out).unwrap();
    std::fs::create_dir(&out).unwrap();
}

fn mend_into_rotation(house: &House) {
    std::fs::remove_dir(house.dir().join("out-of-rotation")).unwrap();
}

fn held_at_the_opening(house: &House, upgrade: &str, phase: Phase) -> Status {
    let status = house.until_rests(upgrade);
    assert_eq!(status.state, State::Held, "{:?}\n{}", status.turned_back, house.logs());
    assert!(matches!(&status.holds[0].reason, HoldReason::StepFailed { .. }), "{:?}", status.holds);
    assert_eq!(status.holds[0].phase, phase);
    status
}

/// A write past the front, by a client that knows the instance's own port.
fn write_directly(house: &House, reference: &str) {
    let body = format!(
        r#"{{"reference":"{reference}","postings":[{{"source":"world","destination":"bank","amount":1,"asset":"EUR"}}]}}"#
    );
    let (status, answer) = request(house.address, "POST", "/main/transactions", &body).unwrap();
    assert_eq!(status, 200, "{answer}");
}

fn exists(house: &House, reference: &str) -> bool {
    let (status, body) = house.get(&format!("/main/transactions?reference={reference}")).unwrap();
    assert_eq!(status, 200, "{body}");
    body.contains(reference)
}

fn retry(house: &House, upgrade: &str, status: &Status) {
    house.voice.decide(upgrade, status.holds.first().unwrap().id.0, Choice::Retry).unwrap();
}

#[test]
fn an_opening_that_failed_halfway_goes_on_without_a_second_downtime() {
    let house = House::new(Plan::default());
    let writer = house.writer();
    let upgrade = house.begin();
    break_into_rotation(&house);
    let status = held_at_the_opening(&house, &upgrade, Phase::Open);
    write_directly(&house, "while-held");
    mend_into_rotation(&house);
    retry(&house, &upgrade, &status);
    let status = house.until_state(&upgrade, State::Completed);
    assert!(exists(&house, "while-held"));
    check_completed(&house, &upgrade, &status, &writer.end());
}

#[test]
fn nothing_is_restored_over_what_clients_wrote_once_a_way_back_has_let_them_in() {
    let house = House::new(Plan::default());
    let writer = house.writer();
    let upgrade = house.begin();
    until_phase(&house, &upgrade, Phase::Drain);
    house.fault("1.4.6:NUMARY_SIM_FAIL_MIGRATION=shop");
    break_into_rotation(&house);
    let status = house.until_rests(&upgrade);
    house.no_faults();
    house.voice.decide(&upgrade, status.holds.first().unwrap().id.0, Choice::Rollback).unwrap();
    let status = house.until_rests(&upgrade);
    assert_eq!(status.holds.first().map(|hold| hold.phase), Some(Phase::Reopen), "{}", house.logs());
    assert_eq!(version(house.address).as_deref(), Some("1.3.1"));
    write_directly(&house, "while-held");
    mend_into_rotation(&house);
    retry(&house, &upgrade, &status);
    house.until_state(&upgrade, State::RolledBack);
    assert!(exists(&house, "while-held"), "an acknowledged write is gone");
    check_went_back(&house, &upgrade, &writer.end());
}
