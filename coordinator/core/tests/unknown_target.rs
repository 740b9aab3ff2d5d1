//! Targets of which nothing is known: what a copy recorded when it was rehearsed is what a ledger must record.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking")]
#![allow(clippy::wildcard_enum_match_arm, reason = "a test looks for one variant")]

mod support;

use cutover_core::plan::may_start;
use cutover_vocabulary::fact::{Ending, Fact};
use cutover_vocabulary::hold::HoldReason;
use cutover_vocabulary::outcome::*;
use cutover_vocabulary::plan::{Plan, Strategy};
use cutover_vocabulary::storage::{Migrations, RecoveryItem};
use cutover_vocabulary::*;
use support::*;

/// Three instances at 1.4.6, to a release that nobody has heard of; its binary has storage commands, or none.
fn plan(storage_commands: bool) -> Plan {
    Seen::three_at((1, 4, 6), 6).plan_to((1, 4, 99), Some(storage_commands), ask())
}

#[test]
fn it_needs_approval_goes_with_downtime_and_says_what_its_binary_said() {
    for commands in [true, false] {
        let plan = plan(commands);
        assert!(plan.binding.unknown_target && plan.binding.first_start != commands);
        assert_eq!(plan.binding.strategy, Strategy::Downtime);
        assert_eq!(plan.level(), Some(finding::Level::Approve), "{:#?}", plan.observed.findings);
        assert!(may_start(&plan, &plan, None).is_err(), "not without approval");
    }
}

#[test]
fn a_ledger_must_record_what_its_copy_recorded_and_one_migrates_at_a_time() {
    let mut play = Play::start(plan(true));
    play.until_end();
    assert_eq!(play.upgrade.ending(), Some(Ending::Completed));
    let wanted = Migrations(Some((0..=6).chain([77]).collect()));
    let orders: Vec<&Order> = play
        .facts
        .iter()
        .filter_map(|recorded| match &recorded.fact {
            Fact::AttemptOpened { order } => Some(&**order),
            _ => None,
        })
        .collect();
    let expected: Vec<&Migrations> = orders
        .iter()
        .filter_map(|order| match &order.work {
            Work::Migrate { expected, .. } | Work::Prove { expected, .. } => Some(expected),
            _ => None,
        })
        .collect();
    assert_eq!(expected, [&wanted; 4], "two ledgers, migrated and proved");

    let mut play = Play::start(plan(true));
    play.until_phase(Phase::Migrate);
    let register = play.orders()[0].0.clone();
    let evidence = play.evidence(&register);
    play.outcome(&register, Outcome::Done(evidence));
    assert_eq!(play.orders().len(), 1, "how two of it get on was never measured");
}

#[test]
fn a_copy_that_lost_a_migration_or_tells_none_holds_before_anything_is_stopped() {
    for (recorded, says) in [(Some(vec![0, 1, 2]), "the ledger had"), (None, "records no migrations")] {
        let mut play = Play::start(plan(true));
        let order = play.until_phase(Phase::Rehearse);
        let Evidence::Rehearsed(mut rehearsal) = play.evidence(&order) else { panic!("{order:?}") };
        rehearsal.migrations.insert(ledger("shop"), Migrations(recorded));
        play.outcome(&order, Outcome::Done(Evidence::Rehearsed(rehearsal)));
        held(&play, says);
    }
    let mut play = Play::start(plan(true));
    let order = play.until_phase(Phase::Rehearse);
    let Evidence::Rehearsed(mut rehearsal) = play.evidence(&order) else { panic!("{order:?}") };
    rehearsal.migrations.remove(&ledger("shop"));
    play.outcome(&order, Outcome::Done(Evidence::Rehearsed(rehearsal)));
    held(&play, "nothing tells");
    let hold = play.hold();
    assert!(hold.offers(hold::Choice::Retry) && !hold.offers(hold::Choice::Accept), "{hold:?}");
    play.decide(1, hold::Choice::Retry);
    play.until_end();
    assert_eq!(play.upgrade.ending(), Some(Ending::Completed), "a rehearsal that is made again is judged again");
}

#[test]
fn without_commands_whatever_is_in_its_reach_is_restored_on_the_way_back() {
    let mut play = Play::start(plan(false));
    let first = play.until_phase(Phase::Migrate);
    play.outcome(&first, failure(FailureKind::Failed));
    play.decide(1, hold::Choice::Rollback);
    play.until_end();
    assert_eq!(play.upgrade.ending(), Some(Ending::RolledBack));
    let restores = play.facts.iter().filter(|recorded| match &recorded.fact {
        Fact::AttemptOpened { order } => matches!(order.work, Work::Restore { first_start: true, .. }),
        _ => false,
    });
    assert_eq!(restores.count(), 3, "two ledgers and the system store, though one ledger was ordered");
}

#[test]
fn a_failed_migration_is_restored_although_its_agent_says_that_it_changed_nothing() {
    let restores = |plan: Plan| {
        let mut play = Play::start(plan);
        let migrates = |order: &Order| matches!(order.work, Work::Migrate { .. });
        let first = play.until(|_, order| migrates(order)).unwrap();
        play.outcome(&first, without_effect(FailureKind::Failed));
        play.decide(1, hold::Choice::Rollback);
        play.until_end();
        assert_eq!(play.upgrade.ending(), Some(Ending::RolledBack));
        let restored = |order: &Order| matches!(&order.work, Work::Restore { point, .. } if RecoveryItem::of(&first.id.step.subject).as_ref() == Some(&point.item));
        play.facts.iter().any(|recorded| matches!(&recorded.fact, Fact::AttemptOpened { order } if restored(order)))
    };
    assert!(restores(plan(true)), "of this release nobody knows that a migration is one transaction");
    assert!(!restores(Seen::three_at((1, 4, 6), 6).plan()), "of a known one it is measured");
}

#[test]
fn a_migration_that_was_refused_before_it_began_is_restored_by_nothing_and_retried_from_a_fresh_recovery_point() {
    let refused = || {
        let mut play = Play::start(plan(true));
        let first = play.until(|_, order| matches!(order.work, Work::Migrate { .. })).unwrap();
        play.outcome(&first, without_effect(FailureKind::Refused));
        play
    };
    let mut play = refused();
    play.decide(1, hold::Choice::Rollback);
    play.until_end();
    let restores = |recorded: &&fact::Recorded| matches!(&recorded.fact, Fact::AttemptOpened { order } if matches!(order.work, Work::Restore { .. }));
    assert_eq!(play.facts.iter().filter(restores).count(), 1, "of what was registered alone");
    let mut play = refused();
    let before = play.facts.len();
    play.decide(1, hold::Choice::Retry);
    play.until_end();
    let secured = |recorded: &fact::Recorded| matches!(&recorded.fact, Fact::AttemptOpened { order } if order.id.phase == Phase::Secure);
    assert!(play.facts[before..].iter().any(secured), "somebody wrote after the recovery point: it is taken anew");
}

fn held(play: &Play, says: &str) {
    let HoldReason::Inconsistent { ledger: of, what } = play.hold().reason else { panic!("{:?}", play.hold()) };
    assert_eq!(of, ledger("shop"));
    assert!(what[0].contains(says), "{what:?}");
    assert!(!play.entered().contains(&Phase::Drain));
}
