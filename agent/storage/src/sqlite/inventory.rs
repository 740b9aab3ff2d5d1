//! What is in a storage directory by our own look at its files, to set beside what `storage scan` and `list` say.

use super::layout::{Layout, columns};
use super::open::{Ledger, reader};
use super::place::{NOT_A_FILE, Named, SqlitePlace};
use crate::StorageError;
use crate::files;
use cutover_vocabulary::LedgerName;
use cutover_vocabulary::storage::Migrations;
use rusqlite::Connection;
use std::fs;
use std::path::{Path, PathBuf};

/// Everything in a storage directory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inventory {
    /// Ledgers that can be read, by name.
    pub ledgers: Vec<LedgerFile>,
    /// What the system store has registered, by name; none where there is no system store.
    pub registered: Option<Vec<LedgerName>>,
    /// Files that look like part of a storage and cannot be used as such.
    pub problems: Vec<Problem>,
}

/// One ledger's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerFile {
    /// The ledger.
    pub name: LedgerName,
    /// Its file.
    pub path: PathBuf,
    /// How its tables look.
    pub layout: Layout,
    /// Which migrations it records.
    pub migrations: Migrations,
    /// How many transactions it holds.
    pub transactions: u64,
    /// Bytes on disk, write-ahead log and journal included.
    pub bytes: u64,
}

/// One file that needs a person's look.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The file's name in the directory.
    pub file: String,
    /// Which kind.
    pub kind: ProblemKind,
    /// For people.
    pub reason: String,
}

/// Kinds of problems with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProblemKind {
    /// `storage scan` would skip it.
    Skipped,
    /// It has 0 bytes: any ledger command creates it anew, empty, and calls it migrated.
    Empty,
    /// Damaged or no database.
    Corrupt,
    /// A database without a ledger's tables.
    Foreign,
    /// No regular file: a link or a folder.
    NotAFile,
    /// It could not be read for another reason.
    Unreadable,
}

impl SqlitePlace {
    /// Looks at every file. Changes no data; may leave the empty `-wal` and `-shm` files that SQLite makes for readers.
    ///
    /// A file that cannot be used is a [`Problem`], not an error; the error is for the directory itself.
    /// `scratch` takes temporary files.
    pub fn inventory(&self, scratch: &Path) -> Result<Inventory, StorageError> {
        let failed = || StorageError::io("list the storage directory", self.directory());
        let mut found = Inventory::default();
        let mut names = fs::read_dir(self.directory())
            .map_err(failed())?
            .map(|entry| entry.map(|entry| entry.file_name()))
            .collect::<Result<Vec<_>, _>>()
            .map_err(failed())?;
        names.sort();
        for name in names {
            let path = self.directory().join(&name);
            let file = name.to_string_lossy().into_owned();
            let problem = |kind, reason: String| Problem { file: file.clone(), kind, reason };
            let named = self.read_name(&file);
            if named == Named::NotADatabase {
                continue;
            }
            let is_file = fs::symlink_metadata(&path).is_ok_and(|data| data.is_file());
            match named {
                Named::NotADatabase => {}
                Named::Skipped(reason) => found.problems.push(problem(ProblemKind::Skipped, reason)),
                Named::Ledger(_) | Named::System if !is_file => {
                    found.problems.push(problem(ProblemKind::NotAFile, NOT_A_FILE.to_owned()))
                }
                Named::Ledger(_)
                    if fs::metadata(&path).is_ok_and(|data| data.len() == 0) && files::bytes(&path) == 0 =>
                {
                    found.problems.push(problem(
                        ProblemKind::Empty,
                        "0 bytes: the ledger would create it anew, empty, and call it migrated".to_owned(),
                    ));
                }
                Named::Ledger(name) => match look(&name, &path, scratch) {
                    Ok(ledger) => found.ledgers.push(ledger),
                    Err(error) => found.problems.push(problem(kind_of(&error), error.to_string())),
                },
                Named::System => match registered(&path, scratch) {
                    Ok(names) => found.registered = Some(names),
                    Err(error) => found.problems.push(problem(kind_of(&error), error.to_string())),
                },
            }
        }
        found.ledgers.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }
}

fn kind_of(error: &StorageError) -> ProblemKind {
    match error {
        StorageError::Corrupt { .. } => ProblemKind::Corrupt,
        StorageError::NotALedger { .. } => ProblemKind::Foreign,
        StorageError::Io { .. }
        | StorageError::Sqlite { .. }
        | StorageError::Full { .. }
        | StorageError::AmountTooLarge { .. }
        | StorageError::Missing { .. }
        | StorageError::NotProved { .. }
        | StorageError::Refused { .. }
        | StorageError::Manifest { .. }
        | StorageError::Postgres { .. }
        | StorageError::Tool { .. }
        | StorageError::Busy { .. }
        | StorageError::NotQuiet { .. }
        | StorageError::Settings(_) => ProblemKind::Unreadable,
    }
}

fn look(name: &LedgerName, path: &Path, scratch: &Path) -> Result<LedgerFile, StorageError> {
    let ledger = Ledger::open(path, scratch)?;
    Ok(LedgerFile {
        name: name.clone(),
        path: path.to_owned(),
        layout: ledger.layout(),
        migrations: ledger.migrations()?,
        transactions: ledger.count()?,
        bytes: files::bytes(path),
    })
}

impl Ledger {
    /// Which migrations the ledger records, ascending; none where it has no such table (before 1.3).
    pub fn migrations(&self) -> Result<Migrations, StorageError> {
        migrations(&self.connection, &self.path)
    }

    /// What every write through an instance changes: number and highest id of the tables that a write adds to, in either
    /// layout.
    pub fn mark(&self) -> Result<String, StorageError> {
        let mut parts = Vec::new();
        for (table, id) in [("transactions", "id"), ("metadata", "meta_id"), ("log", "id")] {
            if !columns(&self.connection, &self.path, table)?.contains(id) {
                continue;
            }
            let sql = format!("SELECT count(*) || '/' || coalesce(max({id}), '') FROM {table}");
            let part: String = self
                .connection
                .query_row(&sql, [], |row| row.get(0))
                .map_err(StorageError::sqlite("count the rows of", &self.path))?;
            parts.push(format!("{table} {part}"));
        }
        Ok(parts.join(", "))
    }

    /// How many transactions there are.
    pub fn count(&self) -> Result<u64, StorageError> {
        let count: i64 = self
            .connection
            .query_row("SELECT count(*) FROM transactions", [], |row| row.get(0))
            .map_err(StorageError::sqlite("count the transactions of", &self.path))?;
        Ok(u64::try_from(count).unwrap_or(0))
    }
}

fn migrations(connection: &Connection, path: &Path) -> Result<Migrations, StorageError> {
    let failed = || StorageError::sqlite("read the migrations of", path);
    if !columns(connection, path, "migrations")?.contains("version") {
        return Ok(Migrations(None));
    }
    // `version` is a text in every release, so a number is asked for, and anything else refused.
    let mut statement = connection.prepare("SELECT CAST(version AS TEXT) FROM migrations").map_err(failed())?;
    let texts = statement
        .query_map([], |row| row.get::<_, String>(0))
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(failed())?;
    let mut numbers = texts
        .iter()
        .map(|text| {
            text.parse::<u32>().map_err(|_| StorageError::NotALedger {
                path: path.to_owned(),
                what: format!("its table migrations records {text:?}, which is no migration number"),
            })
        })
        .collect::<Result<Vec<_>, _>>()?;
    numbers.sort_unstable();
    numbers.dedup();
    Ok(Migrations(Some(numbers)))
}

/// What a system store has registered.
fn registered(path: &Path, scratch: &Path) -> Result<Vec<LedgerName>, StorageError> {
    let connection = reader(path, scratch)?;
    let failed = || StorageError::sqlite("read the system store", path);
    if !columns(&connection, path, "ledgers")?.contains("ledger") {
        return Ok(Vec::new());
    }
    let mut statement = connection.prepare("SELECT ledger FROM ledgers ORDER BY 1").map_err(failed())?;
    let texts = statement
        .query_map([], |row| row.get::<_, String>(0))
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(failed())?;
    // An empty name is no ledger that any command would take.
    Ok(texts.into_iter().filter_map(|text| LedgerName::new(text).ok()).collect())
}
