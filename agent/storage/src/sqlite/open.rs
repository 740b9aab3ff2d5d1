//! Connections that use little memory and put their temporary files where the caller wants them.

use super::layout::Layout;
use crate::StorageError;
use rusqlite::{Connection, OpenFlags};
use std::path::{Path, PathBuf};

/// Page cache and sorter memory of one connection, in KiB. A sort beyond it goes to temporary files.
const CACHE_KIB: u32 = 4096;

/// How long a look waits for a lock that somebody else holds, in milliseconds; the ledger itself waits 5 s.
const BUSY_MILLIS: u64 = 5_000;

/// One ledger's file, opened to be read in one snapshot.
///
/// POSIX locks belong to the process: while a `Ledger` is open, nothing in this process may read the file's bytes by other
/// means, or SQLite's locks on it are dropped.
pub struct Ledger {
    pub(super) connection: Connection,
    pub(super) path: PathBuf,
    pub(super) layout: Layout,
    /// Takes temporary files.
    scratch: PathBuf,
}

impl Ledger {
    /// Opens a ledger for reading and finds out its layout by its columns. Temporary files go to `scratch`, which must exist.
    ///
    /// Opens read-only first. Where the last writer was killed, SQLite must roll its journal back or rebuild the index of
    /// its write-ahead log before anybody can read; then the file is opened for writing, with checkpoints switched off, and
    /// only that recovery happens: what the ledger itself would do at its next start.
    ///
    /// # Errors
    /// [`StorageError::Missing`] (a missing file is never created), [`StorageError::Corrupt`], [`StorageError::NotALedger`].
    pub fn open(path: &Path, scratch: &Path) -> Result<Self, StorageError> {
        let connection = reader(path, scratch)?;
        let layout = Layout::of(&connection, path)?;
        Ok(Self { connection, path: path.to_owned(), layout, scratch: scratch.to_owned() })
    }

    /// What came of reading rows. A disk that was full then is not the ledger's: what is written are temporary files of sorts.
    pub(super) fn reading<T>(&self, result: Result<T, StorageError>) -> Result<T, StorageError> {
        match result {
            Err(StorageError::Full { doing: "read", .. }) => {
                Err(StorageError::Full { doing: "keep temporary files in", path: self.scratch.clone() })
            }
            other => other,
        }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How its tables look.
    pub fn layout(&self) -> Layout {
        self.layout
    }
}

/// Opens a database for reading, in a read transaction that began at its first read.
pub(super) fn reader(path: &Path, scratch: &Path) -> Result<Connection, StorageError> {
    if !path.exists() {
        return Err(StorageError::Missing { path: path.to_owned(), remedy: "check the storage directory and db_name" });
    }
    match try_reader(path, scratch, OpenFlags::SQLITE_OPEN_READ_ONLY) {
        Ok(connection) => Ok(connection),
        Err(error) if needs_recovery(&error) => {
            let connection = try_reader(path, scratch, OpenFlags::SQLITE_OPEN_READ_WRITE)
                .map_err(StorageError::sqlite("recover after a killed writer, and read,", path))?;
            Ok(connection)
        }
        Err(error) => Err(StorageError::sqlite("read", path)(error)),
    }
}

/// Errors that a read-only connection gets where a killed writer's journal or log must be recovered first.
fn needs_recovery(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(rusqlite::ErrorCode::ReadOnly | rusqlite::ErrorCode::CannotOpen))
}

fn try_reader(path: &Path, scratch: &Path, access: OpenFlags) -> Result<Connection, rusqlite::Error> {
    let connection = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    configure(&connection, scratch)?;
    connection.execute_batch("BEGIN")?;
    // A transaction begins at the first read, not at BEGIN.
    let _: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    Ok(connection)
}

/// Bounded memory, sorts on disk, no memory map.
pub(super) fn configure(connection: &Connection, scratch: &Path) -> Result<(), rusqlite::Error> {
    connection.busy_timeout(std::time::Duration::from_millis(BUSY_MILLIS))?;
    connection.pragma_update(None, "cache_size", -i64::from(CACHE_KIB))?;
    connection.pragma_update(None, "mmap_size", 0)?;
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    // Deprecated since years and still the only way without touching the environment of the process.
    connection.pragma_update(None, "temp_store_directory", scratch.to_string_lossy())?;
    connection.pragma_update(None, "temp_store", "FILE")
}
