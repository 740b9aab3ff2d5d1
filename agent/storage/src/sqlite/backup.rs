//! One consistent copy of a database, by SQLite's backup API.

use super::open::configure;
use crate::StorageError;
use crate::clock;
use crate::files;
use cutover_vocabulary::{Digest, Elapsed};
use rusqlite::backup::{Backup, StepResult};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};
use sha2::{Digest as _, Sha256};
use std::path::Path;

/// Pages a step; between steps nothing is released, the number only bounds how long one call takes.
const STEP: i32 = 4096;

/// How long a backup waits for somebody else's lock before it gives up.
const PATIENCE: Elapsed = Elapsed::from_secs(10);

/// Copies what `source` shows in its read transaction to a new file, proves its structure and flushes it.
///
/// The read transaction is what makes it end: `step(n)` restarts for ever under a writer unless the source holds one. It
/// also makes the copy and everything else read through `source` one snapshot.
///
/// Half done: `to` is a part of a database, with a journal beside it. Again: both are removed first.
pub(super) fn backup(source: &Connection, from: &Path, to: &Path, scratch: &Path) -> Result<(), StorageError> {
    let result =
        copy_pages(source, from, to, scratch).and_then(|()| files::sync(to)).and_then(|()| files::sync_folder_of(to));
    if result.is_err() {
        // The first error is the one to tell.
        let _ = files::remove_database(to);
    }
    result
}

fn copy_pages(source: &Connection, from: &Path, to: &Path, scratch: &Path) -> Result<(), StorageError> {
    files::remove_database(to)?;
    let failed = || StorageError::sqlite("write a copy to", to);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut copy = Connection::open_with_flags(to, flags).map_err(failed())?;
    configure(&copy, scratch).map_err(failed())?;
    {
        let backup = Backup::new(source, &mut copy).map_err(failed())?;
        let begun = clock::since_boot();
        loop {
            match backup.step(STEP).map_err(failed())? {
                StepResult::Done => break,
                StepResult::More => {}
                // Busy, locked, and whatever a later SQLite adds: try again until the patience ends.
                StepResult::Busy | StepResult::Locked | _ => {
                    if clock::since_boot().since(begun) > PATIENCE {
                        return Err(StorageError::Io {
                            doing: "copy",
                            path: from.to_owned(),
                            remedy: "another process kept it locked; stop that process first",
                            source: std::io::ErrorKind::ResourceBusy.into(),
                        });
                    }
                    std::thread::yield_now();
                }
            }
        }
    }
    // A copy in WAL mode is two files as soon as somebody opens it.
    let mode: String =
        copy.pragma_update_and_check(None, "journal_mode", "DELETE", |row| row.get(0)).map_err(failed())?;
    if !mode.eq_ignore_ascii_case("delete") {
        return Err(StorageError::NotProved {
            copy: to.to_owned(),
            original: from.to_owned(),
            what: format!("its journal mode stayed {mode}"),
        });
    }
    let verdict: String = copy.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0)).map_err(failed())?;
    if verdict != "ok" {
        return Err(StorageError::Corrupt { path: from.to_owned(), what: format!("integrity_check: {verdict}") });
    }
    copy.close().map_err(|(_, error)| failed()(error))
}

/// A digest of every row of every table, for a database that is no ledger (the system store). Not for large ones: the order
/// of rows is made by a sort over all columns.
pub(super) fn contents(connection: &Connection, path: &Path) -> Result<Digest, StorageError> {
    let failed = || StorageError::sqlite("read", path);
    let mut tables = connection
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name")
        .map_err(failed())?;
    let names = tables
        .query_map([], |row| row.get::<_, String>(0))
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(failed())?;
    let mut hasher = Sha256::new();
    let mut field = |tag: u8, bytes: &[u8]| {
        hasher.update([tag]);
        hasher.update(u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_be_bytes());
        hasher.update(bytes);
    };
    for name in names {
        field(b'T', name.as_bytes());
        let quoted = name.replace('"', "\"\"");
        let columns = connection.prepare(&format!("SELECT * FROM \"{quoted}\"")).map_err(failed())?.column_count();
        let order = (1..=columns).map(|column| column.to_string()).collect::<Vec<_>>().join(", ");
        let mut statement =
            connection.prepare(&format!("SELECT * FROM \"{quoted}\" ORDER BY {order}")).map_err(failed())?;
        let mut rows = statement.query([]).map_err(failed())?;
        while let Some(row) = rows.next().map_err(failed())? {
            field(b'R', b"");
            for column in 0..columns {
                match row.get_ref(column).map_err(failed())? {
                    ValueRef::Null => field(b'-', b""),
                    ValueRef::Integer(number) => field(b'i', &number.to_be_bytes()),
                    ValueRef::Real(number) => field(b'f', &number.to_bits().to_be_bytes()),
                    ValueRef::Text(bytes) => field(b't', bytes),
                    ValueRef::Blob(bytes) => field(b'b', bytes),
                }
            }
        }
    }
    Ok(Digest::from_bytes(hasher.finalize().into()))
}
