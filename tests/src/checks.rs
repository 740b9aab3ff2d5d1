//! What every scenario asks of an upgrade's facts.

use crate::until;
use crate::voice::Voice;
use cutover_vocabulary::fact::{Fact, Recorded};
use cutover_vocabulary::{Digest, Evidence, Phase, Subject};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// The facts are one chain, and nothing had effect twice.
///
/// # Panics
/// When they are not, or something had.
pub fn check_facts(facts: &[Recorded]) {
    let mut prev = Digest::of(b"");
    let mut opened = BTreeSet::new();
    for (n, recorded) in facts.iter().enumerate() {
        assert_eq!((recorded.seq, recorded.prev), (n as u64 + 1, prev), "the chain is broken at {}", recorded.seq);
        prev = recorded.hash();
        if let Fact::AttemptOpened { order } = &recorded.fact {
            assert!(opened.insert(order.id.clone()), "{} was opened twice", order.id);
        }
    }
}

/// Who wrote a fact never led before who wrote an earlier one: epochs only rise.
///
/// # Panics
/// When one does not.
pub fn check_epochs(facts: &[Recorded]) {
    for pair in facts.windows(2) {
        let [one, next] = [&pair[0], &pair[1]];
        assert!(one.epoch <= next.epoch, "fact {} of epoch {} follows one of {}", next.seq, next.epoch, one.epoch);
    }
}

/// No ledger was ordered to migrate without a recovery point, and none was migrated twice.
///
/// # Panics
/// When one was.
pub fn check_migrations(facts: &[Recorded]) {
    let (mut secured, mut migrated) = (BTreeSet::new(), BTreeSet::new());
    for recorded in facts {
        match &recorded.fact {
            Fact::StepSucceeded { order, evidence: Evidence::Secured(_) } => {
                secured.insert(&order.step.subject);
            }
            Fact::AttemptOpened { order } if order.id.phase == Phase::Migrate => {
                let subject = &order.id.step.subject;
                let ledger = matches!(subject, Subject::Ledger(_));
                assert!(!ledger || secured.contains(subject), "{} was ordered without a recovery point", order.id);
            }
            Fact::StepSucceeded { order, evidence: Evidence::Migrated(_) } => {
                assert!(migrated.insert(&order.step.subject), "{order}: {} was migrated twice", order.step.subject);
            }
            _ => {}
        }
    }
}

/// Waits until a phase was entered, first seen in the facts; false if the upgrade ended without it.
///
/// # Panics
/// When neither comes in time.
pub fn until_phase(voice: &Voice, upgrade: &str, phase: Phase) -> bool {
    let begun = Instant::now();
    until(&format!("phase {phase}"), Duration::from_secs(125), || {
        let facts = voice.facts(upgrade).ok()?;
        let met = facts.iter().any(|r| matches!(&r.fact, Fact::StageEntered { stage, .. } if stage.phase == phase));
        let ended = facts.iter().any(|r| matches!(r.fact, Fact::Ended { .. }));
        let late = begun.elapsed() > Duration::from_secs(120);
        assert!(
            !late,
            "phase {phase} does not come: {:#?}",
            voice.status(upgrade).map(|at| (at.waiting_for, at.holds))
        );
        (met || ended).then_some(met)
    })
}

/// The ledger that is migrated last: recovery points and migrations are ordered the longest first, by the rehearsal. Waits
/// until every one of so many recovery points is ordered.
///
/// # Panics
/// When they are not ordered in time.
pub fn last_in_turn(voice: &Voice, upgrade: &str, ledgers: usize) -> String {
    until("every recovery point is ordered", Duration::from_secs(120), || {
        let facts = voice.facts(upgrade).ok()?;
        let secured: Vec<String> = facts.iter().filter_map(ordered_in_secure).collect();
        (secured.len() >= ledgers).then(|| secured.last().cloned())?
    })
}

/// The ledger whose recovery point a fact orders.
fn ordered_in_secure(fact: &Recorded) -> Option<String> {
    let Fact::AttemptOpened { order } = &fact.fact else { return None };
    match &order.id.step.subject {
        Subject::Ledger(name) if order.id.phase == Phase::Secure => Some(name.as_str().to_owned()),
        Subject::Ledger(_) | Subject::Instance(_) | Subject::Storage => None,
    }
}
