//! The storage disagrees with itself already: past damage, which a migration carries on.

use crate::plan::case::{Case, finding};
use cutover_vocabulary::finding::{Finding, FindingSubject, Level, Source};
use cutover_vocabulary::name::shown;

pub(super) fn check(case: &Case<'_>) -> Vec<Finding> {
    let ledgers = case.storages().into_iter().flat_map(|storage| &storage.ledgers);
    ledgers
        .filter(|ledger| !ledger.inconsistencies.is_empty())
        .map(|ledger| {
            let some: Vec<String> = ledger.inconsistencies.iter().take(3).map(|text| shown(text).to_string()).collect();
            finding(
                "storage-inconsistent",
                Level::Approve,
                FindingSubject::Ledger(ledger.name.clone()),
                Source::ThisStorage,
                format!("{} place(s) disagree, among them: {}", ledger.inconsistencies.len(), some.join("; ")),
                "find out how it came about before you migrate; the migration carries it on",
            )
        })
        .collect()
}
