//! The system store and the storage must know the same ledgers: `storage upgrade` creates a name that it does not know.

use crate::plan::case::{Case, finding};
use cutover_vocabulary::finding::{Finding, FindingSubject, Level, Source};

pub(super) fn check(case: &Case<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for storage in case.storages() {
        let Some(registered) = &storage.registered else { continue };
        for name in registered.iter().filter(|name| !storage.ledgers.iter().any(|ledger| ledger.name == **name)) {
            findings.push(finding(
                "ledger-only-registered",
                Level::Block,
                FindingSubject::Ledger(name.clone()),
                Source::ThisStorage,
                "the system store names it, but the storage does not hold it",
                "find out where its data went; remove the name from the system store if it was deleted on purpose",
            ));
        }
    }
    findings
}

/// The pages of its codes.
pub(super) const PAGES: &[super::Page] = &[super::Page {
    code: "ledger-only-registered",
    title: "a ledger that the system store names and the storage does not hold",
    levels: &[Level::Block],
    sources: &[Source::ThisStorage],
    means: "`storage upgrade` of a name that does not exist creates that ledger, empty. Somebody's data may be \
         elsewhere: a schema that was renamed, a file that was moved.",
    found: "The names in `_system.ledgers` are compared with the ledgers that the storage really holds.",
    remedy: "Find out where its data went. If the ledger was deleted on purpose, delete its row from the system store.",
}];
