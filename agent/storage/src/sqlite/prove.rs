//! Whether a migrated ledger holds what it must hold.

use super::open::Ledger;
use super::place::SqlitePlace;
use super::recovery::{check_files, manifest, manifest_path};
use crate::StorageError;
use crate::digest::{self, consistency};
use cutover_vocabulary::outcome::Proof;
use cutover_vocabulary::storage::{Difference, LISTED_ROWS, Migrations, RecoveryItem, RecoveryPoint, Section};
use std::collections::BTreeSet;
use std::path::Path;

/// Compares a ledger with the point's expected digest; where they differ, lists the rows by a merge with the point's copy.
/// Changes nothing. `scratch` takes temporary files.
///
/// # Errors
/// [`StorageError::Refused`] for the system store, which has no digest; [`StorageError::Corrupt`] when the copy that would
/// explain a difference is not what its manifest says.
pub fn prove(place: &SqlitePlace, point: &RecoveryPoint, scratch: &Path) -> Result<Proof, StorageError> {
    let (RecoveryItem::Ledger(name), Some(expected)) = (&point.item, &point.expected) else {
        let path = Path::new(&point.place).to_owned();
        return Err(StorageError::Refused { path, why: format!("the {} has no digest to prove", point.item) });
    };
    let file = place.ledger(name)?;
    let ledger = Ledger::open(&file, scratch)?;
    let digest = digest::digest(&ledger)?;
    let migrations = ledger.migrations()?;
    let check = consistency::check(&ledger, LISTED_ROWS)?;
    let mut inconsistencies: Vec<String> = check.listed.iter().map(ToString::to_string).collect();
    let more = check.count.saturating_sub(u64::try_from(check.listed.len()).unwrap_or(u64::MAX));
    if more > 0 {
        inconsistencies.push(format!("and {more} more"));
    }
    let (differences, difference_count) =
        if digest == *expected { (Vec::new(), 0) } else { explain(point, &ledger, scratch)? };
    Ok(Proof { digest, migrations, differences, difference_count, inconsistencies })
}

/// The rows behind a digest that is not the expected one. Never empty.
fn explain(point: &RecoveryPoint, ledger: &Ledger, scratch: &Path) -> Result<(Vec<Difference>, u64), StorageError> {
    let copy = Path::new(&point.place);
    let known = manifest(copy)?.ok_or_else(|| StorageError::Missing {
        path: manifest_path(copy),
        remedy: "without it nothing tells what the ledger held before; look for the folder of this upgrade's recovery points",
    })?;
    check_files(&known)?;
    let found = digest::compare(&Ledger::open(copy, scratch)?, ledger)?;
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
    Ok((rows, count))
}

/// What a storage must record after a migration: what was there joined with what the target knows.
/// A target that keeps no such table (before 1.3) changes nothing.
pub fn joined(before: &Migrations, target: &Migrations) -> Migrations {
    match (&before.0, &target.0) {
        (None, None) => Migrations(None),
        (Some(one), None) | (None, Some(one)) => Migrations(Some(one.clone())),
        (Some(before), Some(target)) => {
            Migrations(Some(before.iter().chain(target).copied().collect::<BTreeSet<_>>().into_iter().collect()))
        }
    }
}
