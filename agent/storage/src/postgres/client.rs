//! One connection that blocks: sqlx on a small runtime of its own.
//!
//! Callers block, so they call from a thread that may. A value may be dropped anywhere, in a runtime's context too.

use super::error::{Place, postgres, silent, strange};
use super::ident::Sql;
use crate::StorageError;
use sqlx::postgres::{PgConnectOptions, PgRow};
use sqlx::{ConnectOptions as _, Connection as _, PgConnection, Row as _};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::runtime::{Builder, Handle, Runtime};

/// How long a server may take to let us in.
const CONNECT: Duration = Duration::from_secs(10);

/// The server's processes behind this process's connections: what they do is done by us, now.
static OWN: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

/// Whether a session is one of this process.
pub(super) fn is_own(pid: i32) -> bool {
    OWN.lock().unwrap_or_else(PoisonError::into_inner).contains(&pid)
}

/// A value that goes with a statement as a parameter.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Value<'a> {
    /// A text.
    Text(&'a str),
    /// A list of texts.
    Texts(&'a [String]),
    /// A number.
    Number(i64),
}

/// A connection. It ends with the value, and with it whatever its session holds.
pub(crate) struct Client {
    runtime: Option<Runtime>,
    /// None only while it is dropped.
    connection: RefCell<Option<PgConnection>>,
    place: Place,
    pid: i32,
}

impl Client {
    /// Connects and sets up the session.
    pub(super) fn connect(
        options: &PgConnectOptions,
        settings: &BTreeMap<&str, &str>,
        place: Place,
    ) -> Result<Self, StorageError> {
        let doing = "connect to";
        let runtime = Builder::new_current_thread().enable_all().build().map_err(|source| StorageError::Postgres {
            doing,
            what: place.what.clone(),
            message: source.to_string(),
            remedy: "see whether this host is out of memory or file descriptors",
            transient: true,
        })?;
        // A statement of ours is no news, and a slow one neither.
        let options = options.clone().disable_statement_logging();
        let connected = runtime.block_on(async { tokio::time::timeout(CONNECT, options.connect()).await });
        let connection = match connected {
            Ok(connected) => connected.map_err(postgres(doing, &place))?,
            Err(_) => return Err(silent(doing, &place, CONNECT)),
        };
        let mut client = Self { runtime: Some(runtime), connection: RefCell::new(Some(connection)), place, pid: 0 };
        let doing = "set up the session on";
        let (names, values): (Vec<String>, Vec<String>) =
            settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).unzip();
        // Of what only newer servers know, the names come from the server: a lock's session is idle for as long as a migration
        // takes.
        let set = Sql::fixed(
            "SELECT pg_catalog.pg_backend_pid(), pg_catalog.set_config(name, value, false) \
             FROM (SELECT name, value FROM ROWS FROM (pg_catalog.unnest($1::text[]), pg_catalog.unnest($2::text[])) \
             u(name, value) UNION ALL SELECT known.name, '0' FROM (VALUES ('idle_session_timeout'), \
             ('transaction_timeout')) known(name) WHERE pg_catalog.current_setting(known.name, true) IS NOT NULL) s",
        );
        for row in client.rows(doing, &set, &[Value::Texts(&names), Value::Texts(&values)])? {
            client.pid = client.get(doing, &row, 0)?;
        }
        OWN.lock().unwrap_or_else(PoisonError::into_inner).insert(client.pid);
        Ok(client)
    }

    /// What it is connected to.
    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// Runs statements that give no rows. Several at once are one transaction.
    pub(crate) fn run(&self, doing: &'static str, sql: &Sql) -> Result<(), StorageError> {
        self.block(doing, async |connection| sqlx::raw_sql(sql.safe()).execute(connection).await).map(|_| ())
    }

    /// Runs a statement and gives all its rows, every value as text: for batches of a cursor.
    pub(crate) fn texts(&self, doing: &'static str, sql: &Sql) -> Result<Vec<PgRow>, StorageError> {
        self.block(doing, async |connection| sqlx::raw_sql(sql.safe()).fetch_all(connection).await)
    }

    /// Runs a statement with parameters and gives all its rows.
    pub(crate) fn rows(
        &self,
        doing: &'static str,
        sql: &Sql,
        values: &[Value<'_>],
    ) -> Result<Vec<PgRow>, StorageError> {
        self.block(doing, async |connection| {
            let mut query = sqlx::query(sql.safe()).persistent(false);
            for value in values {
                query = match value {
                    Value::Text(text) => query.bind(*text),
                    Value::Texts(texts) => query.bind(*texts),
                    Value::Number(number) => query.bind(*number),
                };
            }
            query.fetch_all(connection).await
        })
    }

    /// The first column of the one row that a statement gives.
    pub(crate) fn one<T>(&self, doing: &'static str, sql: &Sql, values: &[Value<'_>]) -> Result<T, StorageError>
    where
        T: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
    {
        match self.rows(doing, sql, values)?.as_slice() {
            [row] => self.get(doing, row, 0),
            rows => Err(strange(doing, &self.place, format!("{} rows where there must be one", rows.len()))),
        }
    }

    /// A column of a row.
    pub(crate) fn get<T>(&self, doing: &'static str, row: &PgRow, column: usize) -> Result<T, StorageError>
    where
        T: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
    {
        row.try_get(column).map_err(postgres(doing, &self.place))
    }

    /// Whether the server still answers on this connection, asked and waited for at most so long.
    pub(crate) fn answers(&self, within: Duration) -> bool {
        let Some(runtime) = &self.runtime else { return false };
        let mut slot = self.connection.borrow_mut();
        let Some(connection) = slot.as_mut() else { return false };
        let asked = runtime.block_on(async { tokio::time::timeout(within, connection.ping()).await });
        matches!(asked, Ok(Ok(())))
    }

    fn block<T>(
        &self,
        doing: &'static str,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T, StorageError> {
        let gone = || strange(doing, &self.place, "the connection was closed".to_owned());
        let runtime = self.runtime.as_ref().ok_or_else(gone)?;
        let mut slot = self.connection.borrow_mut();
        let connection = slot.as_mut().ok_or_else(gone)?;
        runtime.block_on(work(connection)).map_err(postgres(doing, &self.place))
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        OWN.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.pid);
        let connection = self.connection.borrow_mut().take();
        let Some(runtime) = self.runtime.take() else { return };
        // Saying goodbye takes one write, which must not block inside somebody's runtime; there the server sees the
        // connection close, which ends the session as surely.
        if let (Some(connection), Err(_)) = (connection, Handle::try_current()) {
            let _ = runtime.block_on(async { tokio::time::timeout(Duration::from_secs(1), connection.close()).await });
        }
        runtime.shutdown_background();
    }
}
