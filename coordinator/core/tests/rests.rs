//! A step that failed in a way that may pass rests before its next attempt.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking")]

mod support;

use cutover_core::upgrade::Input;
use cutover_vocabulary::hold::Choice;
use cutover_vocabulary::outcome::*;
use cutover_vocabulary::*;
use support::*;

fn play() -> Play {
    Play::start(Seen::default().plan())
}

#[test]
fn a_failure_that_may_pass_rests_before_it_is_tried_again_longer_each_time() {
    let mut play = play();
    let mut order = play.until_phase(Phase::Migrate);
    for rest in [2_000, 8_000] {
        play.outcome(&order, failure(FailureKind::Transient));
        let failed_at = play.millis;
        assert_eq!(play.upgrade.wake_at(), Some(Elapsed(failed_at + rest)));
        play.millis = failed_at + rest - 11;
        play.hear(&[Input::Tick]);
        assert_eq!(play.orders(), vec![], "{rest} ms are not over");
        play.hear(&[Input::Tick]);
        order = play.orders().into_iter().next().expect("the next attempt").0;
    }
    assert_eq!(order.id.attempt, 3);
}

#[test]
fn a_new_leader_does_not_wait_for_a_rest_of_the_former_one() {
    let mut play = play();
    let order = play.until_phase(Phase::Migrate);
    play.outcome(&order, failure(FailureKind::Transient));
    assert_eq!(play.orders(), vec![]);
    play.epoch = Epoch(2);
    play.upgrade.led_by(Epoch(2));
    play.millis = 0;
    play.hear(&[Input::Tick]);
    assert_eq!(play.orders().len(), 1);
}

#[test]
fn what_was_interrupted_is_tried_again_at_once() {
    let mut play = play();
    let order = play.until_phase(Phase::Migrate);
    play.outcome(&order, failure(FailureKind::Interrupted));
    assert_eq!(play.orders().len(), 1);
}

#[test]
fn a_person_who_retries_waits_for_no_rest() {
    let mut play = play();
    for _ in 1..=play.upgrade.plan().binding.limits.attempts {
        let order = play.until_phase(Phase::Migrate);
        play.outcome(&order, failure(FailureKind::Transient));
    }
    play.decide(1, Choice::Retry);
    assert!(!play.orders().is_empty());
}
