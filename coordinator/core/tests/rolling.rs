//! Rolling: one wave after the other, a canary first; who does not move serves all the while.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking")]
#![allow(clippy::wildcard_enum_match_arm, reason = "a test looks for one variant")]

mod support;

use cutover_core::plan::{PlanAsk, StrategyAsk};
use cutover_core::upgrade::{Ask, Back, Input, what_if};
use cutover_vocabulary::fact::{Ending, Fact};
use cutover_vocabulary::hold::{Choice, HoldReason};
use cutover_vocabulary::instance::RunState;
use cutover_vocabulary::outcome::*;
use cutover_vocabulary::phase::Border;
use cutover_vocabulary::plan::{Limits, Plan};
use cutover_vocabulary::*;
use support::*;

const NAMES: [&str; 3] = ["a", "b", "c"];

fn rolling(limits: Limits) -> PlanAsk {
    PlanAsk { strategy: StrategyAsk::Rolling, limits, ..ask() }
}

/// 1.4.0 to 1.4.6: nothing is migrated.
fn plain() -> Plan {
    let plan = Seen::three_at((1, 4, 0), 6).plan_for(&rolling(Limits::default()));
    assert!(plan.findings(finding::Level::Block).next().is_none(), "{:#?}", plan.observed.findings);
    plan
}

/// 1.4.6 to 1.7.3: migrations 7 to 10 first.
fn migrating() -> Plan {
    let plan = Seen::three_at((1, 4, 6), 6).plan_to((1, 7, 3), None, rolling(Limits::default()));
    assert!(plan.findings(finding::Level::Block).next().is_none(), "{:#?}", plan.observed.findings);
    plan
}

/// Which instances are down after each fact, from the first drain on.
fn down_over_time(play: &Play) -> Vec<Vec<String>> {
    let mut down = std::collections::BTreeSet::new();
    let mut all = Vec::new();
    for recorded in &play.facts {
        let (Fact::AttemptOpened { order }, drains) = (&recorded.fact, true) else {
            if let Fact::StepSucceeded { order, evidence: Evidence::Opened { .. } } = &recorded.fact {
                down.remove(&order.step.subject.to_string());
            }
            continue;
        };
        if matches!(order.work, Work::Drain { .. }) && drains {
            down.insert(order.id.step.subject.to_string());
            all.push(down.iter().cloned().collect());
        }
    }
    all
}

fn until_bake(play: &mut Play, wave: u16) -> Vec<Order> {
    let reached = |play: &Play, order: &Order| {
        let stage = play.upgrade.plan().binding.stages[usize::from(order.id.step.stage)];
        stage.phase == Phase::Bake && stage.wave == Some(wave)
    };
    play.until(reached).unwrap_or_else(|| panic!("never baked: {:?}", play.kinds()));
    play.orders().into_iter().map(|(order, _)| order).collect()
}

fn of<'a>(orders: &'a [Order], name: &str) -> &'a Order {
    orders.iter().find(|order| order.id.step.subject == Subject::Instance(instance(name))).unwrap()
}

#[test]
fn instances_move_one_wave_after_the_other_and_none_is_down_beside_another_wave() {
    let mut play = Play::start(plain());
    play.until_end();
    assert_eq!(play.upgrade.ending(), Some(Ending::Completed), "{:?}", play.kinds());
    assert_eq!(down_over_time(&play), [["instance a"], ["instance b"], ["instance c"]]);
    let status = play.upgrade.status(now(play.millis));
    for instance in status.instances {
        assert_eq!(instance.up.map(|(_, version)| version), Some(version(NEW)), "{}", instance.name);
    }
    let touches = |phase: &Phase| matches!(phase, Phase::Secure | Phase::Migrate | Phase::Prove | Phase::Restore);
    assert!(!play.entered().iter().any(touches), "a target without new migrations changes no storage");
    assert!(!play.upgrade.crossed(Border::MigrateAuthorised));
}

#[test]
fn the_canary_moves_alone_and_the_others_by_the_size_of_a_wave_but_never_all_that_serve() {
    let names = ["a", "b", "c", "d", "e", "f"];
    let seen = Seen { instances: names.to_vec(), ..Seen::three_at((1, 4, 0), 6) };
    let waves = |wave| {
        let plan = seen.plan_for(&rolling(Limits { wave, ..Limits::default() }));
        plan.binding.waves.iter().map(Vec::len).collect::<Vec<_>>()
    };
    assert_eq!(waves(2), [1, 2, 2, 1]);
    assert_eq!(waves(100), [1, 5], "with the canary there is one that serves");
    let two = Seen { instances: vec!["a", "b"], ..Seen::three_at((1, 4, 0), 6) };
    let plan = two.plan_for(&rolling(Limits { wave: 9, ..Limits::default() }));
    assert_eq!(plan.binding.waves.iter().map(Vec::len).collect::<Vec<_>>(), [1, 1]);
}

#[test]
fn after_each_wave_old_and_new_instances_are_watched_each_for_its_own_version() {
    let mut play = Play::start(plain());
    let orders = until_bake(&mut play, 0);
    let watched = |name: &str| match &of(&orders, name).work {
        Work::Bake { version, ledgers, length, withdraw, before } => {
            assert_eq!((ledgers.len(), *length), (2, Limits::default().bake));
            assert_eq!((before.errors, before.requests), (1, 500), "as it answered before anything was changed");
            (version.clone(), *withdraw)
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(watched("a"), (version(NEW), true));
    assert_eq!(watched("b"), (version((1, 4, 0)), false), "an old one is not ours to take out of rotation");
    assert_eq!(watched("c"), (version((1, 4, 0)), false));
}

#[test]
fn while_the_last_wave_is_watched_nobody_is_taken_out_of_rotation_for_nobody_else_would_serve() {
    let mut play = Play::start(plain());
    for (wave, taken) in [(0, vec!["a"]), (1, vec!["a", "b"]), (2, vec![])] {
        let orders = until_bake(&mut play, wave);
        let withdrawn = |name: &&str| matches!(of(&orders, name).work, Work::Bake { withdraw: true, .. });
        assert_eq!(NAMES.into_iter().filter(withdrawn).collect::<Vec<_>>(), taken, "wave {wave}");
        play.settle();
    }
}

#[test]
fn a_canary_that_does_not_serve_holds_and_leaves_the_others_untouched() {
    let mut play = Play::start(plain());
    let orders = until_bake(&mut play, 0);
    play.outcome(of(&orders, "a"), failure(FailureKind::Failed));
    play.settle();
    assert!(play.orders().is_empty());
    assert!(matches!(play.hold().reason, HoldReason::StepFailed { .. }), "{:?}", play.hold());
    assert!(play.hold().offers(Choice::Retry) && play.hold().offers(Choice::Rollback));
    assert!(!play.hold().offers(Choice::Abort));
    let meaning = what_if(&play.upgrade, Back::Rollback);
    assert!(meaning.allowed && meaning.meaning.contains("the others serve"), "{meaning:?}");
    assert!(meaning.ledgers.is_empty(), "nothing is restored");
    play.decide(1, Choice::Rollback);
    play.until_end();
    assert_eq!(play.upgrade.ending(), Some(Ending::RolledBack), "{:?}", play.kinds());
    let ordered = |name: &str| {
        let about = |recorded: &&fact::Recorded| matches!(&recorded.fact, Fact::AttemptOpened { order } if order.id.step.subject == Subject::Instance(instance(name)) && matches!(order.work, Work::Drain { .. } | Work::Switch { .. } | Work::SwitchBack { .. } | Work::Open { .. }));
        play.facts.iter().filter(about).count()
    };
    assert_eq!((ordered("b"), ordered("c")), (0, 0));
    let status = play.upgrade.status(now(play.millis));
    let canary = status.instances.iter().find(|status| status.name == instance("a")).unwrap();
    assert_eq!(canary.up.as_ref().map(|(_, version)| version.clone()), Some(version((1, 4, 0))));
}

#[test]
fn what_fails_before_any_client_reaches_the_target_goes_back_by_itself() {
    for phase in [Phase::Drain, Phase::Switch, Phase::StartClosed, Phase::Verify] {
        let mut play = Play::start(plain());
        let order = play.until_phase(phase);
        play.outcome(&order, failure(FailureKind::Failed));
        play.until_end();
        assert_eq!(play.upgrade.ending(), Some(Ending::Aborted), "{phase}: {:?}", play.kinds());
        assert!(down_over_time(&play).iter().all(|down| *down == ["instance a"]), "{phase}");
    }
}

#[test]
fn once_clients_reach_the_target_a_person_decides_whatever_fails() {
    for phase in [Phase::Drain, Phase::Switch, Phase::StartClosed, Phase::Verify, Phase::Open, Phase::Bake] {
        let mut play = Play::start(plain());
        until_bake(&mut play, 0);
        play.settle();
        let order = play.until_phase(phase);
        play.outcome(&order, failure(FailureKind::Failed));
        assert!(play.hold().offers(Choice::Rollback), "{phase}");
        play.settle();
        play.decide(1, Choice::Rollback);
        play.until_end();
        assert_eq!(play.upgrade.ending(), Some(Ending::RolledBack), "{phase}: {:?}", play.kinds());
        for down in down_over_time(&play) {
            assert!(down.len() < NAMES.len(), "{phase}: nobody serves: {down:?}");
        }
        let stopped = |name| format!("instance {name}");
        let last: Vec<Vec<String>> = down_over_time(&play).into_iter().rev().take(2).collect();
        assert_eq!(last.first(), Some(&vec![stopped("a")]), "{phase}: the canary goes back last");
    }
}

#[test]
fn a_verification_that_failed_is_tried_again_with_another_closed_copy() {
    let mut play = Play::start(plain());
    until_bake(&mut play, 0);
    play.settle();
    let order = play.until_phase(Phase::Verify);
    // Whatever the agent saw, it has ended the copy; and a host that lost its power has none.
    play.outcome(&order, failure(FailureKind::Failed));
    play.decide(1, Choice::Retry);
    let next = play.until(|_, order| matches!(order.id.phase, Phase::StartClosed | Phase::Verify)).unwrap();
    assert_eq!(next.id.phase, Phase::StartClosed);
    play.until_end();
    assert_eq!(play.upgrade.ending(), Some(Ending::Completed), "{:?}", play.kinds());
}

#[test]
fn verifications_of_one_wave_that_failed_are_tried_again_together() {
    let seen = Seen { instances: vec!["a", "b", "c", "d"], ..Seen::three_at((1, 4, 0), 6) };
    let mut play = Play::start(seen.plan_for(&rolling(Limits { wave: 2, ..Limits::default() })));
    until_bake(&mut play, 0);
    play.settle();
    play.until_phase(Phase::Verify);
    let orders = play.orders();
    assert_eq!(orders.len(), 2);
    play.outcome(&orders[0].0, failure(FailureKind::Failed));
    let refused = play.decide(1, Choice::Retry);
    assert!(refused.rejected[0].is_some(), "the other one still looks: {refused:?}");
    play.outcome(&orders[1].0, failure(FailureKind::Failed));
    play.decide(2, Choice::Retry);
    let next = play.until(|_, order| matches!(order.id.phase, Phase::StartClosed | Phase::Verify)).unwrap();
    assert_eq!(next.id.phase, Phase::StartClosed);
    play.until_end();
    assert_eq!(play.upgrade.ending(), Some(Ending::Completed), "{:?}", play.kinds());
}

#[test]
fn a_storage_that_lacks_migrations_is_kept_and_migrated_explicitly_before_any_instance_moves() {
    let mut play = Play::start(migrating());
    let order = play.until_phase(Phase::Secure);
    assert!(matches!(order.work, Work::Secure { serving: true, .. }), "{:?}", order.work);
    assert!(!play.upgrade.crossed(Border::MigrateAuthorised));
    let order = play.until(|_, order| matches!(order.work, Work::Migrate { .. })).unwrap();
    assert!(play.upgrade.crossed(Border::MigrateAuthorised));
    let Work::Migrate { mark, serving, expected, .. } = &order.work else { unreachable!() };
    assert!(mark.is_none() && *serving, "instances write meanwhile: a mark would refuse every migration");
    assert_eq!(expected.0, Some((0..=10).collect()));
    let order = play.until_phase(Phase::Prove);
    assert!(matches!(order.work, Work::Prove { serving: true, .. }));
    play.until_end();
    assert_eq!(play.upgrade.ending(), Some(Ending::Completed), "{:?}", play.kinds());
    let at = |phase| play.entered().iter().position(|entered| *entered == phase).unwrap();
    assert!(at(Phase::Secure) < at(Phase::Migrate) && at(Phase::Prove) < at(Phase::Drain));
}

#[test]
fn rows_that_are_not_there_any_more_hold_before_any_instance_moves_and_nothing_is_restored() {
    let mut play = Play::start(migrating());
    let order = play.until_phase(Phase::Prove);
    let Evidence::Proved(mut proof) = play.evidence(&order) else { unreachable!() };
    proof.difference_count = 1;
    play.outcome(&order, Outcome::Done(Evidence::Proved(proof)));
    assert!(matches!(play.hold().reason, HoldReason::UnexplainedDifferences { .. }), "{:?}", play.hold());
    play.settle();
    play.decide(1, Choice::Rollback);
    play.until_end();
    assert_eq!(play.upgrade.ending(), Some(Ending::RolledBack));
    let changes = |phase: &Phase| matches!(phase, Phase::Drain | Phase::Restore | Phase::SwitchBack | Phase::Reopen);
    assert!(!play.entered().iter().any(changes), "{:?}", play.entered());
}

#[test]
fn a_paused_roll_orders_nothing_more_and_goes_on_where_it_was() {
    let mut play = Play::start(plain());
    until_bake(&mut play, 0);
    play.ask(1, Ask::Pause { reason: String::new() });
    play.settle();
    assert!(play.orders().is_empty(), "{:?}", play.orders());
    play.hear(&[Input::Tick]);
    assert!(play.orders().is_empty());
    play.ask(2, Ask::Resume { reason: String::new() });
    play.until_end();
    assert_eq!(play.upgrade.ending(), Some(Ending::Completed));
    assert_eq!(down_over_time(&play), [["instance a"], ["instance b"], ["instance c"]]);
}

#[test]
fn an_instance_that_appears_joins_and_moves_with_the_last_wave() {
    for phase in [Phase::Rehearse, Phase::Drain, Phase::Open, Phase::Bake] {
        let mut play = Play::start(plain());
        play.until_phase(phase);
        let report = report("d", RunState::Running { pid: 9 }, now(play.millis + 1).wall);
        play.hear(&[Input::Appeared { agent: agent("host-d"), report }]);
        assert!(matches!(play.hold().reason, HoldReason::InstanceAppeared { .. }), "{phase}: {:?}", play.hold());
        play.settle();
        play.decide(1, Choice::Accept);
        play.until_end();
        assert_eq!(play.upgrade.ending(), Some(Ending::Completed), "{phase}: {:?}", play.kinds());
        let down = down_over_time(&play);
        assert_eq!(down.last().unwrap(), &["instance c", "instance d"], "{phase}: {down:?}");
        let drained =
            |name: &str| down.iter().filter(|down| down.last().is_some_and(|last| last.ends_with(name))).count();
        // One that was being moved is moved again from the drain on.
        let again = if phase == Phase::Drain { 2 } else { 1 };
        assert_eq!((drained("a"), drained("b")), (again, 1), "{phase}: who has moved stays where it is");
    }
}

#[test]
fn an_instance_of_a_wave_that_is_started_by_hand_is_drained_again() {
    let mut play = Play::start(plain());
    play.until_phase(Phase::Switch);
    let report = report("a", RunState::Running { pid: 9 }, now(play.millis + 1).wall);
    play.hear(&[Input::Observed { agent: agent("host-a"), report }]);
    assert!(matches!(play.hold().reason, HoldReason::ProofVoided { .. }));
    play.settle();
    play.decide(1, Choice::Retry);
    play.until_end();
    assert_eq!(play.upgrade.ending(), Some(Ending::Completed), "{:?}", play.kinds());
    assert_eq!(down_over_time(&play).iter().filter(|down| **down == ["instance a"]).count(), 2);
}

#[test]
fn a_member_that_is_gone_for_good_leaves_the_roll_and_the_others_move() {
    let mut play = Play::start(plain());
    until_bake(&mut play, 0);
    let (reason, evidence) = ("its host burnt down".to_owned(), "no session from its address".to_owned());
    play.ask(1, Ask::Excuse { instance: instance("b"), reason, evidence });
    play.until_end();
    assert_eq!(play.upgrade.ending(), Some(Ending::Completed), "{:?}", play.kinds());
    assert_eq!(down_over_time(&play), [["instance a"], ["instance c"]]);
}
