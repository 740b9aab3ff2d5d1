//! The journal: what the desk must not forget, in one SQLite file.
//!
//! Entries are only added; a commit returns when it is on disk. The one removal is compaction, which takes away what no
//! replay can miss: older epochs, and the entries of upgrades that the desk has forgotten. The desk keeps the newest
//! [`cutover_desk::KEPT_UPGRADES`] upgrades of a deployment, so that repeated messages find their answers and people can
//! see what was done here, while the file stays below some megabytes for ever.

mod error;
mod open;

pub use error::JournalError;

use cutover_desk::{Entry, REMEMBERED_UPGRADES};
use cutover_vocabulary::UpgradeId;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{Connection as _, Row as _};
use std::fs::File;
use std::path::{Path, PathBuf};

/// The journal's file name in an agent's state directory.
pub const FILE: &str = "journal.db";

/// What became of entries that were to be written.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "entries that were overtaken are not written"]
pub enum Appended {
    /// They are on disk.
    Durable,
    /// Nothing was written: another process of this host had written these since the last look. What was decided
    /// without them must be decided again.
    Overtaken(Vec<Entry>),
}

/// A journal, held by one agent at a time.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    connection: SqliteConnection,
    incarnation: String,
    /// The highest number read or written.
    seen: i64,
    /// Held, never read: the lock goes with it. None for a look beside a running agent.
    _lock: Option<File>,
}

impl Journal {
    /// Opens the journal, or makes one with a new incarnation, and reads it.
    pub async fn open(path: &Path) -> Result<(Self, Vec<Entry>), JournalError> {
        let lock = open::lock(path).await?;
        if !open::exists(path)? {
            open::create(path, &new_incarnation()).await?;
        }
        Self::attach(path, Some(lock)).await
    }

    /// Opens an existing journal beside the agent that may hold it: for the break-glass commands.
    pub async fn beside(path: &Path) -> Result<(Self, Vec<Entry>), JournalError> {
        if !open::exists(path)? {
            return Err(JournalError::Missing { path: path.to_owned() });
        }
        Self::attach(path, None).await
    }

    /// Keeps every agent off this journal as long as what it gives is kept; none while an agent runs on it.
    ///
    /// # Errors
    /// When the lock beside it cannot be used.
    pub async fn hold_off(path: &Path) -> Result<Option<File>, JournalError> {
        match open::lock(path).await {
            Ok(lock) => Ok(Some(lock)),
            Err(JournalError::InUse { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn attach(path: &Path, lock: Option<File>) -> Result<(Self, Vec<Entry>), JournalError> {
        let opened = open::open(path).await?;
        let mut journal = Self {
            path: path.to_owned(),
            connection: opened.connection,
            incarnation: opened.incarnation,
            seen: 0,
            _lock: lock,
        };
        let entries = journal.found().await?;
        Ok((journal, entries))
    }

    /// Made with the file: another incarnation means another journal.
    pub fn incarnation(&self) -> &str {
        &self.incarnation
    }

    /// What other processes have written since the last look.
    pub async fn found(&mut self) -> Result<Vec<Entry>, JournalError> {
        let rows = newer(&mut self.connection, self.seen).await.map_err(JournalError::sql("read", &self.path))?;
        self.take_in(&rows)
    }

    /// Writes entries in one transaction and returns when they are on disk; all or nothing.
    pub async fn append(&mut self, entries: &[Entry]) -> Result<Appended, JournalError> {
        if entries.is_empty() {
            return Ok(Appended::Durable);
        }
        match write(&mut self.connection, self.seen, entries).await {
            Ok(Written::Through(seq)) => {
                self.seen = seq;
                Ok(Appended::Durable)
            }
            Ok(Written::Overtaken(rows)) => Ok(Appended::Overtaken(self.take_in(&rows)?)),
            Err(error) => Err(JournalError::sql("write", &self.path)(error)),
        }
    }

    /// Journals that a person takes an upgrade over, whether or not an agent runs. A running agent sees it at once, at
    /// the latest before it accepts its next order. Idempotent; the first note stays.
    pub async fn take_over(&mut self, upgrade: UpgradeId, note: String) -> Result<(), JournalError> {
        let entry = [Entry::TakenOver { upgrade, note }];
        // An agent that is at work may write in between any number of times; each turn sees all of that.
        while let Appended::Overtaken(_) = self.append(&entry).await? {}
        Ok(())
    }

    /// Closes the file; dropping it does the same a little later.
    pub async fn close(self) -> Result<(), JournalError> {
        self.connection.close().await.map_err(JournalError::sql("close", &self.path))
    }

    fn take_in(&mut self, rows: &[SqliteRow]) -> Result<Vec<Entry>, JournalError> {
        let mut entries = Vec::with_capacity(rows.len());
        for row in rows {
            let seq: i64 = row.try_get(0).map_err(JournalError::sql("read", &self.path))?;
            let text: &str = row.try_get(1).map_err(JournalError::sql("read", &self.path))?;
            let entry = serde_json::from_str(text).map_err(|source| JournalError::Newer {
                path: self.path.clone(),
                what: format!("entry {seq} cannot be read: {source}"),
            })?;
            entries.push(entry);
            self.seen = self.seen.max(seq);
        }
        Ok(entries)
    }

    /// Makes the disk look full to this connection.
    #[cfg(test)]
    pub(crate) async fn pretend_full(&mut self, full: bool) {
        let pages = if full { "PRAGMA max_page_count = 1" } else { "PRAGMA max_page_count = 1000000" };
        sqlx::query(pages).execute(&mut self.connection).await.unwrap();
    }
}

enum Written {
    Through(i64),
    Overtaken(Vec<SqliteRow>),
}

async fn newer(connection: &mut SqliteConnection, than: i64) -> Result<Vec<SqliteRow>, sqlx::Error> {
    sqlx::query("SELECT seq, entry FROM entries WHERE seq > ?1 ORDER BY seq").bind(than).fetch_all(connection).await
}

/// Statements of our own rather than sqlx's transactions: SQLite ends a transaction by itself when the disk is full
/// (sqlite.org/lang_transaction.html#response_to_errors_within_a_transaction), of which sqlx 0.9 does not learn; every
/// later one would fail with `InvalidSavePointStatement`.
async fn write(connection: &mut SqliteConnection, seen: i64, entries: &[Entry]) -> Result<Written, sqlx::Error> {
    sqlx::query("BEGIN IMMEDIATE").execute(&mut *connection).await?;
    let written = match insert(connection, seen, entries).await {
        Ok(Written::Through(seq)) => {
            sqlx::query("COMMIT").execute(&mut *connection).await.map(|_| Written::Through(seq))
        }
        Ok(Written::Overtaken(rows)) => Ok(Written::Overtaken(rows)),
        Err(error) => Err(error),
    };
    if !matches!(written, Ok(Written::Through(_))) {
        // Fails where SQLite has rolled back already; both leave no transaction open.
        let _ = sqlx::query("ROLLBACK").execute(connection).await;
    }
    written
}

async fn insert(connection: &mut SqliteConnection, seen: i64, entries: &[Entry]) -> Result<Written, sqlx::Error> {
    let others = newer(connection, seen).await?;
    if !others.is_empty() {
        return Ok(Written::Overtaken(others));
    }
    let mut last = seen;
    for entry in entries {
        let json = serde_json::to_string(entry).map_err(|error| sqlx::Error::Encode(Box::new(error)))?;
        last = sqlx::query("INSERT INTO entries (kind, upgrade, entry) VALUES (?1, ?2, ?3)")
            .bind(entry.kind())
            .bind(entry.upgrade().map(UpgradeId::as_str))
            .bind(json)
            .execute(&mut *connection)
            .await?
            .last_insert_rowid();
        compact(connection, entry, last).await?;
    }
    Ok(Written::Through(last))
}

/// Removes what no replay misses once `entry` is there.
async fn compact(connection: &mut SqliteConnection, entry: &Entry, seq: i64) -> Result<(), sqlx::Error> {
    match entry {
        Entry::Epoch(_) => {
            sqlx::query("DELETE FROM entries WHERE kind = ?1 AND seq < ?2")
                .bind(entry.kind())
                .bind(seq)
                .execute(connection)
                .await?;
        }
        Entry::Forgotten(upgrade) => {
            sqlx::query("DELETE FROM entries WHERE upgrade = ?1 AND seq < ?2")
                .bind(upgrade.as_str())
                .bind(seq)
                .execute(&mut *connection)
                .await?;
            sqlx::query(
                "DELETE FROM entries WHERE kind = ?1 AND seq NOT IN
                 (SELECT seq FROM entries WHERE kind = ?1 ORDER BY seq DESC LIMIT ?2)",
            )
            .bind(entry.kind())
            .bind(i64::try_from(REMEMBERED_UPGRADES).unwrap_or(i64::MAX))
            .execute(connection)
            .await?;
        }
        Entry::Accepted(_)
        | Entry::Revoked(_)
        | Entry::Finished { .. }
        | Entry::Acknowledged(_)
        | Entry::TakenOver { .. } => {}
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "the one id that an agent makes, when its journal is made")]
fn new_incarnation() -> String {
    uuid::Uuid::new_v4().to_string()
}

#[cfg(test)]
mod tests;
