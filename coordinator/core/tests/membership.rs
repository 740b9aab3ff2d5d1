//! Who takes part: an instance that appears joins or the upgrade goes back; one leaves only by a person's word, with evidence.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking")]
#![allow(clippy::wildcard_enum_match_arm, reason = "a test looks for one variant")]

mod support;

use cutover_core::upgrade::{Ask, Decision, Input, Rejected};
use cutover_vocabulary::fact::{Ending, Fact};
use cutover_vocabulary::hold::{Choice, HoldReason};
use cutover_vocabulary::instance::{InstanceReport, RunState};
use cutover_vocabulary::outcome::*;
use cutover_vocabulary::phase::Border;
use cutover_vocabulary::storage::*;
use cutover_vocabulary::survey::LockStrategy;
use cutover_vocabulary::*;
use support::*;

fn three() -> Play {
    Play::start(Seen::three().plan_without_blocks())
}

fn appear(play: &mut Play, name: &str, run: RunState) {
    let report = report(name, run, now(play.millis + 1).wall);
    play.hear(&[Input::Appeared { agent: agent(&format!("host-{name}")), report }]);
}

fn running() -> RunState {
    RunState::Running { pid: 9 }
}

fn excuse(play: &mut Play, n: u32, name: &str) -> Decision {
    let (reason, evidence) = ("its host burnt down".to_owned(), "no session from its address".to_owned());
    play.ask(n, Ask::Excuse { instance: instance(name), reason, evidence })
}

fn orders_about<'a>(play: &'a Play, phase: Phase, name: &str) -> Vec<&'a Order> {
    let subject = Subject::Instance(instance(name));
    play.facts
        .iter()
        .filter_map(|recorded| match &recorded.fact {
            Fact::AttemptOpened { order } if order.id.phase == phase && order.id.step.subject == subject => {
                Some(&**order)
            }
            _ => None,
        })
        .collect()
}

/// What it wrote while it was up stays when it has gone.
#[test]
fn an_excused_instance_that_was_seen_up_beside_the_migrated_storage_leaves_the_question_what_it_wrote() {
    let mut play = three();
    play.until_phase(Phase::Switch);
    let up = report("c", running(), now(play.millis + 1).wall);
    play.hear(&[Input::Observed { agent: agent("host-c"), report: InstanceReport { fenced: false, ..up } }]);
    play.settle();
    assert!(matches!(play.hold().reason, HoldReason::ProofVoided { .. }), "{:?}", play.kinds());
    excuse(&mut play, 1, "c");
    assert!(matches!(play.hold().reason, HoldReason::ProofVoided { .. }), "{:?}", play.kinds());
    play.decide(2, Choice::Retry);
    play.until_end();
    assert_eq!(play.upgrade.ending(), Some(Ending::Completed), "{:?}", play.kinds());
    let proved = play.entered().into_iter().filter(|phase| *phase == Phase::Prove).count();
    assert_eq!(proved, 2, "{:?}", play.kinds());
}

// ---- it appears

#[test]
fn an_instance_that_appears_before_the_migration_joins_is_drained_and_new_recovery_points_are_taken() {
    for phase in [Phase::Preflight, Phase::Stage, Phase::Rehearse, Phase::Drain, Phase::ConfirmDrained, Phase::Secure] {
        let mut play = three();
        play.until_phase(phase);
        appear(&mut play, "d", running());
        assert!(matches!(play.hold().reason, HoldReason::InstanceAppeared { .. }), "{phase}");
        play.settle();
        assert!(play.orders().is_empty(), "{phase}: nothing new is begun while nobody knows what it does");
        assert!(play.hold().offers(Choice::Accept) && play.hold().offers(Choice::Abort), "{phase}");
        play.decide(1, Choice::Accept);
        let secure = play.until(|_, order| order.id.phase == Phase::Secure).unwrap();
        assert!(play.upgrade.members().contains_key(&instance("d")), "{phase}");
        assert_eq!(orders_about(&play, Phase::Stage, "d").len(), 1, "{phase}");
        assert_eq!(orders_about(&play, Phase::Drain, "d").len(), 1, "{phase}");
        assert_eq!(orders_about(&play, Phase::ConfirmDrained, "d").len(), 1, "{phase}");
        let fresh = play.facts.iter().rposition(|r| matches!(r.fact, Fact::MemberJoined { .. })).unwrap();
        let taken = play.facts.iter().rposition(
            |r| matches!(&r.fact, Fact::StepSucceeded { evidence: Evidence::Secured(_), order } if order.step.run < secure.id.step.run),
        );
        assert!(taken.is_none_or(|taken| taken < fresh));
        play.until_end();
        assert_eq!(play.upgrade.ending(), Some(Ending::Completed), "{phase}");
        assert_eq!(orders_about(&play, Phase::Open, "d").len(), 1, "{phase}");
    }
}

#[test]
fn an_instance_that_appears_on_the_migrated_storage_is_drained_and_every_ledger_is_proved_since() {
    for phase in [Phase::Migrate, Phase::Prove, Phase::Switch, Phase::StartClosed, Phase::Verify] {
        let mut play = three();
        play.until_phase(phase);
        appear(&mut play, "d", running());
        play.settle();
        assert!(play.hold().offers(Choice::Rollback) && !play.hold().offers(Choice::Abort), "{phase}");
        play.decide(1, Choice::Accept);
        play.until_phase(Phase::Open);
        let at = |wanted: &dyn Fn(&Fact) -> bool| play.facts.iter().rposition(|r| wanted(&r.fact)).unwrap();
        let drained = at(
            &|fact| matches!(fact, Fact::StepSucceeded { order, .. } if order.phase == Phase::Drain && order.step.subject == Subject::Instance(instance("d"))),
        );
        for name in ["main", "shop"] {
            let proved = at(
                &|fact| matches!(fact, Fact::StepSucceeded { order, .. } if order.phase == Phase::Prove && order.step.subject == Subject::Ledger(ledger(name))),
            );
            assert!(proved > drained, "{phase}: what it wrote would be lost silently");
        }
        play.until_end();
        assert_eq!(play.upgrade.ending(), Some(Ending::Completed), "{phase}");
    }
}

#[test]
fn what_an_appeared_instance_wrote_is_never_lost_silently() {
    let mut play = three();
    play.until_phase(Phase::Switch);
    appear(&mut play, "d", running());
    play.settle();
    play.decide(1, Choice::Accept);
    let order = play.until_phase(Phase::Prove);
    let Evidence::Proved(mut proof) = honest(play.upgrade.plan(), &order, now(1).wall) else { panic!() };
    proof.digest = digest_of(&ledger("with another transaction"), 0);
    play.outcome(&order, Outcome::Done(Evidence::Proved(proof)));
    assert!(play.upgrade.holds().any(|hold| matches!(hold.reason, HoldReason::UnexplainedDifferences { .. })));
}

#[test]
fn an_instance_that_appears_while_clients_are_let_in_is_stopped_and_opened_without_touching_the_others() {
    let mut play = three();
    let first = play.until_phase(Phase::Open);
    appear(&mut play, "d", running());
    play.settle();
    assert!(!play.hold().offers(Choice::Rollback) && !play.hold().offers(Choice::Abort), "it would lose writes");
    play.decide(1, Choice::Accept);
    let accepted = play.facts.len();
    play.until_end();
    assert_eq!(play.upgrade.ending(), Some(Ending::Completed));
    for recorded in &play.facts[accepted..] {
        let Fact::AttemptOpened { order } = &recorded.fact else { continue };
        assert_eq!(order.id.step.subject, Subject::Instance(instance("d")), "{}", order.id);
    }
    for phase in [Phase::Preflight, Phase::Stage, Phase::Drain, Phase::Switch, Phase::Open] {
        assert_eq!(orders_about(&play, phase, "d").len(), 1, "{phase} after {}", first.id);
    }
}

#[test]
fn on_the_way_back_an_appeared_instance_that_runs_is_in_the_way_and_does_not_join() {
    let mut play = three();
    play.until_phase(Phase::Prove);
    play.ask(1, Ask::Rollback { reason: "no".to_owned() });
    play.until_phase(Phase::ConfirmDrained);
    appear(&mut play, "d", RunState::Stopped);
    assert_eq!(play.upgrade.holds().count(), 0, "one that does not run is in nobody's way");
    appear(&mut play, "d", running());
    let hold = play.hold();
    assert!(hold.offers(Choice::Retry) && !hold.offers(Choice::Accept));
    play.settle();
    play.decide(2, Choice::Retry);
    assert_eq!(play.upgrade.phase(), Some(Phase::Drain));
    play.until_end();
    assert_eq!(play.upgrade.ending(), Some(Ending::RolledBack));
    assert!(!play.upgrade.members().contains_key(&instance("d")));
}

#[test]
fn a_newcomer_on_another_storage_or_on_another_version_does_not_join() {
    for other_storage in [true, false] {
        let mut play = three();
        play.until_phase(Phase::Secure);
        appear(&mut play, "d", running());
        play.settle();
        play.decide(1, Choice::Accept);
        let order = play.until_phase(Phase::Preflight);
        assert_eq!(order.agent, agent("host-d"), "only the newcomer is looked at: the others are down on purpose");
        let mut found = Inspection { storage: database(), ..Seen::default().inspection() };
        if other_storage {
            found.storage = storage();
        } else {
            // It may have migrated the storage at its first request.
            found.running = Some(version(NEW));
        }
        play.outcome(&order, Outcome::Done(Evidence::Inspected(found)));
        let reason = play.hold().reason;
        assert!(matches!(reason, HoldReason::OtherStorage { .. } | HoldReason::PlanDrifted { .. }), "{reason:?}");
        assert!(!play.upgrade.members().contains_key(&instance("d")));
        // A name that was let in by mistake can be let go again.
        assert_eq!(excuse(&mut play, 2, "d").rejected, vec![None]);
    }
}

/// With two of them each would refuse the other's writes for good.
#[test]
fn nobody_joins_where_the_target_bears_one_writer_or_bears_several_only_by_a_lock_that_the_newcomer_lacks() {
    let redis = Some(LockStrategy::Redis);
    for (one_writer, redis_lock, lock, joins) in [
        (true, false, None, false),
        (true, false, redis, false),
        (false, true, None, false),
        (false, true, Some(LockStrategy::Memory), false),
        (false, true, redis, true),
        (false, false, None, true),
    ] {
        let mut plan = Seen::three().plan_without_blocks();
        (plan.binding.one_writer, plan.binding.redis_lock) = (one_writer, redis_lock);
        let mut play = Play::start(plan);
        play.until_phase(Phase::Secure);
        appear(&mut play, "d", running());
        play.settle();
        play.decide(1, Choice::Accept);
        let order = play.until_phase(Phase::Preflight);
        let found = Inspection { storage: database(), lock, ..Seen::default().inspection() };
        play.outcome(&order, Outcome::Done(Evidence::Inspected(found)));
        assert_eq!(play.upgrade.members().contains_key(&instance("d")), joins, "{one_writer} {redis_lock} {lock:?}");
        if !joins {
            assert!(matches!(play.hold().reason, HoldReason::PlanDrifted { .. }), "{:?}", play.hold());
        }
    }
}

#[test]
fn members_other_deployments_and_ended_upgrades_raise_no_question() {
    let mut play = three();
    play.until_phase(Phase::Drain);
    let mut other = report("d", running(), now(1).wall);
    other.deployment = DeploymentName::new("staging").unwrap();
    play.hear(&[Input::Appeared { agent: agent("host-d"), report: other }]);
    appear(&mut play, "b", running());
    assert_eq!(play.upgrade.holds().count(), 0);
    appear(&mut play, "d", running());
    appear(&mut play, "d", running());
    assert_eq!(play.upgrade.holds().count(), 1, "one question about one instance");
}

// ---- one goes

#[test]
fn an_agents_orders_are_settled_by_a_person_only_with_a_reason_and_evidence() {
    let mut play = three();
    play.until_phase(Phase::Drain);
    let before = play.facts.len();
    for (reason, evidence) in [("gone", " "), ("", "no session"), ("", "")] {
        let ask = Ask::Excuse { instance: instance("c"), reason: reason.to_owned(), evidence: evidence.to_owned() };
        assert_eq!(play.ask(1, ask).rejected, vec![Some(Rejected::NoEvidence(instance("c")))]);
    }
    assert_eq!(play.facts.len(), before);
    assert!(play.orders().iter().any(|(order, _)| order.agent == agent("host-c")), "silence and wishes settle nothing");
}

#[test]
fn an_excused_member_holds_up_no_barrier_and_a_session_of_it_is_a_strangers() {
    for phase in [Phase::Preflight, Phase::Stage, Phase::Drain, Phase::ConfirmDrained, Phase::Switch] {
        let mut play = three();
        play.until_phase(phase);
        for (order, _) in play.orders().into_iter().filter(|(order, _)| order.agent != agent("host-c")) {
            let evidence = honest(play.upgrade.plan(), &order, now(play.millis).wall);
            play.outcome(&order, Outcome::Done(evidence));
        }
        assert_eq!(play.upgrade.phase(), Some(phase), "the barrier waits for every member");
        let silent = Input::Silent { agent: agent("host-c"), heard: Some(now(3).wall) };
        play.hear(&[silent]);
        let HoldReason::AgentLost { members, heard, orders, .. } = play.hold().reason else { panic!() };
        assert_eq!((members, heard, orders.len()), (vec![instance("c")], Some(now(3).wall), 1));
        let wait = play.hold().choices.into_iter().find(|offer| offer.choice == Choice::Wait).unwrap();
        assert!(wait.cost.contains("cutover member excuse prod c"), "{}", wait.cost);
        assert_eq!(excuse(&mut play, 1, "c").rejected, vec![None], "{phase}");
        assert_eq!(play.upgrade.holds().count(), 0, "{phase}: nothing waits for it any more");
        if phase == Phase::Drain {
            let order = play.until(|_, order| matches!(order.work, Work::AttestStorage { .. })).unwrap();
            let Evidence::StorageAttested(mut seen) = honest(play.upgrade.plan(), &order, now(1).wall) else {
                panic!()
            };
            let (role, client) = ("numary".to_owned(), "10.0.0.3:5501".to_owned());
            seen.sessions = vec![StorageSession {
                pid: 4,
                role,
                client,
                application: String::new(),
                kind: SessionKind::Ledger,
                since: None,
            }];
            play.outcome(&order, Outcome::Done(Evidence::StorageAttested(seen)));
            assert!(matches!(play.hold().reason, HoldReason::Strangers { .. }));
            play.decide(2, Choice::Retry);
        }
        play.until_end();
        assert_eq!(play.upgrade.ending(), Some(Ending::Completed), "{phase}");
        assert!(orders_about(&play, Phase::Open, "c").is_empty(), "{phase}");
    }
}

#[test]
fn an_excused_agent_that_comes_back_has_its_answer_kept_and_is_asked_about() {
    let mut play = three();
    play.until_phase(Phase::Drain);
    let order = play.orders().into_iter().find(|(order, _)| order.agent == agent("host-c")).unwrap().0;
    excuse(&mut play, 1, "c");
    let evidence = honest(play.upgrade.plan(), &order, now(play.millis).wall);
    let late = play.outcome(&order, Outcome::Done(evidence));
    assert!(matches!(&late.facts[0].fact, Fact::LateOutcome { .. }), "{:?}", late.facts);
    appear(&mut play, "c", running());
    play.settle();
    play.decide(2, Choice::Accept);
    play.until_end();
    assert_eq!(play.upgrade.ending(), Some(Ending::Completed));
    assert_eq!(orders_about(&play, Phase::Open, "c").len(), 1);
}

#[test]
fn another_agent_runs_the_storage_when_the_runner_is_excused_and_nothing_kept_on_its_host_counts() {
    for phase in [Phase::Preflight, Phase::Rehearse, Phase::Drain, Phase::ConfirmDrained, Phase::Secure] {
        let mut play = three();
        play.until_phase(phase);
        assert_eq!(*play.upgrade.runner(), agent("host-a"));
        assert_eq!(excuse(&mut play, 1, "a").rejected, vec![None], "{phase}");
        assert_eq!(*play.upgrade.runner(), agent("host-b"), "{phase}");
        play.until_end();
        assert_eq!(play.upgrade.ending(), Some(Ending::Completed), "{phase}");
        every_point_lies_where_it_is_used(&play);
    }
    // Between the recovery points and the border: they are taken once more.
    let mut play = three();
    play.until(|play, order| order.id.phase == Phase::ConfirmDrained && play.entered().contains(&Phase::Secure))
        .unwrap();
    excuse(&mut play, 1, "a");
    play.until_end();
    assert_eq!(play.upgrade.ending(), Some(Ending::Completed));
    every_point_lies_where_it_is_used(&play);
}

fn every_point_lies_where_it_is_used(play: &Play) {
    for (n, recorded) in play.facts.iter().enumerate() {
        let Fact::AttemptOpened { order } = &recorded.fact else { continue };
        let Work::Migrate { .. } = order.work else { continue };
        let taken = play.facts[..n].iter().rev().find_map(|r| match &r.fact {
            Fact::StepSucceeded { order: id, evidence: Evidence::Secured(_) }
                if id.step.subject == order.id.step.subject =>
            {
                Some(&r.by)
            }
            _ => None,
        });
        assert_eq!(taken, Some(&fact::Cause::Agent(order.agent.clone())), "{}", order.id);
    }
}

#[test]
fn a_runner_that_may_have_changed_the_storage_is_not_excused() {
    for phase in [Phase::Migrate, Phase::Prove, Phase::Verify] {
        let mut play = three();
        play.until_phase(phase);
        let before = play.facts.len();
        assert!(matches!(excuse(&mut play, 1, "a").rejected[0], Some(Rejected::RunnerNeeded { .. })), "{phase}");
        assert_eq!(play.facts.len(), before);
    }
    let mut play = Play::start(Seen { instances: vec!["a", "b"], ..Seen::default() }.plan_without_blocks());
    play.until_phase(Phase::Drain);
    assert!(matches!(excuse(&mut play, 1, "a").rejected[0], Some(Rejected::RunnerNeeded { .. })), "files on its host");
}

#[test]
fn the_last_member_and_who_is_none_are_not_excused() {
    let mut play = Play::start(Seen::default().plan());
    play.until_phase(Phase::Drain);
    assert_eq!(excuse(&mut play, 1, "a").rejected, vec![Some(Rejected::LastMember(instance("a")))]);
    assert_eq!(excuse(&mut play, 2, "z").rejected, vec![Some(Rejected::NoSuchMember(instance("z")))]);
}

// ---- the barrier holds over all

#[test]
fn every_phase_with_instances_waits_for_the_last_of_three() {
    let mut play = three();
    let mut met = Vec::new();
    while let Some((first, _)) = play.orders().first().cloned() {
        let phase = first.id.phase;
        if let Subject::Instance(_) = first.id.step.subject
            && !matches!(phase, Phase::StartClosed | Phase::Verify)
        {
            let out = play.orders();
            assert_eq!(out.len(), 3, "{phase}: all are asked at once");
            for (order, _) in &out[..2] {
                let evidence = honest(play.upgrade.plan(), order, now(play.millis).wall);
                play.outcome(order, Outcome::Done(evidence));
            }
            assert_eq!(play.orders(), out[2..], "{phase}: nothing follows before the third has answered");
            met.push(phase);
        }
        play.settle();
    }
    assert_eq!(play.upgrade.ending(), Some(Ending::Completed));
    met.dedup();
    use Phase::*;
    assert_eq!(met, [Preflight, Stage, Drain, ConfirmDrained, Switch, ConfirmDrained, Open]);
}

#[test]
fn one_of_three_that_fails_stops_all_and_the_way_back_opens_all_three() {
    let phases = [Phase::Preflight, Phase::Stage, Phase::Drain, Phase::ConfirmDrained, Phase::Switch];
    for phase in phases {
        let mut play = three();
        play.until_phase(phase);
        let third = play.orders().into_iter().find(|(order, _)| order.agent == agent("host-c")).unwrap().0;
        play.outcome(&third, failure(FailureKind::Failed));
        if play.upgrade.crossed(Border::MigrateAuthorised) {
            play.settle();
            play.decide(1, Choice::Rollback);
        }
        play.until_end();
        let drained = play.entered().contains(&Phase::Drain);
        for name in ["a", "b", "c"] {
            assert_eq!(orders_about(&play, Phase::Reopen, name).len(), usize::from(drained), "{phase}");
            assert!(orders_about(&play, Phase::Open, name).is_empty());
        }
        let ended = if phase == Phase::Switch { Ending::RolledBack } else { Ending::Aborted };
        assert_eq!(play.upgrade.ending(), Some(ended), "{phase}");
    }
}

#[test]
fn the_proof_of_one_of_three_voided_stops_all_in_every_phase_that_relies_on_it() {
    let phases = [Phase::ConfirmDrained, Phase::Secure, Phase::Migrate, Phase::Prove, Phase::Switch, Phase::Verify];
    for phase in phases {
        let mut play = three();
        play.until_phase(phase);
        let report = report("c", running(), now(play.millis + 1).wall);
        play.hear(&[Input::Observed { agent: agent("host-c"), report }]);
        play.settle();
        let hold = play.upgrade.holds().find(|hold| matches!(hold.reason, HoldReason::ProofVoided { .. }));
        assert!(hold.is_some(), "{phase}");
        assert!(play.orders().is_empty(), "{phase}: nothing is begun beside a writer");
        play.decide(1, Choice::Retry);
        let again = play.until(|_, order| order.id.step.subject == Subject::Instance(instance("c"))).unwrap();
        assert!(matches!(again.id.phase, Phase::Drain | Phase::ConfirmDrained), "{phase}: it is proved down again");
        play.until_end();
        assert_eq!(play.upgrade.ending(), Some(Ending::Completed), "{phase}");
    }
}

#[test]
fn an_agent_that_is_asked_next_and_silent_is_asked_about_even_without_an_order() {
    let mut play = three();
    play.until_phase(Phase::Drain);
    play.ask(1, Ask::Pause { reason: String::new() });
    play.settle();
    assert!(play.orders().is_empty());
    play.hear(&[Input::Silent { agent: agent("host-b"), heard: None }]);
    assert_eq!(play.upgrade.holds().count(), 0, "it is asked for nothing yet");
    play.ask(2, Ask::Resume { reason: String::new() });
    play.hear(&[Input::Silent { agent: agent("host-b"), heard: None }]);
    assert!(matches!(play.hold().reason, HoldReason::AgentLost { .. }));
}
