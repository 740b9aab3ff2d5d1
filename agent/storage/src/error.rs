//! What can go wrong with a storage, said so that a person can act on it.

use std::io;
use std::path::{Path, PathBuf};

/// What was tried, on what, and what to do. The cause is the source.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// A file or folder could not be read or written.
    #[error("cannot {doing} {}: {source}; {remedy}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On which path.
        path: PathBuf,
        /// What to do about it.
        remedy: &'static str,
        /// The operating system's answer.
        source: io::Error,
    },
    /// SQLite refused.
    #[error("cannot {doing} {}: {source}; {remedy}", path.display())]
    Sqlite {
        /// What was tried.
        doing: &'static str,
        /// On which database file.
        path: PathBuf,
        /// What to do about it.
        remedy: &'static str,
        /// SQLite's answer.
        source: rusqlite::Error,
    },
    /// The disk or the quota is full.
    #[error("no space left to {doing} {}: free some space there, or name a folder on another disk, and try again", path.display())]
    Full {
        /// What was tried.
        doing: &'static str,
        /// On which path.
        path: PathBuf,
    },
    /// The file is no database, or a damaged one.
    #[error("{} is damaged or no SQLite database ({what}): restore it from the operator's own backup before an upgrade", path.display())]
    Corrupt {
        /// Which file.
        path: PathBuf,
        /// What showed it.
        what: String,
    },
    /// The file is a database, but not one whose tables are a ledger's.
    #[error("{} holds no ledger: {what}", path.display())]
    NotALedger {
        /// Which file.
        path: PathBuf,
        /// Which tables or columns are missing.
        what: String,
    },
    /// A sum of amounts left the range of 127 bits.
    #[error(
        "the amounts of account {account:?} in {asset:?} add up to more than 127 bits: this storage cannot be proved with digest v1"
    )]
    AmountTooLarge {
        /// Which account.
        account: String,
        /// Which asset.
        asset: String,
    },
    /// A file that must exist is missing.
    #[error("{} does not exist: {remedy}", path.display())]
    Missing {
        /// Which file.
        path: PathBuf,
        /// What to do about it.
        remedy: &'static str,
    },
    /// A copy does not hold what the original held.
    #[error("the copy {} does not prove to hold what {} held: {what}; it does not count as a recovery point", copy.display(), original.display())]
    NotProved {
        /// The copy.
        copy: PathBuf,
        /// What it is a copy of.
        original: PathBuf,
        /// What differs.
        what: String,
    },
    /// A path or name that must not be used this way.
    #[error("refused to use {}: {why}", path.display())]
    Refused {
        /// Which path.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// A manifest cannot be read.
    #[error("cannot read the manifest {}: {source}; the recovery point beside it does not count", path.display())]
    Manifest {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// PostgreSQL refused, or could not be reached.
    #[error("cannot {doing} {what}: {message}; {remedy}")]
    Postgres {
        /// What was tried.
        doing: &'static str,
        /// On what: a schema, a table, the server; never with a secret.
        what: String,
        /// The server's message with its SQLSTATE, or the driver's; never with a secret.
        message: String,
        /// What to do about it.
        remedy: &'static str,
        /// Whether the same again may pass: a lost connection, a lock, a full connection table.
        transient: bool,
    },
    /// A program of PostgreSQL's could not be run, or ended with an error.
    #[error("`{program}` failed: {message}; {remedy}")]
    Tool {
        /// Which program.
        program: &'static str,
        /// What it said; never with a secret.
        message: String,
        /// What to do about it.
        remedy: &'static str,
    },
    /// Another runner, or a command of ours that its worker left behind, works there.
    #[error("{what} is worked on by {by}; wait until that has ended, or find out who it is")]
    Busy {
        /// What.
        what: String,
        /// By whom, as far as is known.
        by: String,
    },
    /// Somebody else is on the storage.
    #[error("{what} is not quiet: {who}; end that, then try again")]
    NotQuiet {
        /// What.
        what: String,
        /// Who, and how many in all.
        who: String,
    },
    /// The settings of a service lead to no storage.
    #[error("cannot tell which storage the service uses: {0}")]
    Settings(String),
}

impl StorageError {
    /// For `map_err`: tells a full disk apart from other failures of the operating system.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the operating system's kinds, not ours")]
    pub fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { doing, path },
            io::ErrorKind::NotFound => {
                Self::Io { doing, path, remedy: "check that the folder is there and mounted", source }
            }
            io::ErrorKind::PermissionDenied => {
                Self::Io { doing, path, remedy: "run as a user who may, usually the service's own or root", source }
            }
            io::ErrorKind::ReadOnlyFilesystem => {
                Self::Io { doing, path, remedy: "the file system is mounted read-only; remount it", source }
            }
            _ => Self::Io { doing, path, remedy: "look at the disk and the system log, then try again", source },
        }
    }

    /// For `map_err`: tells a full disk and a damaged file apart from other failures of SQLite.
    pub fn sqlite(doing: &'static str, path: &Path) -> impl FnOnce(rusqlite::Error) -> Self {
        let path = path.to_owned();
        move |source| {
            let code = source.sqlite_error_code();
            match code {
                Some(rusqlite::ErrorCode::DiskFull) => Self::Full { doing, path },
                Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase) => {
                    Self::Corrupt { path, what: source.to_string() }
                }
                Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked) => {
                    Self::Sqlite { doing, path, remedy: "another process holds it; stop that process first", source }
                }
                Some(
                    rusqlite::ErrorCode::CannotOpen
                    | rusqlite::ErrorCode::PermissionDenied
                    | rusqlite::ErrorCode::ReadOnly,
                ) => Self::Sqlite {
                    doing,
                    path,
                    remedy: "check that it exists and who may read and write it and its folder",
                    source,
                },
                _ => {
                    Self::Sqlite { doing, path, remedy: "look at the disk and the system log, then try again", source }
                }
            }
        }
    }
}
