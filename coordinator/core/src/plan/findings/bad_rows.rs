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
