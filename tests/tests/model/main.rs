//! A model check: every order in which things can happen to a small upgrade.
#![allow(clippy::wildcard_enum_match_arm, reason = "a test looks for one variant")]

mod cores;
mod desks;
#[path = "../crash_points/durable.rs"]
mod durable;
mod host;
mod kept;
mod message;
mod state;
#[path = "../../../coordinator/core/tests/support/mod.rs"]
mod support;

use state::{Bounds, Parts, State};
use std::collections::{BTreeMap, HashSet};
use std::time::Instant;

/// Visits every state, and tells how many there are and how many of them are ends, by their endings.
fn explore(parts: &mut Parts, bounds: Bounds) -> (usize, BTreeMap<String, usize>) {
    let first = State::first(parts, bounds);
    let mut seen = HashSet::from([kept::fingerprint(&first)]);
    let mut open = vec![first];
    let mut ends = BTreeMap::new();
    while let Some(state) = open.pop() {
        let next = state.next(parts);
        if next.is_empty() {
            let ending = state.ending().unwrap_or_else(|| panic!("nothing can happen any more: {state:#?}"));
            state.check_end();
            *ends.entry(ending).or_default() += 1;
        }
        for state in next {
            if seen.insert(kept::fingerprint(&state)) {
                open.push(state);
            }
        }
        if seen.len() > 20_000_000 { panic!("too many"); }
    }
    (seen.len(), ends)
}

fn check(name: &str, bounds: Bounds, wanted: &[&str]) {
    #[allow(clippy::disallowed_methods, reason = "the time that a tier takes is printed")]
    let began = Instant::now();
    let mut parts = Parts::default();
    let (states, ends) = explore(&mut parts, bounds);
    let (upgrades, hosts) = (parts.cores.count(), parts.desks.count());
    println!("model check, {name}: {states} states of {upgrades} upgrades and {hosts} hosts in {:.1} s, ends {ends:?}", began.elapsed().as_secs_f64());
    parts.cores.check_what_was_left_out(&parts.messages);
    parts.desks.check_what_was_left_out(&parts.messages);
    println!("   {:.1} s", began.elapsed().as_secs_f64());
    let endings: Vec<&str> = ends.keys().map(String::as_str).collect();
    assert_eq!(endings, wanted);
}

#[test]
fn t0() {
    check("nothing", Bounds { ..Bounds::default() }, &["Completed"]);
}
#[test]
fn t1() {
    check("1 crash", Bounds { crashes: 1, ..Bounds::default() }, &["Completed"]);
}
#[test]
fn t2() {
    check("2 crash", Bounds { crashes: 2, ..Bounds::default() }, &["Completed"]);
}
#[test]
fn t_back() {
    check("back", Bounds { turns_back: true, ..Bounds::default() }, &["Aborted", "Completed", "RolledBack"]);
}
#[test]
fn t_trouble() {
    check("trouble", Bounds { troubles: 1, ..Bounds::default() }, &["Aborted", "Completed", "RolledBack"]);
}
#[test]
fn t_silence() {
    check("silence", Bounds { silences: 1, ..Bounds::default() }, &["Aborted", "Completed", "RolledBack"]);
}
