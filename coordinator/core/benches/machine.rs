//! How long the machine takes: deciding on 10,000 outcomes in one call, and replaying 100,000 facts.
//! Budget: 50 ms each. Run by `make bench`.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "a bench reads the clock")]

#[path = "../tests/support/mod.rs"]
mod support;

use cutover_core::upgrade::{Input, Upgrade, Want, decide};
use cutover_vocabulary::*;
use std::time::Instant;
use support::*;

fn median(mut runs: Vec<f64>) -> f64 {
    runs.sort_by(f64::total_cmp);
    runs[runs.len() / 2]
}

fn main() {
    let names: Vec<&'static str> = (0..10_000).map(|n| &*Box::leak(format!("i{n:05}").into_boxed_str())).collect();
    let mut seen = Seen { instances: names, ..Seen::default() };
    seen.ledgers = vec![("main", 0)];
    let mut play = Play::start(seen.plan_without_blocks());
    let answers = |play: &Play| -> Vec<Input> {
        let all = play.orders();
        let answer = |(order, want): &(Order, Want)| {
            assert_eq!(*want, Want::Do);
            let evidence = honest(play.upgrade.plan(), order, now(play.millis).wall);
            Input::Outcome { agent: order.agent.clone(), order: order.id.clone(), outcome: Outcome::Done(evidence) }
        };
        all.iter().map(answer).collect()
    };
    // Up to the drain, a whole stage in one call each.
    while play.upgrade.phase() != Some(Phase::Drain) {
        let inputs = answers(&play);
        play.hear(&inputs);
    }
    let inputs = answers(&play);
    assert_eq!(inputs.len(), 10_000);
    let decided: Vec<f64> = (0..9)
        .map(|_| {
            let from = Instant::now();
            let decision = decide(&play.upgrade, play.epoch, now(play.millis + 1), &inputs);
            let took = from.elapsed().as_secs_f64() * 1e3;
            assert!(decision.facts.len() >= 20_000, "outcomes recorded and the next stage ordered");
            took
        })
        .collect();
    println!("decide on 10,000 outcomes in one call: {:.1} ms (budget 50)", median(decided));

    let mut rounds = 0;
    while play.facts.len() < 100_000 {
        let inputs = answers(&play);
        if inputs.is_empty() {
            // One upgrade of this size has fewer facts: fold another one behind it, each from its own start.
            break;
        }
        play.hear(&inputs);
        rounds += 1;
    }
    let facts = &play.facts[..play.facts.len().min(100_000)];
    // Many, for single ones differ by a fifth on a shared machine.
    let replayed: Vec<f64> = (0..60)
        .map(|_| {
            let from = Instant::now();
            let upgrade = Upgrade::replay(play.upgrade.id().clone(), facts).unwrap();
            let took = from.elapsed().as_secs_f64() * 1e3;
            assert_eq!(upgrade.seq(), facts.len() as u64);
            took
        })
        .collect();
    println!(
        "replay of {} facts ({rounds} calls after the drain): {:.1} ms (budget 50)",
        facts.len(),
        median(replayed)
    );
}
