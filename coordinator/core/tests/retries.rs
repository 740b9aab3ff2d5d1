//! What a decision does: it tries again what its words say, from where it must begin, and nothing else.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking")]
#![allow(clippy::wildcard_enum_match_arm, reason = "a test looks for one variant")]

mod support;

use cutover_core::plan;
use cutover_core::upgrade::{Ask, Decision, Input, Want};
use cutover_vocabulary::fact::Ending;
use cutover_vocabulary::hold::{Choice, HoldReason};
use cutover_vocabulary::instance::{InstanceReport, Manager, RunState};
use cutover_vocabulary::outcome::*;
use cutover_vocabulary::storage::*;
use cutover_vocabulary::*;
use std::collections::BTreeMap;
use support::*;

fn play() -> Play {
    Play::start(Seen::default().plan())
}

fn decide(play: &mut Play, n: u32, choice: Choice) -> Decision {
    let hold = play.hold().id;
    play.ask(n, Ask::Decide { hold, choice, reason: "seen to".to_owned() })
}

fn evidence(play: &Play, order: &Order) -> Evidence {
    honest(play.upgrade.plan(), order, now(play.millis).wall)
}

/// Answers what is out honestly.
fn settle(play: &mut Play) {
    for (order, _) in play.orders() {
        let evidence = evidence(play, &order);
        play.outcome(&order, Outcome::Done(evidence));
    }
}

fn runs(at: Timestamp, fenced: bool) -> InstanceReport {
    InstanceReport {
        drift: Vec::new(),
        missing_guard: String::new(),
        instance: instance("a"),
        deployment: DeploymentName::new("prod").unwrap(),
        run: RunState::Running { pid: 8 },
        running: None,
        on_disk: None,
        fenced,
        fence: 1,
        manager: Manager::Process,
        observe_only: false,
        fenced_by: String::new(),
        at,
    }
}

/// Somebody has the storage open in the round of attestations that stands right before `phase`.
fn stranger_before(play: &mut Play, phase: Phase) {
    let stages: Vec<Phase> = play.upgrade.plan().binding.stages.iter().map(|stage| stage.phase).collect();
    let round = stages.iter().position(|stage| *stage == phase).unwrap() - 1;
    let order = play
        .until(|_, order| matches!(order.work, Work::AttestStorage { .. }) && usize::from(order.id.step.stage) == round)
        .unwrap();
    let Evidence::StorageAttested(mut attestation) = evidence(play, &order) else { panic!() };
    attestation.openers = vec![Opener { pid: 99, command: "numary".to_owned(), file: "numary_shop.db".to_owned() }];
    play.outcome(&order, Outcome::Done(Evidence::StorageAttested(attestation)));
    assert!(matches!(play.hold().reason, HoldReason::Strangers { .. }));
}

#[test]
fn after_a_stranger_was_on_the_storage_no_recovery_point_from_before_counts() {
    let mut play = play();
    stranger_before(&mut play, Phase::Migrate);
    decide(&mut play, 1, Choice::Retry);
    let order = play.until(|_, order| matches!(order.id.phase, Phase::Secure | Phase::Migrate)).unwrap();
    assert_eq!((order.id.phase, order.id.step.run), (Phase::Secure, 2), "what it wrote is in no recovery point");
    play.until_end();
    assert_eq!(play.upgrade.ending(), Some(Ending::Completed));
}

#[test]
fn after_a_stranger_was_on_the_migrated_storage_every_ledger_is_proved_again() {
    for phase in [Phase::StartClosed, Phase::Open] {
        let mut play = play();
        stranger_before(&mut play, phase);
        decide(&mut play, 1, Choice::Retry);
        let order = play.until(|_, order| matches!(order.id.phase, Phase::Prove | Phase::Open)).unwrap();
        assert_eq!((order.id.phase, order.id.step.run), (Phase::Prove, 2), "{phase}");
        play.until_end();
        assert_eq!(play.upgrade.ending(), Some(Ending::Completed));
    }
}

#[test]
fn after_an_instance_ran_on_the_migrated_storage_every_ledger_is_proved_again() {
    for phase in [Phase::Prove, Phase::Switch, Phase::StartClosed, Phase::Verify] {
        let mut play = play();
        play.until_phase(phase);
        let report = runs(now(play.millis + 1).wall, true);
        play.hear(&[Input::Observed { agent: agent("host-a"), report }]);
        settle(&mut play);
        decide(&mut play, 1, Choice::Retry);
        assert_eq!(play.upgrade.phase(), Some(Phase::ConfirmDrained), "{phase}: a fresh look");
        let order = play.until(|_, order| matches!(order.id.phase, Phase::Prove | Phase::Open)).unwrap();
        assert_eq!(order.id.phase, Phase::Prove, "{phase}");
        play.until_end();
        assert_eq!(play.upgrade.ending(), Some(Ending::Completed));
    }
}

/// The order that failed may have lifted the fence and let clients in: a round of attestations would find the instance
/// running, and on the way back the drain and the restore that follow from that would undo what clients wrote.
#[test]
fn an_opening_that_failed_is_tried_again_as_it_is_in_either_direction() {
    for back in [false, true] {
        let mut play = play();
        if back {
            play.until_phase(Phase::StartClosed);
            play.ask(1, Ask::Rollback { reason: "no".to_owned() });
        }
        let phase = if back { Phase::Reopen } else { Phase::Open };
        let order = play.until_phase(phase);
        play.outcome(&order, failure(FailureKind::TimedOut));
        play.hear(&[Input::Observed { agent: agent("host-a"), report: runs(now(play.millis + 1).wall, false) }]);
        decide(&mut play, 2, Choice::Retry);
        let again: Vec<Order> = play.orders().into_iter().map(|(order, _)| order).collect();
        assert!(matches!(&again[..], [order] if order.id.phase == phase), "{:?}", play.kinds());
        play.hear(&[Input::Observed { agent: agent("host-a"), report: runs(now(play.millis + 1).wall, false) }]);
        play.until_end();
        assert_eq!(play.upgrade.ending(), Some(if back { Ending::RolledBack } else { Ending::Completed }));
        let restores = play.entered().into_iter().filter(|entered| *entered == Phase::Restore).count();
        assert_eq!(restores, usize::from(back));
    }
}

#[test]
fn a_failed_verification_is_tried_again_with_another_closed_copy() {
    let mut play = play();
    let order = play.until_phase(Phase::Verify);
    // Whatever the agent saw, it has ended the copy.
    play.outcome(&order, failure(FailureKind::Failed));
    decide(&mut play, 1, Choice::Retry);
    let order = play.until(|_, order| matches!(order.id.phase, Phase::StartClosed | Phase::Verify)).unwrap();
    assert_eq!(order.id.phase, Phase::StartClosed);
    play.until_end();
    assert_eq!(play.upgrade.ending(), Some(Ending::Completed));
}

fn rehearsal_differs(play: &mut Play) {
    let order = play.until_phase(Phase::Rehearse);
    let difference = Difference {
        section: Section::Postings,
        row: "7".to_owned(),
        before: Some("x".to_owned()),
        after: None,
        class: None,
    };
    let rehearsal = Rehearsal {
        took: Vec::new(),
        differences: vec![(ledger("shop"), difference)],
        difference_count: 1,
        migrations: BTreeMap::new(),
    };
    play.outcome(&order, Outcome::Done(Evidence::Rehearsed(rehearsal)));
}

#[test]
fn a_rehearsal_that_showed_differences_is_repeated_on_retry_and_done_with_on_accept() {
    let mut play = play();
    rehearsal_differs(&mut play);
    decide(&mut play, 1, Choice::Retry);
    let again: Vec<(Phase, u16)> = play.orders().iter().map(|(order, _)| (order.id.phase, order.id.attempt)).collect();
    assert_eq!(again, [(Phase::Rehearse, 2)], "nothing was out and nothing was held: it stood still for ever");
    rehearsal_differs(&mut play);
    decide(&mut play, 2, Choice::Accept);
    assert_eq!(play.upgrade.phase(), Some(Phase::Drain));
    play.until_end();
    assert_eq!(play.upgrade.ending(), Some(Ending::Completed));
}

#[test]
fn a_stage_that_begins_again_takes_the_questions_of_its_last_run_with_it() {
    let mut play = play();
    // One ledger would lose other rows than were approved, and meanwhile the instance runs again.
    let order = play
        .until(|_, order| matches!(&order.work, Work::Secure { item: RecoveryItem::Ledger(name), .. } if *name == ledger("shop")))
        .unwrap();
    let Evidence::Secured(mut point) = evidence(&play, &order) else { panic!() };
    point.losses = losses(5);
    play.outcome(&order, Outcome::Done(Evidence::Secured(point)));
    let losses_changed = play.hold();
    assert!(matches!(losses_changed.reason, HoldReason::LossesChanged { .. }));
    play.hear(&[Input::Observed { agent: agent("host-a"), report: runs(now(play.millis + 1).wall, true) }]);
    settle(&mut play);
    let voided = play.upgrade.holds().find(|hold| matches!(hold.reason, HoldReason::ProofVoided { .. })).unwrap().id;
    play.ask(1, Ask::Decide { hold: voided, choice: Choice::Retry, reason: "stopped it".to_owned() });
    // The old question is about a point that is void; an answer to it must not pass for a step of the drain.
    let late = Ask::Decide { hold: losses_changed.id, choice: Choice::Accept, reason: "lose them".to_owned() };
    assert!(play.ask(2, late).rejected[0].is_some());
    let drain: Vec<(Order, Want)> = play.orders();
    assert!(matches!(&drain[..], [(order, Want::Do)] if order.id.phase == Phase::Drain), "{:?}", play.kinds());
    settle(&mut play);
    assert_eq!(play.upgrade.phase(), Some(Phase::ConfirmDrained));
    play.until_end();
    assert_eq!(play.upgrade.ending(), Some(Ending::Completed));
}

/// Whoever was up beside the migrated storage may have written to it: only another proof tells.
#[test]
fn a_question_about_a_voided_proof_outlasts_a_stage_that_begins_again_behind_where_it_leads() {
    let mut play = play();
    let verify = play.until_phase(Phase::Verify);
    play.outcome(&verify, failure(FailureKind::Failed));
    play.hear(&[Input::Observed { agent: agent("host-a"), report: runs(now(play.millis + 1).wall, true) }]);
    let voided = |play: &Play| {
        play.upgrade.holds().find(|hold| matches!(hold.reason, HoldReason::ProofVoided { .. })).map(|hold| hold.id)
    };
    assert!(voided(&play).is_some(), "{:?}", play.kinds());
    decide(&mut play, 1, Choice::Retry);
    settle(&mut play);
    let voided = voided(&play).expect("it is still open");
    play.ask(2, Ask::Decide { hold: voided, choice: Choice::Retry, reason: "stopped it".to_owned() });
    play.until_end();
    assert_eq!(play.upgrade.ending(), Some(Ending::Completed), "{:?}", play.kinds());
    let proved = play.entered().into_iter().filter(|phase| *phase == Phase::Prove).count();
    assert_eq!(proved, 2, "{:?}", play.kinds());
}

#[test]
fn a_way_back_is_offered_without_loss_only_while_nobody_was_seen_who_may_have_written() {
    for somebody in [false, true] {
        let mut play = play();
        play.until_phase(Phase::Switch);
        if somebody {
            play.hear(&[Input::Observed { agent: agent("host-a"), report: runs(now(play.millis + 1).wall, true) }]);
            settle(&mut play);
            decide(&mut play, 1, Choice::Retry);
        }
        let proved = |play: &Play| play.entered().iter().filter(|phase| **phase == Phase::Prove).count();
        let runs = proved(&play);
        let order = play
            .until(|play, order| proved(play) == if somebody { 2 } else { runs } && order.id.phase == Phase::Switch);
        play.outcome(&order.unwrap(), failure(FailureKind::Failed));
        let offer = play.hold().choices.into_iter().find(|offer| offer.choice == Choice::Rollback).unwrap();
        assert_eq!(offer.cost.contains("no acknowledged write is lost"), !somebody, "{}", offer.cost);
        assert_eq!(offer.cost.contains("moves aside"), somebody, "{}", offer.cost);
    }
}

/// Nobody saw what ran in between: its agent was not linked.
#[test]
fn a_fence_that_was_lifted_and_set_again_voids_the_proof_and_what_was_proved_of_the_storage() {
    let mut play = play();
    play.until(|play, order| order.work == Work::Attest && play.entered().contains(&Phase::Switch)).unwrap();
    let mut asked = 0;
    while let Some(attest) = play.until(|_, order| order.work == Work::Attest) {
        let Evidence::Drained(mut proof) = evidence(&play, &attest) else { panic!() };
        proof.fence += 1;
        play.outcome(&attest, Outcome::Done(Evidence::Drained(proof)));
        if play.upgrade.holds().next().is_some() {
            assert!(matches!(play.hold().reason, HoldReason::ProofVoided { .. }), "{:?}", play.hold());
            asked += 1;
            decide(&mut play, asked, Choice::Retry);
        }
    }
    assert_eq!((asked, play.upgrade.ending()), (1, Some(Ending::Completed)), "{:?}", play.kinds());
    let proved = play.entered().into_iter().filter(|phase| *phase == Phase::Prove).count();
    assert_eq!(proved, 2, "{:?}", play.kinds());
}

#[test]
fn a_failure_does_not_turn_back_what_a_person_took_over() {
    let mut play = play();
    let order = play.until_phase(Phase::Secure);
    play.hear(&[Input::TakenOver { agent: agent("host-a"), note: "I do it by hand".to_owned() }]);
    play.outcome(&order, failure(FailureKind::Failed));
    assert!(!play.upgrade.going_back(), "{:?}", play.kinds());
    assert!(play.upgrade.holds().any(|hold| matches!(hold.reason, HoldReason::TakenOver { .. })));
}

#[test]
fn a_decision_that_is_refused_leaves_its_hold_open() {
    let mut play = play();
    let order = play.until_phase(Phase::Migrate);
    play.outcome(&order, failure(FailureKind::Failed));
    let failed = play.hold().id;
    play.hear(&[Input::TakenOver { agent: agent("host-a"), note: "I do it by hand".to_owned() }]);
    let before = play.facts.len();
    let back = Ask::Decide { hold: failed, choice: Choice::Rollback, reason: "back".to_owned() };
    assert!(play.ask(1, back).rejected[0].is_some());
    assert_eq!(play.facts.len(), before, "what was refused stored nothing");
}

#[test]
fn a_lifted_fence_voids_a_proof_whatever_the_hosts_clock_says() {
    let mut play = play();
    play.until_phase(Phase::Secure);
    // The host's clock was set back: the report says that it is older than the proof, and its fence says that it is not.
    play.hear(&[Input::Observed { agent: agent("host-a"), report: runs(now(0).wall, false) }]);
    assert!(matches!(play.hold().reason, HoldReason::ProofVoided { .. }));
}

/// A recovery point of it would hold what the former release cannot run on.
#[test]
fn a_ledger_that_somebody_migrated_since_the_plan_is_no_recovery_point_and_nobody_can_accept_it() {
    let mut play = play();
    let order = play.until_phase(Phase::Secure);
    let Evidence::Secured(mut point) = evidence(&play, &order) else { panic!() };
    assert_eq!(point.item, RecoveryItem::Ledger(ledger("main")), "the first of its items");
    point.migrations = Migrations(Some(vec![0, 1]));
    play.outcome(&order, Outcome::Done(Evidence::Secured(point)));
    settle(&mut play);
    let hold = play.hold();
    let HoldReason::PlanDrifted { changes } = &hold.reason else { panic!("{hold:?}") };
    assert_eq!(
        changes,
        &["ledger main records migrations 0 1 now, and what runs here knows 0: somebody migrated it since the plan was made"
            .to_owned()]
    );
    assert!(hold.offers(Choice::Abort) && !hold.offers(Choice::Accept), "{:?}", hold.choices);
    assert!(!play.entered().contains(&Phase::Migrate));
}

/// As a nightly job does that asks a ledger which nobody has asked since the last update of the present release.
#[test]
fn what_the_present_release_adds_to_a_ledger_at_its_first_request_is_no_drift() {
    let seen = Seen { from: NEW, migrations: vec![0], ..Seen::three() };
    let plan = seen.plan_for(&plan::PlanAsk { target: version((1, 6, 1)), ..ask() });
    let known = &plan.binding.before[&ledger("main")];
    assert_eq!(known, &Migrations(Some((0..=6).collect())), "1.4.6 knows 0 to 6 on PostgreSQL");
    let mut play = Play::start(plan);
    let order = play.until_phase(Phase::Secure);
    let Evidence::Secured(mut point) = evidence(&play, &order) else { panic!() };
    point.migrations = Migrations(Some((0..=6).collect()));
    play.outcome(&order, Outcome::Done(Evidence::Secured(point)));
    assert_eq!(play.upgrade.holds().count(), 0, "{:?}", play.kinds());
}

#[test]
fn losses_that_changed_are_looked_at_again_in_new_recovery_points_however_many_ledgers_they_are_in() {
    let mut play = play();
    play.until_phase(Phase::Secure);
    for (order, _) in play.orders() {
        let Evidence::Secured(mut point) = evidence(&play, &order) else { panic!() };
        point.losses = losses(5);
        play.outcome(&order, Outcome::Done(Evidence::Secured(point)));
    }
    settle(&mut play);
    assert_eq!(play.upgrade.holds().count(), 2);
    decide(&mut play, 1, Choice::Retry);
    let order = play.until_phase(Phase::Secure);
    assert_eq!((order.id.step.run, play.upgrade.holds().count()), (2, 0));
    play.until_end();
    assert_eq!(play.upgrade.ending(), Some(Ending::Completed));
}
