//! The permit of a boot: since this host started, a coordinator has said that what a unit would start is still right. Its guard
//! waits for it: a host that was off while its deployment was upgraded must not come back as an old binary on migrated storage,
//! and nothing on the host itself tells it that.
//!
//! It is given to the boot, not to a start: within one boot a service starts anew as often as it likes, with no coordinator at
//! hand. What it may start is [`allowed`](super::allowed)'s subject, and whether at all the [`fence`](super::fence)'s. It lies
//! in `/run`, which is gone with the boot: in a container, and behind a unit's sandbox, the kernel's boot id may be the machine's.

use crate::files::{self, FileError};
use crate::machine;
use cutover_vocabulary::Timestamp;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Where permits lie.
const PLACE: &str = "/run/cutover-agent";

/// A unit's permit.
#[derive(Debug, Clone)]
pub struct Permit {
    given: PathBuf,
    refused: PathBuf,
}

/// Who said it, and when; for people.
#[derive(Debug, Serialize, Deserialize)]
struct Note<'a> {
    at: Timestamp,
    by: &'a str,
}

impl Permit {
    /// Of that unit, in this boot.
    pub fn of(unit: &str) -> Self {
        Self::below(Path::new(PLACE), unit)
    }

    fn below(place: &Path, unit: &str) -> Self {
        Self { given: place.join("permits").join(unit), refused: place.join("refused").join(unit) }
    }

    /// Whether it was given.
    pub fn is_given(&self) -> bool {
        self.given.exists()
    }

    /// Gives it. Idempotent.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn give(&self, by: &str) -> Result<(), FileError> {
        if self.is_given() { Ok(()) } else { note(&self.given, by) }
    }

    /// A start was refused for want of it: whoever gives it starts what was to be started.
    ///
    /// # Errors
    /// When that cannot be written.
    pub fn note_refusal(&self, by: &str) -> Result<(), FileError> {
        note(&self.refused, by)
    }

    /// Whether a start was refused and is to be made up for.
    pub fn was_refused(&self) -> bool {
        self.refused.exists()
    }

    /// It was made up for, or is nobody's business any more. Idempotent.
    ///
    /// # Errors
    /// When the note cannot be taken away.
    pub fn forget_refusal(&self) -> Result<(), FileError> {
        files::remove(&self.refused)
    }
}

fn note(path: &Path, by: &str) -> Result<(), FileError> {
    if let Some(folder) = path.parent() {
        files::folder(folder)?;
    }
    files::write_json(path, &Note { at: machine::now(), by })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permit_is_of_its_unit_and_stays() {
        let run = tempfile::tempdir().unwrap();
        let (own, other) = (Permit::below(run.path(), "numary.service"), Permit::below(run.path(), "other.service"));
        assert!(!own.is_given());
        own.give("a person").unwrap();
        own.give("the coordinator").unwrap();
        assert!(own.is_given() && !other.is_given());
    }

    #[test]
    fn a_refused_start_is_to_be_made_up_for_until_it_was() {
        let run = tempfile::tempdir().unwrap();
        let permit = Permit::below(run.path(), "numary.service");
        assert!(!permit.was_refused());
        permit.note_refusal("its guard").unwrap();
        permit.give("the coordinator").unwrap();
        assert!(permit.was_refused());
        permit.forget_refusal().unwrap();
        permit.forget_refusal().unwrap();
        assert!(!permit.was_refused());
    }
}
