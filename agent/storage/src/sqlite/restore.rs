//! Putting back what a recovery point holds. At every moment the ledger's name stands for one whole file: a missing one
//! would be created anew, empty, by any ledger command.

use super::backup::contents;
use super::open::{Ledger, reader};
use super::place::SqlitePlace;
use crate::files::{self, SIDECARS, beside};
use crate::points::{self, Manifest};
use crate::{StorageError, digest};
use cutover_vocabulary::outcome::Restored;
use cutover_vocabulary::storage::{LedgerDigest, RecoveryItem, RecoveryPoint};
use rusqlite::{Connection, OpenFlags};
use std::fs;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Ends the name of a file that is about to be put in place: `storage scan` skips what does not end in `.db`.
const COMING: &str = ".cutover-restoring";

/// Where a database's header says in which mode it is written and read, and what it says of a write-ahead log
/// (<https://sqlite.org/fileformat2.html#file_format_version_numbers>).
const FORMAT_VERSIONS: u64 = 18;
const WAL: [u8; 2] = [2, 2];

/// Restores one item, if it is not what it was. What was there is kept in `aside`, a folder outside the storage directory.
///
/// The storage must be quiet and locked. Steps, and what a run that ended behind each leaves:
/// 1. Check the copy against its manifest. Nothing has changed.
/// 2. Look: an item that holds what it held, by digest and migrations, is left alone.
/// 3. Copy the copy beside the ledger's file under a name that scan skips. Half done: that file, overwritten next time.
/// 4. Fold the migrated file's log into it (checkpoint, or roll its journal back), so that it is one file: a log that
///    outlived its database would be replayed into the restored one. The migrated ledger is whole.
/// 5. Keep the migrated file in `aside`: a hard link, or a flushed copy on another disk. The migrated ledger is still in place.
/// 6. Rename the new file over the ledger's name: the one moment in which the ledger changes.
/// 7. Compare the digest with the one from before.
///
/// Running it again after any of them ends with the same state. A system store that did not exist is moved to `aside`.
///
/// # Errors
/// [`StorageError::Corrupt`] when the copy is not what its manifest says (nothing was touched), [`StorageError::NotProved`]
/// when the restored ledger has another digest.
pub fn restore(
    place: &SqlitePlace,
    point: &RecoveryPoint,
    aside: &Path,
    unrecorded: bool,
) -> Result<Restored, StorageError> {
    files::private_folder(aside)?;
    place.refuse_inside(aside)?;
    let manifest = points::checked(point)?;
    let copy = Path::new(&point.place);
    let file = place.file(&point.item)?;
    place.refuse_a_link(&file)?;
    let coming = beside(&file, COMING);
    if point.sha256.is_none() {
        return remove_system(&file, aside);
    }
    let now = look(&file, &manifest, aside)?;
    if let Now::NotMigrated(digest) = &now
        && !unrecorded
    {
        // Somebody wrote to it since the point was taken. What they wrote is theirs; a migration that did not happen left
        // nothing to undo.
        files::remove_database(&coming)?;
        return Ok(Restored { changed: false, moved_to: None, digest: Some(digest.clone()), notes: Vec::new() });
    }
    if now == Now::AsItWas {
        files::remove_database(&coming)?;
        // Where an earlier run restored it and was killed before it could say so, what was there still lies in `aside`.
        let moved_to = last_kept(&file, aside).map(|path| path.to_string_lossy().into_owned());
        return Ok(Restored { changed: false, moved_to, digest: point.digest.clone(), notes: Vec::new() });
    }
    bring(copy, &coming, &file, &manifest)?;
    let moved_to = if file.exists() {
        fold(&file)?;
        Some(keep(&file, aside)?)
    } else {
        None
    };
    refuse_sidecars(&file)?;
    files::rename(&coming, &file)?;
    if look(&file, &manifest, aside)? != Now::AsItWas {
        return Err(StorageError::NotProved {
            copy: file,
            original: copy.to_owned(),
            what: "the restored file does not hold what the recovery point's manifest says".to_owned(),
        });
    }
    Ok(Restored {
        changed: true,
        moved_to: moved_to.map(|path| path.to_string_lossy().into_owned()),
        digest: point.digest.clone(),
        notes: Vec::new(),
    })
}

/// What a file is, beside the point that was taken of it.
#[derive(Debug, PartialEq, Eq)]
enum Now {
    /// It holds what it held.
    AsItWas,
    /// A ledger that was not migrated, and holds this.
    NotMigrated(LedgerDigest),
    /// Anything else: migrated, damaged, another database, gone.
    Changed,
}

fn look(file: &Path, manifest: &Manifest, scratch: &Path) -> Result<Now, StorageError> {
    if !file.exists() {
        return Ok(Now::Changed);
    }
    let looked = match manifest.point.item {
        RecoveryItem::System => reader(file, scratch)
            .and_then(|store| contents(&store, file))
            .map(|found| if Some(found) == manifest.contents { Now::AsItWas } else { Now::Changed }),
        RecoveryItem::Ledger(_) => Ledger::open(file, scratch).and_then(|ledger| {
            // Migrations first: a migrated ledger that lost nothing has an equal digest.
            if ledger.migrations()? != manifest.point.migrations {
                return Ok(Now::Changed);
            }
            let digest = digest::digest(&ledger)?;
            Ok(if Some(&digest) == manifest.point.digest.as_ref() { Now::AsItWas } else { Now::NotMigrated(digest) })
        }),
    };
    match looked {
        Err(StorageError::Corrupt { .. } | StorageError::NotALedger { .. }) => Ok(Now::Changed),
        other => other,
    }
}

/// Copies the copy beside the ledger's file, with the owner, mode and journal mode that the original has. The folder is the
/// service's own: nothing is done here by a name that its user could have made lead elsewhere.
fn bring(copy: &Path, coming: &Path, file: &Path, manifest: &Manifest) -> Result<(), StorageError> {
    files::remove_database(coming)?;
    let new = files::copy_open(copy, coming)?;
    if manifest.journal_mode.eq_ignore_ascii_case("wal") {
        new.write_all_at(&WAL, FORMAT_VERSIONS).map_err(StorageError::io("set the journal mode of", coming))?;
    }
    let like = if file.exists() { file } else { file.parent().unwrap_or(file) };
    let data = fs::metadata(like).map_err(StorageError::io("look at", like))?;
    let mine = new.metadata().map_err(StorageError::io("look at", coming))?;
    if (mine.uid(), mine.gid()) != (data.uid(), data.gid()) {
        std::os::unix::fs::fchown(&new, Some(data.uid()), Some(data.gid()))
            .map_err(StorageError::io("give to its owner", coming))?;
    }
    // The bits of set-user-id and the like mean nothing on a database, and the agent's unit may not set them.
    let mode = if file.exists() { data.mode() & 0o777 } else { mode_of(copy)? };
    new.set_permissions(fs::Permissions::from_mode(mode)).map_err(StorageError::io("set the mode of", coming))?;
    new.sync_all().map_err(StorageError::io("sync", coming))
}

fn mode_of(path: &Path) -> Result<u32, StorageError> {
    Ok(fs::metadata(path).map_err(StorageError::io("look at", path))?.mode() & 0o777)
}

/// Makes the migrated database one file. A damaged one cannot be folded; then its parts stay for [`refuse_sidecars`].
fn fold(file: &Path) -> Result<(), StorageError> {
    let failed = || StorageError::sqlite("fold the log into", file);
    let folded = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_WRITE).and_then(|connection| {
        connection.busy_timeout(std::time::Duration::from_secs(5))?;
        // The first read rolls a hot journal back.
        let _: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        let busy: i64 = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
        connection.close().map_err(|(_, error)| error)?;
        Ok(busy)
    });
    match folded {
        Ok(0) => Ok(()),
        Ok(_) => Err(StorageError::Refused {
            path: file.to_owned(),
            why: "another process reads it, so its log cannot be folded into it; stop that process first".to_owned(),
        }),
        Err(error) => {
            let error = failed()(error);
            if matches!(error, StorageError::Corrupt { .. }) { Ok(()) } else { Err(error) }
        }
    }
}

/// Keeps a file in `aside` under the first free number; the same file kept by an earlier run is found again. What lies beside
/// it goes first: whoever finds the kept file finds it whole.
fn keep(file: &Path, aside: &Path) -> Result<PathBuf, StorageError> {
    let here = fs::metadata(file).map_err(StorageError::io("look at", file))?;
    for number in 1_u32.. {
        let kept = kept_as(file, aside, number);
        match fs::metadata(&kept) {
            // Linked by a run that put nothing in its place yet, so what lies beside it now is what belongs to it.
            Ok(there) if (there.dev(), there.ino()) == (here.dev(), here.ino()) => {
                keep_sidecars(file, &kept)?;
                files::sync(aside)?;
                return Ok(kept);
            }
            Ok(there)
                if there.len() == here.len()
                    && files::sha256(&kept)? == files::sha256(file)?
                    && sidecars_are_kept(file, &kept)? =>
            {
                return Ok(kept);
            }
            Ok(_) => {}
            Err(_) => {
                keep_sidecars(file, &kept)?;
                if fs::hard_link(file, &kept).is_err() {
                    // Another disk, or a file system without links.
                    let partial = beside(&kept, ".partial");
                    files::copy(file, &partial)?;
                    files::rename(&partial, &kept)?;
                }
                files::sync(aside)?;
                return Ok(kept);
            }
        }
    }
    Err(StorageError::Refused { path: aside.to_owned(), why: "no free name is left in it".to_owned() })
}

/// The name under which a file is kept for the `number`th time.
fn kept_as(file: &Path, aside: &Path, number: u32) -> PathBuf {
    let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    aside.join(format!("{name}.moved-{number}"))
}

/// The last file that an earlier run kept.
fn last_kept(file: &Path, aside: &Path) -> Option<PathBuf> {
    (1..).map(|number| kept_as(file, aside, number)).take_while(|path| path.exists()).last()
}

/// What could not be folded (a damaged file's log) is kept beside it, then taken away from the ledger's name.
fn keep_sidecars(file: &Path, kept: &Path) -> Result<(), StorageError> {
    sidecars(file, kept).try_for_each(|(sidecar, kept)| files::copy(&sidecar, &kept))
}

fn sidecars_are_kept(file: &Path, kept: &Path) -> Result<bool, StorageError> {
    for (sidecar, kept) in sidecars(file, kept) {
        if !kept.exists() || files::sha256(&kept)? != files::sha256(&sidecar)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// What lies beside a file and holds something, with where it is kept. A link is nothing: SQLite follows none either.
fn sidecars(file: &Path, kept: &Path) -> impl Iterator<Item = (PathBuf, PathBuf)> {
    ["-wal", "-journal"]
        .into_iter()
        .map(|suffix| (beside(file, suffix), beside(kept, suffix)))
        .filter(|(there, _)| fs::symlink_metadata(there).is_ok_and(|data| data.is_file() && data.len() > 0))
}

/// Takes away what lies beside the migrated file. All of it was folded or kept by now.
fn refuse_sidecars(file: &Path) -> Result<(), StorageError> {
    for suffix in SIDECARS {
        files::remove(&beside(file, suffix))?;
    }
    files::sync_folder_of(file)
}

/// A system store that did not exist before goes to `aside`.
///
/// Half done: it is in both places. Again: found in `aside`, then removed.
fn remove_system(file: &Path, aside: &Path) -> Result<Restored, StorageError> {
    if !file.exists() {
        let moved_to = last_kept(file, aside).map(|path| path.to_string_lossy().into_owned());
        return Ok(Restored { changed: false, moved_to, digest: None, notes: Vec::new() });
    }
    fold(file)?;
    let kept = keep(file, aside)?;
    refuse_sidecars(file)?;
    files::remove(file)?;
    files::sync_folder_of(file)?;
    Ok(Restored { changed: true, moved_to: Some(kept.to_string_lossy().into_owned()), digest: None, notes: Vec::new() })
}
