//! Large storages in seconds: rows of the layout of 1.3.1, written into the file in one transaction.

use super::SeedError;
use crate::clock;
use crate::go;
use crate::storage::sqlite;
use rusqlite::params;
use std::path::Path;

/// How large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// How many transactions, of one posting each from `world`.
    pub transactions: u64,
    /// How many accounts they go to, in turn.
    pub accounts: u64,
    /// Every how manyth transaction has a metadata key; 0 for none. A migration's time grows with the product of transactions and
    /// metadata rows.
    pub metadata_every: u64,
}

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
        let mut hash = "null".to_owned();
        let mut meta_id = 0_i64;
        let accounts = i64::try_from(shape.accounts).unwrap_or(i64::MAX).max(1);
        let every = i64::try_from(shape.metadata_every).unwrap_or(i64::MAX);
        for id in 0..i64::try_from(shape.transactions).unwrap_or(i64::MAX) {
            // One a second from a fixed day on, so that the rows do not depend on the day they are made.
            let at = 1_640_995_200 + id;
            let timestamp = clock::seconds(jiff::Timestamp::from_second(at).unwrap_or(jiff::Timestamp::UNIX_EPOCH));
            hash = go::chain(&hash, &timestamp);
            let reference = (id % 3 == 0).then(|| format!("ref-{id}"));
            head.execute(params![id, timestamp, reference, hash])?;
            let account = format!("users:{:07}", id % accounts);
            posting.execute(params![id, account, id * 7907 % 100_000 + 1])?;
            if every > 0 && id % every == 0 {
                metadata.execute(params![meta_id, id.to_string(), format!("\"o{id}\""), timestamp])?;
                meta_id += 1;
            }
        }
    }
    transaction.commit()?;
    connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")
}
