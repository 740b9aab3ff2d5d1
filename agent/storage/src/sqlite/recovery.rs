//! Recovery points: a copy that was shown to restore, and a manifest that is written last.
//!
//! In the folder of one upgrade, for each item: `NAME.db` the copy, `NAME.db.losses.jsonl` every row that the migration will
//! lose, `NAME.db.manifest.json`. Without a readable manifest whose digests fit, nothing there counts.

use super::backup::{backup, contents};
use super::files;
use super::open::{Ledger, reader};
use super::place::SqlitePlace;
use crate::digest::{self, Reading};
use crate::{StorageError, clock};
use cutover_vocabulary::storage::{Losses, Migrations, RecoveryItem, RecoveryPoint, StorageIdentity};
use cutover_vocabulary::{Digest, Elapsed, UpgradeId};
use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

/// The version of the manifest's form.
const MANIFEST: u16 = 1;

/// What is to be kept, and where.
#[derive(Debug, Clone, Copy)]
pub struct Secure<'a> {
    /// The storage.
    pub place: &'a SqlitePlace,
    /// Its identity, as planned for; recorded in the manifest.
    pub storage: &'a StorageIdentity,
    /// Which ledger, or the system store.
    pub item: &'a RecoveryItem,
    /// For which upgrade; a folder that holds another upgrade's points is refused.
    pub upgrade: &'a UpgradeId,
    /// The folder of this upgrade's recovery points, outside the storage directory. Made if missing.
    pub folder: &'a Path,
    /// Whether the target's migration loses the known classes; decides what the ledger is expected to hold afterwards.
    pub lossy: bool,
}

/// What lies beside a copy.
/// Fields are only ever added, with defaults; another meaning is another version, which is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of this form.
    pub version: u16,
    /// For which upgrade it was taken.
    pub upgrade: UpgradeId,
    /// Of which storage.
    pub storage: StorageIdentity,
    /// Whether `expected` lacks the known losses.
    pub lossy: bool,
    /// The original's journal mode; a restored file gets it back.
    pub journal_mode: String,
    /// SHA-256 of the file that lists every lost row; none where nothing is lost.
    pub losses_file: Option<Digest>,
    /// Of the system store: what its tables held. None for a ledger.
    pub contents: Option<Digest>,
    /// How long it took to take and prove.
    pub took: Elapsed,
    /// The point itself.
    pub point: RecoveryPoint,
}

/// Where an item's copy lies in a folder of recovery points.
pub fn copy_path(folder: &Path, item: &RecoveryItem) -> PathBuf {
    match item {
        RecoveryItem::System => folder.join("system-store.db"),
        RecoveryItem::Ledger(name) => folder.join(format!("ledger-{}.db", name.as_str())),
    }
}

/// Where the manifest of a copy lies.
pub fn manifest_path(copy: &Path) -> PathBuf {
    files::beside(copy, ".manifest.json")
}

/// Where the list of every lost row lies.
pub fn losses_path(copy: &Path) -> PathBuf {
    files::beside(copy, ".losses.jsonl")
}

/// Bytes that a recovery point and its proof need at most for files of this size: the copy and the copy restored from it.
pub fn needed_bytes(bytes: u64) -> u64 {
    bytes.saturating_mul(2).saturating_add(1 << 20)
}

/// Reads a copy's manifest; `None` where there is none. Does not look at the copy.
pub fn manifest(copy: &Path) -> Result<Option<Manifest>, StorageError> {
    let path = manifest_path(copy);
    match fs::read(&path) {
        Ok(bytes) => {
            let read: Manifest = match serde_json::from_slice(&bytes) {
                Ok(read) => read,
                Err(source) => return Err(StorageError::Manifest { path, source }),
            };
            if read.version > MANIFEST {
                let why = format!("a newer Cutover wrote it (version {}); use that one", read.version);
                return Err(StorageError::Refused { path, why });
            }
            Ok(Some(read))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StorageError::io("read", &path)(error)),
    }
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
pub fn secure(ask: Secure<'_>) -> Result<RecoveryPoint, StorageError> {
    files::private_folder(ask.folder)?;
    ask.place.refuse_inside(ask.folder)?;
    let original = ask.place.file(ask.item)?;
    let copy = copy_path(ask.folder, ask.item);
    // A manifest is written whole, so one that cannot be read was damaged later: an error, not a reason to start over.
    if let Some(earlier) = manifest(&copy)? {
        if earlier.upgrade != *ask.upgrade || earlier.storage != *ask.storage || earlier.point.item != *ask.item {
            return Err(StorageError::Refused {
                path: copy,
                why: format!("it is the recovery point of {} in upgrade {}", earlier.point.item, earlier.upgrade),
            });
        }
        if earlier.lossy == ask.lossy && check_files(&earlier).is_ok() {
            refuse_if_written_since(&ask, &original, &earlier)?;
            return Ok(earlier.point);
        }
        refuse_if_changed(&ask, &original, &earlier)?;
    }
    let result = take(&ask, &original, &copy);
    if result.is_err() {
        // Space for the next try; the first error is the one to tell.
        let _ = files::remove_database(&files::beside(&copy, ".partial"));
        let _ = files::remove_database(&proof_path(ask.folder, ask.item));
        let _ = files::remove(&files::beside(&losses_path(&copy), ".partial"));
    }
    result
}

/// Checks that a point's files are the ones that its manifest names, byte for byte.
pub fn check_files(manifest: &Manifest) -> Result<(), StorageError> {
    let copy = Path::new(&manifest.point.place);
    if let Some(wanted) = manifest.point.sha256 {
        same_bytes(copy, wanted)?;
    }
    if let Some(wanted) = manifest.losses_file {
        same_bytes(&losses_path(copy), wanted)?;
    }
    Ok(())
}

fn same_bytes(path: &Path, wanted: Digest) -> Result<(), StorageError> {
    let found = files::sha256(path)?;
    if found == wanted {
        return Ok(());
    }
    Err(StorageError::Corrupt {
        path: path.to_owned(),
        what: format!("SHA-256 is {found}, its manifest says {wanted}"),
    })
}

/// A point of a ledger that was not migrated and holds something else now is one from before: of an earlier run in the same
/// folder, or of an upgrade whose number was given again because the coordinator's store was made anew. It must not pass for
/// one of what is there, and it is not overwritten, for somebody may need it.
fn refuse_if_written_since(ask: &Secure<'_>, original: &Path, earlier: &Manifest) -> Result<(), StorageError> {
    match ask.item {
        RecoveryItem::Ledger(_) if original.exists() => {
            let ledger = Ledger::open(original, ask.folder)?;
            if ledger.migrations()? != earlier.point.migrations
                || Some(digest::digest(&ledger)?) == earlier.point.digest
            {
                return Ok(());
            }
            Err(StorageError::Refused {
                path: PathBuf::from(&earlier.point.place),
                why: format!(
                    "it was taken at {}, and the ledger was written to since; move its folder to a safe place, so that a \
                     new one can be taken",
                    earlier.point.taken
                ),
            })
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
    // From here on an earlier copy does not count.
    files::remove(&manifest_path(copy))?;
    files::sync_folder_of(copy)?;
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
            manifest.losses_file = Some(files::sha256(&losses_path(copy))?);
        }
        manifest.contents = kept.contents;
        manifest.journal_mode = kept.journal_mode;
    }
    manifest.point = point.clone();
    manifest.took = clock::since_boot().since(begun);
    let path = manifest_path(copy);
    let mut bytes =
        serde_json::to_vec_pretty(&manifest).map_err(|source| StorageError::Manifest { path: path.clone(), source })?;
    bytes.push(b'\n');
    files::write_whole(&path, &bytes)?;
    Ok(point)
}

/// What was learnt while a copy was made.
struct Kept {
    reading: Option<Reading>,
    contents: Option<Digest>,
    migrations: Migrations,
    journal_mode: String,
    restore_took: Elapsed,
}

fn keep_ledger(ask: &Secure<'_>, original: &Path, copy: &Path) -> Result<Kept, StorageError> {
    let partial = files::beside(copy, ".partial");
    let list = losses_path(copy);
    let ledger = Ledger::open(original, ask.folder)?;
    let reading = write_losses(&list, ask.lossy, &ledger)?;
    let migrations = ledger.migrations()?;
    let journal_mode = journal_mode(&ledger.connection, original)?;
    backup(&ledger.connection, original, &partial, ask.folder)?;
    drop(ledger);
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
    Ok(Kept { reading: Some(reading), contents: None, migrations, journal_mode, restore_took })
}

fn keep_system(ask: &Secure<'_>, original: &Path, copy: &Path) -> Result<Kept, StorageError> {
    let partial = files::beside(copy, ".partial");
    let source = reader(original, ask.folder)?;
    let held = contents(&source, original)?;
    let journal_mode = journal_mode(&source, original)?;
    backup(&source, original, &partial, ask.folder)?;
    drop(source);
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
    Ok(Kept { reading: None, contents: Some(held), migrations: Migrations(None), journal_mode, restore_took })
}

fn proof_path(folder: &Path, item: &RecoveryItem) -> PathBuf {
    files::beside(&copy_path(folder, item), ".proof")
}

pub(super) fn journal_mode(connection: &Connection, path: &Path) -> Result<String, StorageError> {
    connection
        .query_row("PRAGMA journal_mode", [], |row| row.get(0))
        .map_err(StorageError::sqlite("read the journal mode of", path))
}

/// Writes every lost row, one JSON object a line, also those beyond the cap of lists; an empty file where nothing is lost.
fn write_losses(list: &Path, lossy: bool, ledger: &Ledger) -> Result<Reading, StorageError> {
    let partial = files::beside(list, ".partial");
    let failed = || StorageError::io("write", &partial);
    let mut writer = BufWriter::new(File::create(&partial).map_err(failed())?);
    let reading = digest::read(ledger, &mut |row| {
        if !lossy {
            return Ok(());
        }
        serde_json::to_writer(&mut writer, row)
            .map_err(std::io::Error::from)
            .and_then(|()| writer.write_all(b"\n"))
            .map_err(failed())
    })?;
    writer.flush().map_err(failed())?;
    drop(writer);
    files::sync(&partial)?;
    files::rename(&partial, list)?;
    Ok(reading)
}
