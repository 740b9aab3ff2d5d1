//! The system store: `{db_name}__system.db`, which ledgers are known.

use super::{BUSY, Place, Stored, schema};
use crate::clock;
use rusqlite::{Connection, OpenFlags};

/// The name that no ledger may have.
pub const RESERVED: &str = "_system";

/// The open system store.
pub struct SystemStore(Connection);

impl SystemStore {
    /// Opens it, and creates file and table where they are missing: no command of the ledger is read-only.
    ///
    /// # Errors
    /// SQLite.
    pub fn open(place: &Place) -> Stored<Self> {
        let flags =
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_FULL_MUTEX;
        let connection = Connection::open_with_flags(place.file(RESERVED), flags)?;
        connection.busy_timeout(BUSY)?;
        connection.execute_batch(schema::SYSTEM)?;
        Ok(Self(connection))
    }

    /// Registers a ledger; false if it was there.
    ///
    /// # Errors
    /// SQLite.
    pub fn register(&self, ledger: &str) -> Stored<bool> {
        let sql = "INSERT INTO ledgers (ledger, addedAt) VALUES (?1, ?2) ON CONFLICT (ledger) DO NOTHING";
        Ok(self.0.execute(sql, (ledger, clock::sqlite(clock::now())))? > 0)
    }

    /// Forgets a ledger.
    ///
    /// # Errors
    /// SQLite.
    pub fn forget(&self, ledger: &str) -> Stored<()> {
        self.0.execute("DELETE FROM ledgers WHERE ledger = ?1", [ledger])?;
        Ok(())
    }

    /// All ledgers in the order of their registration.
    ///
    /// # Errors
    /// SQLite.
    pub fn ledgers(&self) -> Stored<Vec<String>> {
        let mut statement = self.0.prepare("SELECT ledger FROM ledgers ORDER BY rowid")?;
        let names = statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
        Ok(names)
    }

    /// Leaves the file as a process does that ends without closing it.
    pub fn abandon(self) {
        std::mem::forget(self.0);
    }
}
