//! Blocking sessions. Each brings a small runtime of its own, so that it may be used by whichever thread has it; two of them stay
//! open when nobody needs them, as Go's pool keeps them.

use super::error::{PgError, connect_error};
use super::target::Target;
use sqlx::postgres::{PgArguments, PgConnection, PgRow};
use sqlx::{AssertSqlSafe, ConnectOptions, Executor, Postgres, Row};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::runtime::Runtime;

/// A statement with its arguments.
pub(super) type Query = sqlx::query::Query<'static, Postgres, PgArguments>;

/// A result of PostgreSQL.
pub(super) type Told<T> = Result<T, PgError>;

/// How many sessions Go's `database/sql` keeps idle.
const IDLE: usize = 2;

/// What the session's time zone is where the connection string does not say: sqlx asks for UTC, the ledger's driver for nothing,
/// so that the database's or the role's applies. What only the server's configuration file says is lost.
const TIMEZONE: &str = "SELECT pg_backend_pid(), set_config('TimeZone', coalesce($1, (
        SELECT split_part(setting, '=', 2) FROM pg_catalog.pg_db_role_setting, unnest(setconfig) AS setting
        WHERE setting ILIKE 'timezone=%' AND setrole IN (0, (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = current_user))
          AND setdatabase IN (0, (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database()))
        ORDER BY setrole <> 0 AND setdatabase <> 0 DESC, setrole <> 0 DESC, setdatabase <> 0 DESC LIMIT 1), 'UTC'), false)";

/// A statement whose text is put together here: names of schemas are quoted by [`super::schema::Schema`], values are arguments.
pub(super) fn sql(text: String) -> Query {
    sqlx::query(AssertSqlSafe(text))
}

struct Client {
    runtime: Runtime,
    connection: PgConnection,
    pid: i32,
}

impl Client {
    fn connect(target: &Target) -> Told<Self> {
        let failed = |error| connect_error(error, &target.shown(), &target.dialled());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| failed(sqlx::Error::Io(error)))?;
        let mut connection = runtime.block_on(target.options.connect()).map_err(failed)?;
        let row = runtime.block_on(sqlx::query(TIMEZONE).bind(target.timezone.clone()).fetch_one(&mut connection))?;
        Ok(Self { runtime, connection, pid: row.try_get(0)? })
    }
}

/// The sessions of a process.
#[derive(Clone)]
pub(super) struct Sessions {
    target: Arc<Target>,
    idle: Arc<Mutex<Vec<Client>>>,
}

impl Sessions {
    pub(super) fn new(target: Target) -> Self {
        Self { target: Arc::new(target), idle: Arc::default() }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Client>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An idle session, or a new one. An idle one may be dead: whoever takes it finds out, as with the ledger.
    pub(super) fn take(&self) -> Told<Session> {
        let idle = self.idle().pop();
        let client = match idle {
            Some(client) => client,
            None => Client::connect(&self.target)?,
        };
        Ok(Session { client: Some(client), sessions: self.clone(), spoilt: false })
    }

    /// Cancels what the session of that process id does, from another thread: the caller must not wait.
    pub(super) fn cancel(&self, pid: i32) {
        let target = Arc::clone(&self.target);
        std::thread::spawn(move || {
            let cancelled = Client::connect(&target).and_then(|mut client| {
                let query = sqlx::query("SELECT pg_cancel_backend($1)").bind(pid);
                Ok(client.runtime.block_on(client.connection.execute(query))?)
            });
            if let Err(error) = cancelled {
                crate::console::log(crate::console::Level::Error, &error.to_string(), "");
            }
        });
    }
}

/// A session in use; it goes back when it is dropped, unless it broke.
pub(super) struct Session {
    client: Option<Client>,
    sessions: Sessions,
    spoilt: bool,
}

impl Session {
    /// Several statements without arguments, in one message.
    pub(super) fn batch(&mut self, text: String) -> Told<()> {
        self.with(|client| {
            client.runtime.block_on(client.connection.execute(sqlx::raw_sql(AssertSqlSafe(text)))).map(drop)
        })
    }

    /// Rows affected.
    pub(super) fn run(&mut self, query: Query) -> Told<u64> {
        self.with(|client| {
            client.runtime.block_on(query.execute(&mut client.connection)).map(|done| done.rows_affected())
        })
    }

    pub(super) fn rows(&mut self, query: Query) -> Told<Vec<PgRow>> {
        self.with(|client| client.runtime.block_on(query.fetch_all(&mut client.connection)))
    }

    pub(super) fn row(&mut self, query: Query) -> Told<Option<PgRow>> {
        Ok(self.rows(query)?.into_iter().next())
    }

    /// Every value as the server writes it, which is how a statement without arguments answers; NULL as `NULL`.
    pub(super) fn texts(&mut self, text: String) -> Told<Vec<Vec<String>>> {
        let query = sqlx::raw_sql(AssertSqlSafe(text));
        let rows = self.with(|client| client.runtime.block_on(query.fetch_all(&mut client.connection)))?;
        let text = |row: &PgRow, column: usize| -> Told<String> {
            Ok(row.try_get_unchecked::<Option<String>, _>(column)?.unwrap_or_else(|| "NULL".to_owned()))
        };
        rows.iter().map(|row| (0..row.len()).map(|column| text(row, column)).collect()).collect()
    }

    /// The number that a query counts.
    pub(super) fn count(&mut self, text: String) -> Told<u64> {
        let row = self.row(sql(text))?;
        let count: i64 = row.map_or(Ok(0), |row| row.try_get(0))?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    /// Copies text rows into a table.
    pub(super) fn copy(&mut self, statement: &str, rows: &str) -> Told<u64> {
        self.with(|client| {
            client.runtime.block_on(async {
                let mut copy = client.connection.copy_in_raw(statement).await?;
                copy.send(rows.as_bytes()).await?;
                copy.finish().await
            })
        })
    }

    /// Runs `work` in a transaction, which is committed only where it succeeds.
    pub(super) fn transaction<T, E: From<PgError>>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, E>,
    ) -> Result<T, E> {
        self.batch("BEGIN".to_owned())?;
        match work(self) {
            Ok(value) => {
                self.batch("COMMIT".to_owned())?;
                Ok(value)
            }
            Err(error) => {
                if !self.spoilt && self.batch("ROLLBACK".to_owned()).is_err() {
                    self.spoilt = true;
                }
                Err(error)
            }
        }
    }

    /// The server's process.
    pub(super) fn pid(&self) -> i32 {
        self.client.as_ref().map_or(0, |client| client.pid)
    }

    /// Never goes back: somebody may still stop what it does.
    pub(super) fn spoil(&mut self) {
        self.spoilt = true;
    }

    fn with<T>(&mut self, work: impl FnOnce(&mut Client) -> Result<T, sqlx::Error>) -> Told<T> {
        let Some(client) = self.client.as_mut() else { return Err(PgError::Broken("conn closed".to_owned())) };
        work(client).map_err(|error| {
            let error = PgError::from(error);
            self.spoilt |= error.ends_the_session();
            error
        })
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let Some(client) = self.client.take().filter(|_| !self.spoilt) else { return };
        let mut idle = self.sessions.idle();
        if idle.len() < IDLE {
            idle.push(client);
        }
    }
}
