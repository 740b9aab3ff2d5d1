//! Databases of our own in the same cluster, where copies are restored: `storage scan` looks into one database only, so
//! that a copy in another one is never taken for a ledger.

use super::PostgresStorage;
use super::client::Value;
use super::ident::{Ident, Sql};
use super::programs::Program;
use crate::StorageError;
use cutover_vocabulary::Digest;
use std::ffi::OsString;
use std::path::Path;

/// What every name of ours begins with.
const PREFIX: &str = "cutover_";

/// The name of a database for a purpose: readable in front, unique by what it is for, the same again for the same.
pub(super) fn name(purpose: &str, unique: &str) -> String {
    format!("{PREFIX}{purpose}_{}", Digest::of(unique.as_bytes()).short())
}

/// A database of ours that is dropped with this value's [`Scratch::remove`], or by the next that is made under its name.
pub(super) struct Scratch {
    home: PostgresStorage,
    /// The database.
    pub(super) storage: PostgresStorage,
}

impl Scratch {
    /// Makes an empty one, in place of what a killed run left under this name, with the extensions that the home has: what
    /// is restored may use them.
    pub(super) fn make(home: &PostgresStorage, name: &str) -> Result<Self, StorageError> {
        let client = home.connect_patiently(name)?;
        drop_database(home, name)?;
        let ident = Ident::new(name);
        // template0: template1 may hold whatever somebody put there. C: digests sort by bytes and nothing else is sorted.
        client.run(
            "make a scratch database beside",
            &Sql::with("CREATE DATABASE {0} TEMPLATE template0 ENCODING 'UTF8'", &[(&ident).into()]),
        )?;
        let extensions = client.rows(
            "list the extensions of",
            &Sql::fixed("SELECT extname::text FROM pg_catalog.pg_extension WHERE extname <> 'plpgsql' ORDER BY 1"),
            &[],
        )?;
        let storage = home.at_database(name);
        let there = storage.connect_patiently(name)?;
        for row in &extensions {
            let extension = Ident::new(&client.get::<String>("list the extensions of", row, 0)?);
            // One that an ordinary role may not make is one that the ledger's tables do not need.
            let sql = Sql::with("CREATE EXTENSION IF NOT EXISTS {0} SCHEMA public", &[(&extension).into()]);
            let _ = there.run("make an extension in", &sql);
        }
        Ok(Self { home: home.clone(), storage })
    }

    /// Makes one that holds what another one holds.
    pub(super) fn like(other: &Self, name: &str) -> Result<Self, StorageError> {
        let client = other.home.connect_patiently(name)?;
        drop_database(&other.home, name)?;
        let (ident, template) = (Ident::new(name), Ident::new(other.storage.database()));
        client.run(
            "copy a scratch database beside",
            &Sql::with("CREATE DATABASE {0} TEMPLATE {1}", &[(&ident).into(), (&template).into()]),
        )?;
        Ok(Self { home: other.home.clone(), storage: other.home.at_database(name) })
    }

    /// Restores a dump into it as a restore in earnest does, owners and grants included: roles are the cluster's, so what our
    /// role may not give shows here, before anything was changed, and not on the way back.
    pub(super) fn restore(&self, dump: &Path, task: &str) -> Result<(), StorageError> {
        self.fill(dump, task, &[])
    }

    /// Restores what a dump holds, without owners and grants: to be looked at.
    pub(super) fn unpack(&self, dump: &Path) -> Result<(), StorageError> {
        self.fill(dump, self.storage.database(), &["--no-owner", "--no-privileges", "--no-comments"])
    }

    /// Whole or not at all.
    fn fill(&self, dump: &Path, task: &str, without: &[&str]) -> Result<(), StorageError> {
        let always = ["--single-transaction", "--exit-on-error", "--no-password"];
        let mut args: Vec<OsString> = always.iter().chain(without).map(OsString::from).collect();
        args.push("--dbname".into());
        args.push(self.storage.database().into());
        args.push(dump.into());
        Program::Restore.run(&self.storage, task, args).map(|_| ())
    }

    /// One that is there already.
    pub(super) fn at(home: &PostgresStorage, name: &str) -> Self {
        Self { home: home.clone(), storage: home.at_database(name) }
    }

    /// Drops it.
    pub(super) fn remove(self) -> Result<(), StorageError> {
        drop_database(&self.home, self.storage.database())
    }
}

/// Drops a database of ours, with whoever of our role is still on it. Not `WITH (FORCE)` at first: an ordinary role is refused that
/// while anybody else is there, were it only autovacuum. Without it the server ends autovacuum itself and gives everybody else, and
/// those that are ended here, five seconds to go. Who stays is ended where our role may do that, and told of as one to wait for
/// where it may not.
pub(super) fn drop_database(home: &PostgresStorage, name: &str) -> Result<(), StorageError> {
    let client = home.connect_patiently(name)?;
    let end = Sql::fixed(
        "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity \
         WHERE datname = $1 AND usename = session_user AND backend_type = 'client backend' AND pid <> pg_backend_pid()",
    );
    client.rows("end our sessions on a scratch database beside", &end, &[Value::Text(name)])?;
    let ident = Ident::new(name);
    let dropped = |how: &'static str| client.run("drop a scratch database beside", &Sql::with(how, &[(&ident).into()]));
    match dropped("DROP DATABASE IF EXISTS {0}") {
        Err(error @ StorageError::Postgres { transient: true, .. }) => {
            dropped("DROP DATABASE IF EXISTS {0} WITH (FORCE)").map_err(|_| error)
        }
        done => done,
    }
}
