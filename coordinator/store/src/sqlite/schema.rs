//! The file's layout, its version, and how a file is opened.

use super::lock;
use crate::StoreError;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions as _, Connection as _};
use std::path::Path;
use std::time::Duration;

/// Marks a file as Cutover's store, so that `file` and we ourselves can tell: "CUTV".
const APPLICATION_ID: i64 = 1_129_665_622;

/// The newest layout that this version reads and writes. A file of an older one is brought up to it when it is opened,
/// one of a newer one is refused.
pub(super) const SCHEMA: i64 = 1;

/// What each layout adds to the one before, its number at the end; the first makes layout 1.
const STEPS: [&str; 1] = [r"
    CREATE TABLE leadership (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        epoch INTEGER NOT NULL,
        leader TEXT NOT NULL,
        leads INTEGER NOT NULL
    ) STRICT;
    INSERT INTO leadership VALUES (1, 0, '', 0);
    CREATE TABLE upgrade (
        id TEXT PRIMARY KEY,
        last_seq INTEGER NOT NULL,
        last_hash BLOB NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE batch (
        upgrade TEXT NOT NULL REFERENCES upgrade (id),
        nonce TEXT NOT NULL,
        last_seq INTEGER NOT NULL,
        PRIMARY KEY (upgrade, nonce)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE fact (
        upgrade TEXT NOT NULL REFERENCES upgrade (id),
        seq INTEGER NOT NULL CHECK (seq > 0),
        json TEXT NOT NULL,
        PRIMARY KEY (upgrade, seq)
    ) STRICT;
    CREATE TRIGGER fact_is_never_changed BEFORE UPDATE ON fact
        BEGIN SELECT RAISE(ABORT, 'a stored fact is never changed'); END;
    CREATE TRIGGER fact_is_never_removed BEFORE DELETE ON fact
        BEGIN SELECT RAISE(ABORT, 'a stored fact is never removed'); END;
    CREATE TABLE document (
        key TEXT PRIMARY KEY,
        revision INTEGER NOT NULL,
        value BLOB NOT NULL
    ) STRICT;
    CREATE TABLE chunk (
        sha256 BLOB PRIMARY KEY,
        bytes BLOB NOT NULL
    ) STRICT;
    PRAGMA application_id = 1129665622;
    PRAGMA user_version = 1;
"];

/// Connections to an opened file.
#[derive(Debug)]
pub(super) struct Pools {
    /// The only connection that writes. Reads that must come after a write use it as well.
    pub(super) writer: SqlitePool,
    /// Reads beside the writer; they cannot write.
    pub(super) readers: SqlitePool,
}

/// Opens a file, creating it or bringing it up to [`SCHEMA`] where needed.
pub(super) async fn open(path: &Path) -> Result<Pools, StoreError> {
    let lock = {
        let database = path.to_owned();
        let waiting = tokio::task::spawn_blocking(move || {
            let lock = lock::lock_opening(&database)?;
            lock::create_private(&database)?;
            Ok::<_, StoreError>(lock)
        });
        waiting.await.map_err(|error| StoreError::File {
            doing: "lock",
            path: path.to_owned(),
            source: std::io::Error::other(error),
        })??
    };
    let failed = |doing| move |source| StoreError::Database { doing, path: path.to_owned(), source };
    // The file is looked at before anything of it is changed, its journal mode included.
    let looking = SqliteConnectOptions::new().filename(path).busy_timeout(PATIENCE);
    let mut connection = looking.connect().await.map_err(failed("open the file"))?;
    prepare(&mut connection, path).await?;
    connection.close().await.map_err(failed("close the file"))?;
    let pools = Pools {
        writer: SqlitePoolOptions::new()
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(false)
            .connect_with(working(path))
            .await
            .map_err(failed("open the file for writing"))?,
        readers: SqlitePoolOptions::new()
            .max_connections(3)
            .test_before_acquire(false)
            .connect_lazy_with(working(path).pragma("query_only", "1")),
    };
    drop(lock);
    Ok(pools)
}

/// How long a statement waits for a lock that another process has on the file. Only one process leads, so only its
/// predecessor's last write or a backup can be in the way.
const PATIENCE: Duration = Duration::from_secs(5);

/// WAL: readers and the writer do not wait for each other. In WAL only `FULL` syncs at each commit; with the default a
/// power cut takes committed facts away (<https://sqlite.org/pragma.html#pragma_synchronous>).
fn working(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(PATIENCE)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
}

async fn prepare(connection: &mut SqliteConnection, path: &Path) -> Result<(), StoreError> {
    let failed = |doing| move |source| StoreError::Database { doing, path: path.to_owned(), source };
    let number = async |connection: &mut SqliteConnection, question: &'static str| {
        let answer = sqlx::query_scalar::<_, i64>(question).fetch_one(connection).await;
        answer.map_err(failed("read the schema version"))
    };
    let application = number(connection, "PRAGMA application_id").await?;
    let found = number(connection, "PRAGMA user_version").await?;
    let tables = number(connection, "SELECT count(*) FROM sqlite_schema").await?;
    let empty = application == 0 && found == 0 && tables == 0;
    if application != APPLICATION_ID && !empty {
        return Err(StoreError::NotOurs { path: path.to_owned() });
    }
    if found > SCHEMA {
        return Err(StoreError::NewerSchema { path: path.to_owned(), found, known: SCHEMA });
    }
    let done = usize::try_from(found).unwrap_or(0);
    if done == STEPS.len() {
        return Ok(());
    }
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.map_err(failed("begin the schema change"))?;
    for step in &STEPS[done..] {
        sqlx::raw_sql(*step).execute(&mut *transaction).await.map_err(failed("change the schema"))?;
    }
    transaction.commit().await.map_err(failed("commit the schema change"))?;
    tracing::info!(path = %path.display(), from = found, to = SCHEMA, "brought the store's schema up to date");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Killing processes cannot show it: what a killed process wrote is still in the kernel's cache.
    #[tokio::test]
    async fn every_commit_is_on_disk_before_it_is_acknowledged() {
        let folder = tempfile::tempdir().unwrap();
        let pools = open(&folder.path().join("store.db")).await.unwrap();
        let journal: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&pools.writer).await.unwrap();
        let synchronous: i64 = sqlx::query_scalar("PRAGMA synchronous").fetch_one(&pools.writer).await.unwrap();
        // 2 is FULL.
        assert_eq!((journal.as_str(), synchronous), ("wal", 2));
    }

    #[tokio::test]
    async fn readers_cannot_write() {
        let folder = tempfile::tempdir().unwrap();
        let pools = open(&folder.path().join("store.db")).await.unwrap();
        let refused = sqlx::query("UPDATE leadership SET epoch = 9").execute(&pools.readers).await;
        assert!(refused.unwrap_err().to_string().contains("readonly"));
    }

    #[tokio::test]
    async fn the_last_step_leaves_the_newest_schema() {
        let folder = tempfile::tempdir().unwrap();
        let pools = open(&folder.path().join("store.db")).await.unwrap();
        let version: i64 = sqlx::query_scalar("PRAGMA user_version").fetch_one(&pools.writer).await.unwrap();
        let application: i64 = sqlx::query_scalar("PRAGMA application_id").fetch_one(&pools.writer).await.unwrap();
        assert_eq!((version, application), (SCHEMA, APPLICATION_ID));
        assert_eq!(usize::try_from(SCHEMA).unwrap(), STEPS.len());
    }
}
