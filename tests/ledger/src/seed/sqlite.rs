//! Large storages in seconds: rows of the layout of 1.3.1, written into a file in one transaction.

use super::{SeedError, Shape};
use crate::storage::sqlite;
use rusqlite::params;
use std::path::Path;

/// Creates the ledger's file at `path` in the layout of 1.3.1 (WAL mode, migration 0 recorded). The same shape gives the same rows.
///
/// # Errors
/// When the file exists with other tables, or cannot be written.
pub fn direct(path: &Path, shape: Shape) -> Result<(), SeedError> {
    fill(path, shape).map_err(|source| SeedError::Sqlite { path: path.to_owned(), source })
}

fn fill(path: &Path, shape: Shape) -> rusqlite::Result<()> {
    let mut connection = sqlite::create_rows(path)
        .map_err(|error| rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(1), Some(error.to_string())))?;
    connection.execute_batch("PRAGMA synchronous = OFF; PRAGMA cache_size = -262144; PRAGMA wal_autocheckpoint = 0")?;
    let transaction = connection.transaction()?;
    {
        let mut head =
            transaction.prepare("INSERT INTO transactions (id, timestamp, reference, hash) VALUES (?1, ?2, ?3, ?4)")?;
        let mut posting = transaction.prepare(
            "INSERT INTO postings (id, txid, source, destination, amount, asset) VALUES (0, ?1, 'world', ?2, ?3, 'USD/2')",
        )?;
        let mut metadata = transaction.prepare(
            "INSERT INTO metadata (meta_id, meta_target_type, meta_target_id, meta_key, meta_value, timestamp)
             VALUES (?1, 'transaction', ?2, 'order', ?3, ?4)",
        )?;
        for row in shape.rows() {
            head.execute(params![row.id, row.timestamp, row.reference, row.hash])?;
            posting.execute(params![row.id, row.account, row.amount])?;
            if let Some((meta_id, order)) = row.order {
                metadata.execute(params![meta_id, row.id.to_string(), order, row.timestamp])?;
            }
        }
    }
    transaction.commit()?;
    connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")
}
