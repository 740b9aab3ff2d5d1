//! The PostgreSQL storage: one schema a ledger, and from 1.3.2 on a system store in the schema `_system`.
//!
//! Statements are PostgreSQL's own wherever the ledger's behaviour comes from the server: what collides, is refused, cascades or
//! takes long there, does so here.

mod direct;
mod error;
mod fill;
mod later;
mod log;
mod looker;
mod migrate;
mod rows;
mod schema;
mod session;
mod system;
mod target;

pub use error::PgError;
pub use looker::Looker;
pub(crate) use target::forget_pgoptions;

use super::memory::{Memory, Remembered};
use super::{Cancel, Driver, Found, LedgerStore, LockStrategy, Opened, Storage, StoreError, Stored};
use crate::faults::Faults;
use crate::release::{Delete, Layout, Release};
use schema::Schema;
use session::{Sessions, sql};
use sqlx::Row;
use system::SystemSchema;
use target::Target;

/// A deployment's schemas, as a release treats them. No session is opened before one is needed.
pub struct Schemas {
    release: &'static Release,
    sessions: Sessions,
    memory: Memory,
}

impl Schemas {
    /// The storage that a connection string leads to.
    ///
    /// # Errors
    /// When the string cannot be read.
    pub fn new(release: &'static Release, connection: &str) -> Result<Self, String> {
        let sessions = Sessions::new(Target::parse(connection)?);
        Ok(Self { release, sessions, memory: Memory::new(release.memory) })
    }

    /// Under a lock strategy.
    #[must_use]
    pub fn locked(self, strategy: LockStrategy) -> Self {
        Self { memory: self.memory.locked(strategy), ..self }
    }
}

impl Storage for Schemas {
    fn driver(&self) -> Driver {
        Driver::Postgres
    }

    fn system(&self) -> Stored<Box<dyn super::SystemStore>> {
        Ok(Box::new(SystemSchema::open(&self.sessions, self.release)?))
    }

    fn ledger(&self, name: &str) -> Stored<Box<dyn Opened>> {
        let schema = Schema::new(name);
        Ok(Box::new(LedgerSchema {
            release: self.release,
            name: name.to_owned(),
            schema,
            sessions: self.sessions.clone(),
            remembered: self.memory.of(name),
        }))
    }

    /// Every schema with a table `transactions`, whoever made it, in the order of the catalogue.
    fn find(&self) -> Stored<Vec<Found>> {
        let query = "SELECT schemaname::text FROM pg_catalog.pg_tables WHERE tablename = 'transactions'";
        let rows = self.sessions.take()?.rows(sql(query.to_owned()))?;
        rows.iter().map(|row| Ok(Found::Ledger(row.try_get(0).map_err(PgError::from)?))).collect()
    }

    /// Up to 1.9.6 without CASCADE: what a ledger's schema holds stops it.
    fn delete(&self, name: &str) -> Stored<()> {
        let schema = Schema::new(name);
        let drop = match self.release.commands.delete {
            Delete::KeepsWhatOthersNeed => format!("DROP SCHEMA {schema}"),
            Delete::ForgivesWhatIsMissing => format!("DROP SCHEMA IF EXISTS {schema}"),
            Delete::Cascades => format!("DROP SCHEMA IF EXISTS {schema} CASCADE"),
        };
        Ok(self.sessions.take()?.batch(drop)?)
    }

    fn ping(&self) -> Stored<()> {
        Ok(self.sessions.take()?.batch("SELECT 1".to_owned())?)
    }
}

/// Rows for a table, in the text format of COPY.
pub(crate) struct Table {
    pub(crate) name: &'static str,
    pub(crate) rows: String,
}

/// Creates the tables of a release from 1.3.0 on and copies rows into them.
pub(crate) fn load_rows(release: &'static Release, connection: &str, ledger: &str, tables: &[Table]) -> Stored<()> {
    let target = Target::parse(connection).map_err(StoreError::Unreadable)?;
    let schema = Schema::new(ledger);
    let mut session = Sessions::new(target).take()?;
    migrate::initialise(&mut session, release, &schema, ledger, &Faults::default(), &Cancel::default())?;
    session.transaction(|session| -> Stored<()> {
        for Table { name, rows } in tables {
            session.copy(&format!("COPY {schema}.{name} FROM STDIN"), rows)?;
        }
        Ok(())
    })?;
    let names: Vec<String> = tables.iter().map(|table| format!("{schema}.{}", table.name)).collect();
    Ok(session.batch(format!("ANALYZE {}", names.join(", ")))?)
}

struct LedgerSchema {
    release: &'static Release,
    name: String,
    schema: Schema,
    sessions: Sessions,
    remembered: Remembered,
}

impl Opened for LedgerSchema {
    fn migrate(&mut self, faults: &Faults, cancel: &Cancel) -> Stored<bool> {
        let mut session = self.sessions.take()?;
        let (sessions, pid) = (self.sessions.clone(), session.pid());
        cancel.watch(move || sessions.cancel(pid));
        let migrated = migrate::initialise(&mut session, self.release, &self.schema, &self.name, faults, cancel);
        cancel.unwatch();
        if cancel.asked() {
            session.spoil();
            return Err(StoreError::Cancelled);
        }
        migrated
    }

    fn store(self: Box<Self>) -> Box<dyn LedgerStore> {
        match self.release.layout {
            Layout::Rows => Box::new(rows::Rows { sessions: self.sessions, schema: self.schema }),
            Layout::Log | Layout::Direct => Box::new(log::Log {
                sessions: self.sessions,
                schema: self.schema,
                release: self.release,
                remembered: self.remembered,
            }),
        }
    }

    fn abandon(self: Box<Self>) {}
}
