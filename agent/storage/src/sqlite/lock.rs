//! One runner at a time: `flock` on a file of ours.

use crate::StorageError;
use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::{FdFlags, fcntl_setfd};
use std::fs::{File, OpenOptions};
use std::io::Read as _;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// The storage is ours as long as this lives, or as long as a child lives that inherited it.
#[derive(Debug)]
pub struct StorageLock {
    file: File,
    path: PathBuf,
    /// The storage's, shared with whoever has another item of it.
    whole: Option<File>,
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
    /// [`StorageError::Refused`] for a name that ends in `.db`: `storage scan` would take it for a ledger; and for a link, or
    /// anything else that is no file of its own.
    pub fn acquire(path: &Path, holder: &str) -> Result<Locking, StorageError> {
        match lock(path, FlockOperation::NonBlockingLockExclusive)? {
            Ok(file) => Self::named(Self { file, path: path.to_owned(), whole: None }, holder),
            Err(by) => Ok(Locking::Held { by }),
        }
    }

    /// As [`acquire`](Self::acquire), of one item of the storage whose own lock file is `whole`: side by side with other
    /// items, and never beside somebody who has the whole.
    ///
    /// # Errors
    /// As [`acquire`](Self::acquire).
    pub fn acquire_item(whole: &Path, path: &Path, holder: &str) -> Result<Locking, StorageError> {
        let shared = match lock(whole, FlockOperation::NonBlockingLockShared)? {
            Ok(shared) => shared,
            Err(by) => return Ok(Locking::Held { by }),
        };
        match lock(path, FlockOperation::NonBlockingLockExclusive)? {
            Ok(file) => {
                // Of several the last: one of those whom somebody who wants the whole waits for.
                name(&shared, whole, holder)?;
                Self::named(Self { file, path: path.to_owned(), whole: Some(shared) }, holder)
            }
            Err(by) => Ok(Locking::Held { by }),
        }
    }

    fn named(self, holder: &str) -> Result<Locking, StorageError> {
        name(&self.file, &self.path, holder)?;
        Ok(Locking::Ours(self))
    }

    /// Lets children inherit the descriptors, under the same numbers: then a ledger command that outlives its worker keeps the
    /// storage locked until it has ended, and no second runner starts beside it. Affects every child started from now on.
    pub fn inherit(&self) -> Result<(), StorageError> {
        [Some(&self.file), self.whole.as_ref()].into_iter().flatten().try_for_each(|file| {
            fcntl_setfd(file, FdFlags::empty())
                .map_err(|error| StorageError::io("hand down the lock", &self.path)(error.into()))
        })
    }

    /// Where the lock is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The file, locked; or what its holder wrote about itself.
fn lock(path: &Path, how: FlockOperation) -> Result<Result<File, Option<String>>, StorageError> {
    if path.extension().is_some_and(|extension| extension == "db") {
        let why = "a lock file must not end in .db: `storage scan` would take it for a ledger".to_owned();
        return Err(StorageError::Refused { path: path.to_owned(), why });
    }
    let mut file = open(path)?;
    match flock(&file, how) {
        Ok(()) => Ok(Ok(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let mut by = String::new();
            // Who holds it is a help for people; that somebody does is certain without it.
            let _ = file.read_to_string(&mut by);
            let by = by.trim();
            Ok(Err((!by.is_empty()).then(|| by.to_owned())))
        }
        Err(error) => Err(StorageError::io("lock", path)(error.into())),
    }
}

/// Writes who holds it. In one piece: of those who share a lock two may come at once.
fn name(file: &File, path: &Path, holder: &str) -> Result<(), StorageError> {
    let line = format!("{holder}\n");
    file.write_all_at(line.as_bytes(), 0)
        .and_then(|()| file.set_len(line.len() as u64))
        .map_err(StorageError::io("lock", path))
}

/// Opens a lock file, or makes it. It lies in a folder that is the service's own, and we may be root: whatever is opened here
/// is written to, so what the service's user put there must lead nowhere.
fn open(path: &Path) -> Result<File, StorageError> {
    let refused = |what: &str| StorageError::Refused {
        path: path.to_owned(),
        why: format!("a lock file is a file of its own, and this is {what}; find out who put it there, and remove it"),
    };
    // Without waiting: a pipe's other end may never come.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC).bits().cast_signed();
    let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).custom_flags(flags).open(path);
    let file = opened.map_err(|error| {
        if std::fs::symlink_metadata(path).is_ok_and(|data| data.is_symlink()) {
            return refused("a symbolic link");
        }
        StorageError::io("lock", path)(error)
    })?;
    let data = file.metadata().map_err(StorageError::io("look at", path))?;
    if !data.is_file() {
        return Err(refused("no regular file"));
    }
    if data.nlink() > 1 {
        return Err(refused("a file with a second name"));
    }
    Ok(file)
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
