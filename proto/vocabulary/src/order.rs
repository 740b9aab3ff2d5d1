//! Orders: what an agent is asked to do.

use crate::release::StagedRelease;
use crate::served::Served;
use crate::storage::{Migrations, RecoveryItem, RecoveryPoint, StorageIdentity};
use crate::{AgentName, Digest, Elapsed, LedgerName, Phase, Subject, UpgradeId, Version, release::Release};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The number of a leadership; the fencing token. A higher one fences every lower one off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u64);
impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Which step of an upgrade. Stages are numbered through an upgrade, the way back included; a stage that is entered
/// again has the next run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StepId {
    /// The stage's number.
    pub stage: u16,
    /// How often the stage was entered, from 1.
    pub run: u16,
    /// What it is about.
    pub subject: Subject,
}

/// An order's name: the same for ever, whoever leads. Written `upgrade/stage.run/phase/subject/attempt`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct OrderId {
    /// Of which upgrade.
    pub upgrade: UpgradeId,
    /// Which step.
    pub step: StepId,
    /// The stage's phase, for people.
    pub phase: Phase,
    /// Which attempt at the step, from 1.
    pub attempt: u16,
}
/// By step first: orders of one upgrade are what is mostly compared, and there the upgrade's name only costs.
impl Ord for OrderId {
    #[inline]
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let Self { upgrade, step, phase, attempt } = self;
        step.cmp(&other.step)
            .then_with(|| attempt.cmp(&other.attempt))
            .then_with(|| phase.cmp(&other.phase))
            .then_with(|| upgrade.cmp(&other.upgrade))
    }
}
impl PartialOrd for OrderId {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl OrderId {
    /// A name for files and process groups: readable in front, unique by digest, safe in any file system.
    pub fn file_name(&self) -> String {
        let full = self.to_string();
        format!(
            "{}-{:02}.{}-{}-{}-{}",
            self.upgrade,
            self.step.stage,
            self.step.run,
            self.phase,
            self.attempt,
            Digest::of(full.as_bytes()).short()
        )
    }
}
impl fmt::Display for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let StepId { stage, run, subject } = &self.step;
        write!(f, "{}/{stage:02}.{run}/{}/{subject}/{}", self.upgrade, self.phase, self.attempt)
    }
}

/// What is to be done, with everything that shapes it frozen. No secret, no connection string, no command line.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Work {
    /// Instance: report what runs, what lies on disk, which storage it uses. Changes nothing.
    Inspect,
    /// Instance: have the release unpacked beside the present one, its digest checked before unpacking. Idempotent.
    StageRelease {
        /// Which release.
        release: Release,
    },
    /// Storage: copy it elsewhere, migrate the copy, start the target there with each instance's arguments. Touches
    /// nothing but the copy, which it removes.
    Rehearse {
        /// The staged target.
        target: StagedRelease,
        /// Which ledgers.
        ledgers: Vec<LedgerName>,
    },
    /// Instance: fence, out of rotation, wait for idle connections, stop. A stop that had to kill is a failure.
    Drain {
        /// How long to wait for connections to become idle, and then for a clean stop.
        patience: Elapsed,
        /// Whether what it would start now is never to be started again, by nobody: it is older than the storage.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        for_good: bool,
    },
    /// Instance: prove that it is down and fenced at this moment. Changes nothing.
    Attest,
    /// Storage: prove that nobody has it open, say what is in it. Changes nothing.
    AttestStorage {
        /// The storage that was planned for; any other is refused.
        storage: StorageIdentity,
    },
    /// Ledger or storage: take a recovery point and prove that it restores. Idempotent by upgrade and item.
    Secure {
        /// What to keep.
        item: RecoveryItem,
        /// The storage that was planned for; any other is refused.
        storage: StorageIdentity,
        /// Whether the target's migration loses the known classes.
        lossy: bool,
        /// Whether instances serve meanwhile: then a point is what was there at its moment, and a later write voids nothing.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        serving: bool,
    },
    /// Storage: `storage scan` and `storage list`; the list must name exactly `ledgers`.
    Register {
        /// The staged target.
        target: StagedRelease,
        /// What the list must name.
        ledgers: Vec<LedgerName>,
        /// The storage that was planned for; any other is refused.
        storage: StorageIdentity,
        /// Whether instances serve meanwhile; otherwise one on the storage is a stranger.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        serving: bool,
    },
    /// Ledger: `storage upgrade NAME`. Looks first: a ledger that records `expected` already is left in place.
    Migrate {
        /// The staged target.
        target: StagedRelease,
        /// The storage that was planned for; any other is refused.
        storage: StorageIdentity,
        /// Which migrations the ledger records afterwards.
        expected: Migrations,
        /// The mark of its recovery point: where writing stands elsewhere now, somebody wrote since the point was taken,
        /// and the order is refused with nothing changed. None: it cannot be compared.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mark: Option<String>,
        /// Whether it must not begin in the same moment as another ledger's: the plan's `collides`.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        apart: bool,
        /// Whether instances serve meanwhile; otherwise one on the storage is a stranger.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        serving: bool,
    },
    /// Ledger: compare what it holds with what it must hold. Changes nothing.
    Prove {
        /// The recovery point of this ledger: its `expected` digest decides, its copy explains a difference.
        point: Box<RecoveryPoint>,
        /// Which migrations it must record.
        expected: Migrations,
        /// Whether instances have served since the point was taken: then what it held must still be there, and what was written
        /// since may be there too.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        serving: bool,
    },
    /// Instance: make this release the one that starts. Idempotent.
    Switch {
        /// Which release.
        to: StagedRelease,
    },
    /// Instance: make the release that was there before the upgrade the one that starts. Idempotent.
    SwitchBack {
        /// Its version, checked.
        to: Version,
    },
    /// Instance: start a copy of the service on a loopback port of the agent's choice. Looks first.
    StartClosed {
        /// The staged target.
        target: StagedRelease,
        /// The storage that was migrated; a service that uses another one by now is refused: its first request would migrate that.
        /// None from an older coordinator.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        storage: Option<StorageIdentity>,
    },
    /// Instance: the closed copy has this version and reads these ledgers, the real port refuses; then end the copy.
    Verify {
        /// Expected version.
        version: Version,
        /// Ledgers to read; only these, because a read of an unknown name creates it.
        ledgers: Vec<LedgerName>,
    },
    /// Instance: unfence, start with its own arguments, wait until it answers, back into rotation. Idempotent.
    Open {
        /// The version that must answer.
        version: Version,
        /// The storage of the upgrade; a service that uses another one by now is refused. None from an older coordinator.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        storage: Option<StorageIdentity>,
    },
    /// Instance: it answers with this version and reads these ledgers, again and again for a while, and fails its clients no
    /// more often than it did. Changes no data.
    Bake {
        /// The version that must answer.
        version: Version,
        /// Ledgers to read; only these, because a read of an unknown name creates it.
        ledgers: Vec<LedgerName>,
        /// For how long.
        length: Elapsed,
        /// Whether it is taken out of rotation when it does not: the others serve.
        withdraw: bool,
        /// What it answered before anything was changed: failing requests must not become more frequent.
        #[serde(default, skip_serializing_if = "Served::is_nothing")]
        before: Served,
    },
    /// Ledger or storage: put back what the recovery point holds, if it changed. Idempotent; what was there is moved
    /// aside and kept.
    Restore {
        /// From where.
        point: Box<RecoveryPoint>,
        /// The storage that was planned for; any other is refused.
        storage: StorageIdentity,
        /// Whether the migration may have changed what it does not record, as the plan's `first_start` does.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        first_start: bool,
    },
}
/// One order to one agent. Its content hash is over its JSON; a known id with other content is refused.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Order {
    /// Its name.
    pub id: OrderId,
    /// Who is to do it.
    pub agent: AgentName,
    /// The deployment it concerns: an agent can speak for instances of several.
    pub deployment: crate::DeploymentName,
    /// What is to be done.
    pub work: Work,
}
impl Order {
    /// The content hash.
    pub fn content(&self) -> Digest {
        Digest::of_json(self)
    }
}
