//! One runner at a time: advisory locks of the database, held by a session of their own.

use super::PostgresStorage;
use super::client::{Client, Value};
use super::ident::Sql;
use super::look::ANSWER;
use crate::StorageError;
use crate::storage::Lock;
use cutover_vocabulary::storage::RecoveryItem;
use sha2::{Digest as _, Sha256};
use std::time::Duration;

/// How long after one lane another may begin. What two at once collide in comes at the end of a migration and lasts until
/// its commit, 5 ms later (measured at 2,000 transactions); only equal ledgers that began at once come there together. Those
/// that meet there all the same are tried again.
const APART: Duration = Duration::from_millis(100);

/// The storage as a whole: exclusive for its runner, shared by those of single items.
const WHOLE: &str = "storage";
/// Beginnings of lanes.
const LANES: &str = "lanes";

/// Advisory locks are numbered. They count in their database only.
fn number(what: &str) -> i64 {
    let hash = Sha256::digest(format!("cutover advisory lock: {what}"));
    hash.iter().take(8).fold(0, |number, byte| (number << 8) | i64::from(*byte))
}

/// Held as long as its session lives: it goes with the process, with the connection, and with the server.
struct SessionLock {
    client: Client,
    /// The backend that took it: behind a pooler another one may answer, which holds nothing.
    backend: i32,
}

impl Lock for SessionLock {
    fn is_held(&self) -> bool {
        self.client.answers(ANSWER) && backend(&self.client).is_ok_and(|backend| backend == self.backend)
    }
}

fn backend(client: &Client) -> Result<i32, StorageError> {
    client.one("ask for the session of", &Sql::fixed("SELECT pg_backend_pid()"), &[])
}

impl PostgresStorage {
    /// A command of ours that outlives its worker holds no lock: [`wait_until_quiet`](Self::wait_until_quiet) waits for it.
    pub(super) fn acquire(&self, item: Option<&RecoveryItem>, holder: &str) -> Result<Box<dyn Lock>, StorageError> {
        let client = self.connect(holder)?;
        let keys: Vec<(&'static str, String)> = match item {
            None => vec![("SELECT pg_try_advisory_lock($1)", WHOLE.to_owned())],
            Some(item) => vec![
                ("SELECT pg_try_advisory_lock_shared($1)", WHOLE.to_owned()),
                ("SELECT pg_try_advisory_lock($1)", key(item)),
            ],
        };
        for (sql, what) in keys {
            let number = number(&what);
            if !client.one::<bool>("lock", &Sql::fixed(sql), &[Value::Number(number)])? {
                let by = holders(&client, number)?;
                return Err(StorageError::Busy { what: self.shown(item), by });
            }
        }
        let backend = backend(&client)?;
        Ok(Box::new(SessionLock { client, backend }))
    }

    /// Two lanes begin at least [`APART`] from each other: one waits for the other's beginning, which a lock covers until a
    /// moment after this returned, and for what began before that.
    pub(super) fn begin_apart(&self) -> Result<(), StorageError> {
        let client = self.connect_patiently("stagger")?;
        let doing = "wait for the other lanes on";
        wait_for(&client, LANES)?;
        let young = Sql::fixed(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND usename = session_user \
             AND application_name LIKE 'cutover:%' AND application_name NOT IN ('cutover:look', 'cutover:stagger') \
             AND pid <> pg_backend_pid() AND xact_start > clock_timestamp() - $1 * interval '1 ms'",
        );
        let apart = i64::try_from(APART.as_millis()).unwrap_or(i64::MAX);
        while client.one::<i64>(doing, &young, &[Value::Number(apart)])? > 0 {
            std::thread::sleep(APART / 5);
        }
        // The caller's command has not connected yet, so the next lane could not see it. If the process ends before, there is
        // no command either.
        std::thread::spawn(move || {
            std::thread::sleep(APART);
            drop(client);
        });
        Ok(())
    }
}

/// Waits until no other of ours does the same; for as long as the client's session lasts.
pub(super) fn wait_for(client: &Client, what: &str) -> Result<(), StorageError> {
    let sql = Sql::fixed("SELECT pg_advisory_lock($1)");
    client.rows("wait for another of ours on", &sql, &[Value::Number(number(what))]).map(|_| ())
}

fn key(item: &RecoveryItem) -> String {
    match item {
        RecoveryItem::Ledger(name) => format!("ledger {}", name.as_str()),
        RecoveryItem::System => "system".to_owned(),
    }
}

/// The sessions that hold an advisory lock, by their `application_name`, which everybody may see.
fn holders(client: &Client, number: i64) -> Result<String, StorageError> {
    let names: Option<String> = client.one(
        "ask who holds the lock on",
        &Sql::fixed(
            "SELECT string_agg(DISTINCT coalesce(nullif(a.application_name, ''), 'session ' || l.pid), ', ') \
             FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid \
             WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 AND l.pid <> pg_backend_pid() \
             AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
             AND ((l.classid::bigint << 32) | l.objid::bigint) = $1",
        ),
        &[Value::Number(number)],
    )?;
    Ok(names.unwrap_or_else(|| "somebody who has just gone".to_owned()))
}
