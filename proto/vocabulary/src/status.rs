//! Status: where an upgrade stands. Derived from its facts by the core, shown unchanged by the API, the command line and the log.

use crate::fact::Ending;
use crate::hold::HoldId;
use crate::order::Epoch;
use crate::phase::{Border, Stage};
use crate::plan::{PlanDigest, Strategy};
use crate::storage::{Losses, RecoveryPoint};
use crate::{
    AgentName, DeploymentName, Digest, Elapsed, Hold, InstanceName, LedgerName, OperatorName, OrderId, Timestamp,
    UpgradeId, Version,
};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a person said when they steered an upgrade.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Said {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub by: OperatorName,
    /// In their words; empty where they gave none.
    pub reason: String,
}

/// Where an upgrade stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Which upgrade.
    pub id: UpgradeId,
    /// Of which deployment.
    pub deployment: DeploymentName,
    /// By which plan.
    pub plan: PlanDigest,
    /// From which version.
    pub from: Version,
    /// To which version.
    pub target: Version,
    /// How.
    pub strategy: Strategy,
    /// In one word.
    pub state: State,
    /// Since when, and by whom started.
    pub started: (Timestamp, Option<OperatorName>),
    /// Every stage: those behind, the present one, those ahead.
    pub stages: Vec<StageStatus>,
    /// Why it is not moving, if something is awaited.
    pub waiting_for: Option<WaitingFor>,
    /// What it waits for a person to decide; the oldest first.
    pub holds: Vec<Hold>,
    /// Borders crossed.
    pub borders: Vec<(Border, Timestamp)>,
    /// Ledger by ledger.
    pub ledgers: Vec<LedgerStatus>,
    /// Recovery point of the system store.
    pub system: Option<RecoveryPoint>,
    /// Instance by instance.
    pub instances: Vec<InstanceStatus>,
    /// Why it went back, if it did.
    pub turned_back: Option<String>,
    /// Whether no new orders are given until it is resumed. A held upgrade may be paused as well.
    #[serde(default)]
    pub paused: bool,
    /// When somebody said that its recovery points are not needed any more.
    #[serde(default)]
    pub closed: Option<Timestamp>,
    /// Who touches the storage now. None from a coordinator of an older version.
    #[serde(default)]
    pub runner: Option<AgentName>,
    /// With downtime, once the first drain has begun: for how long clients have been shut out so far, and in all once one was
    /// let in again. By the wall clock of whoever led.
    #[serde(default)]
    pub downtime: Option<Elapsed>,
    /// Who paused it, and why; none while it is not paused.
    #[serde(default)]
    pub pause: Option<Said>,
    /// Who closed it, and why.
    #[serde(default)]
    pub close: Option<Said>,
    /// Who ended it by hand, and what they say became of it.
    #[serde(default)]
    pub end: Option<Said>,
    /// Number of the last fact.
    pub seq: u64,
    /// The leadership that wrote it.
    pub epoch: Epoch,
    /// When it ended.
    pub ended: Option<Timestamp>,
}

/// In one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Going on.
    Running,
    /// No new orders until it is resumed.
    Paused,
    /// Waits for a person.
    Held,
    /// Going back.
    GoingBack,
    /// All members answer on the target version.
    Completed,
    /// It went back before any data was touched.
    Aborted,
    /// It went back by restoring.
    RolledBack,
    /// A person took it over on a host, and it was closed.
    TakenOver,
    /// It was only to be rehearsed, and was: no instance was stopped, and nothing but copies was touched.
    Rehearsed,
}
impl State {
    /// Every state.
    pub const ALL: &[Self] = &[
        Self::Running,
        Self::Paused,
        Self::Held,
        Self::GoingBack,
        Self::Completed,
        Self::Aborted,
        Self::RolledBack,
        Self::TakenOver,
        Self::Rehearsed,
    ];
    /// The word for machines, as it is stored.
    pub fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Held => "held",
            Self::GoingBack => "going-back",
            Self::Completed => "completed",
            Self::Aborted => "aborted",
            Self::RolledBack => "rolled-back",
            Self::TakenOver => "taken-over",
            Self::Rehearsed => "rehearsed",
        }
    }
    /// Of an ending.
    pub fn of(ending: Ending) -> Self {
        match ending {
            Ending::Completed => Self::Completed,
            Ending::Aborted => Self::Aborted,
            Ending::RolledBack => Self::RolledBack,
            Ending::TakenOver => Self::TakenOver,
            Ending::Rehearsed => Self::Rehearsed,
        }
    }
    /// Whether nothing more will happen.
    pub fn ended(self) -> bool {
        match self {
            Self::Completed | Self::Aborted | Self::RolledBack | Self::TakenOver | Self::Rehearsed => true,
            Self::Running | Self::Paused | Self::Held | Self::GoingBack => false,
        }
    }
}
impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Held => "held",
            Self::GoingBack => "going back",
            Self::Completed => "completed",
            Self::Aborted => "aborted",
            Self::RolledBack => "rolled back",
            Self::TakenOver => "taken over",
            Self::Rehearsed => "rehearsed",
        })
    }
}

/// One stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageStatus {
    /// Its number.
    pub number: u16,
    /// What is done in it.
    pub stage: Stage,
    /// How often it was entered.
    pub run: u16,
    /// Steps done and steps in all, once entered.
    pub steps: (u32, u32),
    /// When it was last entered.
    pub entered: Option<Timestamp>,
    /// When its last step was done.
    pub left: Option<Timestamp>,
    /// What its failed attempts said.
    pub failures: Vec<String>,
}

/// Why an upgrade is not moving.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WaitingFor {
    /// For agents to carry out orders; where none is out, for the next attempts at steps that rest after a failed one.
    Orders {
        /// Those that are not settled, or are given next.
        orders: Vec<OrderId>,
        /// The oldest has been out for so long under this leader, or the longest rest has lasted so long.
        longest: Elapsed,
    },
    /// For agents to answer that withdrawn orders are settled.
    Settlement {
        /// Which.
        orders: Vec<OrderId>,
    },
    /// For a person.
    Decision {
        /// On which hold.
        hold: HoldId,
    },
    /// For a person to resume it.
    Resume,
    /// For an agent that is not connected.
    Agent {
        /// Which.
        agent: AgentName,
    },
}
impl fmt::Display for WaitingFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Orders { orders, longest } => match orders.as_slice() {
                [one] => write!(f, "{} of {} (for {longest})", one.phase, one.step.subject),
                many => write!(f, "{} orders (the oldest for {longest})", many.len()),
            },
            Self::Settlement { orders } => {
                write!(f, "agents to answer for {} withdrawn order(s)", orders.len())
            }
            Self::Decision { hold } => write!(f, "a person to decide hold {hold}"),
            Self::Resume => f.write_str("a person to resume it"),
            Self::Agent { agent } => write!(f, "agent {agent}, which is not connected"),
        }
    }
}

/// One ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerStatus {
    /// Its name.
    pub name: LedgerName,
    /// Its recovery point, once taken.
    pub point: Option<RecoveryPoint>,
    /// Root of its digest before.
    pub before: Option<Digest>,
    /// Root of its digest after, once proved.
    pub after: Option<Digest>,
    /// Whether its migration committed, and how long it took.
    pub migrated: Option<Elapsed>,
    /// For how long at least its migration has been going on, counted from the present leadership; none while it is not.
    #[serde(default)]
    pub migrating: Option<Elapsed>,
    /// How long its migration took on the copy: an estimate for the one in earnest, which has other lanes beside it.
    #[serde(default)]
    pub rehearsed: Option<Elapsed>,
    /// What was lost; empty before the proof.
    pub lost: Losses,
    /// Whether it was restored.
    pub restored: bool,
}

/// One instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceStatus {
    /// Its name.
    pub name: InstanceName,
    /// Its agent.
    pub agent: AgentName,
    /// When it was stopped.
    pub down: Option<Timestamp>,
    /// When it answered clients again, and with which version.
    pub up: Option<(Timestamp, Version)>,
    /// When it was told to stop, as long as nothing has proved it down: it may be up, down, or have ended badly.
    #[serde(default)]
    pub stopping: Option<Timestamp>,
}

/// What going back would mean now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WhatIf {
    /// Whether it is possible without loss.
    pub allowed: bool,
    /// What would happen, or why not; for people.
    pub meaning: String,
    /// By which stages.
    pub stages: Vec<Stage>,
    /// Which ledgers would be looked at and restored if they changed.
    pub ledgers: Vec<LedgerName>,
}
