//! A whole store in one file of JSON lines: to move it to another kind of store, or to keep it.
//!
//! | line | holds |
//! |---|---|
//! | `store`, the first | the form of the file, and the highest epoch that was given |
//! | `chunk` | evidence, with its digest |
//! | `fact` | one fact, as its text is stored: what later versions wrote is carried as it is |
//! | `upgrade` | after an upgrade's facts: where its chain ends |
//! | `document` | one document of the registry |
//! | `end`, the last | how many of each there are, and the SHA-256 of every byte before this line |
//!
//! What is not in it: nonces, by which a coordinator finds an append of its own whose answer it lost, and documents'
//! revisions, which only tell writers apart. Nobody who held either lives on.

mod export;
mod import;
mod line;
mod reader;

pub use export::export;
pub use import::import;
pub use line::Counts;
pub use reader::check;

use crate::{CoordinatorName, StoreError};
use cutover_vocabulary::{Epoch, UpgradeId};

/// How far above the exported epochs the new store begins. Whoever is started on the former store by mistake counts on from there,
/// and must never come up to the leaders of the new one: agents refuse it as long as it is below.
/// A shared etcd counts every write of anybody.
pub const GAP: u64 = 1 << 40;

/// What an archive holds, once all of it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archive {
    /// The highest epoch that its store had given.
    pub highest_epoch: Epoch,
    /// How much there is.
    pub counts: Counts,
    /// Over the lines between the first and the last: alike for two stores that hold the same.
    pub(crate) content: cutover_vocabulary::Digest,
}

/// A store could not be written to a file, or read from one.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// Somebody leads the store.
    #[error(
        "coordinator {by} leads this store: stop every coordinator on it first; one that died is waited for as long as its lease"
    )]
    Led {
        /// Who.
        by: CoordinatorName,
    },
    /// Another one began to lead meanwhile.
    #[error("another coordinator began to lead this store meanwhile: stop every coordinator on it, and begin again")]
    Deposed,
    /// The store has something in it.
    #[error(
        "this store is not empty ({counts}): import into a new one, as nothing is ever mixed; where an import was broken off, remove \
         what it left (SQLite: the file; etcd: everything below the prefix) and import again; nothing was changed"
    )]
    NotEmpty {
        /// What there is.
        counts: Counts,
    },
    /// A line of the file is not what it must be.
    #[error("line {line} of the archive: {why}; nothing was changed")]
    Line {
        /// Its number, from 1.
        line: u64,
        /// What is wrong with it.
        why: String,
    },
    /// A chain in the store does not hold.
    #[error("fact {seq} of upgrade {upgrade} breaks its chain: {why}; restore the store from its backup")]
    Chain {
        /// Which upgrade.
        upgrade: UpgradeId,
        /// Which fact.
        seq: u64,
        /// What is wrong with it.
        why: String,
    },
    /// What was read back is not what was written.
    #[error(
        "what the store holds after the import is not what the archive holds (it has {counts}): remove it and import again"
    )]
    Differs {
        /// What it holds.
        counts: Counts,
    },
    /// The store did not take something.
    #[error("the store did not take {what}: {why}; remove what was imported, and import again")]
    NotTaken {
        /// What.
        what: String,
        /// What it said.
        why: String,
    },
    /// The file could not be read or written.
    #[error("could not read or write the archive")]
    File(#[from] std::io::Error),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
