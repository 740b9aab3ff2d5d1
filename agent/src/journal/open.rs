//! Finding, making and checking a journal's file.

use super::JournalError;
use cutover_proto::transport::take_lock;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, Connection as _, Row as _};
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Marks the file as ours: "Cuto" in SQLite's field for that.
const APPLICATION: i64 = 0x4375_746f;
/// Version of the tables; raised only by a change that an older agent would misread.
const SCHEMA: i64 = 1;

/// Other processes write rarely and briefly.
const PATIENCE: Duration = Duration::from_secs(10);

/// An open file and the incarnation that was made with it.
pub(super) struct Opened {
    pub(super) connection: SqliteConnection,
    pub(super) incarnation: String,
}

/// Takes the lock that says "an agent runs on this journal". A file beside it, because SQLite's own locks come and go
/// with each transaction. The kernel drops it with the process.
pub(super) async fn lock(path: &Path) -> Result<File, JournalError> {
    let beside = suffixed(path, ".lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&beside)
        .map_err(JournalError::io("open the lock", &beside))?;
    match take_lock(&file).await {
        Ok(true) => Ok(file),
        Ok(false) => Err(JournalError::InUse { path: path.to_owned() }),
        Err(source) => Err(JournalError::Io { doing: "lock", path: beside, source }),
    }
}

/// Whether a journal is there. An empty file counts: a journal is never empty, so it is damaged.
pub(super) fn exists(path: &Path) -> Result<bool, JournalError> {
    match fs::metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(source) => Err(JournalError::Io { doing: "look at the journal", path: path.to_owned(), source }),
    }
}

/// Makes a journal: complete under another name, then renamed, so that a crash leaves none or a whole one.
pub(super) async fn create(path: &Path, incarnation: &str) -> Result<(), JournalError> {
    let beside = suffixed(path, ".new");
    for old in [beside.clone(), suffixed(&beside, "-journal")] {
        match fs::remove_file(&old) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(source) => return Err(JournalError::Io { doing: "remove", path: old, source }),
        }
    }
    let options = options(&beside).create_if_missing(true).journal_mode(SqliteJournalMode::Delete);
    let mut connection =
        SqliteConnection::connect_with(&options).await.map_err(JournalError::sql("create", &beside))?;
    let tables = format!(
        "PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {SCHEMA};
         BEGIN IMMEDIATE;
         CREATE TABLE about (incarnation TEXT NOT NULL) STRICT;
         CREATE TABLE entries (
             seq INTEGER PRIMARY KEY AUTOINCREMENT,
             kind TEXT NOT NULL,
             upgrade TEXT,
             entry TEXT NOT NULL
         ) STRICT;
         CREATE INDEX entries_of_upgrade ON entries (upgrade);
         COMMIT;"
    );
    sqlx::raw_sql(AssertSqlSafe(tables))
        .execute(&mut connection)
        .await
        .map_err(JournalError::sql("create", &beside))?;
    sqlx::query("INSERT INTO about (incarnation) VALUES (?1)")
        .bind(incarnation)
        .execute(&mut connection)
        .await
        .map_err(JournalError::sql("create", &beside))?;
    connection.close().await.map_err(JournalError::sql("close", &beside))?;
    File::open(&beside).and_then(|file| file.sync_all()).map_err(JournalError::io("sync", &beside))?;
    fs::rename(&beside, path).map_err(JournalError::io("rename into place", path))?;
    let folder = path.parent().unwrap_or(Path::new("/"));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(JournalError::io("sync", folder))
}

/// Opens a journal that is there, after a look at whether it is one and whole.
pub(super) async fn open(path: &Path) -> Result<Opened, JournalError> {
    let sql = |doing| JournalError::sql(doing, path);
    let bytes = fs::metadata(path).map_err(JournalError::io("look at the journal", path))?.len();
    if bytes == 0 {
        return Err(JournalError::Damaged { path: path.to_owned(), why: "it is empty".to_owned() });
    }
    // The first connection changes nothing, so that a foreign file stays as it is.
    let looking = options(path).read_only(true);
    let mut connection = SqliteConnection::connect_with(&looking).await.map_err(sql("open"))?;
    let application = number(&mut connection, "PRAGMA application_id").await.map_err(sql("read"))?;
    if application != APPLICATION {
        return Err(JournalError::Foreign {
            path: path.to_owned(),
            why: format!("its application id is {application:#x}, a journal's is {APPLICATION:#x}"),
        });
    }
    let schema = number(&mut connection, "PRAGMA user_version").await.map_err(sql("read"))?;
    if schema > SCHEMA {
        let what = format!("its tables have version {schema}, this agent knows {SCHEMA}");
        return Err(JournalError::Newer { path: path.to_owned(), what });
    }
    let verdict: String = sqlx::query("PRAGMA quick_check(1)")
        .fetch_one(&mut connection)
        .await
        .and_then(|row| row.try_get(0))
        .map_err(sql("check"))?;
    if verdict != "ok" {
        return Err(JournalError::Damaged { path: path.to_owned(), why: verdict });
    }
    connection.close().await.map_err(sql("close"))?;

    let writing = options(path).journal_mode(SqliteJournalMode::Wal);
    let mut connection = SqliteConnection::connect_with(&writing).await.map_err(sql("open"))?;
    let incarnation = sqlx::query("SELECT incarnation FROM about")
        .fetch_optional(&mut connection)
        .await
        .map_err(sql("read"))?
        .map(|row| row.try_get::<String, _>(0))
        .transpose()
        .map_err(sql("read"))?
        .ok_or_else(|| JournalError::Damaged { path: path.to_owned(), why: "it has no incarnation".to_owned() })?;
    Ok(Opened { connection, incarnation })
}

/// FULL: a commit returns once it is on disk (sqlite.org/pragma.html#pragma_synchronous).
fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new().filename(path).synchronous(SqliteSynchronous::Full).busy_timeout(PATIENCE)
}

async fn number(connection: &mut SqliteConnection, pragma: &'static str) -> Result<i64, sqlx::Error> {
    sqlx::query(pragma).fetch_one(connection).await?.try_get(0)
}

fn suffixed(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
