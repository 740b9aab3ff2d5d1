//! What the clients' writes came to: how long none was answered, and whether what was acknowledged is there.

use super::writer::{Answer, Write};
use cutover_vocabulary::Elapsed;
use serde::Serialize;
use std::collections::BTreeSet;

/// How long no write was answered: from the last acknowledged one before the longest gap with a failure in it, to the
/// first acknowledged one after it. None: there was no such gap within one run.
pub(super) fn downtime(writes: &[Write]) -> Option<Elapsed> {
    let mut longest = None;
    let mut last: Option<&Write> = None;
    let mut failed = false;
    for write in writes {
        if last.is_some_and(|last| last.run != write.run) {
            (last, failed) = (None, false);
        }
        match write.answer {
            Answer::Acknowledged => {
                if let (Some(last), true) = (last, failed) {
                    longest = longest.max(Some(Elapsed(write.at.saturating_sub(last.at))));
                }
                (last, failed) = (Some(write), false);
            }
            Answer::Unanswered | Answer::Refused(_) | Answer::Nowhere => failed = true,
        }
    }
    longest
}

/// What the writes came to, compared with what is there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(super) struct Tally {
    /// How many were acknowledged.
    pub(super) acknowledged: u64,
    /// How many got no answer.
    pub(super) unanswered: u64,
    /// How many of those exist all the same.
    pub(super) unanswered_but_there: u64,
    /// How many were refused.
    pub(super) refused: u64,
    /// How many were sent nowhere, because no instance was in rotation.
    pub(super) turned_away: u64,
    /// How often a write was tried again after a 409: instances without a common lock refuse each other's parallel writes,
    /// upgrade or not.
    pub(super) lock_conflicts: u64,
    /// Acknowledged ones that do not exist.
    pub(super) missing: Vec<String>,
    /// Any that exist more than once.
    pub(super) doubled: Vec<String>,
}

impl Tally {
    /// Whether every acknowledged write exists exactly once.
    pub(super) fn right(&self) -> bool {
        self.missing.is_empty() && self.doubled.is_empty()
    }

    /// Compares. `there` are the references that exist, one entry for each time.
    pub(super) fn of(writes: &[Write], there: &[String]) -> Self {
        let mut once = BTreeSet::new();
        let mut tally = Self::default();
        for reference in there.iter().filter(|reference| reference.starts_with("client-")) {
            if !once.insert(reference.as_str()) {
                tally.doubled.push(reference.clone());
            }
        }
        for write in writes {
            let exists = once.contains(write.reference.as_str());
            tally.lock_conflicts += u64::from(write.conflicts);
            match write.answer {
                Answer::Acknowledged => {
                    tally.acknowledged += 1;
                    if !exists {
                        tally.missing.push(write.reference.clone());
                    }
                }
                Answer::Unanswered => {
                    tally.unanswered += 1;
                    tally.unanswered_but_there += u64::from(exists);
                }
                Answer::Refused(_) => tally.refused += 1,
                Answer::Nowhere => tally.turned_away += 1,
            }
        }
        tally
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(number: u64, at: u64, run: u32, answer: Answer) -> Write {
        Write { reference: format!("client-{run}-1-{number}"), at, run, conflicts: 0, answer }
    }

    #[test]
    fn downtime_is_from_the_last_answered_to_the_first_answered_write() {
        let writes = [
            write(0, 100, 1, Answer::Acknowledged),
            write(1, 130, 1, Answer::Unanswered),
            write(2, 900, 1, Answer::Refused(503)),
            write(3, 950, 1, Answer::Nowhere),
            write(4, 1100, 1, Answer::Acknowledged),
            write(5, 9000, 1, Answer::Acknowledged),
            write(0, 90_000, 2, Answer::Acknowledged),
        ];
        assert_eq!(downtime(&writes), Some(Elapsed(1000)));
        assert_eq!(downtime(&writes[4..]), None);
    }

    #[test]
    fn an_acknowledged_write_that_is_missing_or_doubled_is_told() {
        let mut writes = [
            write(0, 1, 1, Answer::Acknowledged),
            write(1, 2, 1, Answer::Acknowledged),
            write(2, 3, 1, Answer::Unanswered),
        ];
        let there = |references: &[&str]| references.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
        let right = Tally::of(&writes, &there(&["client-1-1-0", "client-1-1-1", "client-1-1-2", "seed-main-1"]));
        assert!(right.right() && right.unanswered_but_there == 1);
        assert_eq!(Tally::of(&writes, &there(&["client-1-1-0"])).missing, ["client-1-1-1"]);
        let doubled = there(&["client-1-1-0", "client-1-1-1", "client-1-1-1"]);
        assert_eq!(Tally::of(&writes, &doubled).doubled, ["client-1-1-1"]);
        writes[1].conflicts = 3;
        let tally = Tally::of(&writes, &there(&["client-1-1-0", "client-1-1-1"]));
        assert_eq!((tally.lock_conflicts, tally.refused), (3, 0), "a conflict that passed is no refusal");
    }
}
