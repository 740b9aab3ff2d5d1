//! What a status tells whoever was woken by it, and what their answers leave behind.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use cutover_core::plan::{MayNotStart, PlanAsk, may_start};
use cutover_core::upgrade::{Ask, Back, Input, what_if};
use cutover_vocabulary::fact::{Ending, Fact, Settlement};
use cutover_vocabulary::hold::{Choice, HoldReason};
use cutover_vocabulary::outcome::FailureKind;
use cutover_vocabulary::status::{InstanceStatus, State, Status};
use cutover_vocabulary::{Elapsed, Outcome, Phase};
use support::*;

fn play() -> Play {
    Play::start(Seen::default().plan())
}

fn status(play: &Play) -> Status {
    play.upgrade.status(now(play.millis))
}

fn first(play: &Play) -> InstanceStatus {
    status(play).instances.into_iter().next().unwrap()
}

#[test]
fn an_instance_that_a_failed_drain_may_have_stopped_does_not_count_as_untouched() {
    for kind in [FailureKind::Unclean, FailureKind::StillRuns] {
        let mut play = play();
        play.until_phase(Phase::Stage);
        assert_eq!(first(&play).stopping, None);
        let order = play.until_phase(Phase::Drain);
        let told = first(&play).stopping;
        assert!(told.is_some(), "while it is being drained");
        play.outcome(&order, failure(kind));
        assert_eq!((first(&play).down, first(&play).stopping), (None, told), "after {kind:?}");
        play.decide(1, Choice::Abort);
        play.until_end();
        assert_eq!(first(&play).stopping, None, "it was let in again");
        assert!(first(&play).up.is_some());
    }
}

#[test]
fn a_drain_that_changed_nothing_leaves_the_instance_untouched_and_one_that_is_proved_leaves_it_down() {
    let mut play = play();
    let order = play.until_phase(Phase::Drain);
    play.outcome(&order, without_effect(FailureKind::Transient));
    let again = play.until_phase(Phase::Drain);
    assert_eq!(again.id.attempt, 2);
    play.ask(1, Ask::Abort { reason: "not today".to_owned() });
    play.hear(&[Input::Revoked {
        agent: again.agent.clone(),
        order: again.id.clone(),
        settlement: Settlement::NeverBegun,
    }]);
    assert_eq!(first(&play).stopping, None);
    let mut play = self::play();
    play.until_phase(Phase::Secure);
    assert!(first(&play).down.is_some() && first(&play).stopping.is_none());
}

#[test]
fn an_instance_that_still_runs_is_not_accepted_as_drained_whoever_agrees() {
    let offered = |kind| {
        let mut play = play();
        let order = play.until_phase(Phase::Drain);
        play.outcome(&order, failure(kind));
        assert!(matches!(play.hold().reason, HoldReason::UncleanStop { .. }));
        play.hold().choices.into_iter().map(|offer| offer.choice).collect::<Vec<_>>()
    };
    assert_eq!(offered(FailureKind::StillRuns), [Choice::Retry, Choice::Abort]);
    assert_eq!(offered(FailureKind::Unclean), [Choice::Retry, Choice::Accept, Choice::Abort]);
}

#[test]
fn who_paused_and_who_closed_it_and_why_is_kept_and_told() {
    let mut play = play();
    play.until_phase(Phase::Secure);
    play.ask(1, Ask::Pause { reason: " the DBA is called ".to_owned() });
    let pause = status(&play).pause.unwrap();
    assert_eq!((pause.by, pause.reason.as_str()), (operator(), "the DBA is called"));
    play.ask(2, Ask::Resume { reason: String::new() });
    assert_eq!(status(&play).pause, None);
    play.until_end();
    play.ask(3, Ask::Close { reason: "a week went well".to_owned() });
    let close = status(&play).close.unwrap();
    assert_eq!((close.by, close.reason.as_str()), (operator(), "a week went well"));
    assert_eq!(Some(close.at), status(&play).closed);
}

#[test]
fn waiting_on_a_takeover_is_stored_once_and_answered_ever_after() {
    let mut play = play();
    play.until_phase(Phase::Secure);
    play.hear(&[Input::TakenOver { agent: agent("host-a"), note: "I do it by hand".to_owned() }]);
    assert_eq!(play.decide(1, Choice::Wait).facts.len(), 1);
    for n in 2..5 {
        let again = play.decide(n, Choice::Wait);
        assert!(again.facts.is_empty() && again.rejected == [None], "{:?}", again.rejected);
    }
    play.ask(9, Ask::Close { reason: "restored by hand".to_owned() });
    let end = status(&play).end.unwrap();
    assert_eq!((end.by, end.reason.as_str()), (operator(), "restored by hand"));
}

#[test]
fn the_runner_is_named_and_the_downtime_counted_from_the_first_drain() {
    let mut play = play();
    play.until_phase(Phase::Stage);
    assert_eq!((status(&play).runner, status(&play).downtime), (Some(agent("host-a")), None));
    play.until_phase(Phase::Secure);
    let so_far = status(&play).downtime.unwrap();
    assert!(so_far > Elapsed(0));
    play.until_end();
    let in_all = status(&play).downtime.unwrap();
    play.millis += 60_000;
    assert_eq!(status(&play).downtime, Some(in_all));
    assert!(in_all > so_far);
}

#[test]
fn a_rehearsal_stops_no_instance_and_ends_as_rehearsed() {
    let plan = Seen::three().plan_for(&PlanAsk { rehearse_only: true, ..ask() });
    assert!(plan.binding.only_rehearses());
    assert_eq!(may_start(&plan, &plan, None), Ok(()), "it needs nobody's approval");
    let upgrade = Seen::three().plan();
    assert!(matches!(may_start(&upgrade, &upgrade, None), Err(MayNotStart::NeedsApproval { .. })));
    assert!(matches!(may_start(&plan, &upgrade, None), Err(MayNotStart::Stale { .. })), "it is not the upgrade's plan");
    let mut play = Play::start(plan);
    play.until_end();
    assert_eq!(play.entered(), [Phase::Preflight, Phase::Stage, Phase::Rehearse]);
    assert_eq!(play.upgrade.ending(), Some(Ending::Rehearsed));
    let status = status(&play);
    assert_eq!((status.state, status.downtime), (State::Rehearsed, None));
    assert!(status.instances.iter().all(|one| one.down.is_none() && one.stopping.is_none()));
    assert!(!what_if(&play.upgrade, Back::Abort).allowed);
    assert!(!play.facts.iter().any(|recorded| matches!(recorded.fact, Fact::BorderCrossed { .. })));
}

#[test]
fn a_rehearsal_that_fails_ends_as_aborted_with_nothing_stopped() {
    let mut play = Play::start(Seen::three().plan_for(&PlanAsk { rehearse_only: true, ..ask() }));
    let order = play.until_phase(Phase::Rehearse);
    play.outcome(&order, failure(FailureKind::Failed));
    play.until_end();
    assert_eq!(play.upgrade.ending(), Some(Ending::Aborted));
    let done = Outcome::Done(play.evidence(&order));
    assert!(play.outcome(&order, done).facts.is_empty());
}

#[test]
fn what_a_way_back_would_mean_names_the_other_call_where_this_one_would_be_refused() {
    let mut play = Play::start(Seen::default().plan());
    play.until_phase(Phase::Secure);
    let (abort, rollback) = (what_if(&play.upgrade, Back::Abort), what_if(&play.upgrade, Back::Rollback));
    assert!(abort.allowed && !abort.stages.is_empty(), "{abort:?}");
    assert!(!rollback.allowed && rollback.stages.is_empty(), "{rollback:?}");
    let id = play.upgrade.id().clone();
    assert!(rollback.meaning.contains(&format!("use `cutover abort {id}`")), "{rollback:?}");
    assert!(rollback.meaning.ends_with(&abort.meaning), "{rollback:?}");
    let refused = play.ask(1, Ask::Rollback { reason: "no".to_owned() }).rejected;
    assert!(refused[0].is_some());

    play.until_phase(Phase::Migrate);
    let (abort, rollback) = (what_if(&play.upgrade, Back::Abort), what_if(&play.upgrade, Back::Rollback));
    assert!(rollback.allowed && !rollback.stages.is_empty(), "{rollback:?}");
    assert!(!abort.allowed && abort.stages.is_empty(), "{abort:?}");
    assert!(abort.meaning.contains(&format!("use `cutover rollback {id}`")), "{abort:?}");
    let refused = play.ask(2, Ask::Abort { reason: "no".to_owned() }).rejected;
    assert!(refused[0].is_some());
}
