//! Rejoin: instances that were away come to what the others run. An upgrade of these alone: the storage is not touched, nobody else
//! is moved, and what they had before is never started again.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking")]
#![allow(clippy::wildcard_enum_match_arm, reason = "a test looks for one variant")]

mod support;

use cutover_core::catalogue;
use cutover_core::plan::{self, CannotPlan, PlanAsk, StrategyAsk};
use cutover_core::upgrade::{Ask, Back, Input, Rejected, what_if};
use cutover_vocabulary::fact::{Ending, Fact};
use cutover_vocabulary::finding::{Finding, FindingSubject, Level};
use cutover_vocabulary::hold::{Choice, HoldReason};
use cutover_vocabulary::instance::RunState;
use cutover_vocabulary::outcome::*;
use cutover_vocabulary::phase::Border;
use cutover_vocabulary::plan::{Plan, Strategy};
use cutover_vocabulary::storage::Migrations;
use cutover_vocabulary::survey::HostSurvey;
use cutover_vocabulary::*;
use std::collections::{BTreeMap, BTreeSet};
use support::*;

/// Three instances at 1.4.6 on one database; `c` was away: it is down behind its fence, and would start 1.3.1.
struct Away {
    ask: PlanAsk,
    registered: BTreeMap<InstanceName, AgentName>,
    surveys: Vec<HostSurvey>,
}

impl Away {
    fn new(named: &[&str]) -> Self {
        let seen = Seen::three_at(NEW, 6);
        let instances = named.iter().map(|name| instance(name)).collect();
        let ask = PlanAsk { strategy: StrategyAsk::Rejoin, allowed: Some(version(NEW)), instances, ..ask() };
        let mut away = Self { ask, registered: seen.registered(), surveys: seen.surveys() };
        away.is_down(2, OLD);
        away
    }
    fn is_down(&mut self, n: usize, on_disk: (u64, u64, u64)) {
        down(&mut self.surveys[n].instances[0], on_disk);
    }
    fn runs(&mut self, n: usize, which: (u64, u64, u64)) {
        let survey = &mut self.surveys[n].instances[0];
        let report = &mut survey.report;
        (report.run, report.running, report.fenced) = (RunState::Running { pid: 9 }, Some(version(which)), false);
        let found = survey.inspection.as_mut().unwrap();
        (found.running, found.on_disk) = (Some(version(which)), Some(version(which)));
    }
    fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }
    fn make(&self) -> Result<Plan, CannotPlan> {
        let catalogue = catalogue::shipped().unwrap();
        plan::make(&catalogue, &self.ask, &self.registered, &self.surveys, now(0).wall)
    }
    fn plan(&self) -> Plan {
        let plan = self.make().unwrap();
        assert!(plan.findings(Level::Block).next().is_none(), "{:#?}", plan.observed.findings);
        plan
    }
    fn findings(&self) -> Vec<Finding> {
        match self.make() {
            Ok(plan) => plan.observed.findings,
            Err(CannotPlan { findings }) => findings,
        }
    }
    /// What refuses it: about what, and in which words.
    fn refused(&self) -> Vec<(FindingSubject, String)> {
        let refusals = self.findings().into_iter().filter(|finding| finding.level == Level::Block);
        refusals
            .map(|finding| {
                assert_eq!(finding.code.0, "rejoin-refused", "{finding:?}");
                assert!(!finding.remedy.is_empty());
                (finding.subject, finding.evidence)
            })
            .collect()
    }
}

fn play() -> Play {
    Play::start(Away::new(&["c"]).plan())
}

fn about(name: &str) -> FindingSubject {
    FindingSubject::Instance(instance(name))
}

/// What was ordered of whom, in this order; looks apart.
fn ordered(play: &Play) -> Vec<(String, Phase)> {
    let order = |recorded: &fact::Recorded| match &recorded.fact {
        Fact::AttemptOpened { order } => Some((order.id.step.subject.to_string(), order.id.phase)),
        _ => None,
    };
    play.facts.iter().filter_map(order).collect()
}

/// Whether anything was ordered that could start the release that an instance had before.
fn starts_former(play: &Play) -> bool {
    play.facts.iter().any(|recorded| match &recorded.fact {
        Fact::AttemptOpened { order } => match &order.work {
            Work::Open { version: opened, .. } => *opened != version(NEW),
            Work::SwitchBack { .. } | Work::Restore { .. } => true,
            _ => false,
        },
        _ => false,
    })
}

#[test]
fn only_who_was_away_is_moved_and_the_storage_is_not_touched() {
    let plan = Away::new(&["c"]).plan();
    assert_eq!(plan.level(), Some(Level::Info), "it needs nobody's approval: {:#?}", plan.observed.findings);
    let binding = &plan.binding;
    assert_eq!((binding.strategy, binding.from.clone()), (Strategy::Rejoin, version(OLD)));
    assert_eq!(binding.members.keys().cloned().collect::<Vec<_>>(), [instance("c")]);
    assert_eq!(binding.members[&instance("c")].version, version(OLD), "what it would start");
    assert_eq!(binding.beside, [("a", "host-a"), ("b", "host-b")].map(|(i, a)| (instance(i), agent(a))).into());
    assert!(binding.questions.is_empty() && plan.observed.preparations.is_empty() && !binding.lossy);

    let mut play = Play::start(plan);
    play.until_end();
    assert_eq!(play.upgrade.ending(), Some(Ending::Completed), "{:?}", play.kinds());
    let wanted = [
        Phase::Preflight,
        Phase::Stage,
        Phase::Drain,
        Phase::ConfirmDrained,
        Phase::Switch,
        Phase::StartClosed,
        Phase::Verify,
        Phase::ConfirmDrained,
        Phase::Open,
        Phase::Bake,
    ];
    assert_eq!(ordered(&play), wanted.map(|phase| ("instance c".to_owned(), phase)));
    assert!(!play.upgrade.crossed(Border::MigrateAuthorised) && play.upgrade.crossed(Border::OpenAuthorised));
    let status = play.upgrade.status(now(play.millis));
    assert_eq!(status.downtime, None, "the others serve");
    assert_eq!(status.instances[0].up.as_ref().map(|(_, version)| version.clone()), Some(version(NEW)));
}

#[test]
fn where_nobody_is_named_everyone_comes_who_has_another_release_or_is_fenced() {
    let mut away = Away::new(&[]);
    away.is_down(1, NEW);
    let plan = away.plan();
    let members: Vec<_> = plan.binding.members.keys().cloned().collect();
    assert_eq!(members, [instance("b"), instance("c")], "an aborted rejoin left b switched, and fenced");
    assert_eq!(plan.binding.waves, [members]);
    let mut play = Play::start(plan);
    play.until_end();
    assert_eq!(play.upgrade.ending(), Some(Ending::Completed));
}

#[test]
fn a_rejoin_that_fails_never_starts_the_former_release_again() {
    let phases = [Phase::Stage, Phase::Drain, Phase::Switch, Phase::StartClosed, Phase::Verify];
    for phase in phases {
        let mut play = play();
        let order = play.until_phase(phase);
        play.outcome(&order, failure(FailureKind::Failed));
        play.until_end();
        assert_eq!(play.upgrade.ending(), Some(Ending::Aborted), "{phase}: {:?}", play.kinds());
        assert!(!starts_former(&play), "{phase}: {:?}", ordered(&play));
        let last = ordered(&play).last().map(|(_, phase)| *phase);
        assert_eq!(
            last,
            Some(if phase == Phase::Stage { Phase::Stage } else { Phase::Drain }),
            "it stays down and fenced"
        );
    }
}

#[test]
fn once_clients_reach_it_a_person_decides_and_the_way_back_leaves_it_down_and_fenced() {
    for phase in [Phase::Open, Phase::Bake] {
        let mut play = play();
        let order = play.until_phase(phase);
        if phase == Phase::Bake {
            assert!(matches!(order.work, Work::Bake { withdraw: true, .. }), "what does not serve leaves the rotation");
        }
        play.outcome(&order, failure(FailureKind::Failed));
        let hold = play.hold();
        let offer = hold.choices.iter().find(|offer| offer.choice == Choice::Rollback).unwrap();
        assert!(offer.cost.contains("leave them down and fenced"), "{}", offer.cost);
        let meaning = what_if(&play.upgrade, Back::Rollback);
        assert!(meaning.allowed && meaning.meaning.contains("is not started again"), "{meaning:?}");
        play.decide(1, Choice::Rollback);
        play.until_end();
        assert_eq!(play.upgrade.ending(), Some(Ending::RolledBack), "{phase}: {:?}", play.kinds());
        assert!(!starts_former(&play), "{phase}");
        assert_eq!(ordered(&play).last(), Some(&("instance c".to_owned(), Phase::Drain)));
        let status = play.upgrade.status(now(play.millis));
        assert!(status.instances[0].down.is_some(), "{:?}", status.instances);
    }
}

#[test]
fn every_drain_of_a_rejoin_says_that_what_is_there_is_never_started_again() {
    let mut play = play();
    let order = play.until_phase(Phase::Bake);
    play.outcome(&order, failure(FailureKind::Failed));
    play.decide(1, Choice::Rollback);
    play.until_end();
    let drains = play.facts.iter().filter_map(|recorded| match &recorded.fact {
        Fact::AttemptOpened { order } => match order.work {
            Work::Drain { for_good, .. } => Some(for_good),
            _ => None,
        },
        _ => None,
    });
    assert_eq!(drains.collect::<Vec<_>>(), [true, true]);
}

#[test]
fn before_anything_is_stopped_going_back_leaves_it_as_it_was_found() {
    let mut play = play();
    play.until_phase(Phase::Stage);
    let meant = what_if(&play.upgrade, Back::Abort);
    assert!(meant.allowed && meant.meaning.contains("stays as it was found"), "{meant:?}");
    play.ask(1, Ask::Abort { reason: "later".to_owned() });
    play.until_end();
    assert_eq!(play.upgrade.ending(), Some(Ending::Aborted));
    assert!(!play.entered().contains(&Phase::Drain));
}

#[test]
fn a_member_that_somebody_started_meanwhile_is_drained_and_one_that_was_switched_meanwhile_is_asked_about() {
    let inspected = |running: Option<(u64, u64, u64)>, on_disk| {
        let mut play = play();
        let order = play.until_phase(Phase::Preflight);
        let Evidence::Inspected(mut found) = play.evidence(&order) else { unreachable!() };
        (found.running, found.on_disk) = (running.map(version), Some(version(on_disk)));
        play.outcome(&order, Outcome::Done(Evidence::Inspected(found)));
        play
    };
    for running in [None, Some(OLD)] {
        let mut play = inspected(running, OLD);
        play.until_end();
        assert_eq!(play.upgrade.ending(), Some(Ending::Completed), "{running:?}: {:?}", play.kinds());
    }
    assert!(matches!(inspected(None, (1, 3, 3)).hold().reason, HoldReason::PlanDrifted { .. }));
}

#[test]
fn who_serves_beside_a_rejoin_is_no_newcomer_and_who_is_down_is_not_in_its_way() {
    for phase in [Phase::Preflight, Phase::Drain, Phase::Open, Phase::Bake] {
        let mut play = play();
        play.until_phase(phase);
        let at = now(play.millis + 1).wall;
        let mut serves = report("b", RunState::Running { pid: 7 }, at);
        serves.running = Some(version(NEW));
        let starting = report("a", RunState::Running { pid: 8 }, at);
        // Its host comes back now.
        let mut down = report("d", RunState::Stopped, at);
        down.on_disk = Some(version(OLD));
        for (who, report) in [("host-b", serves), ("host-a", starting), ("host-d", down)] {
            play.hear(&[Input::Appeared { agent: agent(who), report }]);
        }
        assert_eq!(play.upgrade.holds().count(), 0, "{phase}");
        play.until_end();
        assert_eq!(play.upgrade.ending(), Some(Ending::Completed), "{phase}: {:?}", play.kinds());
    }
}

#[test]
fn who_answers_with_another_release_beside_a_rejoin_holds_it_and_can_be_brought_in_with_it() {
    let mut play = play();
    play.until_phase(Phase::Switch);
    let mut other = report("b", RunState::Running { pid: 7 }, now(play.millis + 1).wall);
    other.running = Some(version(OLD));
    play.hear(&[Input::Appeared { agent: agent("host-b"), report: other }]);
    assert!(matches!(play.hold().reason, HoldReason::InstanceAppeared { .. }), "{:?}", play.hold());
    play.settle();
    play.decide(1, Choice::Accept);
    play.until_end();
    assert_eq!(play.upgrade.ending(), Some(Ending::Completed), "{:?}", play.kinds());
    let opened = play.upgrade.status(now(play.millis)).instances.into_iter().filter(|it| it.up.is_some()).count();
    assert_eq!(opened, 2);
    assert!(!starts_former(&play));
}

#[test]
fn a_rejoin_whose_last_instance_is_gone_for_good_ends_and_frees_the_deployment() {
    for (phase, ending) in
        [(Phase::Preflight, Ending::Aborted), (Phase::Drain, Ending::Aborted), (Phase::Bake, Ending::RolledBack)]
    {
        for paused in [false, true] {
            let mut play = play();
            play.until_phase(phase);
            if paused {
                play.ask(1, Ask::Pause { reason: String::new() });
            }
            let (reason, evidence) = ("its host burnt down".to_owned(), "no session from its address".to_owned());
            let decision = play.ask(2, Ask::Excuse { instance: instance("c"), reason, evidence });
            assert_eq!(decision.rejected, [None], "{phase}");
            assert_eq!(play.upgrade.ending(), Some(ending), "{phase}: {:?}", play.kinds());
        }
    }
    // Where others wait for the upgrade, the last member stays.
    let mut play = Play::start(Seen::default().plan());
    let (reason, evidence) = ("gone".to_owned(), "gone".to_owned());
    let decision = play.ask(1, Ask::Excuse { instance: instance("a"), reason, evidence });
    assert_eq!(decision.rejected, [Some(Rejected::LastMember(instance("a")))]);
}

#[test]
fn a_rejoin_is_refused_where_it_would_be_an_upgrade() {
    let deployment = FindingSubject::Deployment(DeploymentName::new("prod").unwrap());
    let one = |away: Away, subject: FindingSubject, words: &str| {
        let refused = away.refused();
        assert!(
            refused.iter().any(|(about, evidence)| *about == subject && evidence.contains(words)),
            "{words}: {refused:#?}"
        );
    };
    one(Away::new(&["c"]).with(|w| w.ask.allowed = None), deployment.clone(), "nothing says which release");
    one(Away::new(&["c"]).with(|w| w.ask.allowed = Some(version((1, 7, 3)))), deployment.clone(), "is to run 1.7.3");
    one(Away::new(&["c", "x"]), about("x"), "no agent speaks for");
    one(Away::new(&["b", "c"]), about("b"), "runs 1.4.6 already, and is not fenced");
    one(Away::new(&["c"]).with(|w| w.runs(1, OLD)), about("b"), "takes no part in this rejoin, and runs 1.3.1");
    let lacks = |away: &mut Away| {
        let ledgers = &mut away.surveys[2].instances[0].storage.as_mut().unwrap().ledgers;
        ledgers[1].migrations = Migrations(Some(vec![0]));
    };
    one(
        Away::new(&["c"]).with(lacks),
        FindingSubject::Ledger(ledger("shop")),
        "does not record migration 1, 2, 3, 4, 5, 6 of 1.4.6",
    );
    let elsewhere = |away: &mut Away| away.surveys[2].instances[0].storage.as_mut().unwrap().identity = storage();
    one(Away::new(&["c"]).with(elsewhere), about("a"), "and what is brought in uses");
    one(Away::new(&[]).with(|w| w.runs(2, NEW)), deployment, "has 1.4.6 already, and none is fenced");
}

#[test]
fn who_runs_another_release_beside_the_others_is_brought_in_only_with_approval_and_the_harm_is_told() {
    // 1.3.2 to 1.7.8 beside 1.8 or later lose what they are given.
    let new = (1, 8, 2);
    let seen = Seen::three_at(new, 17);
    let mut away = Away { registered: seen.registered(), surveys: seen.surveys(), ..Away::new(&["c"]) };
    (away.ask.target, away.ask.allowed) = (version(new), Some(version(new)));
    for host in &mut away.surveys {
        host.target.as_mut().unwrap().version = version(new);
    }
    away.runs(2, (1, 7, 3));
    let found = away.findings();
    let beside =
        found.iter().find(|finding| finding.code.0 == "runs-beside-target").unwrap_or_else(|| panic!("{found:#?}"));
    assert_eq!((beside.level, beside.subject.clone()), (Level::Approve, about("c")));
    assert!(beside.evidence.contains("1.7.3 beside instances that run 1.8.2"), "{}", beside.evidence);
    assert!(beside.evidence.contains("take it out of rotation NOW"), "{}", beside.evidence);
    assert!(!beside.evidence.contains("shut out"), "{}", beside.evidence);
    let alone = away.with(|w| w.ask.instances = ["a", "b", "c"].map(instance).into());
    let evidence =
        |found: Vec<Finding>| found.into_iter().find(|it| it.code.0 == "runs-beside-target").unwrap().evidence;
    assert!(evidence(alone.findings()).contains("no other instance serves meanwhile"));
}

#[test]
fn an_instance_that_nobody_sees_is_not_in_the_way_and_is_told() {
    let away = Away::new(&["c"]).with(|w| drop(w.surveys.remove(1)));
    let plan = away.plan();
    let unseen: Vec<_> = plan.findings(Level::Approve).map(|it| (it.code.0.as_str(), it.subject.clone())).collect();
    assert_eq!(unseen, [("others-not-seen", about("b"))]);
    assert!(plan.binding.beside.contains_key(&instance("b")));
    // One that is to be brought in must be seen.
    let mut away = Away::new(&["b", "c"]);
    away.is_down(1, OLD);
    away.surveys.remove(2);
    let codes: BTreeSet<_> = away.findings().into_iter().map(|finding| (finding.code.0, finding.level)).collect();
    assert!(codes.contains(&("agent-not-seen".to_owned(), Level::Block)), "{codes:?}");
}

#[test]
fn another_archive_of_the_same_version_than_the_others_have_is_refused() {
    let away = Away::new(&["c"]).with(|w| w.surveys[2].target.as_mut().unwrap().archive = Digest::of(b"another"));
    let codes: Vec<_> = away.findings().into_iter().filter(|it| it.level == Level::Block).map(|it| it.code.0).collect();
    assert_eq!(codes, ["releases-differ"]);
}

#[test]
fn a_plan_is_stale_once_others_serve_beside_it() {
    let agreed = Away::new(&["c"]).plan();
    let mut away = Away::new(&["c"]);
    let d = Seen { instances: vec!["d"], ..Seen::three_at(NEW, 6) };
    away.registered.extend(d.registered());
    away.surveys.extend(d.surveys());
    let stale = plan::may_start(&agreed, &away.plan(), None).unwrap_err();
    assert!(format!("{stale:?}").contains("instance d serves beside it now"), "{stale:?}");
    assert_eq!(plan::may_start(&agreed, &Away::new(&["c"]).plan(), None), Ok(()));
}
