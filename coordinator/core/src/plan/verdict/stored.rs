//! What the target would change in this storage, by what its ledgers record.

use super::Question;
use crate::catalogue::{Catalogue, ReleaseFacts};
use cutover_vocabulary::storage::Migrations;
use std::collections::BTreeSet;

/// What the target would change in this storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Migrations of the target that at least one ledger does not record, or records under another meaning. None: nothing is
    /// known of the target.
    pub lacking: Option<Vec<u32>>,
    /// Whether the target has migrations that the present release does not know: ledgers that are made while both run differ.
    /// True where either is unknown.
    pub target_knows_more: bool,
    /// The highest number that is recorded and that neither the present release nor the target knows.
    pub beyond_both: Option<u32>,
    /// The highest number that is recorded and that the target does not know.
    pub beyond_target: Option<u32>,
}

pub(super) fn of(catalogue: &Catalogue, question: &Question<'_>) -> Stored {
    let Question { from, to, driver, recorded, .. } = *question;
    let (present, target) = (catalogue.release(from), catalogue.release(to));
    let highest = recorded.iter().filter_map(|ledger| ledger.0.as_ref()?.iter().max().copied()).max();
    let Some(target) = target else {
        return Stored { lacking: None, target_knows_more: true, beyond_both: None, beyond_target: None };
    };
    let knows = target.highest_migration(driver);
    let numbers: BTreeSet<u32> = knows.map(|highest| (0..=highest).collect()).unwrap_or_default();
    // 11 means another migration in 1.7.5 to 1.7.8 than from 1.8.0 on: that it is recorded says nothing.
    let means_another = |facts: &ReleaseFacts, number: &u32| {
        facts.renumbered.contains(number) != target.renumbered.contains(number)
            && facts.highest_migration(driver) >= Some(*number)
    };
    let has = |ledger: &Migrations, number: &u32| {
        ledger.0.as_ref().is_some_and(|it| it.contains(number))
            && !writers(catalogue, question, ledger).iter().any(|writer| means_another(writer, number))
    };
    let lacks = |number: &&u32| !recorded.iter().all(|ledger| has(ledger, number));
    let renumbered = |number: &u32| present.is_some_and(|present| means_another(present, number));
    let present_knows = present.and_then(|present| present.highest_migration(driver));
    Stored {
        lacking: Some(numbers.iter().filter(lacks).copied().collect()),
        target_knows_more: present.is_none() || knows > present_knows || numbers.iter().any(renumbered),
        beyond_both: highest.filter(|_| present.is_some()).filter(|it| Some(*it) > knows.max(present_knows)),
        beyond_target: highest.filter(|it| Some(*it) > knows),
    }
}

/// Whose migrations a ledger records. The present release's where that knows exactly these, or nobody does; elsewhere those that do,
/// for another release migrated it: one that ran before somebody went back to the present one, or that the present one replaced and
/// has not come to this ledger yet.
pub(super) fn writers<'a>(
    catalogue: &'a Catalogue,
    question: &Question<'_>,
    ledger: &Migrations,
) -> Vec<&'a ReleaseFacts> {
    let highest = ledger.0.as_ref().and_then(|numbers| numbers.iter().max().copied());
    let knows_these = |facts: &&ReleaseFacts| highest.is_some() && facts.highest_migration(question.driver) == highest;
    let present = catalogue.release(question.from);
    let others: Vec<&ReleaseFacts> = catalogue.releases.iter().filter(knows_these).collect();
    if present.as_ref().is_some_and(knows_these) || others.is_empty() { present.into_iter().collect() } else { others }
}
