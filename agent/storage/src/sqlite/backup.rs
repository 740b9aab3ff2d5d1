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
/// also makes the copy and everything else read through `source` one snapshot. It ends with the last page: while it lasts, a
/// ledger with a rollback journal cannot commit, and gives up after 5 s.
///
/// Half done: `to` is a part of a database, with a journal beside it. Again: both are removed first.
pub(super) fn backup(source: Connection, from: &Path, to: &Path, scratch: &Path) -> Result<(), StorageError> {
    let result = copy_pages(source, from, to, scratch)
        .and_then(|copy| check(copy, from, to))
        .and_then(|()| files::sync(to))
        .and_then(|()| files::sync_folder_of(to));
    if result.is_err() {
        // The first error is the one to tell.
        let _ = files::remove_database(to);
    }
    result
}

/// Gives the copy, open. The source is closed by then.
#[expect(clippy::needless_pass_by_value, reason = "nothing of it is left when this returns")]
fn copy_pages(source: Connection, from: &Path, to: &Path, scratch: &Path) -> Result<Connection, StorageError> {
    files::remove_database(to)?;
    let failed = || StorageError::sqlite("write a copy to", to);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut copy = Connection::open_with_flags(to, flags).map_err(failed())?;
    configure(&copy, scratch).map_err(failed())?;
    {
        let backup = Backup::new(&source, &mut copy).map_err(failed())?;
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
    Ok(copy)
}

/// Makes the copy one file, and shows that it is whole.
fn check(copy: Connection, from: &Path, to: &Path) -> Result<(), StorageError> {
    let failed = || StorageError::sqlite("write a copy to", to);
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::super::open::reader;
    use super::*;

    /// As a ledger from 1.3.2 on keeps its file, and as one that waits for nobody writes.
    #[test]
    fn a_ledger_commits_while_its_copy_is_checked() {
        let folder = tempfile::tempdir().unwrap();
        let (file, copy) = (folder.path().join("a.db"), folder.path().join("copy.db"));
        let ledger = Connection::open(&file).unwrap();
        ledger.execute_batch("PRAGMA journal_mode = DELETE; CREATE TABLE t (x); INSERT INTO t VALUES (1)").unwrap();
        ledger.busy_timeout(std::time::Duration::ZERO).unwrap();
        let source = reader(&file, folder.path()).unwrap();
        assert!(ledger.execute("INSERT INTO t VALUES (2)", []).is_err(), "a reader keeps it from committing");
        let copied = copy_pages(source, &file, &copy, folder.path()).unwrap();
        ledger.execute("INSERT INTO t VALUES (3)", []).unwrap();
        check(copied, &file, &copy).unwrap();
        let count = |path| Connection::open(path).unwrap().query_row("SELECT count(*) FROM t", [], |row| row.get(0));
        assert_eq!((count(&copy), count(&file)), (Ok::<i64, _>(1), Ok(2)));
    }
}
