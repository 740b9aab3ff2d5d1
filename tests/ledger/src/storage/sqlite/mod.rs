//! The SQLite storage: one file a ledger in `storage.dir`, and from 1.3.2 on a system store beside them.

mod direct;
mod log;
mod migrate;
mod rows;
mod schema;
mod system;

use super::memory::{Memory, Remembered};
use super::{Cancel, Driver, Found, LedgerStore, LockStrategy, Opened, RESERVED, Storage, StoreError, Stored};
use crate::faults::Faults;
use crate::release::{Delete, Layout, Release};
use rusqlite::Connection;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use system::SystemFile;

/// How long the driver waits for another's lock before `database is locked`.
const BUSY: Duration = Duration::from_secs(5);

/// The message of an error as the Go driver words it, without SQL around it.
#[must_use]
pub fn go_text(error: &rusqlite::Error) -> String {
    if let rusqlite::Error::SqliteFailure(_, Some(message)) = error {
        message.clone()
    } else if let rusqlite::Error::SqlInputError { msg, .. } = error {
        msg.clone()
    } else if let rusqlite::Error::InvalidColumnType(index, name, _) = error {
        format!("sql: Scan error on column index {index}, name \"{name}\": converting NULL to string is unsupported")
    } else {
        error.to_string()
    }
}

/// A deployment's files, as a release treats them.
#[derive(Clone, Debug)]
pub struct Files {
    /// The release.
    pub release: &'static Release,
    /// `storage.dir`.
    pub dir: PathBuf,
    /// `storage.sqlite.db_name`.
    pub db_name: String,
    memory: Memory,
    /// Ledger files that stay open, in the releases that keep them so.
    open: Arc<Mutex<BTreeMap<String, Connection>>>,
}

impl Files {
    /// The files of this name in a folder.
    #[must_use]
    pub fn new(release: &'static Release, dir: PathBuf, db_name: String) -> Self {
        Self { release, dir, db_name, memory: Memory::new(release.memory), open: Arc::default() }
    }

    /// Under a lock strategy.
    #[must_use]
    pub fn locked(self, strategy: LockStrategy) -> Self {
        Self { memory: self.memory.locked(strategy), ..self }
    }

    /// Keeps a file open, and what an older release left in its `-wal` goes into it: nobody will close it last.
    fn stay_open(&self, name: &str) -> Stored<()> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if self.release.sqlite.files_stay_open && !open.contains_key(name) {
            let connection = Connection::open(self.file(name))?;
            connection.busy_timeout(BUSY)?;
            connection.query_row("SELECT count(*) FROM sqlite_master", [], |_| Ok(()))?;
            connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
            open.insert(name.to_owned(), connection);
        }
        Ok(())
    }

    fn file(&self, ledger: &str) -> PathBuf {
        self.dir.join(format!("{}_{ledger}.db", self.db_name))
    }
}

impl Storage for Files {
    fn driver(&self) -> Driver {
        Driver::Sqlite
    }

    fn system(&self) -> Stored<Box<dyn super::SystemStore>> {
        Ok(Box::new(SystemFile::open(&self.file(RESERVED), self.release.system_store)?))
    }

    fn ledger(&self, name: &str) -> Stored<Box<dyn Opened>> {
        let connection = Connection::open(self.file(name))?;
        connection.busy_timeout(BUSY)?;
        let journal = &self.release.sqlite.journal;
        if !journal.is_empty() {
            connection.pragma_update_and_check(None, "journal_mode", journal, |_| Ok(()))?;
        }
        self.stay_open(name)?;
        let remembered = self.memory.of(name);
        Ok(Box::new(LedgerFile { release: self.release, name: name.to_owned(), connection, remembered }))
    }

    /// Takes the part of a file's name up to the first `_` for the database's name: where that holds a `_` itself, nothing matches.
    fn find(&self) -> Stored<Vec<Found>> {
        let entries = std::fs::read_dir(&self.dir).map_err(|error| StoreError::Unreadable(error.to_string()))?;
        let mut files: Vec<String> = entries
            .filter_map(|entry| entry.ok().map(|entry| entry.file_name().to_string_lossy().into_owned()))
            .collect();
        files.sort();
        Ok(files.iter().filter_map(|file| self.judge(file)).collect())
    }

    /// Works for a name that is registered or not; what fails, where it fails, is the missing file.
    fn delete(&self, name: &str) -> Stored<()> {
        let file = self.file(name);
        match (std::fs::remove_file(&file), self.release.commands.delete) {
            (Ok(()), _) | (Err(_), Delete::ForgivesWhatIsMissing | Delete::Cascades) => Ok(()),
            (Err(_), Delete::KeepsWhatOthersNeed) => {
                Err(StoreError::Unreadable(format!("remove {}: no such file or directory", file.display())))
            }
        }
    }

    fn ping(&self) -> Stored<()> {
        Ok(())
    }
}

impl Files {
    fn judge(&self, file: &str) -> Option<Found> {
        let Some(stem) = file.strip_suffix(".db") else {
            return Some(Found::Skipped(format!("Skip file {file}\n")));
        };
        let Some((db_name, ledger)) = stem.split_once('_') else {
            return Some(Found::Skipped(format!("Skip file {file} : Bad name\n")));
        };
        if db_name != self.db_name {
            return Some(Found::Skipped(format!("Skip file {file} : DB name not mathing\n")));
        }
        (ledger != RESERVED).then(|| Found::Ledger(ledger.to_owned()))
    }
}

struct LedgerFile {
    release: &'static Release,
    name: String,
    connection: Connection,
    remembered: Remembered,
}

impl Opened for LedgerFile {
    fn migrate(&mut self, faults: &Faults, cancel: &Cancel) -> Stored<bool> {
        migrate::initialise(&mut self.connection, self.release, &self.name, faults, cancel)
    }

    fn store(self: Box<Self>) -> Box<dyn LedgerStore> {
        match self.release.layout {
            Layout::Rows => Box::new(rows::Rows(self.connection)),
            Layout::Log | Layout::Direct => {
                Box::new(log::Log { connection: self.connection, release: self.release, remembered: self.remembered })
            }
        }
    }

    /// A file in WAL mode so keeps the migration in its `-wal`.
    fn abandon(self: Box<Self>) {
        std::mem::forget(self.connection);
    }
}

/// Creates the tables of a release in a file.
pub(crate) fn create(path: &Path, release: &'static Release) -> Stored<Connection> {
    let mut connection = Connection::open(path)?;
    if !release.sqlite.journal.is_empty() {
        connection.pragma_update_and_check(None, "journal_mode", &release.sqlite.journal, |_| Ok(()))?;
    }
    migrate::initialise(&mut connection, release, "", &Faults::default(), &Cancel::default())?;
    Ok(connection)
}

fn count(connection: &Connection, sql: &str) -> Stored<u64> {
    let count: i64 = connection.query_row(sql, [], |row| row.get(0))?;
    Ok(u64::try_from(count).unwrap_or(0))
}
