//! Large storages in seconds: rows of the layout of 1.3.1, written into a file in one transaction.

use super::{ROWS, SeedError, Shape, release, through_store};
use crate::release::{Layout, Release};
use crate::storage::StoreError;
use crate::storage::sqlite::{self, Files};
use rusqlite::params;
use std::path::Path;

/// Creates the ledger's file at `path` in the layout of 1.3.1 (WAL mode, migration 0 recorded). The same shape gives the same rows.
///
/// # Errors
/// When the file exists with other tables, or cannot be written.
pub fn direct(path: &Path, shape: Shape) -> Result<(), SeedError> {
    direct_as(ROWS, path, shape)
}

/// As [`direct`], in the layout of any release. From 1.3.2 on the file must be named as a ledger's, `{db_name}_{ledger}.db`; it is
/// registered in the system store beside it, and written as the release itself writes, some thousand transactions a second.
///
/// # Errors
/// As [`direct`], and for a version that the simulator does not know.
pub fn direct_as(version: &str, path: &Path, shape: Shape) -> Result<(), SeedError> {
    let release = release(version)?;
    let filled = match release.layout {
        Layout::Rows => fill(release, path, shape).map_err(StoreError::from),
        Layout::Log | Layout::Direct => {
            files(release, path).and_then(|(files, ledger)| through_store(&files, &ledger, shape))
        }
    };
    filled.map_err(|error| SeedError::Sqlite { path: path.to_owned(), source: refusal(&error) })
}

fn refusal(error: &StoreError) -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(1), Some(error.to_string()))
}

/// The storage that a ledger's file is in, and the ledger.
fn files(release: &'static Release, path: &Path) -> Result<(Files, String), StoreError> {
    let stem = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.split_once('_'));
    let (Some((db_name, ledger)), Some(dir)) = (stem, path.parent()) else {
        let why = format!("a ledger's file is named {{db_name}}_{{ledger}}.db, and not {}", path.display());
        return Err(StoreError::Unreadable(why));
    };
    Ok((Files::new(release, dir.to_owned(), db_name.to_owned()), ledger.to_owned()))
}

fn fill(release: &'static Release, path: &Path, shape: Shape) -> rusqlite::Result<()> {
    let mut connection = sqlite::create(path, release).map_err(|error| refusal(&error))?;
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
