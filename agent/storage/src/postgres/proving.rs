//! Where recovery points are proved: one database for all points of an upgrade, each restored under its schema's own name and
//! dropped again.
//!
//! To make a database takes longer than to restore a small ledger into it, and to drop one makes the server write out everything
//! that it holds in memory, so both are done outside the downtime. Proofs of several lanes share it: what one schema refers to
//! in another is there or not by chance, which makes a restore fail and never a proof pass.

use super::client::{Client, Value};
use super::ident::{Ident, Sql};
use super::scratch::{Scratch, drop_database};
use super::{PostgresStorage, application, lock, scratch};
use crate::{StorageError, clock};
use cutover_vocabulary::{Digest, Elapsed, UpgradeId};
use std::path::Path;
use std::time::Duration;

/// What every name of these databases begins with.
const PURPOSE: &str = "proof";
/// The schema of extensions: it is never dropped in a database that others prove in.
const PUBLIC: &str = "public";
/// How long what an earlier try left behind may take to end once the server told it to.
const PATIENCE: Elapsed = Elapsed(30_000);
const LOOKING: Duration = Duration::from_millis(20);

/// A place for one schema's proof.
pub(super) struct Proving {
    scratch: Scratch,
    schema: String,
}

impl Proving {
    /// Makes the database of an upgrade, empty. Those of earlier upgrades of the same database are dropped.
    pub(super) fn prepare(home: &PostgresStorage, upgrade: &UpgradeId) -> Result<(), StorageError> {
        drop_all(home, &beginning(home))?;
        make(home, &name(home, upgrade, ""))
    }

    /// Goes there, with room for the schema; makes the database where nobody prepared it.
    pub(super) fn of(home: &PostgresStorage, upgrade: &UpgradeId, schema: &str) -> Result<Self, StorageError> {
        let name = name(home, upgrade, schema);
        if !home.looking(|client| is_there(client, &name))? {
            // Lanes come here side by side.
            let gate = home.connect_patiently(PURPOSE)?;
            lock::wait_for(&gate, "proofs")?;
            if !is_there(&gate, &name)? {
                make(home, &name)?;
            }
        }
        let proving = Self { scratch: Scratch::at(home, &name), schema: schema.to_owned() };
        proving.end_what_was_left()?;
        proving.empty()?;
        Ok(proving)
    }

    /// Restores a dump as a restore in earnest does, and lets the caller look at it.
    pub(super) fn show<T>(
        self,
        dump: &Path,
        look: impl FnOnce(&PostgresStorage) -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        let restored = self.scratch.restore(dump, &self.task());
        let shown = restored.and_then(|()| look(&self.scratch.storage));
        let emptied = self.empty();
        let shown = shown?;
        emptied?;
        Ok(shown)
    }

    /// Names the restoring session, so that the next try knows it.
    fn task(&self) -> String {
        format!("prove-{}", Digest::of(self.schema.as_bytes()).short())
    }

    fn empty(&self) -> Result<(), StorageError> {
        let ident = Ident::new(&self.schema);
        let sql = Sql::with("DROP SCHEMA IF EXISTS {0} CASCADE", &[(&ident).into()]);
        self.scratch.storage.looking(|client| client.run("empty the scratch database", &sql))
    }

    /// A session whose client's host went down lives until the server notices, which may take hours; what it restores is not
    /// seen before it commits, and would be waited for. Of our own role alone: an autovacuum worker that cleans what was restored
    /// there may not be ended by an ordinary role, and makes way by itself; others are waited for, and are told of in the end.
    fn end_what_was_left(&self) -> Result<(), StorageError> {
        let doing = "end what an earlier try left in the scratch database";
        let end = Sql::fixed(
            "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity \
             WHERE datname = current_database() AND usename = session_user AND backend_type = 'client backend' \
             AND pid <> pg_backend_pid() AND (application_name = $1 OR pid IN ( \
             SELECT l.pid FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_class c ON c.oid = l.relation \
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             WHERE l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database()) \
             AND n.nspname = $2))",
        );
        let task = application(&self.task());
        let begun = clock::since_boot();
        self.scratch.storage.looking(|client| {
            while !client.rows(doing, &end, &[Value::Text(&task), Value::Text(&self.schema)])?.is_empty() {
                if clock::since_boot().since(begun) >= PATIENCE {
                    let what = self.scratch.storage.identity.to_string();
                    return Err(StorageError::Busy { what, by: task.clone() });
                }
                std::thread::sleep(LOOKING);
            }
            Ok(())
        })
    }

    /// Drops what was made for an upgrade, if it is there.
    pub(super) fn tidy(home: &PostgresStorage, upgrade: &UpgradeId) -> Result<(), StorageError> {
        drop_all(home, &name(home, upgrade, ""))
    }
}

/// What the names for a database begin with.
fn beginning(home: &PostgresStorage) -> String {
    scratch::name(PURPOSE, home.database())
}

/// The schema of extensions has a database of its own.
fn name(home: &PostgresStorage, upgrade: &UpgradeId, schema: &str) -> String {
    let shared = format!("{}_{}", beginning(home), Digest::of(upgrade.as_str().as_bytes()).short());
    if schema == PUBLIC { format!("{shared}_{PUBLIC}") } else { shared }
}

fn is_there(client: &Client, name: &str) -> Result<bool, StorageError> {
    let sql = Sql::fixed("SELECT EXISTS (SELECT FROM pg_catalog.pg_database WHERE datname = $1)");
    client.one("look for a scratch database beside", &sql, &[Value::Text(name)])
}

/// It has its name only once it is complete.
fn make(home: &PostgresStorage, name: &str) -> Result<(), StorageError> {
    let unfinished = format!("{name}_new");
    Scratch::make(home, &unfinished)?;
    drop_database(home, name)?;
    let (from, to) = (Ident::new(&unfinished), Ident::new(name));
    home.connect_patiently(PURPOSE)?.run(
        "name a scratch database beside",
        &Sql::with("ALTER DATABASE {0} RENAME TO {1}", &[(&from).into(), (&to).into()]),
    )
}

fn drop_all(home: &PostgresStorage, beginning: &str) -> Result<(), StorageError> {
    let doing = "look for scratch databases beside";
    let sql = Sql::fixed("SELECT datname::text FROM pg_catalog.pg_database WHERE starts_with(datname::text, $1)");
    let names = home.looking(|client| {
        let rows = client.rows(doing, &sql, &[Value::Text(beginning)])?;
        rows.iter().map(|row| client.get::<String>(doing, row, 0)).collect::<Result<Vec<_>, _>>()
    })?;
    names.iter().try_for_each(|name| drop_database(home, name))
}
