//! Plans: what an upgrade would do.

use crate::finding::{FindingCode, FindingSubject, Level, Source};
use crate::phase::{Phase, Stage};
use crate::release::Release;
use crate::storage::{LedgerSurvey, Losses, Migrations, StorageIdentity};
use crate::{
    AgentName, DeploymentName, Digest, Elapsed, Finding, InstanceName, LedgerName, OperatorName, Timestamp, Version,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// What an upgrade would do. `binding` is what is agreed to; `observed` is what was seen while it was made.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Plan {
    /// What the digest covers.
    pub binding: Binding,
    /// What may differ at the start without making the plan stale.
    pub observed: Observed,
}
impl Plan {
    /// Over the binding part.
    pub fn digest(&self) -> PlanDigest {
        PlanDigest(Digest::of_json(&self.binding))
    }
    /// The strictest level among the findings, and approve where a question waits for an answer; none without either.
    ///
    /// A rehearsal changes nothing that a person would have to agree to: there what needs approval is only good to know.
    pub fn level(&self) -> Option<Level> {
        let asked = (!self.binding.questions.is_empty()).then_some(Level::Approve);
        let strictest = self.binding.findings.iter().map(|finding| finding.level).chain(asked).max();
        match strictest {
            Some(Level::Approve) if self.binding.only_rehearses() => Some(Level::Info),
            other @ (Some(Level::Block | Level::Approve | Level::Info) | None) => other,
        }
    }
    /// Findings of one level, in the plan's order.
    pub fn findings(&self, level: Level) -> impl Iterator<Item = &Finding> {
        self.observed.findings.iter().filter(move |finding| finding.level == level)
    }
}

/// A plan's digest: what an approval and a start name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PlanDigest(pub Digest);
impl fmt::Display for PlanDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
impl fmt::Debug for PlanDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How the instances are moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// All down, migrate, all up: strategy A of the ledger's manual, and C where there is one instance.
    Downtime,
    /// One wave after the other: strategy B.
    Rolling,
    /// Brings instances that were away to what the others run: the storage is not touched, the others are not moved, and the way
    /// back leaves an instance down and fenced.
    Rejoin,
}

/// What is agreed to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Binding {
    /// Which deployment.
    pub deployment: DeploymentName,
    /// The lowest version that its members run.
    pub from: Version,
    /// The target.
    pub target: Release,
    /// How.
    pub strategy: Strategy,
    /// Who takes part.
    pub members: BTreeMap<InstanceName, Member>,
    /// Rejoin: the deployment's other instances, with their agents. They take no part and go on serving the target. Empty
    /// otherwise: there everybody takes part.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub beside: BTreeMap<InstanceName, AgentName>,
    /// Who touches the storage.
    pub runner: AgentName,
    /// Which storage.
    pub storage: StorageIdentity,
    /// The ledgers in it, each with the migrations it must record afterwards.
    pub ledgers: BTreeMap<LedgerName, Migrations>,
    /// What each may record before: what it does, and what the releases that run may add to it. Where one records more when its
    /// recovery point is taken, the former release cannot run on that. Empty in plans of older versions.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub before: BTreeMap<LedgerName, Migrations>,
    /// The very rows that the migration of each would lose, by their digest; whoever approves the plan has been shown these. Empty
    /// where it loses none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub lost: BTreeMap<LedgerName, Digest>,
    /// Whether the migration loses the known classes of rows.
    pub lossy: bool,
    /// Whether two of the target's migrations that begin at one moment can make each other fail at their end.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub collides: bool,
    /// Whether the target has no storage commands: then the first requests to a closed instance of it are the migration.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub first_start: bool,
    /// Whether nothing is known of the target's migrations. Then a ledger must record afterwards what its copy recorded when it was
    /// rehearsed, and `ledgers` says what it records now.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unknown_target: bool,
    /// Whether the target bears one writing instance: then nobody may join.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub one_writer: bool,
    /// Whether it bears several because each of them has the redis lock: then nobody may join without it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub redis_lock: bool,
    /// In which order.
    pub stages: Vec<Stage>,
    /// Rolling: which instances move together, in this order; the first is the canary. An instance that joins later moves with
    /// the last. Rejoin: one wave of all. Empty with downtime.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waves: Vec<Vec<InstanceName>>,
    /// What was noticed: codes, levels and subjects.
    pub findings: Vec<Noticed>,
    /// What a person must answer before it starts, in their own words: the questions of the preparations that apply.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub questions: BTreeMap<PreparationId, String>,
    /// How long things may take.
    pub limits: Limits,
}

impl Binding {
    /// Whether it ends before any instance is stopped and before anything but a copy is touched.
    pub fn only_rehearses(&self) -> bool {
        self.stages.last().is_some_and(|stage| stage.phase == Phase::Rehearse)
    }
}

/// A finding as far as it binds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Noticed {
    /// Its code.
    pub code: FindingCode,
    /// Its level.
    pub level: Level,
    /// Its subject.
    pub subject: FindingSubject,
}

/// One instance that takes part.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Member {
    /// Its agent.
    pub agent: AgentName,
    /// The version it runs; in a rejoin, of one that is down, the version it would start.
    pub version: Version,
    /// SHA-256 of that binary.
    pub binary: Digest,
    /// SHA-256 over its effective settings.
    pub settings: Digest,
}

/// How long things may take before a person is asked, and how often they are tried.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Limits {
    /// For connections to become idle and for a clean stop, each.
    pub drain: Elapsed,
    /// For any order but a migration.
    pub step: Elapsed,
    /// For one ledger's migration.
    pub migration: Elapsed,
    /// An agent that was not heard for this long is lost.
    pub agent_lost: Elapsed,
    /// Attempts at a step that fails in a transient way; between them it rests, longer each time.
    pub attempts: u16,
    /// How many ledgers migrate side by side.
    pub lanes: u16,
    /// Rolling: how many instances move together, once the canary has.
    #[serde(default = "one_at_a_time", skip_serializing_if = "is_one_at_a_time")]
    pub wave: u16,
    /// Rolling: how long old and new instances are watched after each wave.
    #[serde(default = "half_a_minute", skip_serializing_if = "is_half_a_minute")]
    pub bake: Elapsed,
}

// What facts say that do not name them; never to be changed, whatever the defaults below become.
const fn one_at_a_time() -> u16 {
    1
}
fn is_one_at_a_time(wave: &u16) -> bool {
    *wave == one_at_a_time()
}
const fn half_a_minute() -> Elapsed {
    Elapsed::from_secs(30)
}
fn is_half_a_minute(bake: &Elapsed) -> bool {
    *bake == half_a_minute()
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            drain: Elapsed::from_secs(30),
            step: Elapsed::from_secs(600),
            // Measured: 160,000 transactions take 18 minutes, and time grows with the square.
            migration: Elapsed::from_secs(24 * 3600),
            agent_lost: Elapsed::from_secs(30),
            attempts: 3,
            // A migration keeps one core busy, now the ledger's and now the server's.
            lanes: 4,
            // The others carry what it carried; one is the least that moves.
            wave: 1,
            bake: Elapsed::from_secs(30),
        }
    }
}

/// What was seen while the plan was made.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Observed {
    /// When.
    pub at: Timestamp,
    /// Every finding in full.
    pub findings: Vec<Finding>,
    /// The ledgers.
    pub ledgers: Vec<LedgerSurvey>,
    /// What is known of the path from the lowest version that runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathWords>,
    /// The release notes as far as they are known: which apply, which do not and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub preparations: Vec<Preparation>,
}

/// What the manual says of a path, what was measured, and what this storage shows; each a line with its source.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct PathWords {
    /// The manual's table, or a company's row of it.
    pub manual: Vec<String>,
    /// Measurements and the rules behind them.
    pub measured: Vec<String>,
    /// This storage.
    pub storage: Vec<String>,
}

/// Names a preparation: what an answer is given to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PreparationId(pub String);
impl fmt::Display for PreparationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One release note that asks for something to be done or looked at before an upgrade.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Preparation {
    /// Its name.
    pub id: PreparationId,
    /// What changes.
    pub note: String,
    /// What to do about it.
    pub remedy: String,
    /// Where the knowledge comes from.
    pub source: Source,
    /// How it stands.
    pub state: PreparationState,
}

/// How a preparation stands.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PreparationState {
    /// It does not apply.
    DoesNotApply {
        /// Why not.
        why: String,
    },
    /// Nothing is left to do.
    Done {
        /// Who looked, or who does it.
        how: String,
    },
    /// The check found something; the findings of these codes say what.
    Found {
        /// Which codes.
        codes: Vec<FindingCode>,
    },
    /// A person must answer.
    Asks {
        /// What.
        question: String,
    },
}

impl Observed {
    /// What a migration would lose of this ledger, as seen.
    pub fn losses(&self, ledger: &LedgerName) -> Option<&Losses> {
        self.ledgers.iter().find(|survey| survey.name == *ledger).map(|survey| &survey.losses)
    }
}

/// A person's agreement to a plan's findings of level approve.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Approval {
    /// To which plan.
    pub plan: PlanDigest,
    /// Who.
    pub by: OperatorName,
    /// When.
    pub at: Timestamp,
    /// In their words.
    pub reason: String,
    /// To which findings.
    pub findings: Vec<Noticed>,
    /// To losing exactly which rows: per ledger their number and the digest over them.
    pub losses: BTreeMap<LedgerName, ApprovedLosses>,
    /// Answers to the plan's questions.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub answers: BTreeMap<PreparationId, String>,
}

/// The rows of one ledger whose loss is approved.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ApprovedLosses {
    /// How many.
    pub count: u64,
    /// Over all of them.
    pub sha256: Digest,
}
