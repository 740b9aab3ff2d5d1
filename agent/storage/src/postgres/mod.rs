//! The driver for PostgreSQL: one database, one schema a ledger, and from 1.4 the system store in the schema `_system`.
//!
//! Everything of the server is asked with SQL on connections of our own (`client`); dumps are made and restored by
//! PostgreSQL's own programs.

mod address;
mod bad_rows;
mod client;
mod dependents;
mod documents;
mod error;
mod ident;
mod identity;
mod inventory;
mod layout;
mod ledger;
mod lock;
mod look;
mod migrating;
mod obstacles;
mod programs;
mod proving;
mod quiet;
mod recovery;
mod rehearsal;
mod restore;
mod rows;
mod schemas;
mod scratch;
mod session_settings;
mod sessions;
mod split;
mod storage;
mod survey;
mod system;
mod tools;

use crate::StorageError;
use crate::settings::Resolved;
use address::{Address, Endpoint, SESSION, application};
use client::Client;
use cutover_vocabulary::storage::StorageIdentity;
use error::Place;
use look::{LOOK, Spares};
use secrecy::SecretString;
use std::collections::BTreeMap;

pub use layout::Layout;
pub use ledger::Ledger;
pub use tools::client_programs;

/// How long a look waits for a lock that somebody else holds: long enough for a statement, never behind a migration.
const LOOK_LOCK_TIMEOUT: &str = "5s";

/// The server sees a client's host vanish, and firewalls see an idle connection live.
const KEEPALIVES: [(&str, &str); 3] =
    [("tcp_keepalives_idle", "60"), ("tcp_keepalives_interval", "10"), ("tcp_keepalives_count", "6")];

/// A database, as one service uses it. A server that was restarted meanwhile is no trouble: what changes something connects
/// anew, and a connection that is kept for looks is asked first whether it still answers.
#[derive(Debug, Clone)]
pub struct PostgresStorage {
    address: Address,
    /// The server that answered; programs and connections stay with it.
    endpoint: Endpoint,
    /// Another database of the same server for a copy; the service's own otherwise.
    database: String,
    identity: StorageIdentity,
    /// The server's major version.
    server: u32,
    resolved: Resolved,
    spares: Spares,
}

/// Whether two services' settings name the same servers, database and role, whatever their passwords; nobody is asked.
///
/// # Errors
/// [`StorageError::Settings`] where one of them cannot be read.
pub fn name_the_same(
    one: (&Resolved, &BTreeMap<String, SecretString>),
    other: (&Resolved, &BTreeMap<String, SecretString>),
) -> Result<bool, StorageError> {
    let read =
        |(resolved, environment): (&Resolved, _)| Address::parse(&resolved.conn_string(), environment, resolved.home());
    let (one, other) = (read(one)?, read(other)?);
    Ok((one.endpoints(), one.database(), one.user()) == (other.endpoints(), other.database(), other.user()))
}

impl PostgresStorage {
    /// Finds the server that the settings lead to and asks it who it is. Changes nothing. `environment` is the service's own.
    ///
    /// # Errors
    /// [`StorageError::Settings`] when the settings lead nowhere; [`StorageError::Postgres`] when no server of them answers, or
    /// lets us in.
    pub fn open(resolved: &Resolved, environment: &BTreeMap<String, SecretString>) -> Result<Self, StorageError> {
        let address = Address::parse(&resolved.conn_string(), environment, resolved.home())?;
        let mut refused = None;
        for endpoint in address.endpoints() {
            let database = address.database();
            match connect(&address, endpoint, database, LOOK) {
                Ok(client) if address.wants_writable() && identity::not_writable(&client)?.is_some() => {}
                Ok(client) => {
                    let (identity, server) = (identity::identify(&client)?, identity::major(&client)?);
                    let spares = Spares::default();
                    spares.keep(client);
                    return Ok(Self {
                        endpoint: endpoint.clone(),
                        database: database.to_owned(),
                        identity,
                        server,
                        resolved: resolved.clone(),
                        address,
                        spares,
                    });
                }
                // The first server's answer says more than that of a second one which is only there for a failover.
                Err(error) => refused = refused.or(Some(error)),
            }
        }
        Err(refused.unwrap_or_else(|| {
            StorageError::Settings(
                "no server of the connection string takes writes, and its target_session_attrs wants one that does"
                    .to_owned(),
            )
        }))
    }

    /// The ledger's role.
    pub(crate) fn role(&self) -> &str {
        self.address.user()
    }

    /// The server's major version.
    pub(crate) fn server(&self) -> u32 {
        self.server
    }

    /// The database's name.
    pub(crate) fn database(&self) -> &str {
        &self.database
    }

    /// The same server and role, another database: for scratch copies and rehearsals. Whether it is there shows when it is
    /// connected to.
    pub(crate) fn at_database(&self, name: &str) -> Self {
        let mut other = Self { spares: Spares::default(), ..self.clone() };
        name.clone_into(&mut other.database);
        match &mut other.identity {
            StorageIdentity::Postgres { database, .. } => name.clone_into(database),
            // A server is no directory.
            StorageIdentity::Sqlite { .. } => {}
        }
        other
    }

    /// A connection of its own for a task; a lock that somebody holds ends it after seconds.
    pub(crate) fn connect(&self, task: &str) -> Result<Client, StorageError> {
        connect(&self.address, &self.endpoint, &self.database, task)
    }

    /// A connection for a change: it waits for locks as long as it takes.
    pub(crate) fn connect_patiently(&self, task: &str) -> Result<Client, StorageError> {
        let client = self.connect(task)?;
        client.run("set up the session on", &ident::Sql::fixed("SET lock_timeout = 0"))?;
        Ok(client)
    }

    /// The environment of `pg_dump`, `pg_restore` and `psql` for this database, `PATH` apart. Clear theirs before.
    pub(crate) fn tool_environment(&self, task: &str) -> Vec<(&'static str, SecretString)> {
        self.address.tool_environment(&self.endpoint, &self.database, &application(task))
    }

    /// The same for a session that begins as the service's own do: without what ours set, but for a limit that could end the
    /// question itself.
    pub(crate) fn service_environment(&self, task: &str) -> Vec<(&'static str, SecretString)> {
        self.address.service_environment(&self.endpoint, &self.database, &application(task))
    }

    /// Every storage key as an environment variable, for ledger commands of ours on this database; with the variables of
    /// PostgreSQL's that the service itself has, because the connection string may leave things out.
    fn variables(&self, task: &str) -> Result<Vec<(String, SecretString)>, StorageError> {
        let database = (self.database != self.address.database()).then_some(self.database.as_str());
        let string = self.address.command_string(&self.endpoint, task, database)?;
        let conn_string = crate::settings::Key::ConnString.variable();
        let mut all = self.address.variables().to_vec();
        all.extend(self.resolved.storage_environment()?.into_iter().filter(|(name, _)| *name != conn_string));
        all.push((conn_string, string));
        Ok(all)
    }
}

fn connect(address: &Address, endpoint: &Endpoint, database: &str, task: &str) -> Result<Client, StorageError> {
    let options = address.options(endpoint, database, &application(task));
    let shown = cutover_vocabulary::name::shown;
    let what = format!("database {} at {endpoint} as role {}", shown(database), shown(address.user()));
    let place = Place { what, role: address.user().to_owned() };
    // Of a name that is here twice the last counts.
    let settings: BTreeMap<&str, &str> = address
        .session()
        .chain(SESSION)
        .chain([
            ("lock_timeout", LOOK_LOCK_TIMEOUT),
            // Nobody's function or operator stands in for PostgreSQL's own, and definitions name every schema.
            ("search_path", "pg_catalog"),
        ])
        .chain(KEEPALIVES)
        .collect();
    Client::connect(&options, &settings, place)
}
