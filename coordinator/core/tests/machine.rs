//! The machine's promises, each a sentence.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking")]
#![allow(clippy::wildcard_enum_match_arm, reason = "a test looks for one variant")]

mod support;

use cutover_core::upgrade::{Ask, Input, Rejected, Upgrade, Want};
use cutover_vocabulary::fact::{Ending, Fact, Settlement};
use cutover_vocabulary::hold::{Choice, HoldReason};
use cutover_vocabulary::instance::{InstanceReport, Manager, RunState};
use cutover_vocabulary::outcome::*;
use cutover_vocabulary::phase::Border;
use cutover_vocabulary::storage::*;
use cutover_vocabulary::*;
use support::*;

fn play() -> Play {
    Play::start(Seen::default().plan())
}

#[test]
fn an_honest_upgrade_passes_every_stage_once_and_completes() {
    let mut play = play();
    play.until_end();
    assert_eq!(play.upgrade.ending(), Some(Ending::Completed));
    let stages: Vec<Phase> = play.upgrade.plan().binding.stages.iter().map(|stage| stage.phase).collect();
    assert_eq!(play.entered(), stages);
}

#[test]
fn replaying_the_facts_gives_the_same_upgrade() {
    let mut play = play();
    play.until_end();
    for length in 1..=play.facts.len() {
        let replayed = Upgrade::replay(play.upgrade.id().clone(), &play.facts[..length]).unwrap();
        assert_eq!(replayed.seq(), length as u64);
        if length == play.facts.len() {
            assert_eq!(replayed, play.upgrade);
        }
    }
}

#[test]
fn the_border_is_stored_before_any_order_behind_it_exists() {
    let mut play = play();
    play.until_end();
    for (border, phase) in [(Border::MigrateAuthorised, Phase::Migrate), (Border::OpenAuthorised, Phase::Open)] {
        let crossed = play.facts.iter().position(|r| r.fact == Fact::BorderCrossed { border }).unwrap();
        let ordered = play.facts.iter().position(|r| match &r.fact {
            Fact::AttemptOpened { order } => order.id.phase == phase,
            _ => false,
        });
        assert!(crossed < ordered.unwrap(), "{border}");
    }
}

#[test]
fn no_ledger_is_ordered_to_migrate_before_every_recovery_point_is_proved() {
    let mut play = play();
    let order = play.until_phase(Phase::Migrate);
    assert_eq!(order.id.step.subject, Subject::Storage, "the list comes before any ledger");
    let secured =
        play.facts.iter().filter(|r| matches!(&r.fact, Fact::StepSucceeded { evidence: Evidence::Secured(_), .. }));
    assert_eq!(secured.count(), 3, "two ledgers and the system store");
}

#[test]
fn a_ledger_is_upgraded_only_after_the_list_named_it() {
    let mut play = play();
    let register = play.until_phase(Phase::Migrate);
    let ledgers = vec![ledger("main")];
    play.outcome(&register, Outcome::Done(Evidence::Registered { ledgers }));
    let HoldReason::LedgersChanged { vanished, .. } = play.hold().reason else { panic!("{:?}", play.hold()) };
    assert_eq!(vanished, vec![ledger("shop")]);
    assert!(play.orders().is_empty(), "nothing is migrated meanwhile");
}

#[test]
fn a_killed_instance_is_held_not_passed_as_drained() {
    let mut play = play();
    let order = play.until_phase(Phase::Drain);
    play.outcome(&order, failure(FailureKind::Unclean));
    assert!(matches!(play.hold().reason, HoldReason::UncleanStop { .. }));
    assert!(play.orders().is_empty());
}

#[test]
fn connections_that_were_open_at_the_stop_are_held() {
    let mut play = play();
    let order = play.until_phase(Phase::Drain);
    let Evidence::Drained(mut proof) = honest(play.upgrade.plan(), &order, now(1).wall) else { panic!() };
    proof.connections = 3;
    play.outcome(&order, Outcome::Done(Evidence::Drained(proof)));
    assert!(matches!(play.hold().reason, HoldReason::UncleanStop { .. }));
}

#[test]
fn a_failure_before_the_migration_goes_back_by_itself() {
    let mut play = play();
    let order = play.until_phase(Phase::Secure);
    play.outcome(&order, failure(FailureKind::Failed));
    play.until_end();
    assert_eq!(play.upgrade.ending(), Some(Ending::Aborted));
    assert_eq!(play.entered().last(), Some(&Phase::Reopen));
    assert!(!play.upgrade.crossed(Border::MigrateAuthorised));
}

#[test]
fn a_failure_before_any_drain_ends_without_touching_an_instance() {
    let mut play = play();
    let order = play.until_phase(Phase::Rehearse);
    play.outcome(&order, failure(FailureKind::Failed));
    assert_eq!(play.upgrade.ending(), Some(Ending::Aborted));
    assert!(!play.entered().contains(&Phase::Reopen));
}

#[test]
fn a_failure_after_the_migration_was_authorised_waits_for_a_person() {
    for phase in [Phase::Migrate, Phase::Prove, Phase::Switch, Phase::StartClosed, Phase::Verify] {
        let mut play = play();
        let order = play.until_phase(phase);
        play.outcome(&order, failure(FailureKind::Failed));
        let hold = play.hold();
        assert!(hold.offers(Choice::Retry) && hold.offers(Choice::Rollback) && !hold.offers(Choice::Abort), "{phase}");
        play.ask(1, Ask::Decide { hold: hold.id, choice: Choice::Rollback, reason: "no".to_owned() });
        play.until_end();
        assert_eq!(play.upgrade.ending(), Some(Ending::RolledBack), "{phase}");
        assert!(play.entered().contains(&Phase::Restore), "{phase}");
    }
}

#[test]
fn a_transient_failure_is_tried_again_a_bounded_number_of_times() {
    let mut play = play();
    let attempts = play.upgrade.plan().binding.limits.attempts;
    let mut order = play.until_phase(Phase::Migrate);
    for attempt in 1..=attempts {
        assert_eq!(order.id.attempt, attempt);
        play.outcome(&order, failure(FailureKind::Transient));
        if attempt < attempts {
            order = play.until_phase(Phase::Migrate);
        }
    }
    assert!(matches!(play.hold().reason, HoldReason::StepFailed { .. }));
}

#[test]
fn losses_that_were_not_approved_are_held_before_any_migration() {
    let mut play = play();
    let order = play
        .until(|_, order| order.id.step.subject == Subject::Ledger(ledger("main")) && order.id.phase == Phase::Secure);
    let order = order.unwrap();
    let Evidence::Secured(mut point) = honest(play.upgrade.plan(), &order, now(1).wall) else { panic!() };
    point.losses = losses(1);
    play.outcome(&order, Outcome::Done(Evidence::Secured(point)));
    assert!(matches!(play.hold().reason, HoldReason::LossesChanged { approved: 0, now: 1, .. }));
    assert!(!play.upgrade.crossed(Border::MigrateAuthorised));
    let hold = play.hold().id;
    play.ask(1, Ask::Decide { hold, choice: Choice::Accept, reason: "fine".to_owned() });
    play.until_end();
    assert_eq!(play.upgrade.ending(), Some(Ending::Completed));
}

#[test]
fn a_third_kind_of_loss_is_held_and_rolls_back() {
    let mut play = play();
    let order = play.until_phase(Phase::Prove);
    let Evidence::Proved(mut proof) = honest(play.upgrade.plan(), &order, now(1).wall) else { panic!() };
    let difference = Difference {
        section: Section::Postings,
        row: "transaction 3".to_owned(),
        before: Some("100".to_owned()),
        after: Some("99".to_owned()),
        class: None,
    };
    proof.differences = vec![difference];
    proof.difference_count = 1;
    play.outcome(&order, Outcome::Done(Evidence::Proved(proof)));
    let hold = play.hold();
    assert!(matches!(hold.reason, HoldReason::UnexplainedDifferences { count: 1, .. }));
    play.ask(1, Ask::Decide { hold: hold.id, choice: Choice::Rollback, reason: "no".to_owned() });
    play.until_end();
    assert_eq!(play.upgrade.ending(), Some(Ending::RolledBack));
}

#[test]
fn another_digest_than_expected_is_held_even_if_no_difference_is_listed() {
    let mut play = play();
    let order = play.until_phase(Phase::Prove);
    let Evidence::Proved(mut proof) = honest(play.upgrade.plan(), &order, now(1).wall) else { panic!() };
    proof.digest = digest_of(&ledger("another"), 0);
    play.outcome(&order, Outcome::Done(Evidence::Proved(proof)));
    assert!(matches!(play.hold().reason, HoldReason::UnexplainedDifferences { .. }));
}

#[test]
fn a_stranger_on_the_storage_is_held_and_not_visible_is_not_quiet() {
    for blind in [false, true] {
        let mut play = play();
        let order = play.until(|_, order| matches!(order.work, Work::AttestStorage { .. })).unwrap();
        let Evidence::StorageAttested(mut attestation) = honest(play.upgrade.plan(), &order, now(1).wall) else {
            panic!()
        };
        if blind {
            attestation.not_visible = vec!["processes of other users".to_owned()];
        } else {
            let opener = Opener { pid: 99, command: "sqlite3".to_owned(), file: "numary_shop.db".to_owned() };
            attestation.openers = vec![opener];
        }
        play.outcome(&order, Outcome::Done(Evidence::StorageAttested(attestation)));
        assert!(matches!(play.hold().reason, HoldReason::Strangers { .. }));
        // Retry begins with a fresh look, of the members too.
        let hold = play.hold().id;
        play.ask(1, Ask::Decide { hold, choice: Choice::Retry, reason: "gone".to_owned() });
        play.until_end();
        assert_eq!(play.upgrade.ending(), Some(Ending::Completed));
    }
}

fn running_again(at: Timestamp) -> InstanceReport {
    InstanceReport {
        drift: Vec::new(),
        missing_guard: String::new(),
        instance: instance("a"),
        deployment: DeploymentName::new("prod").unwrap(),
        run: RunState::Running { pid: 8 },
        running: None,
        on_disk: None,
        fenced: true,
        fence: 1,
        manager: Manager::Process,
        observe_only: false,
        fenced_by: String::new(),
        at,
    }
}

#[test]
fn an_instance_seen_up_voids_its_proof_and_the_drain_begins_again() {
    let mut play = play();
    let order = play.until_phase(Phase::Secure);
    let report = running_again(now(play.millis + 1).wall);
    play.hear(&[Input::Observed { agent: agent("host-a"), report }]);
    let hold = play.hold();
    assert!(matches!(hold.reason, HoldReason::ProofVoided { .. }));
    // The order that is out must be settled first.
    let decision = play.ask(1, Ask::Decide { hold: hold.id, choice: Choice::Retry, reason: "stopped it".to_owned() });
    assert_eq!(decision.rejected, vec![Some(Rejected::OrdersOut(2))]);
    for (order, _) in play.orders() {
        let evidence = honest(play.upgrade.plan(), &order, now(play.millis).wall);
        play.outcome(&order, Outcome::Done(evidence));
    }
    play.ask(2, Ask::Decide { hold: hold.id, choice: Choice::Retry, reason: "stopped it".to_owned() });
    assert_eq!(play.upgrade.phase(), Some(Phase::Drain));
    // Recovery points from before are void: they are all taken again, by other orders.
    let again = play.until_phase(Phase::Secure);
    assert!(again.id.step.run > order.id.step.run);
    play.until_end();
    assert_eq!(play.upgrade.ending(), Some(Ending::Completed));
}

#[test]
fn an_older_report_voids_nothing() {
    let mut play = play();
    play.until_phase(Phase::Secure);
    play.hear(&[Input::Observed { agent: agent("host-a"), report: running_again(now(0).wall) }]);
    assert_eq!(play.upgrade.holds().count(), 0);
}

#[test]
fn a_report_of_another_agent_voids_nothing() {
    let mut play = play();
    play.until_phase(Phase::Secure);
    let report = running_again(now(play.millis + 1).wall);
    play.hear(&[Input::Observed { agent: agent("host-b"), report }]);
    assert_eq!(play.upgrade.holds().count(), 0);
}

#[test]
fn silence_settles_nothing_and_the_hold_lifts_when_the_agent_is_back() {
    let mut play = play();
    let order = play.until_phase(Phase::Drain);
    play.hear(&[
        Input::Silent { agent: agent("host-a"), heard: None },
        Input::Silent { agent: agent("host-a"), heard: None },
    ]);
    assert_eq!(play.upgrade.holds().count(), 1);
    assert_eq!(play.orders(), vec![(order, Want::Do)]);
    play.hear(&[Input::Heard { agent: agent("host-a") }]);
    assert_eq!(play.upgrade.holds().count(), 0);
    play.until_end();
    assert_eq!(play.upgrade.ending(), Some(Ending::Completed));
}

#[test]
fn a_deadline_asks_a_person_and_stops_nothing() {
    let mut play = play();
    let order = play.until_phase(Phase::Migrate);
    play.millis += Elapsed::from_secs(700).0;
    assert!(play.upgrade.wake_at().unwrap() <= Elapsed(play.millis));
    play.hear(&[Input::Tick]);
    assert!(matches!(play.hold().reason, HoldReason::Overdue { .. }));
    assert_eq!(play.orders(), vec![(order.clone(), Want::Do)]);
    let evidence = honest(play.upgrade.plan(), &order, now(play.millis).wall);
    play.outcome(&order, Outcome::Done(evidence));
    assert_eq!(play.upgrade.holds().count(), 0, "the answer lifts it");
}

#[test]
fn an_election_restarts_deadlines() {
    let mut play = play();
    play.until_phase(Phase::Migrate);
    play.epoch = order::Epoch(2);
    play.millis = Elapsed::from_secs(500).0;
    play.hear(&[Input::Tick]);
    assert_eq!(play.upgrade.holds().count(), 0);
}

#[test]
fn a_new_leader_sends_the_same_orders() {
    let mut play = play();
    play.until(|play, order| {
        let replayed = Upgrade::replay(play.upgrade.id().clone(), &play.facts).unwrap();
        let again: Vec<(Order, Want)> = replayed.orders().map(|(order, want)| (order.clone(), want)).collect();
        assert_eq!(again, play.orders(), "at {}", order.id);
        assert!(again.iter().all(|(order, _)| order.content() == order.clone().content()));
        false
    });
}

#[test]
fn abort_waits_until_every_order_is_settled() {
    let mut play = play();
    let order = play.until_phase(Phase::Secure);
    play.ask(1, Ask::Abort { reason: "not tonight".to_owned() });
    assert!(play.orders().iter().all(|(_, want)| *want == Want::Revoke));
    assert!(!play.entered().contains(&Phase::Reopen));
    for (order, _) in play.orders() {
        let settlement = Settlement::NeverBegun;
        play.hear(&[Input::Revoked { agent: order.agent.clone(), order: order.id.clone(), settlement }]);
    }
    play.until_end();
    assert_eq!(play.upgrade.ending(), Some(Ending::Aborted));
    // A late outcome of a withdrawn order is kept, once.
    let evidence = honest(play.upgrade.plan(), &order, now(1).wall);
    let late = Input::Outcome { agent: order.agent.clone(), order: order.id.clone(), outcome: Outcome::Done(evidence) };
    assert_eq!(play.hear(std::slice::from_ref(&late)).facts.len(), 1);
    assert_eq!(play.hear(&[late]).facts.len(), 0);
}

#[test]
fn abort_at_every_order_before_the_border_ends_aborted_and_rollback_after_it_ends_rolled_back() {
    let all = {
        let mut play = play();
        play.until_end();
        play.facts.iter().filter(|r| matches!(r.fact, Fact::AttemptOpened { .. })).count()
    };
    let mut seen = [0, 0, 0];
    for n in 0..all {
        let mut play = play();
        let answered = std::cell::Cell::new(0);
        let order = play.until(|_, _| {
            answered.set(answered.get() + 1);
            answered.get() > n
        });
        let Some(order) = order else { continue };
        let back = Ask::Rollback { reason: "test".to_owned() };
        let out = Ask::Abort { reason: "test".to_owned() };
        if play.upgrade.crossed(Border::OpenAuthorised) {
            assert_eq!(play.ask(1, out).rejected, vec![Some(Rejected::OpenedAlready)]);
            assert_eq!(play.ask(2, back).rejected, vec![Some(Rejected::OpenedAlready)]);
            seen[2] += 1;
        } else if play.upgrade.crossed(Border::MigrateAuthorised) {
            assert_eq!(play.ask(1, out).rejected, vec![Some(Rejected::MigratedAlready)]);
            assert_eq!(play.ask(2, back).rejected, vec![None]);
            play.until_end();
            assert_eq!(play.upgrade.ending(), Some(Ending::RolledBack), "{}", order.id);
            seen[1] += 1;
        } else {
            assert_eq!(play.ask(1, back).rejected, vec![Some(Rejected::NothingMigrated)]);
            assert_eq!(play.ask(2, out).rejected, vec![None]);
            play.until_end();
            assert_eq!(play.upgrade.ending(), Some(Ending::Aborted), "{}", order.id);
            seen[0] += 1;
        }
    }
    assert!(seen.iter().all(|n| *n > 0), "{seen:?}");
}

#[test]
fn only_what_an_order_may_have_changed_is_restored() {
    let mut play = play();
    // Register and `main` went out; `shop` never did, because both lanes are needed one after the other here.
    let order = play.until(|_, order| matches!(order.work, Work::Migrate { .. })).unwrap();
    let others: Vec<Order> = play.orders().into_iter().map(|(order, _)| order).collect();
    play.outcome(&order, failure(FailureKind::Failed));
    for other in others.iter().filter(|other| other.id != order.id) {
        play.outcome(other, failure(FailureKind::Failed));
    }
    let hold = play.hold().id;
    play.ask(1, Ask::Decide { hold, choice: Choice::Rollback, reason: "no".to_owned() });
    play.until_end();
    let restored = play
        .facts
        .iter()
        .filter(|r| matches!(&r.fact, Fact::AttemptOpened { order } if order.id.phase == Phase::Restore));
    assert_eq!(restored.count(), 1 + others.len(), "the system store and each ledger whose migration was ordered");
}

#[test]
fn pausing_opens_no_new_order_and_resuming_goes_on() {
    let mut play = play();
    let order = play.until_phase(Phase::Secure);
    play.ask(1, Ask::Pause { reason: String::new() });
    let out = play.orders().len();
    for (order, _) in play.orders() {
        let evidence = honest(play.upgrade.plan(), &order, now(play.millis).wall);
        play.outcome(&order, Outcome::Done(evidence));
    }
    assert!(out > 0 && play.orders().is_empty(), "{}", order.id);
    play.ask(2, Ask::Resume { reason: String::new() });
    play.until_end();
    assert_eq!(play.upgrade.ending(), Some(Ending::Completed));
}

#[test]
fn the_same_request_again_changes_nothing() {
    let mut play = play();
    assert_eq!(play.ask(1, Ask::Pause { reason: String::new() }).facts.len(), 1);
    let again = play.ask(1, Ask::Pause { reason: String::new() });
    assert!(again.facts.is_empty() && again.rejected == vec![None]);
}

#[test]
fn a_held_upgrade_that_is_paused_says_both() {
    let mut play = play();
    let order = play.until_phase(Phase::Drain);
    play.outcome(&order, failure(FailureKind::Unclean));
    assert!(!play.upgrade.status(now(play.millis)).paused);
    play.ask(1, Ask::Pause { reason: String::new() });
    let status = play.upgrade.status(now(play.millis));
    assert!(status.paused && status.state == status::State::Held, "{:?}", status.state);
}

#[test]
fn a_decision_names_an_open_hold_and_an_offered_choice() {
    let mut play = play();
    let order = play.until_phase(Phase::Drain);
    play.outcome(&order, failure(FailureKind::Unclean));
    let hold = play.hold();
    let decide = |hold, choice| Ask::Decide { hold, choice, reason: "x".to_owned() };
    assert_eq!(
        play.ask(1, decide(hold::HoldId(77), Choice::Accept)).rejected,
        vec![Some(Rejected::NoSuchHold(hold::HoldId(77)))]
    );
    assert!(matches!(play.ask(2, decide(hold.id, Choice::Rollback)).rejected[0], Some(Rejected::NotOffered { .. })));
    assert!(play.ask(3, decide(hold.id, Choice::Accept)).rejected[0].is_none());
    play.until_end();
    assert_eq!(play.upgrade.ending(), Some(Ending::Completed));
}

#[test]
fn a_takeover_by_a_person_freezes_the_upgrade_for_good() {
    let mut play = play();
    let order = play.until_phase(Phase::Migrate);
    play.hear(&[Input::TakenOver { agent: agent("host-a"), note: "I do it by hand".to_owned() }]);
    let hold = play.hold();
    play.ask(1, Ask::Decide { hold: hold.id, choice: Choice::Wait, reason: "ok".to_owned() });
    let evidence = honest(play.upgrade.plan(), &order, now(1).wall);
    play.outcome(&order, Outcome::Done(evidence));
    assert!(play.orders().is_empty());
    assert_eq!(play.upgrade.holds().count(), 1);
    assert!(play.ask(2, Ask::Rollback { reason: "x".to_owned() }).rejected[0].is_some());
}

#[test]
fn a_takeover_on_a_host_that_has_no_part_in_the_upgrade_changes_nothing() {
    let mut play = play();
    play.until_phase(Phase::Migrate);
    let decision = play.hear(&[Input::TakenOver { agent: agent("host-z"), note: "wrong house".to_owned() }]);
    assert_eq!((decision.facts, decision.rejected), (vec![], vec![Some(Rejected::Stranger(agent("host-z")))]));
    play.until_end();
    assert_eq!(play.upgrade.ending(), Some(Ending::Completed));
}

#[test]
fn duplicates_and_strangers_change_nothing() {
    let mut play = play();
    let order = play.until_phase(Phase::Drain);
    let evidence = honest(play.upgrade.plan(), &order, now(1).wall);
    let outcome = Outcome::Done(evidence);
    let stranger = Input::Outcome { agent: agent("host-z"), order: order.id.clone(), outcome: outcome.clone() };
    assert!(matches!(play.hear(&[stranger]).rejected[0], Some(Rejected::OtherAgent { .. })));
    let mut unknown = order.id.clone();
    unknown.attempt = 9;
    let unknown = Input::Outcome { agent: order.agent.clone(), order: unknown, outcome: outcome.clone() };
    assert!(matches!(play.hear(&[unknown]).rejected[0], Some(Rejected::UnknownOrder(_))));
    play.outcome(&order, outcome.clone());
    let before = play.facts.len();
    play.outcome(&order, outcome);
    assert_eq!(play.facts.len(), before);
}

#[test]
fn an_outcome_that_comes_again_is_known_whenever_it_comes_and_another_orders_never_is() {
    for (plan, back) in [(Seen::default().plan(), false), (Seen::default().plan(), true)] {
        let mut play = Play::start(plan);
        if back {
            play.until_phase(Phase::StartClosed);
            play.ask(1, Ask::Rollback { reason: "test".to_owned() });
        }
        play.until_end();
        let before = play.facts.len();
        let succeeded: Vec<(OrderId, Evidence)> = play
            .facts
            .iter()
            .filter_map(|recorded| match &recorded.fact {
                Fact::StepSucceeded { order, evidence } => Some((order.clone(), evidence.clone())),
                _ => None,
            })
            .collect();
        assert!(succeeded.len() > 15);
        for (id, evidence) in succeeded {
            let outcome = |order: OrderId| Input::Outcome {
                agent: agent("host-a"),
                order,
                outcome: Outcome::Done(evidence.clone()),
            };
            assert_eq!(play.hear(&[outcome(id.clone())]).rejected, [None], "{id} again");
            for other in [
                OrderId { attempt: id.attempt + 1, ..id.clone() },
                OrderId { upgrade: UpgradeId::new("other").unwrap(), ..id.clone() },
                OrderId { step: order::StepId { run: id.step.run + 9, ..id.step.clone() }, ..id.clone() },
            ] {
                let decision = play.hear(&[outcome(other)]);
                assert!(matches!(decision.rejected[..], [Some(Rejected::UnknownOrder(_))]), "{decision:?}");
            }
        }
        assert_eq!(play.facts.len(), before);
    }
}

#[test]
fn a_failed_start_of_the_closed_instance_never_opens() {
    let mut play = play();
    let order = play.until_phase(Phase::StartClosed);
    play.outcome(&order, failure(FailureKind::Failed));
    assert!(!play.upgrade.crossed(Border::OpenAuthorised));
    let hold = play.hold();
    play.ask(1, Ask::Decide { hold: hold.id, choice: Choice::Retry, reason: "again".to_owned() });
    assert_eq!(play.upgrade.phase(), Some(Phase::ConfirmDrained), "a retry begins with a fresh look");
    play.until_end();
    assert_eq!(play.upgrade.ending(), Some(Ending::Completed));
}

#[test]
fn a_failure_to_open_is_held_without_a_way_back() {
    let mut play = play();
    let order = play.until_phase(Phase::Open);
    play.outcome(&order, failure(FailureKind::Failed));
    let hold = play.hold();
    assert!(hold.offers(Choice::Retry) && !hold.offers(Choice::Rollback) && !hold.offers(Choice::Abort));
}

#[test]
fn storage_is_attested_after_all_members_and_the_barrier_waits_for_every_one() {
    let seen = Seen { instances: vec!["a", "b", "c"], ..Seen::default() };
    let mut play = Play::start(seen.plan_without_blocks());
    play.until_phase(Phase::ConfirmDrained);
    let mut attested = 0;
    while let Some((order, _)) = play.orders().first().cloned() {
        if matches!(order.work, Work::AttestStorage { .. }) {
            break;
        }
        assert_eq!(order.id.phase, Phase::ConfirmDrained);
        let evidence = honest(play.upgrade.plan(), &order, now(play.millis).wall);
        play.outcome(&order, Outcome::Done(evidence));
        attested += 1;
    }
    assert_eq!(attested, 3);
    play.until_end();
    assert_eq!(play.upgrade.ending(), Some(Ending::Completed));
}

#[test]
fn closing_comes_after_the_end_and_once() {
    let mut play = play();
    assert_eq!(play.ask(1, Ask::Close { reason: String::new() }).rejected, vec![Some(Rejected::NotEnded)]);
    play.until_end();
    assert_eq!(play.upgrade.status(now(play.millis)).closed, None);
    assert_eq!(play.ask(2, Ask::Close { reason: String::new() }).rejected, vec![None]);
    assert_eq!(play.upgrade.status(now(play.millis)).closed, Some(now(play.millis).wall));
    let again = play.ask(3, Ask::Close { reason: String::new() });
    assert!(again.facts.is_empty() && again.rejected == vec![None], "closing what is closed is no error");
}

#[test]
fn downtime_is_from_the_first_drain_until_the_first_instance_serves_again() {
    let mut play = Play::start(Seen::three().plan());
    play.until_phase(Phase::Drain);
    let drain = play.facts.iter().rfind(|fact| matches!(fact.fact, Fact::StageEntered { .. })).unwrap().at;
    let later = |millis: u64| Now { wall: Timestamp::from_millis(drain.as_millis() + millis as i64), ..now(0) };
    assert_eq!(play.upgrade.downtime(later(700)), Elapsed(700));
    assert!(!play.upgrade.opened());
    play.until_end();
    let opened = |fact: &&Recorded| matches!(fact.fact, Fact::StepSucceeded { evidence: Evidence::Opened { .. }, .. });
    let until = play.facts.iter().find(opened).unwrap().at;
    assert!(play.upgrade.opened());
    assert_eq!(play.upgrade.downtime(later(86_400_000)), drain.until(until));
    let mut aborted = Play::start(Seen::default().plan());
    aborted.ask(1, Ask::Abort { reason: "not today".to_owned() });
    aborted.until_end();
    assert_eq!(aborted.upgrade.downtime(later(700)), Elapsed(0));
}
