//! Who takes part, and what happens when that changes in the middle.

use crate::{check_completed, check_went_back, decide, held};
use cutover_tests::checks::until_phase;
use cutover_tests::fleet::{Fleet, Plan};
use cutover_vocabulary::Phase;
use cutover_vocabulary::hold::{Choice, HoldReason};
use cutover_vocabulary::status::State;

#[test]
fn a_plan_blocks_on_an_instance_that_is_not_seen() {
    let Some(mut fleet) = Fleet::new(Plan::default()) else { return };
    fleet.voice.plan_when_ready("prod", "1.4.6");
    fleet.kill_host(3);
    let codes = cutover_tests::until("the agent's link is seen to be gone", std::time::Duration::from_secs(60), || {
        let plan = fleet.voice.plan("prod", "1.4.6");
        match plan {
            Err(why) => why.contains("ledger-3").then_some(why),
            Ok(plan) => {
                plan.binding.findings.iter().any(|f| f.code.0 == "agent-not-seen").then(|| "agent-not-seen".to_owned())
            }
        }
    });
    assert!(!codes.is_empty());
}

#[test]
fn a_host_that_is_lost_in_the_window_holds_by_its_name_and_can_be_waited_for() {
    let plan = Plan { limits: "drain_seconds = 5\nagent_lost_seconds = 2".to_owned(), ..Plan::default() };
    let Some(mut fleet) = Fleet::new(plan) else { return };
    let writer = fleet.writer();
    let upgrade = fleet.begin();
    assert!(until_phase(&fleet.voice, &upgrade, Phase::Drain));
    fleet.kill_agent(2);
    let status = held(&fleet, &upgrade);
    assert!(
        matches!(&status.holds[0].reason, HoldReason::AgentLost { agent, .. } if agent.as_str() == "agent-2"),
        "{:?}",
        status.holds
    );
    fleet.start_agent(2);
    let status =
        cutover_tests::until("it goes on once the agent is heard", std::time::Duration::from_secs(180), || {
            let status = fleet.voice.status(&upgrade).ok()?;
            status.state.ended().then_some(status)
        });
    match status.state {
        State::Completed => check_completed(&fleet, &upgrade, &status, &writer.end()),
        other => panic!("{other}: {:?}\n{}", status.turned_back, fleet.logs()),
    }
}

#[test]
fn an_instance_that_appears_in_the_middle_holds_and_joins_or_everything_goes_back() {
    let Some(mut fleet) = Fleet::new(Plan::default()) else { return };
    let writer = fleet.writer();
    let upgrade = fleet.begin();
    assert!(until_phase(&fleet.voice, &upgrade, Phase::Rehearse));
    let number = fleet.add_host();
    fleet.start_agent(number);
    let status = held(&fleet, &upgrade);
    assert!(
        status.holds.iter().any(|hold| matches!(&hold.reason, HoldReason::InstanceAppeared { instance, .. } if instance.as_str() == "ledger-4")),
        "{:?}",
        status.holds
    );
    decide(&fleet, &upgrade, &status, Choice::Abort);
    fleet.until_state(&upgrade, State::Aborted);
    check_went_back(&fleet, &upgrade, &writer.end());
}
