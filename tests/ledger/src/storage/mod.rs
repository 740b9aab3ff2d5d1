//! The SQLite storage: one file a ledger in `storage.dir`, and from 1.3.2 on a system store beside them.

pub mod log;
pub mod migrate;
pub mod rows;
mod schema;
pub mod system;

use crate::model::{Account, Draft, Metadata, Page, Target, Transaction};
use crate::release::{Layout, Release};
use rusqlite::Connection;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How long the driver waits for another's lock before `database is locked`.
const BUSY: Duration = Duration::from_secs(5);

/// Why the storage did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite says no; shown as the Go driver shows it.
    #[error("{}", go_text(.0))]
    Sqlite(#[from] rusqlite::Error),
    /// A migration's statement failed.
    #[error("failed to run statement {statement}: {}", go_text(source))]
    Migration {
        /// Which, counted from 0.
        statement: usize,
        /// Why.
        source: rusqlite::Error,
    },
    /// A reference (or, beside another instance, an id) is taken.
    #[error("conflict error on reference '{reference}'")]
    Conflict {
        /// Which transaction of the batch.
        index: usize,
        /// Its reference.
        reference: String,
    },
    /// An account other than `world` would go below zero.
    #[error("balance.insufficient.{asset}")]
    InsufficientFund {
        /// Which transaction of the batch.
        index: usize,
        /// Of what.
        asset: String,
    },
    /// A row that this release cannot read.
    #[error("{0}")]
    Unreadable(String),
    /// The client hung up.
    #[error("context canceled")]
    Cancelled,
    /// The program panics here.
    #[error("{0}")]
    Panic(String),
}

/// A result of the storage.
pub type Stored<T> = Result<T, StoreError>;

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

/// Lets a client that hangs up stop the work done for it.
#[derive(Clone, Default)]
pub struct Cancel {
    asked: Arc<AtomicBool>,
    handle: Arc<Mutex<Option<rusqlite::InterruptHandle>>>,
}

impl Cancel {
    /// Asks the work to stop; what it did in its transaction is rolled back.
    pub fn cancel(&self) {
        self.asked.store(true, Ordering::SeqCst);
        if let Ok(handle) = self.handle.lock()
            && let Some(handle) = handle.as_ref()
        {
            handle.interrupt();
        }
    }

    /// Whether it was asked.
    #[must_use]
    pub fn asked(&self) -> bool {
        self.asked.load(Ordering::SeqCst)
    }

    fn watch(&self, connection: &Connection) {
        if let Ok(mut handle) = self.handle.lock() {
            *handle = Some(connection.get_interrupt_handle());
        }
    }
}

/// Where a deployment's files are.
#[derive(Clone, Debug)]
pub struct Place {
    /// `storage.dir`.
    pub dir: PathBuf,
    /// `storage.sqlite.db_name`.
    pub db_name: String,
}

impl Place {
    /// The file of a ledger.
    #[must_use]
    pub fn file(&self, ledger: &str) -> PathBuf {
        self.dir.join(format!("{}_{ledger}.db", self.db_name))
    }

    /// Opens (and so may create) a ledger's file as `release` does.
    ///
    /// # Errors
    /// When SQLite cannot open it, or cannot set the journal that the release asks for.
    pub fn open(&self, release: &Release, ledger: &str) -> Stored<Connection> {
        let connection = Connection::open(self.file(ledger))?;
        connection.busy_timeout(BUSY)?;
        if let Some(journal) = release.journal {
            connection.pragma_update_and_check(None, "journal_mode", journal, |_| Ok(()))?;
        }
        Ok(connection)
    }
}

/// What a ledger's storage can do, whatever its layout.
pub trait LedgerStore {
    /// Writes all drafts or none.
    ///
    /// # Errors
    /// A conflict, missing funds, or SQLite.
    fn commit(&mut self, drafts: &[Draft]) -> Stored<Vec<Transaction>>;
    /// Newest first, those below `after`.
    ///
    /// # Errors
    /// SQLite, or a row that this release cannot read.
    fn transactions(&self, after: Option<i64>, limit: u32) -> Stored<Page<Transaction>>;
    /// One transaction.
    ///
    /// # Errors
    /// As [`LedgerStore::transactions`].
    fn transaction(&self, id: i64) -> Stored<Option<Transaction>>;
    /// In descending order, those below `after`, without volumes.
    ///
    /// # Errors
    /// As [`LedgerStore::transactions`].
    fn accounts(&self, after: Option<&str>, limit: u32) -> Stored<Page<Account>>;
    /// One account; none where nothing is known of it.
    ///
    /// # Errors
    /// As [`LedgerStore::transactions`].
    fn account(&self, address: &str) -> Stored<Option<Account>>;
    /// Transactions, accounts.
    ///
    /// # Errors
    /// SQLite.
    fn stats(&self) -> Stored<(u64, u64)>;
    /// Sets metadata; later values override earlier ones of the same key.
    ///
    /// # Errors
    /// SQLite.
    fn set_metadata(&mut self, target: &Target, metadata: &Metadata) -> Stored<()>;
}

/// The store of `release`'s layout over an open file.
#[must_use]
pub fn store(release: &Release, connection: Connection) -> Box<dyn LedgerStore> {
    match release.layout {
        Layout::Rows => Box::new(rows::Rows(connection)),
        Layout::Log => Box::new(log::Log(connection)),
    }
}

/// A taken id or reference is a conflict; everything else stays what it is.
fn conflict(error: rusqlite::Error, index: usize, draft: &Draft) -> StoreError {
    if error.sqlite_error_code() == Some(rusqlite::ErrorCode::ConstraintViolation) {
        StoreError::Conflict { index, reference: draft.reference.clone() }
    } else {
        StoreError::Sqlite(error)
    }
}

fn count(connection: &Connection, sql: &str) -> Stored<u64> {
    let count: i64 = connection.query_row(sql, [], |row| row.get(0))?;
    Ok(u64::try_from(count).unwrap_or(0))
}
