//! Real `kill -9` of the coordinator and of the agent in every phase, from the machine's own list.

use crate::{check_completed, check_went_back, go_back_from_the_migration, until_phase};
use cutover_core::upgrade::{Way, forward};
use cutover_tests::house::{House, Plan};
use cutover_vocabulary::Phase;
use cutover_vocabulary::status::State;
use std::collections::BTreeSet;

#[derive(Debug, Clone, Copy)]
enum Victim {
    Coordinator,
    Agent,
    Both,
}

fn kill_in(phase: Phase, victim: Victim) {
    let mut house = House::new(Plan::default());
    let writer = house.writer();
    let upgrade = house.begin();
    until_phase(&house, &upgrade, phase);
    match victim {
        Victim::Coordinator => {
            house.kill_coordinator();
            house.start_coordinator();
        }
        Victim::Agent => {
            house.kill_agent();
            house.start_agent();
        }
        Victim::Both => {
            house.kill_agent();
            house.kill_coordinator();
            house.start_coordinator();
            house.start_agent();
        }
    }
    let status = house.until_state(&upgrade, State::Completed);
    let told = writer.end();
    check_completed(&house, &upgrade, &status, &told);
}

fn phases() -> BTreeSet<Phase> {
    forward(Way::Downtime).iter().map(|stage| stage.phase).collect()
}

#[test]
fn a_killed_coordinator_goes_on_in_every_phase() {
    for phase in phases() {
        kill_in(phase, Victim::Coordinator);
    }
}

#[test]
fn a_killed_agent_goes_on_in_every_phase() {
    for phase in phases() {
        kill_in(phase, Victim::Agent);
    }
}

#[test]
fn both_killed_at_once_go_on_at_the_borders() {
    for phase in [Phase::Drain, Phase::Secure, Phase::Migrate, Phase::Prove, Phase::Verify, Phase::Open] {
        kill_in(phase, Victim::Both);
    }
}

#[test]
fn a_killed_agent_goes_on_in_every_phase_of_the_way_back() {
    for phase in [Phase::Restore, Phase::SwitchBack, Phase::Reopen] {
        let mut house = House::new(Plan::default());
        let writer = house.writer();
        let upgrade = go_back_from_the_migration(&house);
        assert!(until_phase(&house, &upgrade, phase));
        house.kill_agent();
        house.kill_coordinator();
        house.start_agent();
        house.start_coordinator();
        house.until_state(&upgrade, State::RolledBack);
        let told = writer.end();
        check_went_back(&house, &upgrade, &told);
    }
}
