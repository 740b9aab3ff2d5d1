//! Fault tier (c): whole upgrades under a seed. The real core, the real desks and the real store in memory, under virtual time;
//! hosts and storage are data. What happens next is drawn: a message arrives, work is done, time passes, somebody decides, or
//! something breaks. After a while nothing breaks any more, and then the upgrade must end, whatever was done to it.
//!
//! `CUTOVER_SEED=N` plays one seed and prints what happens; `CUTOVER_SEEDS=N` plays so many instead of those of the test;
//! `CUTOVER_SOAK_SECONDS=N` goes on with further seeds for so long.
#![allow(clippy::wildcard_enum_match_arm, reason = "a test looks for one variant")]

mod coordinator;
mod coverage;
#[path = "../crash_points/durable.rs"]
mod durable;
#[path = "../crash_points/hosts.rs"]
mod hosts;
mod mishap;
mod plans;
#[path = "../../../coordinator/core/tests/support/mod.rs"]
mod support;
mod world;

use coverage::Coverage;
use cutover_tests::tier;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use world::Simulation;

/// How many upgrades the test plays.
const UPGRADES: u64 = 2_400;

fn asked_for(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

/// Plays a seed to its end, and tells what was met; a seed that fails is named.
fn play(seed: u64, told: bool) -> Coverage {
    let mut simulation = Simulation::new(seed, told);
    let played = catch_unwind(AssertUnwindSafe(|| simulation.play()));
    assert!(
        played.is_ok(),
        "seed {seed} failed, see above; to see all of it:\n  \
         CUTOVER_SEED={seed} cargo test -p cutover-tests --test simulation -- --nocapture"
    );
    simulation.coverage
}

/// Plays seeds on both cores, from `first` on while `wanted` says so.
fn play_all(first: u64, wanted: impl Fn(u64) -> bool + Sync) -> (Coverage, u64) {
    let next = AtomicU64::new(first);
    let worker = || {
        let mut met = Coverage::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if !wanted(seed) {
                return met;
            }
            met.add(play(seed, false));
        }
    };
    std::thread::scope(|scope| {
        let workers = [scope.spawn(worker), scope.spawn(worker)];
        let mut met = Coverage::default();
        for worker in workers {
            met.add(worker.join().expect("a seed failed; it is named above"));
        }
        (met, next.load(Ordering::Relaxed) - first - 2)
    })
}

#[test]
#[allow(clippy::disallowed_methods, reason = "the time that a tier takes is printed, and a soak ends by the clock")]
fn whatever_happens_to_an_upgrade_it_ends_and_nothing_is_lost_doubled_or_left_down() {
    if let Some(seed) = asked_for("CUTOVER_SEED") {
        println!("{}", play(seed, true));
        return;
    }
    let began = Instant::now();
    let upgrades = asked_for("CUTOVER_SEEDS").unwrap_or(UPGRADES);
    let (mut met, mut played) = play_all(0, |seed| seed < upgrades);
    if let Some(seconds) = asked_for("CUTOVER_SOAK_SECONDS") {
        let (more, further) = play_all(upgrades, |_| began.elapsed() < Duration::from_secs(seconds));
        met.add(more);
        played += further;
    }
    tier::count("(c) simulation", (plans::PlanKind::ALL.len() as u64, "plans"), played, met.points(), began);
    println!("simulated upgrades: {played} in {:.1} s\n{met}", began.elapsed().as_secs_f64());
    if upgrades >= UPGRADES {
        let missing = met.missing();
        assert!(missing.is_empty(), "never met in {played} upgrades: {missing:?}");
    }
}

#[test]
fn a_seed_plays_the_same_twice() {
    for seed in [1, 7, 42] {
        assert_eq!(play(seed, false).to_string(), play(seed, false).to_string(), "seed {seed}");
    }
}
