//! How a ledger's tables look, told by columns: table names mean different things in different releases, and a migrated
//! file keeps the old tables, stale, beside the new ones.

use crate::StorageError;
use rusqlite::{Connection, OptionalExtension as _};
use std::collections::BTreeSet;
use std::path::Path;

/// The three families of tables that SQLite ledgers had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// 1.0 to 1.3.1: postings and metadata in tables of their own.
    Split,
    /// 1.3.2 to 1.7.8, fresh or migrated: postings and metadata as JSON in `transactions`, beside `volumes`, `accounts`, `log`.
    Documents,
    /// From 1.8.0: as [`Layout::Documents`], times as dates, no `hash`.
    Dated,
}

impl Layout {
    /// Reads the columns. Changes nothing.
    pub fn of(connection: &Connection, path: &Path) -> Result<Self, StorageError> {
        let missing = |table: &str, wanted: &[&str]| -> Result<Vec<String>, StorageError> {
            let columns = columns(connection, path, table)?;
            Ok(wanted.iter().filter(|name| !columns.contains(**name)).map(|name| format!("{table}.{name}")).collect())
        };
        let transactions = missing("transactions", &["id", "timestamp", "reference"])?;
        if !transactions.is_empty() {
            return Err(StorageError::NotALedger {
                path: path.to_owned(),
                what: format!("it lacks {}", transactions.join(", ")),
            });
        }
        if missing("transactions", &["postings", "metadata"])?.is_empty() {
            let mut lacks = missing("accounts", &["address", "metadata"])?;
            lacks.extend(missing("volumes", &["account", "asset", "input", "output"])?);
            lacks.extend(missing("log", &["id", "type", "data"])?);
            return if !lacks.is_empty() {
                Err(StorageError::NotALedger { path: path.to_owned(), what: format!("it lacks {}", lacks.join(", ")) })
            } else if missing("transactions", &["hash"])?.is_empty() {
                Ok(Self::Documents)
            } else {
                Ok(Self::Dated)
            };
        }
        let mut lacks = missing("postings", &["id", "txid", "source", "destination", "amount", "asset"])?;
        lacks
            .extend(missing("metadata", &["meta_id", "meta_target_type", "meta_target_id", "meta_key", "meta_value"])?);
        if lacks.is_empty() {
            Ok(Self::Split)
        } else {
            Err(StorageError::NotALedger { path: path.to_owned(), what: format!("it lacks {}", lacks.join(", ")) })
        }
    }

    /// Whether a migration to 1.3.2 or later rewrites these tables, with its known losses.
    pub fn is_legacy(self) -> bool {
        match self {
            Self::Split => true,
            Self::Documents | Self::Dated => false,
        }
    }
}

/// The columns of a table, lower case; none if there is no such table.
pub(super) fn columns(connection: &Connection, path: &Path, table: &str) -> Result<BTreeSet<String>, StorageError> {
    let failed = || StorageError::sqlite("read the columns of", path);
    let exists: Option<i64> = connection
        .query_row("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1", [table], |row| row.get(0))
        .optional()
        .map_err(failed())?;
    if exists.is_none() {
        return Ok(BTreeSet::new());
    }
    let mut statement = connection.prepare("SELECT lower(name) FROM pragma_table_info(?1)").map_err(failed())?;
    let names = statement.query_map([table], |row| row.get(0)).map_err(failed())?;
    names.collect::<Result<_, _>>().map_err(failed())
}
