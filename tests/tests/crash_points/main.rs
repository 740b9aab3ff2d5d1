//! Fault tier (a): the real core and the real desk, in one process, with a store, a journal and a host that are only
//! data. The program is stopped before and after every append, send, journal write, effect and acknowledgement, one at
//! a time and in pairs; the points come from the run itself, so a new phase is covered by itself.
#![allow(clippy::wildcard_enum_match_arm, reason = "a test looks for one variant")]
#![allow(clippy::disallowed_methods, reason = "the time that a tier takes is printed")]

mod durable;
mod hosts;
#[path = "../../../coordinator/core/tests/support/mod.rs"]
mod support;
mod world;

use cutover_tests::tier;
use cutover_vocabulary::Phase;
use cutover_vocabulary::fact::{Ending, Fact};
use std::collections::BTreeMap;
use std::time::Instant;
use world::{Crash, Scenario, World};

/// Runs a scenario to its end with these crashes, and checks what must hold.
fn run(scenario: Scenario, crashes: &[Crash]) -> World {
    let mut world = World::new(scenario, crashes);
    world.run_to_end();
    world.check_end();
    world
}

const SCENARIOS: &[(Scenario, Ending)] = &[
    (Scenario::Honest, Ending::Completed),
    (Scenario::AbortAt(Phase::Drain), Ending::Aborted),
    (Scenario::AbortAt(Phase::Secure), Ending::Aborted),
    (Scenario::RollbackAt(Phase::Migrate), Ending::RolledBack),
    (Scenario::RollbackAt(Phase::StartClosed), Ending::RolledBack),
    (Scenario::FailingLedger, Ending::RolledBack),
    (Scenario::WrittenBetween { rollback: false }, Ending::Completed),
    (Scenario::WrittenBetween { rollback: true }, Ending::RolledBack),
    (Scenario::Three, Ending::Completed),
    (Scenario::ThreeRollbackAt(Phase::Prove), Ending::RolledBack),
    (Scenario::AppearsAt(Phase::Secure), Ending::Completed),
    (Scenario::AppearsAt(Phase::Migrate), Ending::Completed),
    (Scenario::AppearsAt(Phase::Switch), Ending::Completed),
    (Scenario::AppearsAt(Phase::Open), Ending::Completed),
    (Scenario::DiesAt("c", Phase::Drain), Ending::Completed),
    (Scenario::DiesAt("c", Phase::Migrate), Ending::Completed),
    (Scenario::DiesAt("a", Phase::Secure), Ending::Completed),
    (Scenario::Rolling, Ending::Completed),
    (Scenario::RollingBackAt(Phase::Bake), Ending::RolledBack),
    (Scenario::RollingBackAt(Phase::Drain), Ending::RolledBack),
    (Scenario::Rejoin, Ending::Completed),
    (Scenario::RejoiningBackAt(Phase::Drain), Ending::Aborted),
    (Scenario::RejoiningBackAt(Phase::StartClosed), Ending::Aborted),
    (Scenario::RejoiningBackAt(Phase::Bake), Ending::RolledBack),
];

#[test]
fn without_a_crash_every_scenario_ends_as_it_should() {
    for (scenario, ending) in SCENARIOS {
        let world = run(*scenario, &[]);
        assert_eq!(world.ending(), Some(*ending), "{scenario:?}");
    }
}

#[test]
fn a_crash_at_any_point_changes_nothing_but_the_time_it_takes() {
    let (began, mut runs) = (Instant::now(), 0);
    let mut by_kind: BTreeMap<&'static str, u32> = BTreeMap::new();
    for (scenario, ending) in SCENARIOS {
        let points = run(*scenario, &[]).points;
        for (n, kind) in points.iter().enumerate() {
            // With three hosts there are a thousand points, and most of them are alike: one in seven, by turns.
            let crashes = Crash::all(n);
            let crashes = match scenario.hosts() {
                1 => &crashes[..],
                _ if n % 7 == 0 => &crashes[n / 7 % 3..][..1],
                _ => &[],
            };
            for crash in crashes.iter().copied() {
                let world = run(*scenario, &[crash]);
                assert!(world.crashed > 0, "point {n} {kind} of {scenario:?} was not reached again");
                assert_eq!(world.ending(), Some(*ending), "{scenario:?} with {crash:?} at {kind}");
                runs += 1;
            }
            if !crashes.is_empty() {
                *by_kind.entry(kind).or_default() += 1;
            }
        }
    }
    let points = by_kind.values().copied().map(u64::from).sum();
    tier::count("(a) crash points", (SCENARIOS.len() as u64, "scenarios"), runs, points, began);
    println!("crash points, each as a crash of the coordinator, of the agent and of the link: {by_kind:?}");
    for kind in world::KINDS {
        assert!(by_kind.contains_key(kind), "no run reaches a point {kind}");
    }
}

#[test]
fn two_crashes_in_one_upgrade_change_nothing_either() {
    let points = run(Scenario::Honest, &[]).points.len();
    let (began, mut pairs) = (Instant::now(), 0);
    // Every point with a second crash at a stride of other points; the stride is prime to the number of points.
    for n in 0..points {
        for m in (n + 1 + n % 7..points + 40).step_by(101) {
            for (first, second) in [(0, 1), (1, 0), (1, 1), (0, 0)] {
                run(Scenario::Honest, &[Crash::all(n)[first], Crash::all(m)[second]]);
                pairs += 1;
            }
        }
    }
    tier::count("(a) crash points", (0, "scenarios"), pairs, 0, began);
    println!("pairs of crashes: {pairs}");
    assert!(pairs > 1_000);
}

#[test]
fn every_phase_is_met_by_some_scenario() {
    let mut met = Vec::new();
    for (scenario, _) in SCENARIOS {
        let world = run(*scenario, &[]);
        met.extend(world.store.iter().filter_map(|recorded| match &recorded.fact {
            Fact::StageEntered { stage, .. } => Some(stage.phase),
            _ => None,
        }));
    }
    let missing: Vec<&Phase> = Phase::ALL.iter().filter(|phase| !met.contains(phase)).collect();
    assert!(missing.is_empty(), "phases without a run: {missing:?}");
}
