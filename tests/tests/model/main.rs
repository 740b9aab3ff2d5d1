//! A model check: every order in which things can happen to a small upgrade, with the real core and the real desks. Two instances
//! and their agents, one of them the runner, one ledger, and coordinators that are elected while the former one still speaks.
//!
//! What is on its way is a set: any of it may arrive next, or be lost, or arrive twice. Whoever works may be killed before,
//! between and after all that it does. A new link begins without what was on its way over the former one, as a stream does. How often that happens is bounded, nothing else is: every state that can be reached is
//! visited once, and in each the invariants of ARCHITECTURE.md are looked at that an effect could break.
#![allow(clippy::wildcard_enum_match_arm, reason = "a test looks for one variant")]

#[path = "../crash_points/durable.rs"]
mod durable;
mod host;
mod shared;
mod state;
#[path = "../../../coordinator/core/tests/support/mod.rs"]
mod support;

use state::{Bounds, State};
use std::collections::HashSet;
use std::time::Instant;

/// Visits every state, and tells how many there are and how many of them are ends, by their endings.
fn explore(bounds: Bounds) -> (usize, Vec<(String, usize)>) {
    let first = State::first(bounds);
    let mut seen = HashSet::from([first.fingerprint()]);
    let mut open = vec![first];
    let mut ends = std::collections::BTreeMap::<String, usize>::new();
    while let Some(state) = open.pop() {
        let next = state.next();
        if next.is_empty() {
            let ending = state.ending().unwrap_or_else(|| panic!("nothing can happen any more: {state:#?}"));
            state.check_end();
            *ends.entry(ending).or_default() += 1;
        }
        for state in next {
            if seen.insert(state.fingerprint()) {
                open.push(state);
            }
        }
    }
    (seen.len(), ends.into_iter().collect())
}

fn check(name: &str, bounds: Bounds, wanted: &[&str]) {
    #[allow(clippy::disallowed_methods, reason = "the time that a tier takes is printed")]
    let began = Instant::now();
    let (states, ends) = explore(bounds);
    println!("model check, {name}: {states} states in {:.1} s, ends {ends:?}", began.elapsed().as_secs_f64());
    let endings: Vec<&str> = ends.iter().map(|(ending, _)| ending.as_str()).collect();
    assert_eq!(endings, wanted);
}

/// How deep: `CUTOVER_MODEL_DEPTH=2` visits some millions of states, by hand.
fn depth() -> u8 {
    std::env::var("CUTOVER_MODEL_DEPTH").map_or(1, |text| text.parse().expect("CUTOVER_MODEL_DEPTH is a small number"))
}

#[test]
fn whatever_is_lost_the_upgrade_completes() {
    check("messages lost", Bounds { losses: 2 * depth(), ..Bounds::default() }, &["Completed"]);
}

#[test]
fn whatever_comes_twice_the_upgrade_completes() {
    check("messages that come twice", Bounds { twice: depth(), ..Bounds::default() }, &["Completed"]);
}

#[test]
fn whoever_is_killed_or_deposed_the_upgrade_completes() {
    check("crashes and elections", Bounds { crashes: depth(), ..Bounds::default() }, &["Completed"]);
}

#[test]
fn wherever_a_person_turns_back_everything_ends_on_the_former_release_or_on_the_target() {
    let bounds = Bounds { turns_back: true, losses: depth() - 1, ..Bounds::default() };
    check("a way back from anywhere", bounds, &["Aborted", "Completed", "RolledBack"]);
}
