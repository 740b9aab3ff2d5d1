//! Rows that stop the ledger's own migration: a reference with `\"` or a control character, a metadata key with `\"`.
//! On SQLite the program panics; the ledgers before it are migrated by then.

use crate::plan::case::{Case, finding};
use cutover_vocabulary::finding::{Finding, FindingSubject, Level, Source};
use cutover_vocabulary::name::shown;

pub(super) fn check(case: &Case<'_>) -> Vec<Finding> {
    let ledgers = case.storages().into_iter().flat_map(|storage| &storage.ledgers);
    ledgers
        .filter(|ledger| ledger.legacy_layout && !ledger.bad_rows.is_empty())
        .map(|ledger| {
            let rows: Vec<String> =
                ledger.bad_rows.iter().take(5).map(|row| format!("{} {:?}", shown(&row.what), row.text)).collect();
            finding(
                "bad-rows",
                Level::Block,
                FindingSubject::Ledger(ledger.name.clone()),
                Source::ThisStorage,
                format!("{} row(s) make the ledger's migration fail: {}", ledger.bad_rows.len(), rows.join("; ")),
                "the ledger cannot migrate these rows; mend them in the storage while its instances are stopped",
            )
        })
        .collect()
}

/// The pages of its codes.
pub(super) const PAGES: &[super::Page] = &[super::Page {
    code: "bad-rows",
    title: "rows that make the ledger's own migration fail",
    levels: &[Level::Block],
    sources: &[Source::ThisStorage],
    means: "A transaction reference with a `\"` or a control character, or a metadata key with a `\"`, ends the \
         migration of its ledger: on PostgreSQL with `invalid input syntax for type json`, on SQLite with a panic. \
         The ledgers before it are migrated by then, those behind it are not. The rehearsal on a copy finds other \
         rows of this kind.",
    found: "The agent reads every reference and every metadata key of ledgers in the old layout.",
    remedy: "With the instances stopped, change the rows in the storage, and keep a note of what they were: whoever knows \
         a transaction by its old reference will look for it.",
}];
