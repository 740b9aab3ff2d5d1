//! The verdict on a path: the manual's word, what was measured and this storage side by side; the strictest holds.
//!
//! | asked | answered by |
//! |---|---|
//! | may this path be gone at all? | [`Verdict::standing`]: what blocks it, what a person must approve |
//! | must everything be down? | [`Verdict::downtime_required`]: exactly where nothing may roll |
//! | may it roll, and is there something to migrate first? | [`Verdict::rolling`] |
//! | what migrates? | [`Verdict::migrates`] |
//!
//! The rule, in the order in which it is applied:
//!
//! 1. A target that is not newer, that nobody should run, that is known to break this storage, or of which several writers
//!    would be left is blocked. So is one that works badly on what this storage records already.
//! 2. A path that the table does not name demands downtime. A person may approve it where the catalogue says so (from 1.4 on);
//!    elsewhere it is blocked, and the stops that the table does name are told.
//! 3. A path that the table names with downtime does not roll. Downtime where the table asks for none is always allowed.
//! 4. A path that it names without downtime rolls unless a measurement of the pair or a rule behind the measurements says what
//!    harm comes of it; and where the target has migrations that the storage or the present release lacks, only if the pair
//!    was measured to work or a rule covers it. What the storage lacks is then migrated first, explicitly.
//!
//! No version stands in this code: all of them are data, with their source.

mod path;
mod rolling;
mod stored;
mod words;

use crate::catalogue::{Catalogue, Locks, SideBySideResult};
use cutover_vocabulary::Version;
use cutover_vocabulary::finding::Source;
use cutover_vocabulary::plan::PathWords;
use cutover_vocabulary::storage::{Driver, Migrations};

pub use stored::Stored;

/// What a verdict is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question<'a> {
    /// The version that runs.
    pub from: &'a Version,
    /// The target.
    pub to: &'a Version,
    /// The kind of storage.
    pub driver: Driver,
    /// What each ledger of this storage records.
    pub recorded: &'a [Migrations],
    /// How many instances there will be.
    pub instances: usize,
    /// How they keep out of each other's way.
    pub locks: Locks,
}

/// The verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The three words, side by side, for people.
    pub words: PathWords,
    /// What no approval lifts.
    pub blocks: Vec<Reason<Obstacle>>,
    /// What a person must approve.
    pub approvals: Vec<Reason<Obstacle>>,
    /// What the target would change in this storage.
    pub stored: Stored,
    /// What runs the migrations.
    pub migrates: Migrates,
    /// Whether it may roll.
    pub rolling: Rolling,
}

/// Whether a path may be gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It may.
    Fine,
    /// With a person's approval.
    NeedsApproval,
    /// It may not.
    Blocked,
}

/// One reason, with what was seen and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason<W> {
    /// Which.
    pub why: W,
    /// Who says so.
    pub source: Source,
    /// What is known or was seen.
    pub evidence: String,
    /// What to do.
    pub remedy: String,
}

/// What stands in the way of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Obstacle {
    /// The target is not newer.
    NotNewer,
    /// The manual's table does not name the path.
    NotNamed,
    /// Nobody should run the target.
    BadRelease,
    /// Such upgrades fail, or leave a broken ledger.
    BrokenUpgrade,
    /// Several instances of the target would write, and it bears only one.
    SeveralWriters,
    /// This storage records migrations that neither the present release nor the target knows.
    StorageNewer,
    /// Nothing is known of one of the two releases.
    UnknownRelease,
}

/// Whether and how instances may be moved one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rolling {
    /// Not at all, for these reasons; everything must be down.
    Refused(Vec<Reason<Refusal>>),
    /// As it is: the target has nothing to migrate.
    AsItIs,
    /// After these migrations, run explicitly while the present version serves.
    MigrateFirst(Vec<u32>),
}

/// Why nothing may roll.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// The path itself is blocked.
    PathBlocked,
    /// The manual's table demands downtime.
    ManualDemandsDowntime,
    /// The manual's table does not name the path, which demands downtime.
    NotNamed,
    /// What comes of an old instance beside a new one: measured, or by a rule.
    Harm(SideBySideResult),
    /// The target has migrations that the storage or the present release lacks, and the pair was never measured.
    Unmeasured,
    /// It has such migrations and no command that would run them.
    NoCommands,
    /// A storage that one instance alone can use has nothing to roll.
    OneInstance,
}

/// What runs a target's migrations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Migrates {
    /// `storage scan`, `list` and `upgrade`.
    Commands,
    /// The first requests to one of its instances: it has no commands.
    FirstStart,
    /// Nobody knows: the release is not in the catalogue.
    Unknown,
}

impl Verdict {
    /// Whether the path may be gone.
    pub fn standing(&self) -> Standing {
        match (self.blocks.is_empty(), self.approvals.is_empty()) {
            (false, _) => Standing::Blocked,
            (true, false) => Standing::NeedsApproval,
            (true, true) => Standing::Fine,
        }
    }
    /// Whether everything must be down. Where not, it still may.
    pub fn downtime_required(&self) -> bool {
        match self.rolling {
            Rolling::Refused(_) => true,
            Rolling::AsItIs | Rolling::MigrateFirst(_) => false,
        }
    }
}

/// The verdict on a path. Pure: the same question of the same catalogue has the same answer.
pub fn verdict(catalogue: &Catalogue, question: &Question<'_>) -> Verdict {
    let stored = stored::of(catalogue, question);
    let path::Obstacles { blocks, approvals } = path::obstacles(catalogue, question, &stored);
    let migrates = match catalogue.release(question.to) {
        None => Migrates::Unknown,
        Some(facts) if facts.storage_commands => Migrates::Commands,
        Some(_) => Migrates::FirstStart,
    };
    Verdict {
        words: words::of(catalogue, question, &stored),
        rolling: rolling::of(catalogue, question, &stored, migrates, &blocks),
        blocks,
        approvals,
        stored,
        migrates,
    }
}
