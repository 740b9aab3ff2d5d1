//! Recovery points of SQLite files: `NAME.db`, a copy by SQLite's own backup that was shown to restore.

use super::backup::{backup, contents};
use super::open::{Ledger, reader};
use super::place::SqlitePlace;
use crate::digest::{self, Reading};
use crate::points::{self, MANIFEST, Manifest, check_files, losses_path, manifest, write_losses};
use crate::storage::Secure;
use crate::{StorageError, clock, files};
use cutover_vocabulary::Digest;
use cutover_vocabulary::Elapsed;
use cutover_vocabulary::storage::{Losses, Migrations, RecoveryItem, RecoveryPoint};
use rusqlite::Connection;
use std::fs;
use std::path::{Path, PathBuf};

/// Where an item's copy lies in a folder of recovery points.
pub fn copy_path(folder: &Path, item: &RecoveryItem) -> PathBuf {
    match item {
        RecoveryItem::System => folder.join("system-store.db"),
        RecoveryItem::Ledger(name) => folder.join(format!("ledger-{}.db", name.as_str())),
    }
}

/// Bytes that a recovery point and its proof need at most for files of this size: the copy and the copy restored from it.
pub fn needed_bytes(bytes: u64) -> u64 {
    bytes.saturating_mul(2).saturating_add(1 << 20)
}

/// Takes a recovery point and proves it by restoring it into a scratch folder. Nothing in the storage changes.
///
/// Idempotent by upgrade and item: a point whose manifest and digests fit is returned as it is, even after the ledger was
/// migrated; but never where the ledger was written to since. Half done (killed, disk full): there is no manifest, so nothing counts; running it again starts over. If a point
/// was taken and its copy is damaged since, it is taken again only while the ledger still holds what it held; else refused,
/// because the copy would be one of the migrated ledger.
///
/// # Errors
/// [`StorageError::Full`], [`StorageError::Corrupt`] (original damaged), [`StorageError::Missing`] (a ledger without file),
/// [`StorageError::NotProved`], [`StorageError::Refused`] (folder in the storage directory, or another upgrade's).
pub fn secure(place: &SqlitePlace, ask: &Secure<'_>) -> Result<RecoveryPoint, StorageError> {
    files::private_folder(ask.folder)?;
    place.refuse_inside(ask.folder)?;
    let original = place.file(ask.item)?;
    place.refuse_a_link(&original)?;
    let copy = copy_path(ask.folder, ask.item);
    // A manifest is written whole, so one that cannot be read was damaged later: an error, not a reason to start over.
    if let Some(earlier) = manifest(&copy)? {
        points::refuse_other(&earlier, &copy, ask.upgrade, ask.storage, ask.item)?;
        if earlier.lossy == ask.lossy && check_files(&earlier).is_ok() {
            refuse_if_written_since(&original, &earlier, ask.folder)?;
            return Ok(earlier.point);
        }
        refuse_if_changed(ask, &original, &earlier)?;
    }
    let result = take(ask, &original, &copy);
    if result.is_err() {
        // Space for the next try; the first error is the one to tell.
        let _ = files::remove_database(&files::beside(&copy, ".partial"));
        let _ = files::remove_database(&proof_path(ask.folder, ask.item));
        let _ = files::remove(&files::beside(&losses_path(&copy), ".partial"));
    }
    result
}

fn refuse_if_written_since(original: &Path, earlier: &Manifest, scratch: &Path) -> Result<(), StorageError> {
    match earlier.point.item {
        RecoveryItem::Ledger(_) if original.exists() => {
            let ledger = Ledger::open(original, scratch)?;
            points::refuse_if_written_since(&earlier.point, &ledger.migrations()?, || digest::digest(&ledger))
        }
        RecoveryItem::Ledger(_) | RecoveryItem::System => Ok(()),
    }
}

fn refuse_if_changed(ask: &Secure<'_>, original: &Path, earlier: &Manifest) -> Result<(), StorageError> {
    let same = match (ask.item, original.exists()) {
        (RecoveryItem::System, exists) => {
            exists == earlier.point.sha256.is_some()
                && (!exists || Some(contents(&reader(original, ask.folder)?, original)?) == earlier.contents)
        }
        (RecoveryItem::Ledger(_), false) => false,
        (RecoveryItem::Ledger(_), true) => {
            let ledger = Ledger::open(original, ask.folder)?;
            ledger.migrations()? == earlier.point.migrations && Some(digest::digest(&ledger)?) == earlier.point.digest
        }
    };
    if same {
        return Ok(());
    }
    Err(StorageError::Corrupt {
        path: PathBuf::from(&earlier.point.place),
        what: "it is not what its manifest says, and the original has changed since, so it cannot be taken again"
            .to_owned(),
    })
}

fn take(ask: &Secure<'_>, original: &Path, copy: &Path) -> Result<RecoveryPoint, StorageError> {
    let begun = clock::since_boot();
    let taken = clock::wall();
    points::forget_manifest(copy)?;
    let kept = match ask.item {
        RecoveryItem::Ledger(_) => Some(keep_ledger(ask, original, copy)?),
        RecoveryItem::System if original.exists() => Some(keep_system(ask, original, copy)?),
        RecoveryItem::System => {
            files::remove_database(copy)?;
            None
        }
    };
    let mut point = RecoveryPoint {
        item: ask.item.clone(),
        place: copy.to_string_lossy().into_owned(),
        sha256: None,
        bytes: 0,
        digest: None,
        expected: None,
        losses: Losses::default(),
        migrations: Migrations(None),
        taken,
        restore_took: Elapsed(0),
        mark: None,
    };
    let mut manifest = Manifest {
        version: MANIFEST,
        upgrade: ask.upgrade.clone(),
        storage: ask.storage.clone(),
        lossy: ask.lossy,
        journal_mode: "delete".to_owned(),
        losses_file: None,
        contents: None,
        dependents: Vec::new(),
        published: Vec::new(),
        took: Elapsed(0),
        point: point.clone(),
    };
    if let Some(kept) = kept {
        point.sha256 = Some(files::sha256(copy)?);
        point.bytes = fs::metadata(copy).map_err(StorageError::io("look at", copy))?.len();
        point.restore_took = kept.restore_took;
        if let Some(reading) = kept.reading {
            point.expected = Some(if ask.lossy { reading.expected } else { reading.digest.clone() });
            point.digest = Some(reading.digest);
            if ask.lossy {
                point.losses = reading.losses;
            }
            point.migrations = kept.migrations;
            point.mark = kept.mark;
            manifest.losses_file = Some(files::sha256(&losses_path(copy))?);
        }
        manifest.contents = kept.contents;
        manifest.journal_mode = kept.journal_mode;
    }
    manifest.point = point.clone();
    manifest.took = clock::since_boot().since(begun);
    points::write_manifest(copy, &manifest)?;
    Ok(point)
}

/// What was learnt while a copy was made.
struct Kept {
    reading: Option<Reading>,
    contents: Option<Digest>,
    migrations: Migrations,
    mark: Option<String>,
    journal_mode: String,
    restore_took: Elapsed,
}

fn keep_ledger(ask: &Secure<'_>, original: &Path, copy: &Path) -> Result<Kept, StorageError> {
    let partial = files::beside(copy, ".partial");
    let list = losses_path(copy);
    let ledger = Ledger::open(original, ask.folder)?;
    let reading = write_losses(&list, ask.lossy, &ledger)?;
    let (migrations, mark) = (ledger.migrations()?, Some(ledger.mark()?));
    let journal_mode = journal_mode(&ledger.connection, original)?;
    backup(ledger.connection, original, &partial, ask.folder)?;
    files::remove_database(copy)?;
    files::rename(&partial, copy)?;

    let begun = clock::since_boot();
    let proof = proof_path(ask.folder, ask.item);
    files::remove_database(&proof)?;
    files::copy(copy, &proof)?;
    let restored = digest::digest(&Ledger::open(&proof, ask.folder)?)?;
    let restore_took = clock::since_boot().since(begun);
    files::remove_database(&proof)?;
    if restored != reading.digest {
        return Err(StorageError::NotProved {
            copy: copy.to_owned(),
            original: original.to_owned(),
            what: "restored from it, the ledger has another digest".to_owned(),
        });
    }
    Ok(Kept { reading: Some(reading), contents: None, migrations, mark, journal_mode, restore_took })
}

fn keep_system(ask: &Secure<'_>, original: &Path, copy: &Path) -> Result<Kept, StorageError> {
    let partial = files::beside(copy, ".partial");
    let source = reader(original, ask.folder)?;
    let held = contents(&source, original)?;
    let journal_mode = journal_mode(&source, original)?;
    backup(source, original, &partial, ask.folder)?;
    files::remove_database(copy)?;
    files::rename(&partial, copy)?;

    let begun = clock::since_boot();
    let proof = proof_path(ask.folder, ask.item);
    files::remove_database(&proof)?;
    files::copy(copy, &proof)?;
    let restored = contents(&reader(&proof, ask.folder)?, &proof)?;
    let restore_took = clock::since_boot().since(begun);
    files::remove_database(&proof)?;
    if restored != held {
        return Err(StorageError::NotProved {
            copy: copy.to_owned(),
            original: original.to_owned(),
            what: "restored from it, the system store holds other rows".to_owned(),
        });
    }
    Ok(Kept {
        reading: None,
        contents: Some(held),
        migrations: Migrations(None),
        mark: None,
        journal_mode,
        restore_took,
    })
}

fn proof_path(folder: &Path, item: &RecoveryItem) -> PathBuf {
    files::beside(&copy_path(folder, item), ".proof")
}

pub(super) fn journal_mode(connection: &Connection, path: &Path) -> Result<String, StorageError> {
    connection
        .query_row("PRAGMA journal_mode", [], |row| row.get(0))
        .map_err(StorageError::sqlite("read the journal mode of", path))
}
