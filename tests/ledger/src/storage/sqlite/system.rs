//! The system store: `{db_name}__system.db`, which ledgers are known.

use super::{BUSY, schema};
use crate::clock;
use crate::release::SystemTables;
use crate::storage::{Stored, SystemStore};
use rusqlite::{Connection, OpenFlags};
use std::path::Path;

/// The open system store.
pub(super) struct SystemFile(Connection);

impl SystemFile {
    /// Opens it, and creates file and table where they are missing.
    pub(super) fn open(file: &Path, tables: SystemTables) -> Stored<Self> {
        let flags =
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_FULL_MUTEX;
        let connection = Connection::open_with_flags(file, flags)?;
        connection.busy_timeout(BUSY)?;
        connection.execute_batch(schema::SYSTEM)?;
        match tables {
            SystemTables::None | SystemTables::Ledgers => {}
            SystemTables::LedgersAndConfiguration => connection.execute_batch(schema::CONFIGURATION)?,
        }
        Ok(Self(connection))
    }
}

impl SystemStore for SystemFile {
    fn register(&self, ledger: &str) -> Stored<bool> {
        let sql = "INSERT INTO ledgers (ledger, addedAt) VALUES (?1, ?2) ON CONFLICT (ledger) DO NOTHING";
        Ok(self.0.execute(sql, (ledger, clock::sqlite(clock::now())))? > 0)
    }

    fn forget(&self, ledger: &str) -> Stored<()> {
        self.0.execute("DELETE FROM ledgers WHERE ledger = ?1", [ledger])?;
        Ok(())
    }

    fn ledgers(&self) -> Stored<Vec<String>> {
        let mut statement = self.0.prepare("SELECT ledger FROM ledgers ORDER BY rowid")?;
        let names = statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
        Ok(names)
    }

    fn abandon(self: Box<Self>) {
        std::mem::forget(self.0);
    }
}
