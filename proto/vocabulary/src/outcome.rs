//! Outcomes: what came of an order.

use crate::release::StagedRelease;
use crate::served::Served;
use crate::storage::{Difference, LedgerDigest, Migrations, Opener, RecoveryPoint, StorageIdentity, StorageSession};
use crate::survey::LockStrategy;
use crate::{Digest, Elapsed, LedgerName, Timestamp, Version};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// What came of an order.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It was done, and this shows it. Whether it is proof enough, the core judges.
    Done(Evidence),
    /// It was not done.
    Failed(Failure),
}

/// What shows that an order was done.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Evidence {
    /// Of `Inspect`.
    Inspected(Inspection),
    /// Of `StageRelease`.
    Staged(StagedRelease),
    /// Of `Rehearse`.
    Rehearsed(Rehearsal),
    /// Of `Drain` and `Attest`: the instance is down, at that moment.
    Drained(DrainProof),
    /// Of `AttestStorage`.
    StorageAttested(StorageAttestation),
    /// Of `Secure`.
    Secured(Box<RecoveryPoint>),
    /// Of `Register`: what the list named.
    Registered {
        /// In the list's order.
        ledgers: Vec<LedgerName>,
    },
    /// Of `Migrate`.
    Migrated(Migrated),
    /// Of `Prove`.
    Proved(Proof),
    /// Of `Switch` and `SwitchBack`.
    Switched {
        /// SHA-256 of the binary that starts from now on.
        binary: Digest,
    },
    /// Of `StartClosed`.
    StartedClosed {
        /// Loopback address of the copy.
        address: String,
    },
    /// Of `Verify`.
    Verified {
        /// The version that answered.
        version: Version,
        /// The ledgers that were read.
        ledgers: Vec<LedgerName>,
    },
    /// Of `Open`: it answers clients.
    Opened {
        /// The version that answered.
        version: Version,
        /// When it first answered.
        at: Timestamp,
    },
    /// Of `Restore`.
    Restored(Restored),
    /// Of `Bake`: it answered and read every ledger all the while.
    Baked {
        /// The version that answered.
        version: Version,
        /// How often all of it was looked at.
        looks: u32,
        /// What it answered meanwhile, to clients and to the looks. Nothing from an older agent.
        #[serde(default, skip_serializing_if = "Served::is_nothing")]
        served: Served,
    },
}

/// What an instance looks like.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Inspection {
    /// The version that its HTTP API says; none when it does not answer.
    pub running: Option<Version>,
    /// The version of the binary that would start.
    pub on_disk: Option<Version>,
    /// SHA-256 of that binary.
    pub binary: Option<Digest>,
    /// Which storage its settings name.
    pub storage: StorageIdentity,
    /// SHA-256 over its effective settings, secrets included; says only whether they changed.
    pub settings: Digest,
    /// How it keeps out of the way of others. None from an older agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock: Option<LockStrategy>,
    /// What it answered lately, at most what the last mebibyte of its output tells. Nothing from an older agent.
    #[serde(default, skip_serializing_if = "Served::is_nothing")]
    pub served: Served,
}

/// What a rehearsal on a copy showed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Rehearsal {
    /// How long each ledger's migration took.
    pub took: Vec<(LedgerName, Elapsed)>,
    /// Differences that no known loss explains.
    pub differences: Vec<(LedgerName, Difference)>,
    /// How many there are, listed or not.
    pub difference_count: u64,
    /// What each ledger's copy recorded afterwards. Empty from an older agent.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub migrations: BTreeMap<LedgerName, Migrations>,
}

/// A proof that an instance is down. It ages: what is observed later voids it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DrainProof {
    /// Boot id of the host when it was given.
    pub boot: String,
    /// The agent's incarnation.
    pub incarnation: String,
    /// The fence's generation; a fence that was lifted and set again has another.
    pub fence: u64,
    /// How the process ended. None: it was not running when the agent first looked.
    pub ended: Option<CleanEnd>,
    /// Connections that were active when it was stopped: a request may have been in flight on each. Nought, or the drain failed.
    pub connections: u32,
    /// Connections that were idle then: kept open by a load balancer, with nothing in flight.
    #[serde(default, skip_serializing_if = "is_nought")]
    pub idle: u32,
    /// When this was seen.
    pub at: Timestamp,
    /// Whether something outside our daemons keeps the instance from starting. The process manager has no such guard.
    pub guarded: bool,
}

fn is_nought(number: &u32) -> bool {
    *number == 0
}

/// How a process ended that ended well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CleanEnd {
    /// Exit status 0.
    Exited,
    /// It is gone and the agent was not its parent, so its status cannot be known; it was gone within the patience
    /// after SIGTERM, and no SIGKILL was sent.
    Gone,
}

/// A proof that a storage is quiet, and what is in it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct StorageAttestation {
    /// Which storage was looked at.
    pub storage: StorageIdentity,
    /// The ledgers in it.
    pub ledgers: Vec<LedgerName>,
    /// Which migrations each records.
    pub migrations: Vec<(LedgerName, Migrations)>,
    /// Who has it open. Anybody here means that it is not quiet.
    pub openers: Vec<Opener>,
    /// Sessions on its database. Anybody here but a reader means that it is not quiet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sessions: Vec<StorageSession>,
    /// What could not be looked at. Not visible is not quiet.
    pub not_visible: Vec<String>,
    /// When this was seen.
    pub at: Timestamp,
}

/// What a migration command did to one ledger.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Migrated {
    /// False: it was in place already.
    pub changed: bool,
    /// What the ledger records now.
    pub migrations: Migrations,
    /// How long the command took.
    pub took: Elapsed,
}

/// A ledger compared with what it must hold.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Proof {
    /// What it holds.
    pub digest: LedgerDigest,
    /// What it records.
    pub migrations: Migrations,
    /// Every difference that the approved losses do not explain, at most `LISTED_ROWS`.
    pub differences: Vec<Difference>,
    /// How many there are, listed or not.
    pub difference_count: u64,
    /// Where the migrated storage disagrees with itself.
    pub inconsistencies: Vec<String>,
}

/// One item put back.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Restored {
    /// False: it had not changed, and was left alone.
    pub changed: bool,
    /// Where what was there lies now.
    pub moved_to: Option<String>,
    /// What it holds now; none for the system store.
    pub digest: Option<LedgerDigest>,
    /// What could not be made again of what others built on it, for people.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// Why an order was not done.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Failure {
    /// What kind of failure, for rules.
    pub kind: FailureKind,
    /// What was tried, on what, and what happened, for people.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
    /// What is known of the effect.
    pub effect: Effect,
}
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.message)
    }
}

/// Kinds of failure that the core's rules tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureKind {
    /// The same again may pass: a lock, a collision, a full connection table.
    Transient,
    /// What the order relies on does not hold: another storage, another binary, a missing release.
    Refused,
    /// The work itself said no: a migration error, a full disk, a corrupt file.
    Failed,
    /// A stop needed more than SIGTERM, or the process ended badly: requests may have been cut.
    Unclean,
    /// A stop did not stop it, or another process took its port: nothing was killed, and whoever runs there may write.
    StillRuns,
    /// The worker vanished without a result: killed, or the machine went down.
    Interrupted,
    /// It took longer than the order allows and was stopped.
    TimedOut,
}

/// What is known of the effect of work that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// Nothing was changed.
    None,
    /// Something may have been changed; a look decides.
    Unknown,
}
