//! Real `kill -9` with three instances, in every phase, from the machine's own list.

use crate::{check_completed, check_went_back};
use cutover_core::upgrade::{Way, forward};
use cutover_tests::checks::until_phase;
use cutover_tests::fleet::{Fleet, Plan};
use cutover_vocabulary::Phase;
use cutover_vocabulary::status::State;
use std::collections::BTreeSet;

#[derive(Debug, Clone, Copy)]
enum Victim {
    Coordinator,
    /// The agent that touches the storage.
    Runner,
    /// Another one.
    Other,
    Everybody,
}

fn kill_in(phase: Phase, victim: Victim) {
    let Some(mut fleet) = Fleet::new(Plan::default()) else { return };
    let writer = fleet.writer();
    let upgrade = fleet.begin();
    assert!(until_phase(&fleet.voice, &upgrade, phase), "{phase} with {victim:?}");
    let agents: &[usize] = match victim {
        Victim::Coordinator => &[],
        Victim::Runner => &[1],
        Victim::Other => &[2],
        Victim::Everybody => &[1, 2, 3],
    };
    agents.iter().for_each(|number| fleet.kill_agent(*number));
    if matches!(victim, Victim::Coordinator | Victim::Everybody) {
        fleet.kill_coordinator();
        fleet.start_coordinator();
    }
    agents.iter().for_each(|number| fleet.start_agent(*number));
    let status = fleet.until_state(&upgrade, State::Completed);
    check_completed(&fleet, &upgrade, &status, &writer.end());
}

fn phases() -> BTreeSet<Phase> {
    forward(Way::Downtime).iter().map(|stage| stage.phase).collect()
}

#[test]
fn a_killed_coordinator_goes_on_in_every_phase() {
    phases().into_iter().for_each(|phase| kill_in(phase, Victim::Coordinator));
}

#[test]
fn a_killed_runner_goes_on_in_every_phase() {
    phases().into_iter().for_each(|phase| kill_in(phase, Victim::Runner));
}

#[test]
fn another_killed_agent_goes_on_wherever_it_has_work() {
    for phase in [Phase::Stage, Phase::Drain, Phase::ConfirmDrained, Phase::Switch, Phase::Open] {
        kill_in(phase, Victim::Other);
    }
}

#[test]
fn everybody_killed_at_once_goes_on_at_the_borders() {
    for phase in [Phase::Drain, Phase::Secure, Phase::Migrate, Phase::Prove, Phase::Verify, Phase::Open] {
        kill_in(phase, Victim::Everybody);
    }
}

#[test]
fn everybody_killed_on_the_way_back_goes_on_in_every_phase_of_it() {
    for phase in [Phase::Restore, Phase::SwitchBack, Phase::Reopen] {
        let Some(mut fleet) = Fleet::new(Plan::default()) else { return };
        let writer = fleet.writer();
        let upgrade = fleet.begin();
        fleet.hold_in_the_middle(&upgrade);
        fleet.voice.go_back(&upgrade, true).unwrap();
        assert!(until_phase(&fleet.voice, &upgrade, phase));
        [1, 2, 3].iter().for_each(|number| fleet.kill_agent(*number));
        fleet.kill_coordinator();
        fleet.start_coordinator();
        [1, 2, 3].iter().for_each(|number| fleet.start_agent(*number));
        fleet.until_state(&upgrade, State::RolledBack);
        check_went_back(&fleet, &upgrade, &writer.end());
    }
}
