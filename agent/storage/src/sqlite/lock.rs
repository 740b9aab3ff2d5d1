//! One runner at a time: `flock` on a file of ours.

use crate::StorageError;
use rustix::fs::{FlockOperation, flock};
use rustix::io::{FdFlags, fcntl_setfd};
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

/// The storage is ours as long as this lives, or as long as a child lives that inherited it.
#[derive(Debug)]
pub struct StorageLock {
    file: File,
    path: PathBuf,
}

/// What came of an attempt to lock.
#[derive(Debug)]
pub enum Locking {
    /// Ours.
    Ours(StorageLock),
    /// Somebody else's.
    Held {
        /// What the holder wrote about itself; none if it wrote nothing.
        by: Option<String>,
    },
}

impl StorageLock {
    /// Tries to lock without waiting. `holder` is written into the file for whoever comes second.
    ///
    /// The lock is on the open file, not on the process and not on the name: it goes when the last copy of the descriptor is
    /// closed, a `kill -9` included, and the file stays behind, unlocked. Any user that may open the file can lock it.
    ///
    /// # Errors
    /// [`StorageError::Refused`] for a name that ends in `.db`: `storage scan` would take it for a ledger.
    pub fn acquire(path: &Path, holder: &str) -> Result<Locking, StorageError> {
        if path.extension().is_some_and(|extension| extension == "db") {
            let why = "a lock file must not end in .db: `storage scan` would take it for a ledger".to_owned();
            return Err(StorageError::Refused { path: path.to_owned(), why });
        }
        let failed = || StorageError::io("lock", path);
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map_err(failed())?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut by = String::new();
                // Who holds it is a help for people; that somebody does is certain without it.
                let _ = file.read_to_string(&mut by);
                let by = by.trim();
                return Ok(Locking::Held { by: (!by.is_empty()).then(|| by.to_owned()) });
            }
            Err(error) => return Err(failed()(error.into())),
        }
        file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{holder}")).map_err(failed())?;
        Ok(Locking::Ours(Self { file, path: path.to_owned() }))
    }

    /// Lets children inherit the descriptor, under the same number: then a ledger command that outlives its worker keeps the
    /// storage locked until it has ended, and no second runner starts beside it. Affects every child started from now on.
    pub fn inherit(&self) -> Result<(), StorageError> {
        fcntl_setfd(&self.file, FdFlags::empty())
            .map_err(|error| StorageError::io("hand down the lock", &self.path)(error.into()))
    }

    /// Where the lock is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// A lock on an open file stays until the file is closed.
impl crate::storage::Lock for StorageLock {
    fn is_held(&self) -> bool {
        true
    }
}

impl AsFd for StorageLock {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}
