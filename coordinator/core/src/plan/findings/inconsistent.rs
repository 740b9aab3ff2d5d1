//! The storage disagrees with itself already, in none of the ways that `damage` knows: past damage, which a migration carries
//! on.

use crate::plan::case::{Case, finding};
use cutover_vocabulary::finding::{Finding, FindingSubject, Level, Source};
use cutover_vocabulary::storage::{Damage, DamageKind, LedgerSurvey};

pub(super) fn check(case: &Case<'_>) -> Vec<Finding> {
    let ledgers = case.storages().into_iter().flat_map(|storage| &storage.ledgers);
    ledgers
        .filter_map(|ledger| {
            let other = other(ledger)?;
            Some(finding(
                "storage-inconsistent",
                Level::Approve,
                FindingSubject::Ledger(ledger.name.clone()),
                Source::ThisStorage,
                format!("{} place(s) disagree, among them: {}", other.count, super::damage::some(&other)),
                "find out how it came about before you migrate; the migration carries it on",
            ))
        })
        .collect()
}

/// What is of no known kind; from an agent that does not tell kinds apart, everything that it lists.
fn other(ledger: &LedgerSurvey) -> Option<Damage> {
    if !ledger.damage.is_empty() {
        return ledger.damage.get(&DamageKind::Other).cloned();
    }
    let some = ledger.inconsistencies.clone();
    (!some.is_empty()).then_some(Damage { count: some.len() as u64, some })
}

/// The pages of its codes.
pub(super) const PAGES: &[super::Page] = &[super::Page {
    code: "storage-inconsistent",
    title: "the storage disagrees with itself",
    levels: &[Level::Approve],
    sources: &[Source::ThisStorage],
    means: "Past damage of no kind that has a name here: postings of a transaction that does not exist, postings or a \
         time that cannot be read, a transaction that `log` lacks. The migration carries it on, or drops it.",
    found: "The agent holds `volumes` against the postings, `log` against `transactions`, and in the old layout postings \
         and metadata against the transactions. `times-shifted`, `transactions-only-in-log` and `balances-disagree` \
         are told apart from it.",
    remedy: "Find out how it came about before you migrate: afterwards the traces are harder to read. Cutover compares \
         the ledger with itself before and after, so the damage does not keep it from proving that nothing else was \
         lost.",
}];
