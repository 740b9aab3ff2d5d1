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
