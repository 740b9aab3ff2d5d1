//! Where the suite lets a binary keep its ledgers: files in a folder, or a database of a PostgreSQL server that is made for each
//! check and gone afterwards.

use super::{Step, tried};
use crate::storage::Driver;
use crate::storage::postgres::Looker;
use std::sync::atomic::{AtomicU32, Ordering};

/// What every check gets a storage of its own from.
#[derive(Clone, Debug)]
pub enum Place {
    /// A folder.
    Sqlite,
    /// A database of this server.
    Postgres(Server),
}

impl Place {
    /// The driver that goes with it.
    #[must_use]
    pub fn driver(&self) -> Driver {
        match self {
            Self::Sqlite => Driver::Sqlite,
            Self::Postgres(_) => Driver::Postgres,
        }
    }
}

/// A PostgreSQL server, and a superuser there.
#[derive(Clone)]
pub struct Server {
    user: String,
    password: String,
    host: String,
    database: String,
}

/// Without the password.
impl std::fmt::Debug for Server {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Server({})", self.host)
    }
}

impl Server {
    /// Reads `postgresql://USER:PASSWORD@HOST:PORT/DATABASE`; none for any other text.
    #[must_use]
    pub fn parse(url: &str) -> Option<Self> {
        let (_, rest) = url.split_once("://").filter(|(scheme, _)| matches!(*scheme, "postgres" | "postgresql"))?;
        let (login, rest) = rest.rsplit_once('@')?;
        let (user, password) = login.split_once(':')?;
        let (host, database) = rest.split_once('/')?;
        let owned = str::to_owned;
        Some(Self { user: owned(user), password: owned(password), host: owned(host), database: owned(database) })
    }

    fn url(&self, user: &str, password: &str, database: &str) -> String {
        format!("postgresql://{user}:{password}@{}/{database}", self.host)
    }

    fn look(&self) -> Step<Looker> {
        look(&self.url(&self.user, &self.password, &self.database))
    }
}

/// A name that no other run has.
fn unique() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("contract_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

fn look(url: &str) -> Step<Looker> {
    tried("connect to PostgreSQL", Looker::connect(url))
}

/// A database, and the roles made for it; gone when dropped.
pub(crate) struct Database {
    server: Server,
    name: String,
    roles: std::cell::RefCell<Vec<String>>,
}

impl Database {
    pub(crate) fn create(server: &Server) -> Step<Self> {
        let name = unique();
        tried("create a database", server.look()?.run(&format!("CREATE DATABASE {name}")))?;
        Ok(Self { server: server.clone(), name, roles: std::cell::RefCell::default() })
    }

    pub(crate) fn url(&self) -> String {
        self.server.url(&self.server.user, &self.server.password, &self.name)
    }

    /// `host=… port=… user=… password=… dbname=…`.
    pub(crate) fn words(&self) -> String {
        let (host, port) = self.address();
        let Server { user, password, .. } = &self.server;
        format!("host={host} port={port} user={user} password={password} dbname={}", self.name)
    }

    /// The variables of libpq that say the same.
    pub(crate) fn variables(&self) -> Vec<(&'static str, String)> {
        let (host, port) = self.address();
        let Server { user, password, .. } = self.server.clone();
        vec![
            ("PGHOST", host),
            ("PGPORT", port),
            ("PGUSER", user),
            ("PGPASSWORD", password),
            ("PGDATABASE", self.name.clone()),
        ]
    }

    fn address(&self) -> (String, String) {
        let (host, port) = self.server.host.rsplit_once(':').unwrap_or((&self.server.host, "5432"));
        (host.to_owned(), port.to_owned())
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// A session of the suite's own.
    pub(crate) fn look(&self) -> Step<Looker> {
        look(&self.url())
    }

    /// Makes an ordinary role, and runs `grants` with `@role` and
    /// `@database` in place of the names; the connection string as that role.
    pub(crate) fn role(&self, grants: &str) -> Step<String> {
        let role = unique();
        let mut session = self.look()?;
        tried("create a role", session.run(&format!("CREATE ROLE {role} LOGIN PASSWORD 'secret'")))?;
        self.roles.borrow_mut().push(role.clone());
        tried("grant", session.run(&grants.replace("@role", &role).replace("@database", &self.name)))?;
        Ok(self.server.url(&role, "secret", &self.name))
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let Ok(mut session) = self.server.look() else { return };
        // What is left over is only litter in a server for trials.
        let _ = session.run(&format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name));
        for role in self.roles.borrow().iter() {
            let _ = session.run(&format!("DROP ROLE IF EXISTS {role}"));
        }
    }
}
