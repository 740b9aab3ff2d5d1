//! Holds: an upgrade waits for a person.

use crate::storage::{Difference, Opener, StorageIdentity, StorageSession};
use crate::{AgentName, Digest, Failure, InstanceName, LedgerName, OrderId, Phase, Timestamp};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A hold's number within its upgrade. A decision names it, so that an answer to an old question is never taken for
/// one to a new question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HoldId(pub u32);
impl fmt::Display for HoldId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The upgrade waits for a person.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Hold {
    /// Its number.
    pub id: HoldId,
    /// Why.
    pub reason: HoldReason,
    /// In which phase.
    pub phase: Phase,
    /// Since when.
    pub since: Timestamp,
    /// What can be chosen, and what each costs. Never empty.
    pub choices: Vec<Offer>,
}
impl Hold {
    /// Whether this hold offers that choice.
    pub fn offers(&self, choice: Choice) -> bool {
        self.choices.iter().any(|offer| offer.choice == choice)
    }
}

/// One thing that can be chosen.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Offer {
    /// The choice.
    pub choice: Choice,
    /// What it means here and what it costs, for people.
    pub cost: String,
}

/// What a person can decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Choice {
    /// Try again what failed, beginning with a fresh look.
    Retry,
    /// Accept what was found, and go on.
    Accept,
    /// Wait longer.
    Wait,
    /// Go back while no data was touched.
    Abort,
    /// Go back by restoring the ledgers that were migrated.
    Rollback,
}
impl Choice {
    /// The word on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Accept => "accept",
            Self::Wait => "wait",
            Self::Abort => "abort",
            Self::Rollback => "rollback",
        }
    }
    /// Every choice.
    pub const ALL: &[Self] = &[Self::Retry, Self::Accept, Self::Wait, Self::Abort, Self::Rollback];
}
impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}
impl std::str::FromStr for Choice {
    type Err = crate::phase::UnknownWord;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.iter().copied().find(|c| c.word() == text).ok_or_else(|| crate::phase::UnknownWord(text.to_owned()))
    }
}

/// Why an upgrade holds. Shown unchanged by the API, the command line and the log.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HoldReason {
    /// A step failed, and the machine may not decide alone what follows.
    StepFailed {
        /// Which order.
        order: OrderId,
        /// How.
        failure: Failure,
    },
    /// An instance had to be killed or ended badly: requests may have been cut, so it does not pass as drained.
    UncleanStop {
        /// Which instance.
        instance: InstanceName,
        /// How.
        failure: Failure,
    },
    /// Somebody else has the storage open, or we cannot see whether.
    Strangers {
        /// Who.
        openers: Vec<Opener>,
        /// What could not be looked at.
        not_visible: Vec<String>,
        /// Sessions on its database.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        sessions: Vec<StorageSession>,
        /// Which storage they are on: where somebody goes who ends them. None in facts of an older Cutover.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        storage: Option<StorageIdentity>,
    },
    /// Something that the plan froze is different now.
    PlanDrifted {
        /// What, each with before and now.
        changes: Vec<String>,
    },
    /// The storage is not the one that was planned for.
    OtherStorage {
        /// Planned.
        planned: StorageIdentity,
        /// Found.
        found: StorageIdentity,
    },
    /// The ledgers in the storage are not those of the plan.
    LedgersChanged {
        /// In the storage, not in the plan.
        appeared: Vec<LedgerName>,
        /// In the plan, not in the storage.
        vanished: Vec<LedgerName>,
    },
    /// The migration would lose other rows than were approved.
    LossesChanged {
        /// Of which ledger.
        ledger: LedgerName,
        /// How many rows were approved.
        approved: u64,
        /// How many would be lost now.
        now: u64,
        /// Digest of the rows that would be lost now; accepting binds to it.
        sha256: Option<Digest>,
    },
    /// The migration changed what it must not change, in a way that no approved loss explains.
    UnexplainedDifferences {
        /// Of which ledger.
        ledger: LedgerName,
        /// The first ones.
        differences: Vec<Difference>,
        /// How many.
        count: u64,
    },
    /// The migrated storage disagrees with itself, or records other migrations than it should.
    Inconsistent {
        /// Of which ledger.
        ledger: LedgerName,
        /// How.
        what: Vec<String>,
    },
    /// An agent that has an order, or is asked next, has not been heard for a while. Silence settles nothing.
    AgentLost {
        /// Which agent.
        agent: AgentName,
        /// Its unsettled orders.
        orders: Vec<OrderId>,
        /// When it was last heard; none when this leader never heard it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        heard: Option<Timestamp>,
        /// The members that it speaks for.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        members: Vec<InstanceName>,
    },
    /// An order takes longer than expected. Nothing was stopped.
    Overdue {
        /// Which order.
        order: OrderId,
    },
    /// An instance that was proved down was seen up.
    ProofVoided {
        /// Which instance.
        instance: InstanceName,
        /// What was seen.
        seen: String,
    },
    /// An instance of this deployment, on the same storage, that is no member was seen.
    InstanceAppeared {
        /// Which instance.
        instance: InstanceName,
        /// The agent that speaks for it.
        agent: AgentName,
        /// What was seen of it.
        seen: String,
    },
    /// A person on the host took the upgrade out of our hands.
    TakenOver {
        /// Which agent.
        agent: AgentName,
        /// What they noted.
        note: String,
    },
}
