//! The system store: table `ledgers` in the schema `_system`.

use super::error::PgError;
use super::session::{Sessions, sql};
use crate::release::{Release, SystemTables};
use crate::storage::{Stored, SystemStore};
use sqlx::Row;

pub(super) struct SystemSchema(Sessions);

impl SystemSchema {
    /// Creates what is missing, the extension in `public` included: one statement after another, so that a missing privilege is
    /// told for what lacks it, and two commands without an earlier `scan` race here.
    pub(super) fn open(sessions: &Sessions, release: &Release) -> Stored<Self> {
        let mut session = sessions.take()?;
        for extension in &release.postgres.extensions {
            session.batch(format!("CREATE EXTENSION IF NOT EXISTS {extension}"))?;
        }
        session.batch("CREATE SCHEMA IF NOT EXISTS _system".to_owned())?;
        session.batch(
            "CREATE TABLE IF NOT EXISTS _system.ledgers (ledger varchar(255) PRIMARY KEY, addedat timestamp)"
                .to_owned(),
        )?;
        match release.system_store {
            SystemTables::None | SystemTables::Ledgers => {}
            SystemTables::LedgersAndConfiguration => session.batch(
                "CREATE TABLE IF NOT EXISTS _system.configuration (key varchar(255) PRIMARY KEY, value text, addedat timestamp)"
                    .to_owned(),
            )?,
        }
        Ok(Self(sessions.clone()))
    }
}

impl SystemStore for SystemSchema {
    fn register(&self, ledger: &str) -> Stored<bool> {
        // As ever with `now()`: the transaction's time, so that one after another is later than the one before.
        let text = "INSERT INTO _system.ledgers (ledger, addedat) VALUES ($1, now() AT TIME ZONE 'UTC') ON CONFLICT (ledger) DO NOTHING";
        Ok(self.0.take()?.run(sql(text.to_owned()).bind(ledger.to_owned()))? > 0)
    }

    fn forget(&self, ledger: &str) -> Stored<()> {
        let text = "DELETE FROM _system.ledgers WHERE ledger = $1";
        self.0.take()?.run(sql(text.to_owned()).bind(ledger.to_owned()))?;
        Ok(())
    }

    fn ledgers(&self) -> Stored<Vec<String>> {
        let rows = self.0.take()?.rows(sql("SELECT ledger FROM _system.ledgers ORDER BY addedat".to_owned()))?;
        Ok(rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>().map_err(PgError::from)?)
    }

    fn abandon(self: Box<Self>) {}
}
