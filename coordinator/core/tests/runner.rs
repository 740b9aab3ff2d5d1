//! Who touches the storage, and who must be there, when a plan is made.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use cutover_core::plan::{self, PlanAsk};
use cutover_vocabulary::storage::{Obstacle, ObstacleKind};
use support::*;

#[test]
fn the_runner_is_the_first_by_name_that_sees_the_storage_and_nothing_in_the_way() {
    let seen = Seen::three();
    let lacks = |what: &str| Obstacle {
        kind: ObstacleKind::MissingTool,
        what: what.to_owned(),
        remedy: "install it".to_owned(),
        from: None,
    };
    let runner = |change: &dyn Fn(&mut Vec<cutover_vocabulary::survey::HostSurvey>)| {
        let mut surveys = seen.surveys();
        change(&mut surveys);
        plan::make(&cutover_core::catalogue::shipped().unwrap(), &ask(), &seen.registered(), &surveys, now(0).wall)
            .unwrap()
            .binding
            .runner
    };
    let obstacle = |survey: &mut cutover_vocabulary::survey::HostSurvey| {
        survey.instances[0].storage.as_mut().unwrap().obstacles.push(lacks("pg_dump"));
    };
    assert_eq!(runner(&|_| {}), agent("host-a"));
    assert_eq!(runner(&|surveys| surveys.reverse()), agent("host-a"), "not the first that answered");
    assert_eq!(runner(&|surveys| obstacle(&mut surveys[0])), agent("host-b"));
    assert_eq!(runner(&|surveys| surveys[0].instances[0].storage = Err("no rights".to_owned())), agent("host-b"));
    assert_eq!(
        runner(&|surveys| surveys.iter_mut().for_each(obstacle)),
        agent("host-a"),
        "a finding says what it lacks"
    );
}

#[test]
fn there_is_no_plan_without_a_declared_instance() {
    let seen = Seen::three();
    let ask = PlanAsk { declared: [instance("a"), instance("d")].into(), ..ask() };
    let cannot = plan::make(
        &cutover_core::catalogue::shipped().unwrap(),
        &ask,
        &seen.registered(),
        &seen.surveys(),
        now(0).wall,
    )
    .unwrap_err();
    let missing: Vec<_> = cannot.findings.iter().filter(|finding| finding.code.0 == "agent-not-seen").collect();
    assert_eq!(missing.len(), 1);
    assert!(missing[0].evidence.contains("declared"), "{}", missing[0].evidence);
}
