//! The permit of a boot: since this host started, a coordinator has said that what an instance would start is still right. A
//! unit's guard waits for it: a host that was off while its deployment was upgraded must not come back as an old binary on
//! migrated storage, and nothing on the host itself tells it that.
//!
//! It is given to the boot, not to a start: within one boot a service starts anew as often as it likes, with no coordinator at
//! hand. What it may start is [`allowed`](super::allowed)'s subject, and whether at all the [`fence`](super::fence)'s.

use crate::files::{self, FileError};
use crate::machine;
use cutover_vocabulary::Timestamp;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

#[derive(Debug, Serialize, Deserialize)]
struct Note {
    boot: String,
    at: Timestamp,
    /// Who said it, for people; of a start that was refused, nobody yet.
    by: String,
}

fn given_note(instance_dir: &Path) -> PathBuf {
    instance_dir.join("permit.json")
}
fn refused_note(instance_dir: &Path) -> PathBuf {
    instance_dir.join("no-permit.json")
}

/// Whether the instance may start in this boot.
///
/// # Errors
/// When the note cannot be read.
pub fn given(instance_dir: &Path) -> Result<bool, FileError> {
    of_this_boot(&given_note(instance_dir))
}

/// The instance may start in this boot. Idempotent.
///
/// # Errors
/// When the note cannot be written.
pub fn give(instance_dir: &Path, by: &str) -> Result<(), FileError> {
    if given(instance_dir)? {
        return Ok(());
    }
    write(&given_note(instance_dir), by)
}

/// Nobody may start it until it is given again. Idempotent.
///
/// # Errors
/// When the note cannot be removed.
pub fn take(instance_dir: &Path) -> Result<(), FileError> {
    files::remove(&given_note(instance_dir))
}

/// A start was refused for want of a permit: whoever gives it starts what was to be started.
///
/// # Errors
/// When the note cannot be written.
pub fn note_refusal(instance_dir: &Path) -> Result<(), FileError> {
    write(&refused_note(instance_dir), "")
}

/// Whether a start was refused in this boot; asked once, for the note is taken away.
///
/// # Errors
/// When the note cannot be read or removed.
pub fn was_refused(instance_dir: &Path) -> Result<bool, FileError> {
    let refused = of_this_boot(&refused_note(instance_dir))?;
    files::remove(&refused_note(instance_dir))?;
    Ok(refused)
}

fn of_this_boot(note: &Path) -> Result<bool, FileError> {
    Ok(files::read_json::<Note>(note)?.is_some_and(|note| note.boot == machine::boot_id()))
}

fn write(note: &Path, by: &str) -> Result<(), FileError> {
    if let Some(folder) = note.parent() {
        files::folder(folder)?;
    }
    files::write_json(note, &Note { boot: machine::boot_id(), at: machine::now(), by: by.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permit_counts_in_the_boot_that_it_was_given_in_and_in_no_other() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!given(dir.path()).unwrap());
        give(dir.path(), "a person").unwrap();
        assert!(given(dir.path()).unwrap());
        let of_before = std::fs::read_to_string(given_note(dir.path())).unwrap();
        std::fs::write(given_note(dir.path()), of_before.replace(&machine::boot_id(), "another boot")).unwrap();
        assert!(!given(dir.path()).unwrap());
        give(dir.path(), "epoch 7").unwrap();
        assert!(given(dir.path()).unwrap());
        take(dir.path()).unwrap();
        take(dir.path()).unwrap();
        assert!(!given(dir.path()).unwrap());
    }

    #[test]
    fn a_refused_start_is_made_up_for_once() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!was_refused(dir.path()).unwrap());
        note_refusal(dir.path()).unwrap();
        assert!(was_refused(dir.path()).unwrap());
        assert!(!was_refused(dir.path()).unwrap());
    }
}
