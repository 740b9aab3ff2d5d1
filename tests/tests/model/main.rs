//! A model check: every order in which things can happen to a small upgrade, with the real core and the real desks. Two instances
//! and their agents, one of them the runner, one ledger, and coordinators that are elected while the former one still speaks.
//!
//! What was said over a link may arrive late, in any order, any number of times, or never, without a bound. How often somebody is
//! killed or deposed, work goes wrong, an agent is silent or a person turns back is bounded. Whoever works is killed before,
//! between and after all that it does. In every state that can be reached so, what an effect, a decision or a message could break
//! of the invariants of ARCHITECTURE.md is looked at, and something can happen until the upgrade has ended.
//!
//! What is left out, and why nothing is hidden by that:
//!
//! * **Asked once.** Core and desk read nothing but their arguments, so each is asked once about the same thing
//!   (`cores.rs`, `desks.rs`). A state is the numbers of what it consists of, and is remembered by 128 bits (`kept.rs`).
//! * **Losses and repetitions.** A message stays on its way when it has arrived, until its link is gone. To lose it is to be late
//!   for ever; to repeat it is to let it arrive again. What agents and leaders repeat anyway (`say_what_stands`) is on its way at
//!   once: more on its way only allows more. That nothing waits for a message that nobody repeats is seen where all is lost.
//! * **What was dealt with is forgotten**: a message that changes nothing where it arrives and is answered by what was said
//!   before, if by anything. `check_what_was_left_out` sees for every change of a host and of an upgrade that was visited, and
//!   every message, that what was dealt with before it is so after it.
//! * **Acknowledgements arrive at once**, or never where a coordinator or a link dies. All that they do is end repetitions:
//!   for every host that was visited, a desk that missed all of them does about every message the same but for what it says
//!   about those orders.
//! * **A deposed coordinator** is left out once no agent is linked to it: nobody hears it, and the store refuses what it writes.
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

use rustix::time::{ClockId, clock_gettime};
use state::{Bounds, Parts, State};
use std::collections::{BTreeMap, HashSet};

/// Visits every state, and tells how many there are and how many of them are ends, by their endings.
fn explore(parts: &mut Parts, bounds: Bounds) -> (usize, BTreeMap<String, usize>) {
    let first = State::first(parts, bounds);
    let mut seen = HashSet::from([kept::fingerprint(&first)]);
    let mut open = vec![first];
    let mut ends = BTreeMap::new();
    while let Some(state) = open.pop() {
        let next = state.next(parts);
        if next.is_empty() {
            let ending = state.ending().unwrap_or_else(|| panic!("nothing can happen any more: {}", state.story()));
            state.check_end();
            *ends.entry(ending).or_default() += 1;
        }
        for state in next {
            if seen.insert(kept::fingerprint(&state)) {
                open.push(state);
            }
        }
    }
    (seen.len(), ends)
}

fn check(bounds: Bounds, wanted: &[&str]) {
    let began = cpu_seconds();
    let mut parts = Parts::default();
    let (states, ends) = explore(&mut parts, bounds);
    parts.cores.check_what_was_left_out(&parts.messages);
    parts.desks.check_what_was_left_out(&parts.messages);
    let (upgrades, hosts) = (parts.cores.count(), parts.desks.count());
    let took = cpu_seconds() - began;
    println!(
        "model check, {bounds}: {states} states of {upgrades} upgrades and {hosts} hosts, {took:.1} s, ends {ends:?}"
    );
    let endings: Vec<&str> = ends.keys().map(String::as_str).collect();
    assert_eq!(endings, wanted);
}

/// Of this thread, so that what else the machine does does not count.
fn cpu_seconds() -> f64 {
    let spent = clock_gettime(ClockId::ThreadCPUTime);
    spent.tv_sec as f64 + spent.tv_nsec as f64 / 1e9
}

/// How deep: 1 in every run of the tests, 2 by `make model`.
fn depth() -> u8 {
    std::env::var("CUTOVER_MODEL_DEPTH").map_or(1, |text| text.parse().expect("CUTOVER_MODEL_DEPTH is a small number"))
}

const ANY: &[&str] = &["Aborted", "Completed", "RolledBack"];

#[test]
fn whatever_is_lost_late_or_repeated_and_whoever_is_killed_or_deposed_the_upgrade_completes() {
    check(Bounds { crashes: depth(), ..Bounds::default() }, &["Completed"]);
}

#[test]
fn whoever_goes_back_to_a_deposed_leader_the_upgrade_completes() {
    check(Bounds { crashes: 1, strays: 1, ..Bounds::default() }, &["Completed"]);
}

#[test]
fn wherever_a_person_turns_back_everything_ends_on_the_former_release_or_on_the_target() {
    check(Bounds { turns_back: true, crashes: depth() - 1, ..Bounds::default() }, ANY);
}

#[test]
fn whatever_goes_wrong_with_work_everything_ends_on_the_former_release_or_on_the_target() {
    check(Bounds { troubles: 1, turns_back: depth() > 1, ..Bounds::default() }, ANY);
}

#[test]
fn whoever_is_silent_the_upgrade_waits_for_a_person_and_goes_on() {
    check(Bounds { silences: 1, crashes: depth() - 1, ..Bounds::default() }, ANY);
}
