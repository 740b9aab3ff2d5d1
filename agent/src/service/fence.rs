//! The fence: while it stands, the agent does not start the instance, whoever asks. It survives reboots.
//!
//! Beside what it says lies an empty file that is there as long as it stands: that is what a unit's guard asserts, so that
//! systemd itself refuses a start without any daemon of ours.

use crate::files::{self, FileError, folder, read_json, write_json};
use crate::machine;
use cutover_vocabulary::Timestamp;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// What the fence's file says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fence {
    /// Goes up by one each time the fence is set; a proof that names another is void.
    pub generation: u64,
    /// Whether it stands now.
    pub standing: bool,
    /// Since when it is so.
    pub since: Timestamp,
    /// By which order, or by whom.
    pub by: String,
}

/// How `by` begins where a fence stands by a coordinator's word alone, and not by an order or a person.
pub const BY_WORD: &str = "the coordinator: ";

impl Fence {
    /// Whether it stands by a coordinator's word alone.
    pub fn by_word(&self) -> bool {
        self.by.starts_with(BY_WORD)
    }
}

/// An instance's fence.
#[derive(Debug, Clone)]
pub struct FenceFile(PathBuf);

impl FenceFile {
    /// In the instance's folder.
    pub fn of(instance_dir: &Path) -> Self {
        Self(instance_dir.join("fence.json"))
    }

    /// Reads it; one that was never set is down, with generation 0.
    pub fn read(&self) -> Result<Fence, FileError> {
        Ok(read_json(&self.0)?.unwrap_or_else(|| Fence {
            generation: 0,
            standing: false,
            since: Timestamp::from_millis(0),
            by: "nobody".to_owned(),
        }))
    }

    /// Sets it, on disk before this returns. One that stands already is left as it is, with its generation; but what stood by a
    /// coordinator's word alone is an order's or a person's from now on, and does not go with that word.
    pub fn set(&self, by: &str) -> Result<Fence, FileError> {
        let now = self.read()?;
        let keeps = !now.by_word() || by.starts_with(BY_WORD);
        if now.standing && keeps {
            self.put_marker()?;
            return Ok(now);
        }
        self.write(Fence { generation: now.generation + 1, standing: true, since: machine::now(), by: by.to_owned() })
    }

    /// Lifts it, on disk before this returns. The generation stays.
    pub fn lift(&self, by: &str) -> Result<Fence, FileError> {
        let now = self.read()?;
        if !now.standing {
            self.take_marker()?;
            return Ok(now);
        }
        self.write(Fence { generation: now.generation, standing: false, since: machine::now(), by: by.to_owned() })
    }

    fn write(&self, fence: Fence) -> Result<Fence, FileError> {
        if let Some(parent) = self.0.parent() {
            folder(parent)?;
        }
        // Between the two writes it stands: a crash leaves an instance down rather than free.
        if fence.standing {
            self.put_marker()?;
            write_json(&self.0, &fence)?;
        } else {
            write_json(&self.0, &fence)?;
            self.take_marker()?;
        }
        Ok(fence)
    }

    /// The file that is there as long as the fence stands.
    pub fn marker(&self) -> PathBuf {
        self.0.with_file_name("fenced")
    }

    fn put_marker(&self) -> Result<(), FileError> {
        let marker = self.marker();
        if marker.exists() { Ok(()) } else { files::write(&marker, b"") }
    }

    fn take_marker(&self) -> Result<(), FileError> {
        files::remove(&self.marker())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fence_that_was_lifted_and_set_again_has_another_generation() {
        let dir = tempfile::tempdir().unwrap();
        let fence = FenceFile::of(dir.path());
        assert!(!fence.read().unwrap().standing);
        assert_eq!(fence.set("a").unwrap().generation, 1);
        assert!(fence.marker().exists());
        assert_eq!(fence.set("b").unwrap(), fence.read().unwrap(), "set again: left as it is");
        assert_eq!(fence.lift("c").unwrap().generation, 1);
        assert!(!fence.marker().exists());
        assert_eq!(FenceFile::of(dir.path()).set("d").unwrap().generation, 2);
    }
}
