//! What an order may have changed, what is kept and restored of it; and how a person ends, pauses and turns an upgrade.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking")]
#![allow(clippy::wildcard_enum_match_arm, reason = "a test looks for one variant")]

mod support;

use cutover_core::upgrade::{Ask, Back, Input, Rejected, what_if};
use cutover_vocabulary::fact::Ending;
use cutover_vocabulary::hold::{Choice, HoldReason};
use cutover_vocabulary::instance::{InstanceReport, RunState};
use cutover_vocabulary::outcome::*;
use cutover_vocabulary::*;
use std::collections::BTreeMap;
use support::*;

fn play() -> Play {
    Play::start(Seen::default().plan())
}

// ---- what a migration may have changed

/// A migration is refused with nothing changed: somebody wrote since the recovery point was taken.
fn refused(play: &mut Play, name: &str) {
    let subject = Subject::Ledger(ledger(name));
    let order = play.until(|_, order| order.id.phase == Phase::Migrate && order.id.step.subject == subject).unwrap();
    let Work::Migrate { mark, .. } = &order.work else { panic!() };
    assert_eq!(mark.as_deref(), Some("log 17"), "the order carries what its recovery point saw");
    play.outcome(&order, without_effect(FailureKind::Refused));
}

fn subjects(play: &Play, phase: Phase) -> Vec<(Subject, u16)> {
    let of = |recorded: &Recorded| match &recorded.fact {
        fact::Fact::AttemptOpened { order } if order.id.phase == phase => {
            Some((order.id.step.subject.clone(), order.id.step.run))
        }
        _ => None,
    };
    play.facts.iter().filter_map(of).collect()
}

#[test]
fn a_migration_refused_for_a_write_is_tried_again_with_new_recovery_points_of_what_is_not_changed() {
    let mut play = play();
    refused(&mut play, "shop");
    // The other ledger's lane goes on to its end; then the retry can begin.
    play.settle();
    assert!(play.upgrade.crossed(phase::Border::MigrateAuthorised));
    play.decide(1, Choice::Retry);
    play.until_end();
    assert_eq!(play.upgrade.ending(), Some(Ending::Completed));
    let again: Vec<Subject> =
        subjects(&play, Phase::Secure).into_iter().filter(|(_, run)| *run == 2).map(|(subject, _)| subject).collect();
    assert_eq!(
        again,
        [Subject::Ledger(ledger("shop"))],
        "never of what is migrated: that is not what was there before"
    );
    let migrations = subjects(&play, Phase::Migrate).into_iter().filter(|(s, _)| *s == Subject::Ledger(ledger("shop")));
    assert_eq!(migrations.count(), 2);
}

#[test]
fn a_rollback_does_not_restore_over_what_was_written_into_a_ledger_that_no_order_changed() {
    let mut play = play();
    refused(&mut play, "shop");
    play.settle();
    play.decide(1, Choice::Rollback);
    play.until_end();
    assert_eq!(play.upgrade.ending(), Some(Ending::RolledBack));
    let restored: Vec<Subject> = subjects(&play, Phase::Restore).into_iter().map(|(subject, _)| subject).collect();
    assert_eq!(restored, [Subject::Ledger(ledger("main")), Subject::Storage]);
}

#[test]
fn a_failure_without_effect_forgives_no_earlier_attempt_whose_effect_is_not_known() {
    for last in [without_effect(FailureKind::Refused), failure(FailureKind::Failed)] {
        let mut play = play();
        let subject = Subject::Ledger(ledger("shop"));
        let wanted = |order: &Order| order.id.phase == Phase::Migrate && order.id.step.subject == subject;
        let first = play.until(|_, order| wanted(order)).unwrap();
        play.outcome(&first, failure(FailureKind::Interrupted));
        let second = play.orders().into_iter().map(|(order, _)| order).find(|order| wanted(order)).unwrap();
        assert_eq!(second.id.attempt, 2);
        play.outcome(&second, last);
        play.settle();
        play.decide(1, Choice::Rollback);
        play.until_end();
        let restored: Vec<Subject> = subjects(&play, Phase::Restore).into_iter().map(|(subject, _)| subject).collect();
        assert!(restored.contains(&subject), "the first attempt may have migrated it: {restored:?}");
    }
}

#[test]
fn a_migration_that_was_withdrawn_before_it_began_is_not_restored_and_a_late_answer_of_it_is() {
    for late in [false, true] {
        let mut play = play();
        let subject = Subject::Ledger(ledger("shop"));
        let order =
            play.until(|_, order| order.id.phase == Phase::Migrate && order.id.step.subject == subject).unwrap();
        play.ask(1, Ask::Rollback { reason: "no".to_owned() });
        let settlement = fact::Settlement::NeverBegun;
        play.hear(&[Input::Revoked { agent: order.agent.clone(), order: order.id.clone(), settlement }]);
        if late {
            let done = Outcome::Done(play.evidence(&order));
            play.outcome(&order, done);
        }
        play.until_end();
        let restored: Vec<Subject> = subjects(&play, Phase::Restore).into_iter().map(|(subject, _)| subject).collect();
        assert_eq!(restored.contains(&subject), late, "{restored:?}");
    }
}

/// An agent that lost its journal says of everything that it was never begun.
#[test]
fn a_ledger_that_is_seen_changed_is_restored_whatever_was_said_of_its_order() {
    let mut play = play();
    let subject = Subject::Ledger(ledger("shop"));
    let order = play.until(|_, order| order.id.phase == Phase::Migrate && order.id.step.subject == subject).unwrap();
    play.ask(1, Ask::Rollback { reason: "no".to_owned() });
    let settlement = fact::Settlement::NeverBegun;
    play.hear(&[Input::Revoked { agent: order.agent.clone(), order: order.id.clone(), settlement }]);
    let attest = play.until(|_, order| matches!(order.work, Work::AttestStorage { .. })).unwrap();
    let Evidence::StorageAttested(mut seen) = play.evidence(&attest) else { panic!() };
    seen.migrations = vec![(ledger("shop"), storage::Migrations(Some(vec![0, 1])))];
    play.outcome(&attest, Outcome::Done(Evidence::StorageAttested(seen)));
    play.until_end();
    let restored: Vec<Subject> = subjects(&play, Phase::Restore).into_iter().map(|(subject, _)| subject).collect();
    assert!(restored.contains(&subject), "{restored:?}");
}

#[test]
fn what_was_restored_is_not_restored_again_over_what_clients_wrote_since() {
    for phase in [Phase::SwitchBack, Phase::ConfirmDrained] {
        let mut play = play();
        play.until_phase(Phase::Prove);
        play.ask(1, Ask::Rollback { reason: "no".to_owned() });
        play.until(|play, order| order.id.phase == phase && play.entered().contains(&Phase::Restore)).unwrap();
        // Somebody lifted the fence and started the former version by hand.
        play.hear(&[Input::Observed {
            agent: agent("host-a"),
            report: InstanceReport {
                drift: Vec::new(),
                missing_guard: String::new(),
                fenced: false,
                ..report("a", RunState::Running { pid: 8 }, now(play.millis + 1).wall)
            },
        }]);
        play.settle();
        let hold = play.upgrade.holds().find(|hold| matches!(hold.reason, HoldReason::ProofVoided { .. })).unwrap();
        let retry = hold.choices.iter().find(|offer| offer.choice == Choice::Retry).unwrap();
        assert!(retry.cost.contains("not restored once more"), "{}", retry.cost);
        play.decide(2, Choice::Retry);
        assert_eq!(play.upgrade.phase(), Some(Phase::Drain));
        play.until_end();
        assert_eq!(play.upgrade.ending(), Some(Ending::RolledBack));
        let runs: Vec<u16> = subjects(&play, Phase::Restore).into_iter().map(|(_, run)| run).collect();
        assert_eq!(runs, [1, 1, 1], "{phase}: two ledgers and the system store, once");
    }
}

#[test]
fn a_restore_that_failed_is_tried_again() {
    let mut play = play();
    play.until_phase(Phase::Prove);
    play.ask(1, Ask::Rollback { reason: "no".to_owned() });
    let order = play.until_phase(Phase::Restore);
    play.outcome(&order, failure(FailureKind::Failed));
    play.settle();
    play.decide(2, Choice::Retry);
    let again = play.until_phase(Phase::Restore);
    assert_eq!(again.id.step.subject, order.id.step.subject);
    play.until_end();
    assert_eq!(play.upgrade.ending(), Some(Ending::RolledBack));
}

// ---- steering

#[test]
fn what_a_person_took_over_ends_when_a_person_closes_it_and_says_what_became_of_it() {
    let mut play = play();
    let order = play.until_phase(Phase::Migrate);
    let close = |reason: &str| Ask::Close { reason: reason.to_owned() };
    assert_eq!(play.ask(1, close("tired")).rejected, vec![Some(Rejected::NotEnded)]);
    play.hear(&[Input::TakenOver { agent: agent("host-a"), note: "I do it by hand".to_owned() }]);
    assert_eq!(play.ask(2, close(" ")).rejected, vec![Some(Rejected::NoReason)]);
    assert_eq!(play.ask(3, close("restored by hand, 1.3.1 serves")).rejected, vec![None]);
    assert_eq!(play.upgrade.ending(), Some(Ending::TakenOver));
    assert!(play.orders().is_empty() && play.upgrade.holds().count() == 0);
    // What its agent says of it afterwards is kept.
    let done = Outcome::Done(play.evidence(&order));
    assert_eq!(play.outcome(&order, done.clone()).facts.len(), 1);
    assert_eq!(play.outcome(&order, done).facts.len(), 0);
    assert_eq!(play.upgrade.ending(), Some(Ending::TakenOver));
}

#[test]
fn asking_to_go_back_resumes_a_paused_upgrade() {
    for (phase, ending) in [(Phase::Secure, Ending::Aborted), (Phase::Prove, Ending::RolledBack)] {
        let mut play = play();
        play.until_phase(phase);
        play.ask(1, Ask::Pause { reason: String::new() });
        play.settle();
        assert!(play.orders().is_empty());
        let reason = "no".to_owned();
        let (back, ask) = match ending {
            Ending::Aborted => (Back::Abort, Ask::Abort { reason }),
            _ => (Back::Rollback, Ask::Rollback { reason }),
        };
        let meant = what_if(&play.upgrade, back);
        assert!(meant.allowed && meant.meaning.contains("going back resumes it"), "{meant:?}");
        play.ask(2, ask);
        play.until_end();
        assert_eq!(play.upgrade.ending(), Some(ending));
    }
}

#[test]
fn a_held_upgrade_can_be_paused_and_says_that_it_is_both() {
    let mut play = play();
    let order = play.until_phase(Phase::Drain);
    play.outcome(&order, failure(FailureKind::Unclean));
    assert_eq!(play.ask(1, Ask::Pause { reason: String::new() }).rejected, vec![None]);
    let status = play.upgrade.status(now(play.millis));
    assert_eq!((status.state, status.paused), (status::State::Held, true));
    play.decide(2, Choice::Accept);
    assert_eq!(play.upgrade.status(now(play.millis)).state, status::State::Paused, "the answer lets nothing begin yet");
    play.ask(3, Ask::Resume { reason: String::new() });
    play.until_end();
    assert_eq!(play.upgrade.ending(), Some(Ending::Completed));
}

// ---- lanes

#[test]
fn a_ledger_that_migrates_says_for_how_long_and_how_long_its_copy_took() {
    let mut play = Play::start(Seen { ledgers: vec![("a", 0)], ..Seen::three() }.plan_without_blocks());
    let rehearse = play.until_phase(Phase::Rehearse);
    let took = vec![(ledger("a"), Elapsed::from_secs(40))];
    let rehearsal = Rehearsal { took, differences: Vec::new(), difference_count: 0, migrations: BTreeMap::new() };
    play.outcome(&rehearse, Outcome::Done(Evidence::Rehearsed(rehearsal)));
    let register = play.until_phase(Phase::Migrate);
    let at = |play: &Play, later: u64| play.upgrade.status(now(play.millis + later)).ledgers[0].clone();
    assert_eq!((at(&play, 0).migrating, at(&play, 0).rehearsed), (None, Some(Elapsed::from_secs(40))), "not yet");
    let registered = honest(play.upgrade.plan(), &register, now(play.millis).wall);
    play.outcome(&register, Outcome::Done(registered));
    let (first, later) = (at(&play, 0).migrating.unwrap(), at(&play, 7000).migrating.unwrap());
    assert_eq!(later.since(first), Elapsed::from_secs(7));
    play.until_phase(Phase::Prove);
    assert_eq!(at(&play, 0).migrating, None, "it is migrated");
    assert!(at(&play, 0).migrated.is_some());
}

#[test]
fn the_longest_ledger_begins_first_by_its_rehearsal_or_else_by_its_size() {
    for rehearsed in [false, true] {
        let mut plan =
            Seen { ledgers: vec![("a", 0), ("b", 0), ("c", 0), ("d", 0)], ..Seen::three() }.plan_without_blocks();
        for (survey, bytes) in plan.observed.ledgers.iter_mut().zip([1, 4, 2, 3]) {
            survey.bytes = bytes;
        }
        let mut play = Play::start(plan);
        let rehearse = play.until_phase(Phase::Rehearse);
        let took = |(name, seconds)| (ledger(name), Elapsed::from_secs(seconds));
        let took = if rehearsed { [("a", 40), ("b", 1), ("c", 30), ("d", 20)].map(took).to_vec() } else { Vec::new() };
        let rehearsal = Rehearsal { took, differences: Vec::new(), difference_count: 0, migrations: BTreeMap::new() };
        play.outcome(&rehearse, Outcome::Done(Evidence::Rehearsed(rehearsal)));
        play.until_phase(Phase::Prove);
        play.ask(1, Ask::Rollback { reason: "no".to_owned() });
        play.until_end();
        let wanted = if rehearsed { ["a", "c", "d", "b"] } else { ["b", "d", "c", "a"] };
        for phase in [Phase::Secure, Phase::Migrate, Phase::Restore] {
            let order: Vec<Subject> = subjects(&play, phase).into_iter().map(|(subject, _)| subject).collect();
            let ledgers = order.iter().filter(|subject| **subject != Subject::Storage).cloned();
            assert_eq!(ledgers.collect::<Vec<_>>(), wanted.map(|name| Subject::Ledger(ledger(name))), "{phase}");
        }
        let most = play.upgrade.plan().binding.limits.lanes;
        assert_eq!(most, 2, "two side by side");
    }
}
