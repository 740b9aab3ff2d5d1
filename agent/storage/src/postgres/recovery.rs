//! Recovery points of schemas: a dump by `pg_dump`, which was shown to restore into a database of its own.

use super::PostgresStorage;
use super::programs::Program;
use super::proving::Proving;
use super::scratch::{self, Scratch};
use super::{dependents, system};
use crate::digest;
use crate::points::{self, MANIFEST, Manifest, check_files, losses_path, manifest};
use crate::storage::Secure;
use crate::{StorageError, clock, files};
use cutover_vocabulary::storage::{Losses, Migrations, RecoveryItem, RecoveryPoint};
use cutover_vocabulary::{Digest, Elapsed, LedgerName};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

/// The schema of the system store.
pub(super) const SYSTEM: &str = "_system";

/// Bytes that a schema of this size needs in the recovery folder: its dump, and while it is restored its rows in plain text. The
/// two came to a third of what the server needs for them before the migration and two thirds after it (measured at 60,000
/// transactions), most of it because there are no indexes in them. Its proof lies on the server's disk.
pub(super) fn needed_bytes(bytes: u64) -> u64 {
    bytes.saturating_add(1 << 20)
}

/// Where an item's dump lies in a folder of recovery points. A schema's name may hold anything, a file's may not.
pub(super) fn copy_path(folder: &Path, item: &RecoveryItem) -> PathBuf {
    match item {
        RecoveryItem::System => folder.join("system-store.pgdump"),
        RecoveryItem::Ledger(name) => {
            let text = name.as_str();
            let plain = text.len() <= 60 && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
            let word = if plain { text.to_owned() } else { Digest::of(text.as_bytes()).to_string() };
            folder.join(format!("ledger-{word}.pgdump"))
        }
    }
}

/// As [`crate::storage::Storage::secure`].
pub(super) fn secure(storage: &PostgresStorage, ask: &Secure<'_>) -> Result<RecoveryPoint, StorageError> {
    files::private_folder(ask.folder)?;
    let copy = copy_path(ask.folder, ask.item);
    // A manifest is written whole, so one that cannot be read was damaged later: an error, not a reason to start over.
    if let Some(earlier) = manifest(&copy)? {
        points::refuse_other(&earlier, &copy, ask.upgrade, ask.storage, ask.item)?;
        let whole = earlier.lossy == ask.lossy && check_files(&earlier).is_ok();
        if let RecoveryItem::Ledger(name) = ask.item {
            let migrations = storage.reading(name, |now| {
                let migrations = now.migrations()?;
                if !ask.serving {
                    points::refuse_if_written_since(&earlier.point, &migrations, || digest::digest(now))?;
                }
                Ok(migrations)
            })?;
            if !whole && migrations != earlier.point.migrations {
                return Err(cannot_be_taken_again(&earlier));
            }
        } else if !whole && system::contents(storage)? != earlier.contents {
            return Err(cannot_be_taken_again(&earlier));
        }
        if whole {
            return Ok(earlier.point);
        }
    }
    let partial = files::beside(&copy, ".partial");
    let result = take(storage, ask, &copy, &partial);
    if result.is_err() {
        // Space for the next try; the first error is the one to tell.
        let _ = files::remove(&partial);
        let _ = files::remove(&files::beside(&losses_path(&copy), ".partial"));
    }
    result
}

fn cannot_be_taken_again(earlier: &Manifest) -> StorageError {
    StorageError::Corrupt {
        path: PathBuf::from(&earlier.point.place),
        what: "it is not what its manifest says, and the original has changed since, so it cannot be taken again"
            .to_owned(),
    }
}

fn take(
    storage: &PostgresStorage,
    ask: &Secure<'_>,
    copy: &Path,
    partial: &Path,
) -> Result<RecoveryPoint, StorageError> {
    let begun = clock::since_boot();
    let taken = clock::wall();
    points::forget_manifest(copy)?;
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
        journal_mode: String::new(),
        losses_file: None,
        contents: None,
        dependents: Vec::new(),
        published: Vec::new(),
        took: Elapsed(0),
        point: point.clone(),
    };
    match ask.item {
        RecoveryItem::Ledger(name) => keep_ledger(storage, ask, name, partial, &mut point, &mut manifest, copy)?,
        RecoveryItem::System => match system::contents(storage)? {
            Some(held) => {
                let dumping = dump(storage, SYSTEM, None, partial)?;
                let proving = Proving::of(storage, ask.upgrade, SYSTEM)?;
                dumping.wait()?;
                point.restore_took = prove_system(storage, proving, partial, held)?;
                manifest.contents = Some(held);
            }
            None => {
                files::remove(copy)?;
                return finish(point, manifest, copy, begun);
            }
        },
    }
    files::sync(partial)?;
    files::rename(partial, copy)?;
    point.sha256 = Some(files::sha256(copy)?);
    point.bytes = fs::metadata(copy).map_err(StorageError::io("look at", copy))?.len();
    finish(point, manifest, copy, begun)
}

fn finish(
    point: RecoveryPoint,
    mut manifest: Manifest,
    copy: &Path,
    begun: Elapsed,
) -> Result<RecoveryPoint, StorageError> {
    manifest.point = point.clone();
    manifest.took = clock::since_boot().since(begun);
    points::write_manifest(copy, &manifest)?;
    Ok(point)
}

/// The dump and the digest show one snapshot, and are made side by side: the dump waits for the disk, the digest for rows.
fn keep_ledger(
    storage: &PostgresStorage,
    ask: &Secure<'_>,
    name: &LedgerName,
    partial: &Path,
    point: &mut RecoveryPoint,
    manifest: &mut Manifest,
    copy: &Path,
) -> Result<(), StorageError> {
    let snapshot = storage.ledger(name)?;
    let dumping = dump(storage, name.as_str(), Some(&snapshot.export_snapshot()?), partial)?;
    let list = losses_path(copy);
    let reading = points::write_losses(&list, ask.lossy, &snapshot)?;
    point.migrations = snapshot.migrations()?;
    point.mark = Some(snapshot.mark()?);
    manifest.dependents = dependents::find(snapshot.client(), name.as_str())?;
    manifest.published = dependents::published(snapshot.client(), name.as_str(), storage.server())?;
    let proving = Proving::of(storage, ask.upgrade, name.as_str())?;
    dumping.wait()?;
    storage.done_with(snapshot)?;

    let begun = clock::since_boot();
    let restored = proving.show(partial, |there| there.reading(name, |ledger| digest::digest(ledger)))?;
    point.restore_took = clock::since_boot().since(begun);
    if restored != reading.digest {
        return Err(not_proved(storage, partial, "restored from it, the ledger has another digest"));
    }
    point.expected = Some(if ask.lossy { reading.expected } else { reading.digest.clone() });
    point.digest = Some(reading.digest);
    if ask.lossy {
        point.losses = reading.losses;
    }
    manifest.losses_file = Some(files::sha256(&list)?);
    Ok(())
}

fn prove_system(
    storage: &PostgresStorage,
    proving: Proving,
    partial: &Path,
    held: Digest,
) -> Result<Elapsed, StorageError> {
    let begun = clock::since_boot();
    let restored = proving.show(partial, system::contents)?;
    if restored == Some(held) {
        return Ok(clock::since_boot().since(begun));
    }
    Err(not_proved(storage, partial, "restored from it, the system store holds other rows"))
}

fn not_proved(storage: &PostgresStorage, dump: &Path, what: &str) -> StorageError {
    StorageError::NotProved {
        copy: dump.to_owned(),
        original: PathBuf::from(format!("database {}", storage.database())),
        what: what.to_owned(),
    }
}

/// Starts a dump of one schema: structure, rows, owners, grants. `-Fc` is one file; level 1 because the dump is in the
/// downtime.
fn dump(
    storage: &PostgresStorage,
    schema: &str,
    snapshot: Option<&str>,
    to: &Path,
) -> Result<super::programs::Running, StorageError> {
    files::remove(to)?;
    let mut args: Vec<OsString> =
        ["--format=custom", "--compress=1", "--lock-wait-timeout=10000", "--no-password"].map(OsString::from).to_vec();
    args.push(format!("--schema={}", pattern(schema)).into());
    args.extend(snapshot.map(|id| OsString::from(format!("--snapshot={id}"))));
    args.push("--file".into());
    args.push(to.into());
    Program::Dump.start(storage, "secure", args)
}

/// A name as psql's patterns take it verbatim: in double quotes nothing is a wildcard.
fn pattern(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Restores a point's dump into a scratch database, to compare rows with it.
pub(super) fn unpack(storage: &PostgresStorage, manifest: &Manifest) -> Result<Scratch, StorageError> {
    let unique = format!("{}/{}/{}", storage.database(), manifest.upgrade, manifest.point.item);
    let scratch = Scratch::make(storage, &scratch::name("before", &unique))?;
    match scratch.unpack(Path::new(&manifest.point.place)) {
        Ok(()) => Ok(scratch),
        Err(error) => {
            let _ = scratch.remove();
            Err(error)
        }
    }
}

/// A dump of one ledger for a rehearsal, without a manifest: nothing is restored from it but the copy.
pub(super) fn plain_dump(storage: &PostgresStorage, name: &LedgerName, folder: &Path) -> Result<PathBuf, StorageError> {
    let to = copy_path(folder, &RecoveryItem::Ledger(name.clone()));
    dump(storage, name.as_str(), None, &to)?.wait()?;
    Ok(to)
}
