//! Where ledgers are kept: traits for what a storage can do, with two implementations, [`sqlite`] (one file a ledger) and
//! [`postgres`] (one schema a ledger). Nothing outside this folder knows which one it talks to, apart from [`Driver`] where the
//! ledger itself tells them apart.

mod books;
mod cancel;
mod error;
mod memory;
pub mod postgres;
pub mod sqlite;

pub use cancel::Cancel;
pub use error::{Refusal, StoreError, Stored};

use crate::faults::Faults;
use crate::model::{Account, Draft, LogEntry, Metadata, Page, Repeatable, Target, Transaction, Volume};
use crate::settings::Settings;
use std::collections::BTreeMap;

/// The name that no ledger may have: the system store's.
pub const RESERVED: &str = "_system";

/// The drivers there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// Files.
    Sqlite,
    /// Schemas.
    Postgres,
}

impl Driver {
    /// The name in settings and answers.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
        }
    }

    /// The driver of that name.
    #[must_use]
    pub fn find(name: &str) -> Option<Self> {
        [Self::Sqlite, Self::Postgres].into_iter().find(|driver| driver.name() == name)
    }
}

/// How several instances keep out of each other's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockStrategy {
    /// `memory`, `none` and whatever else is configured: each process for itself.
    Own,
    /// `redis`. There is no redis here: the database's own lock does its work.
    Redis,
}

impl LockStrategy {
    pub(crate) fn of(settings: &Settings) -> Self {
        if settings.text("lock-strategy") == "redis" { Self::Redis } else { Self::Own }
    }
}

/// What `storage scan` comes upon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// What looks like a ledger.
    Ledger(String),
    /// What does not, with the line that says so.
    Skipped(String),
}

/// Where a deployment's ledgers are.
pub trait Storage: Send + Sync {
    /// Which driver it is.
    fn driver(&self) -> Driver;

    /// Opens the store of which ledgers are known, and creates what is missing: no command of the ledger is read-only.
    ///
    /// # Errors
    /// The database.
    fn system(&self) -> Stored<Box<dyn SystemStore>>;

    /// Opens a ledger, whether it exists or not.
    ///
    /// # Errors
    /// The database.
    fn ledger(&self, name: &str) -> Stored<Box<dyn Opened>>;

    /// Everything that could be a ledger.
    ///
    /// # Errors
    /// The database, or the folder.
    fn find(&self) -> Stored<Vec<Found>>;

    /// Removes a ledger's storage.
    ///
    /// # Errors
    /// The database, or the folder.
    fn delete(&self, name: &str) -> Stored<()>;

    /// Whether the database answers.
    ///
    /// # Errors
    /// The database.
    fn ping(&self) -> Stored<()>;
}

/// Which ledgers are known.
pub trait SystemStore: Send {
    /// Registers a ledger; false if it was there.
    ///
    /// # Errors
    /// The database.
    fn register(&self, ledger: &str) -> Stored<bool>;

    /// Forgets a ledger.
    ///
    /// # Errors
    /// The database.
    fn forget(&self, ledger: &str) -> Stored<()>;

    /// All ledgers in the order of their registration.
    ///
    /// # Errors
    /// The database.
    fn ledgers(&self) -> Stored<Vec<String>>;

    /// Leaves it as a process does that ends without closing it.
    fn abandon(self: Box<Self>);
}

/// A ledger whose migrations may be missing.
pub trait Opened {
    /// Runs the migrations that the ledger lacks, in one transaction; true if there were any.
    ///
    /// # Errors
    /// The database; [`StoreError::Panic`] for a row that the migration panics at; [`StoreError::Cancelled`]. Nothing is written
    /// then.
    fn migrate(&mut self, faults: &Faults, cancel: &Cancel) -> Stored<bool>;

    /// The store of the release's layout over it.
    fn store(self: Box<Self>) -> Box<dyn LedgerStore>;

    /// Leaves it as a process does that ends without closing it.
    fn abandon(self: Box<Self>);
}

/// What a ledger's storage can do, whatever its layout.
pub trait LedgerStore {
    /// Writes all drafts or none.
    ///
    /// # Errors
    /// A conflict, missing funds, or the database.
    fn commit(&mut self, drafts: &[Draft]) -> Stored<Vec<Transaction>>;
    /// Newest first, those below `after`.
    ///
    /// # Errors
    /// The database, or a row that this release cannot read.
    fn transactions(&self, after: Option<i64>, limit: u32) -> Stored<Page<Transaction>>;
    /// One transaction.
    ///
    /// # Errors
    /// As [`LedgerStore::transactions`].
    fn transaction(&self, id: i64) -> Stored<Option<Transaction>>;
    /// In descending order, those below `after` that fit `address` (parts between colons, `.*` for any), without volumes.
    ///
    /// # Errors
    /// As [`LedgerStore::transactions`].
    fn accounts(&self, after: Option<&str>, limit: u32, address: Option<&str>) -> Stored<Page<Account>>;
    /// One account; none where nothing is known of it.
    ///
    /// # Errors
    /// As [`LedgerStore::transactions`].
    fn account(&self, address: &str) -> Stored<Option<Account>>;
    /// Transactions, accounts.
    ///
    /// # Errors
    /// The database.
    fn stats(&self) -> Stored<(u64, u64)>;
    /// Sets metadata; later values override earlier ones of the same key.
    ///
    /// # Errors
    /// The database.
    fn set_metadata(&mut self, target: &Target, metadata: &Metadata) -> Stored<()>;
    /// Every account's volumes by asset; nothing in layouts whose releases answer no such question, as in all below.
    ///
    /// # Errors
    /// The database.
    fn volumes(&self) -> Stored<BTreeMap<String, BTreeMap<String, Volume>>> {
        Ok(BTreeMap::new())
    }
    /// The log, newest first, below `after`.
    ///
    /// # Errors
    /// The database.
    fn log(&self, _after: Option<i64>, _limit: u32) -> Stored<Page<LogEntry>> {
        Ok(Page { items: Vec::new(), has_more: false, total: 0 })
    }
    /// The migrations that are recorded: number and date.
    ///
    /// # Errors
    /// The database.
    fn migrations(&self) -> Stored<Vec<(String, String)>> {
        Ok(Vec::new())
    }
    /// The answer kept under an idempotency key.
    ///
    /// # Errors
    /// The database.
    fn recall(&self, _key: &str) -> Stored<Option<Repeatable>> {
        Ok(None)
    }
    /// Keeps an answer under an idempotency key.
    ///
    /// # Errors
    /// The database.
    fn keep(&mut self, _key: &str, _answer: &Repeatable) -> Stored<()> {
        Ok(())
    }
}

/// Whether an address fits a filter.
fn fits(address: &str, filter: &str) -> bool {
    let mut parts = address.split(':');
    let mut wanted = filter.trim_start_matches('^').trim_end_matches('$').split(':');
    loop {
        match (parts.next(), wanted.next()) {
            (None, None) => return true,
            (Some(part), Some(wanted)) if wanted == ".*" || wanted.is_empty() || wanted == part => {}
            (Some(_) | None, Some(_)) | (Some(_), None) => return false,
        }
    }
}
