//! What lies beside a recovery point, whatever the driver: a manifest that is written last, and the list of every row that
//! the migration will lose.
//!
//! In the folder of one run of Secure, for each item: the copy, `COPY.losses.jsonl`, `COPY.manifest.json`. Without a readable
//! manifest whose digests fit, nothing there counts.

use crate::digest::{self, Comparison, Reading, RowSource, consistency};
use crate::{StorageError, files};
use cutover_vocabulary::outcome::Proof;
use cutover_vocabulary::storage::{
    Dependent, Difference, LISTED_ROWS, LedgerDigest, Migrations, RecoveryItem, RecoveryPoint, Section, StorageIdentity,
};
use cutover_vocabulary::{Digest, Elapsed, UpgradeId};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

/// The version of the manifest's form.
pub const MANIFEST: u16 = 1;

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
    /// SQLite: the original's journal mode; a restored file gets it back. Empty elsewhere.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub journal_mode: String,
    /// SHA-256 of the file that lists every lost row; none where nothing is lost.
    pub losses_file: Option<Digest>,
    /// Of the system store: what its tables held. None for a ledger.
    pub contents: Option<Digest>,
    /// PostgreSQL: what depended on the ledger's tables; a restore makes it again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dependents: Vec<Dependent>,
    /// PostgreSQL: what publications had of the ledger, each in words; after a restore somebody has to add it again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub published: Vec<String>,
    /// How long it took to take and prove.
    pub took: Elapsed,
    /// The point itself.
    pub point: RecoveryPoint,
}

/// Where the manifest of a copy lies.
pub fn manifest_path(copy: &Path) -> PathBuf {
    files::beside(copy, ".manifest.json")
}

/// Where the list of every lost row lies.
pub fn losses_path(copy: &Path) -> PathBuf {
    files::beside(copy, ".losses.jsonl")
}

/// Reads a copy's manifest; `None` where there is none. Does not look at the copy.
///
/// # Errors
/// [`StorageError::Manifest`] for one that cannot be read; [`StorageError::Refused`] for one of a newer Cutover.
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

/// The manifest of the point that an order names: the same copy of the same state, its files untouched.
///
/// # Errors
/// [`StorageError::Missing`] without a manifest, [`StorageError::Refused`] where it is another point's,
/// [`StorageError::Corrupt`] where a file is not what it says.
pub fn checked(point: &RecoveryPoint) -> Result<Manifest, StorageError> {
    let copy = Path::new(&point.place);
    let manifest = manifest(copy)?.ok_or_else(|| StorageError::Missing {
        path: manifest_path(copy),
        remedy: "a recovery point without a manifest does not count; look for the folder of this upgrade's recovery points",
    })?;
    // What was recorded elsewhere may list fewer rows; these say whether it is the same copy of the same state.
    let known = &manifest.point;
    if (&known.item, known.sha256, &known.digest, &known.migrations)
        != (&point.item, point.sha256, &point.digest, &point.migrations)
    {
        return Err(StorageError::Refused {
            path: copy.to_owned(),
            why: "its manifest is that of another recovery point than the one asked for".to_owned(),
        });
    }
    check_files(&manifest)?;
    Ok(manifest)
}

/// Writes a manifest, whole or not at all: from here on the point counts.
///
/// # Errors
/// [`StorageError::Io`], [`StorageError::Full`].
pub fn write_manifest(copy: &Path, manifest: &Manifest) -> Result<(), StorageError> {
    let path = manifest_path(copy);
    let mut bytes =
        serde_json::to_vec_pretty(manifest).map_err(|source| StorageError::Manifest { path: path.clone(), source })?;
    bytes.push(b'\n');
    files::write_whole(&path, &bytes)
}

/// From here on an earlier copy does not count.
///
/// # Errors
/// [`StorageError::Io`].
pub fn forget_manifest(copy: &Path) -> Result<(), StorageError> {
    files::remove(&manifest_path(copy))?;
    files::sync_folder_of(copy)
}

/// Refuses a folder that holds the point of another upgrade, storage or item under this copy's name.
///
/// # Errors
/// [`StorageError::Refused`].
pub fn refuse_other(
    earlier: &Manifest,
    copy: &Path,
    upgrade: &UpgradeId,
    storage: &StorageIdentity,
    item: &RecoveryItem,
) -> Result<(), StorageError> {
    if earlier.upgrade == *upgrade && earlier.storage == *storage && earlier.point.item == *item {
        return Ok(());
    }
    Err(StorageError::Refused {
        path: copy.to_owned(),
        why: format!("it is the recovery point of {} in upgrade {}", earlier.point.item, earlier.upgrade),
    })
}

/// A point of a ledger that was not migrated and holds something else now is one from before: of an earlier run in the same
/// folder, or of an upgrade whose number was given again because the coordinator's store was made anew. It must not pass for
/// one of what is there, and it is not overwritten, for somebody may need it.
///
/// # Errors
/// [`StorageError::Refused`].
pub fn refuse_if_written_since(
    earlier: &RecoveryPoint,
    migrations: &Migrations,
    digest: impl FnOnce() -> Result<LedgerDigest, StorageError>,
) -> Result<(), StorageError> {
    if *migrations != earlier.migrations || Some(digest()?) == earlier.digest {
        return Ok(());
    }
    Err(StorageError::Refused {
        path: PathBuf::from(&earlier.place),
        why: format!(
            "it was taken at {}, and the ledger was written to since; move its folder to a safe place, so that a new one \
             can be taken",
            earlier.taken
        ),
    })
}

/// Checks that a point's files are the ones that its manifest names, byte for byte.
///
/// # Errors
/// [`StorageError::Corrupt`].
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

/// Reads a ledger and writes every row that will be lost, one JSON object a line, also those beyond the cap of lists; an
/// empty file where nothing is lost.
///
/// # Errors
/// [`StorageError`] of the source or of the file.
pub fn write_losses(list: &Path, lossy: bool, ledger: &dyn RowSource) -> Result<Reading, StorageError> {
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

/// A migrated ledger held against what its point expects; `compare` merges it with the point's copy, row by row, and is only
/// asked where the digests differ.
///
/// # Errors
/// [`StorageError::Refused`] for the system store, which has no digest; [`StorageError::Corrupt`] when the copy that would
/// explain a difference is not what its manifest says.
pub fn prove(
    point: &RecoveryPoint,
    ledger: &dyn RowSource,
    migrations: Migrations,
    compare: impl FnOnce(&Manifest) -> Result<Comparison, StorageError>,
) -> Result<Proof, StorageError> {
    let (RecoveryItem::Ledger(_), Some(expected)) = (&point.item, &point.expected) else {
        let path = Path::new(&point.place).to_owned();
        return Err(StorageError::Refused { path, why: format!("the {} has no digest to prove", point.item) });
    };
    let digest = digest::digest(ledger)?;
    let inconsistencies = contradictions(ledger)?;
    let (differences, difference_count) = if digest == *expected {
        (Vec::new(), 0)
    } else {
        let manifest = checked(point)?;
        let found = compare(&manifest)?;
        explain(point, &manifest, found)
    };
    Ok(Proof { digest, migrations, differences, difference_count, inconsistencies })
}

/// [`prove`] for a ledger that was written to since. `compare` says what of the point's is not there any more; it is always
/// asked, because no digest tells.
///
/// # Errors
/// As [`prove`]; [`StorageError::Refused`] too for a lossy migration, beside which no instance may serve.
pub fn prove_since(
    point: &RecoveryPoint,
    ledger: &dyn RowSource,
    migrations: Migrations,
    compare: impl FnOnce(&Manifest) -> Result<Comparison, StorageError>,
) -> Result<Proof, StorageError> {
    let manifest = checked(point)?;
    if manifest.lossy {
        let path = PathBuf::from(&point.place);
        let why = "its migration loses rows, so no instance may have served beside it".to_owned();
        return Err(StorageError::Refused { path, why });
    }
    let found = compare(&manifest)?;
    let known: u64 = found.known.values().sum();
    let mut differences = found.unexplained_rows;
    // This target was not expected to lose anything, so a known class is no excuse.
    differences.extend(found.known_rows);
    differences.truncate(LISTED_ROWS);
    Ok(Proof {
        digest: digest::digest(ledger)?,
        migrations,
        differences,
        difference_count: found.unexplained + known,
        inconsistencies: contradictions(ledger)?,
    })
}

/// In what a ledger disagrees with itself, for people.
fn contradictions(ledger: &dyn RowSource) -> Result<Vec<String>, StorageError> {
    let check = consistency::check(ledger, LISTED_ROWS)?;
    let mut listed: Vec<String> = check.listed.iter().map(ToString::to_string).collect();
    let more = check.count.saturating_sub(u64::try_from(check.listed.len()).unwrap_or(u64::MAX));
    if more > 0 {
        listed.push(format!("and {more} more"));
    }
    Ok(listed)
}

/// The rows behind a digest that is not the expected one. Never empty.
fn explain(point: &RecoveryPoint, known: &Manifest, found: Comparison) -> (Vec<Difference>, u64) {
    let mut count = found.unexplained;
    let mut rows = found.unexplained_rows;
    let lost: u64 = found.known.values().sum();
    if !known.lossy {
        // This target was not expected to lose anything, so a known class is no excuse.
        count += lost;
        rows.extend(found.known_rows);
    } else if lost < point.losses.count {
        count += 1;
        rows.push(Difference {
            section: Section::AccountMetadata,
            row: format!(
                "{} of {} metadata entries that the migration was expected to lose",
                point.losses.count - lost,
                point.losses.count
            ),
            before: Some("expected to be lost".to_owned()),
            after: Some("still there".to_owned()),
            class: None,
        });
    }
    if count == 0 {
        count = 1;
        rows.push(Difference {
            section: Section::Transactions,
            row: "the whole ledger".to_owned(),
            before: Some(format!("expected digest {}", point.expected.as_ref().map(|digest| digest.root().short()).unwrap_or_default())),
            after: Some("another digest, and no row that differs: the recovery point's manifest and this version of Cutover disagree".to_owned()),
            class: None,
        });
    }
    rows.truncate(LISTED_ROWS);
    (rows, count)
}
