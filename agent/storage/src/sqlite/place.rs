//! Where a SQLite storage lies, and how the ledger names the files in it.

use crate::StorageError;
use cutover_vocabulary::LedgerName;
use cutover_vocabulary::storage::{RecoveryItem, StorageIdentity};
use rustix::fs::{Access, access, statvfs};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// The name that `storage upgrade` reserves for the system store.
const SYSTEM: &str = "_system";

/// Why what stands in a database's place is refused.
pub(super) const NOT_A_FILE: &str = "a link or folder in a database's place; the storage must hold the file itself";

/// A directory and the first part of every file's name in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlitePlace {
    directory: PathBuf,
    db_name: String,
}

impl SqlitePlace {
    /// Resolves a directory and a `db_name`. Looks only.
    ///
    /// # Errors
    /// [`StorageError::Io`] when the directory is missing or cannot be entered; [`StorageError::Refused`] when it is no
    /// directory or the name cannot be part of a file's name.
    pub fn find(directory: &Path, db_name: &str) -> Result<Self, StorageError> {
        let failed = || StorageError::io("open the storage directory", directory);
        let canonical = fs::canonicalize(directory).map_err(failed())?;
        if !fs::metadata(&canonical).map_err(failed())?.is_dir() {
            return Err(StorageError::Refused {
                path: canonical,
                why: "the storage directory is no directory".to_owned(),
            });
        }
        if db_name.is_empty() || db_name.contains(['/', '\0']) {
            return Err(StorageError::Refused {
                path: canonical,
                why: format!("db_name {db_name:?} cannot be part of a file's name"),
            });
        }
        Ok(Self { directory: canonical, db_name: db_name.to_owned() })
    }

    /// Which storage this is. `machine` is the host's machine id: device and inode mean nothing elsewhere.
    pub fn identity(&self, machine: &str) -> Result<StorageIdentity, StorageError> {
        let data = fs::metadata(&self.directory).map_err(StorageError::io("look at", &self.directory))?;
        Ok(StorageIdentity::Sqlite {
            machine: machine.to_owned(),
            directory: self.directory.to_string_lossy().into_owned(),
            device: data.dev(),
            inode: data.ino(),
            db_name: self.db_name.clone(),
        })
    }

    /// The directory, canonical.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The first part of every file's name.
    pub fn db_name(&self) -> &str {
        &self.db_name
    }

    /// The file of a ledger or of the system store, whether or not it exists.
    ///
    /// # Errors
    /// [`StorageError::Refused`] for a ledger name that leads out of the directory or to the system store.
    pub fn file(&self, item: &RecoveryItem) -> Result<PathBuf, StorageError> {
        match item {
            RecoveryItem::System => Ok(self.system()),
            RecoveryItem::Ledger(name) => self.ledger(name),
        }
    }

    /// The file of a ledger.
    pub fn ledger(&self, name: &LedgerName) -> Result<PathBuf, StorageError> {
        let text = name.as_str();
        if text == SYSTEM || text.contains(['/', '\0']) {
            let path = self.directory.clone();
            return Err(StorageError::Refused { path, why: format!("{text:?} names no ledger's file in it") });
        }
        Ok(self.directory.join(format!("{}_{text}.db", self.db_name)))
    }

    /// The file of the system store.
    pub fn system(&self) -> PathBuf {
        self.directory.join(format!("{}_{SYSTEM}.db", self.db_name))
    }

    /// Refuses a folder for our copies that lies in the storage directory (or holds it): `storage scan` would take a
    /// copy for a ledger.
    pub fn refuse_inside(&self, folder: &Path) -> Result<(), StorageError> {
        let canonical = fs::canonicalize(folder).map_err(StorageError::io("open", folder))?;
        if canonical.starts_with(&self.directory) {
            return Err(StorageError::Refused {
                path: canonical,
                why: "it lies in the storage directory, where `storage scan` takes every database for a ledger; name a folder elsewhere".to_owned(),
            });
        }
        Ok(())
    }

    /// Refuses what stands in a database's place and is none: we may be root, and whoever owns the directory could have us keep
    /// or change what it leads to. A missing file is fine.
    pub(super) fn refuse_a_link(&self, file: &Path) -> Result<(), StorageError> {
        match fs::symlink_metadata(file) {
            Ok(data) if !data.is_file() => {
                Err(StorageError::Refused { path: file.to_owned(), why: NOT_A_FILE.to_owned() })
            }
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Why this process could not write to the storage; `None` when it could, as far as can be told without writing. A service
    /// under another user may be refused all the same.
    pub fn read_only(&self) -> Option<String> {
        let mut paths = vec![self.directory.clone()];
        if let Ok(entries) = fs::read_dir(&self.directory) {
            paths.extend(entries.flatten().map(|entry| entry.path()).filter(|path| {
                let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
                matches!(self.read_name(&name), Named::Ledger(_) | Named::System)
            }));
        }
        paths.iter().find_map(|path| {
            access(path, Access::WRITE_OK).err().map(|error| format!("cannot write to {}: {error}", path.display()))
        })
    }

    /// What `storage scan` makes of a file's name: a ledger, the system store, or why it skips it.
    pub(super) fn read_name(&self, file: &str) -> Named {
        let Some(stem) = file.strip_suffix(".db") else { return Named::NotADatabase };
        // As the ledger does it: split once at the first underscore, compare the first part with the whole db_name.
        match stem.split_once('_') {
            None => Named::Skipped("scan skips it: Bad name".to_owned()),
            Some((first, SYSTEM)) if first == self.db_name => Named::System,
            Some((first, ledger)) if first == self.db_name => match LedgerName::new(ledger) {
                Ok(name) => Named::Ledger(name),
                Err(error) => Named::Skipped(error.to_string()),
            },
            Some(_) if self.db_name.contains('_') && file.starts_with(&format!("{}_", self.db_name)) => {
                Named::Skipped(format!(
                    "db_name {:?} contains an underscore: scan skips every file of it (\"not mathing\"), yet the service uses them",
                    self.db_name
                ))
            }
            Some(_) => {
                Named::Skipped(format!("scan skips it: it does not begin with {:?}", format!("{}_", self.db_name)))
            }
        }
    }
}

/// Bytes that this user can still write below a folder.
pub fn free_bytes(folder: &Path) -> Result<u64, StorageError> {
    let free = statvfs(folder).map_err(|error| StorageError::io("ask for the free space of", folder)(error.into()))?;
    Ok(free.f_bavail.saturating_mul(free.f_frsize))
}

/// What a file's name says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Named {
    /// No `.db` at the end: nothing of the ledger's, or what SQLite keeps beside a database.
    NotADatabase,
    /// A ledger's file.
    Ledger(LedgerName),
    /// The system store.
    System,
    /// A database that scan skips, and why.
    Skipped(String),
}
