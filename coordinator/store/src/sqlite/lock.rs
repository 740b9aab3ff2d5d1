//! File locks beside the database: flock(2), which belongs to an open file, so it tells two handles of one process
//! apart and goes away with a killed process. Never taken on the database file itself: opening and closing that file
//! beside SQLite would drop SQLite's own POSIX locks on it.

use crate::StoreError;
use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The right to lead: held until it is dropped, or its process ends.
#[derive(Debug)]
pub(super) struct LeaderLock {
    file: File,
    path: PathBuf,
}

impl LeaderLock {
    /// Where the lock of a database lies.
    pub(super) fn path(database: &Path) -> PathBuf {
        beside(database, ".leader")
    }

    /// Takes the lock; `None` when another handle holds it. Does not wait.
    pub(super) fn try_take(database: &Path) -> Result<Option<Self>, StoreError> {
        let path = Self::path(database);
        loop {
            let file = open(&path)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(source)) => return Err(failed("lock", &path, source)),
            }
            let lock = Self { file, path: path.clone() };
            // A lock on a file that was removed in between excludes nobody; then there is another file to lock.
            if lock.is_in_place() {
                return Ok(Some(lock));
            }
        }
    }

    /// Whether the file that is locked is still the one that others would lock.
    pub(super) fn is_in_place(&self) -> bool {
        match (self.file.metadata(), std::fs::metadata(&self.path)) {
            (Ok(ours), Ok(there)) => (ours.dev(), ours.ino()) == (there.dev(), there.ino()),
            (Ok(_) | Err(_), Ok(_) | Err(_)) => false,
        }
    }
}

/// Lets one handle at a time open the database, over all processes: switching a new file to WAL and creating its tables
/// would otherwise fail with "database is locked" for all but one. Waits; opening takes milliseconds.
pub(super) fn lock_opening(database: &Path) -> Result<File, StoreError> {
    let path = beside(database, ".opening");
    let file = open(&path)?;
    file.lock().map_err(|source| failed("lock", &path, source))?;
    Ok(file)
}

/// Creates the database file, empty and readable for its owner only: plans and evidence name accounts. Call it under
/// [`lock_opening`]: an existing file is not touched, so no lock of SQLite's can be lost.
pub(super) fn create_private(database: &Path) -> Result<(), StoreError> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(database) {
        Ok(_created) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(source) => Err(failed("create", database, source)),
    }
}

fn beside(database: &Path, suffix: &str) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn open(path: &Path) -> Result<File, StoreError> {
    let options = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
    options.map_err(|source| failed("open", path, source))
}

fn failed(doing: &'static str, path: &Path, source: std::io::Error) -> StoreError {
    StoreError::File { doing, path: path.to_owned(), source }
}
