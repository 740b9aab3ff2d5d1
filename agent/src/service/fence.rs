//! The fence: while it stands, the agent does not start the instance, whoever asks. It survives reboots.
//!
//! Beside what it says lies an empty file that is there as long as it stands: that is what a unit's guard asserts, so that
//! systemd itself refuses a start without any daemon of ours.

use crate::files::{self, FileError, folder, io_error, read_json, write_json};
use crate::machine;
use cutover_vocabulary::{OrderId, Timestamp};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs::File;
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
    /// Who set or lifted it.
    pub by: By,
}

/// Who set or lifted a fence. One that stands by a coordinator's word alone goes with that word; an order's or a person's does not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum By {
    /// It was never set.
    Nobody,
    /// Somebody on this host, by hand.
    Person,
    /// An order of an upgrade.
    Order(OrderId),
    /// A coordinator's word on what may be started, and its reason.
    Word(String),
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nobody => f.write_str("nobody"),
            Self::Person => f.write_str("a person on this host"),
            Self::Order(order) => order.fmt(f),
            Self::Word(why) => write!(f, "the coordinator: {why}"),
        }
    }
}

impl Fence {
    /// Whether it stands, and by a coordinator's word alone.
    pub fn stands_by_word(&self) -> bool {
        self.standing && matches!(self.by, By::Word(_))
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
        Ok(read_json(&self.0)?.unwrap_or(Fence {
            generation: 0,
            standing: false,
            since: Timestamp::from_millis(0),
            by: By::Nobody,
        }))
    }

    /// Sets it, on disk before this returns. One that stands already is left as it is, with its generation; but what stood by a
    /// coordinator's word alone is an order's or a person's from now on, and does not go with that word.
    pub fn set(&self, by: By) -> Result<Fence, FileError> {
        self.change(|now| {
            let keeps = !now.stands_by_word() || matches!(by, By::Word(_));
            (!(now.standing && keeps)).then_some((true, by))
        })
    }

    /// Lifts it, on disk before this returns. The generation stays.
    pub fn lift(&self, by: By) -> Result<Fence, FileError> {
        self.change(|now| now.standing.then_some((false, by)))
    }

    /// Lifts it where it stands by a coordinator's word alone; an order's or a person's stays.
    pub fn lift_word(&self, by: By) -> Result<Fence, FileError> {
        self.change(|now| now.stands_by_word().then_some((false, by)))
    }

    /// Answers with what it is then. Who changes it holds a lock meanwhile: an order, a coordinator's word and a person on the
    /// host may come at once, from two processes, and none may undo what another has seen on disk.
    fn change(&self, change: impl FnOnce(&Fence) -> Option<(bool, By)>) -> Result<Fence, FileError> {
        if let Some(parent) = self.0.parent() {
            folder(parent)?;
        }
        let lock = self.0.with_extension("lock");
        let held = File::options().create(true).append(true).open(&lock).map_err(io_error("create", &lock))?;
        held.lock().map_err(io_error("lock", &lock))?;
        let now = self.read()?;
        let Some((standing, by)) = change(&now) else {
            self.mark(now.standing)?;
            return Ok(now);
        };
        let generation = now.generation + u64::from(standing);
        let fence = Fence { generation, standing, since: machine::now(), by };
        // Between the two writes it stands: a crash leaves an instance down rather than free.
        if standing {
            self.mark(true)?;
        }
        write_json(&self.0, &fence)?;
        self.mark(standing)?;
        Ok(fence)
    }

    /// The file that is there as long as the fence stands.
    pub fn marker(&self) -> PathBuf {
        self.0.with_file_name("fenced")
    }

    fn mark(&self, standing: bool) -> Result<(), FileError> {
        let marker = self.marker();
        match (standing, marker.exists()) {
            (true, true) | (false, false) => Ok(()),
            (true, false) => files::write(&marker, b""),
            (false, true) => files::remove(&marker),
        }
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
        assert_eq!(fence.set(By::Person).unwrap().generation, 1);
        assert!(fence.marker().exists());
        assert_eq!(fence.set(word("b")).unwrap().by, By::Person, "set again: left as it is");
        assert_eq!(fence.lift(By::Person).unwrap().generation, 1);
        assert!(!fence.marker().exists());
        assert_eq!(FenceFile::of(dir.path()).set(By::Person).unwrap().generation, 2);
    }

    #[test]
    fn a_coordinators_word_lifts_its_own_fence_only() {
        let dir = tempfile::tempdir().unwrap();
        let fence = FenceFile::of(dir.path());
        fence.set(word("it is old")).unwrap();
        assert!(!fence.lift_word(word("it may start")).unwrap().standing);
        fence.set(word("it is old")).unwrap();
        assert_eq!(fence.set(By::Person).unwrap().generation, 3, "a person's from now on");
        assert_eq!(fence.lift_word(word("it may start")).unwrap(), fence.read().unwrap());
        assert!(fence.read().unwrap().standing && fence.marker().exists());
    }

    #[test]
    fn who_sets_and_lifts_it_at_once_leaves_marker_and_file_agreed() {
        let dir = tempfile::tempdir().unwrap();
        let fence = FenceFile::of(dir.path());
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..25).for_each(|_| _ = fence.set(By::Person).unwrap()));
                scope.spawn(|| (0..25).for_each(|_| _ = fence.lift(word("w")).unwrap()));
            }
        });
        let last = fence.read().unwrap();
        assert_eq!(last.standing, fence.marker().exists());
        assert_eq!(fence.set(By::Person).unwrap().generation, last.generation + u64::from(!last.standing));
    }

    fn word(why: &str) -> By {
        By::Word(why.to_owned())
    }
}
