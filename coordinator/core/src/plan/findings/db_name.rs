//! A `db_name` with `_`: `storage scan` skips every file and still exits 0, so nothing would be migrated.

use crate::plan::case::{Case, finding};
use cutover_vocabulary::finding::{Finding, FindingSubject, Level, Source};
use cutover_vocabulary::storage::StorageIdentity;

pub(super) fn check(case: &Case<'_>) -> Vec<Finding> {
    case.storages()
        .into_iter()
        .filter_map(|storage| match &storage.identity {
            StorageIdentity::Sqlite { db_name, .. } if db_name.contains('_') => Some(finding(
                "db-name-with-underscore",
                Level::Block,
                FindingSubject::Storage,
                Source::Measured,
                format!("storage.sqlite.db_name is {db_name:?}; `storage scan` skips every file of such a name"),
                "rename the files to a db_name without `_` and change the setting, with the instance stopped",
            )),
            StorageIdentity::Sqlite { .. } | StorageIdentity::Postgres { .. } => None,
        })
        .collect()
}

/// The pages of its codes.
pub(super) const PAGES: &[super::Page] = &[super::Page {
    code: "db-name-with-underscore",
    title: "a `storage.sqlite.db_name` that contains `_`",
    levels: &[Level::Block],
    sources: &[Source::Measured],
    means: "`storage scan` passes over every file of such a name (`DB name not mathing`) and ends with status 0: nothing \
         would be migrated, and nothing would say so.",
    found: "From the service's settings.",
    remedy: "With the instance stopped, rename the files to a name without `_`, change the setting to it, and start the \
         instance again.",
}];
