//! What agents and coordinators say to each other.

use crate::fact::Settlement;
use crate::instance::InstanceReport;
use crate::order::Epoch;
use crate::survey::{HostSurvey, SurveyAsk};
use crate::{AgentName, DeploymentName, Digest, InstanceName, Order, OrderId, Outcome, RequestId, UpgradeId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// From an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum AgentMessage {
    /// The first message of a link.
    Hello(Hello),
    /// Telemetry; may be dropped.
    Report(Vec<InstanceReport>),
    /// An outcome; sent again until it is acknowledged.
    Outcome {
        /// Of which order.
        order: OrderId,
        /// That order's content hash.
        content: Digest,
        /// What came of it.
        outcome: Outcome,
    },
    /// An answer to a revoke; sent again until it is acknowledged.
    Revoked {
        /// Which order.
        order: OrderId,
        /// What became of it.
        settlement: Settlement,
    },
    /// An order was refused before it was begun; it is not in the journal.
    Refused {
        /// Which order.
        order: OrderId,
        /// Why.
        why: Refusal,
    },
    /// An answer to a survey.
    Surveyed {
        /// Which survey.
        request: RequestId,
        /// What was seen.
        survey: Box<HostSurvey>,
    },
    /// A person on this host took the upgrade out of our hands.
    TakenOver {
        /// Which upgrade.
        upgrade: UpgradeId,
        /// What they noted.
        note: String,
    },
}

/// The first message of a link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Who speaks.
    pub agent: AgentName,
    /// Made with the agent's journal: another one means another journal.
    pub incarnation: String,
    /// Machine id of the host.
    pub machine: String,
    /// Boot id of the host.
    pub boot: String,
    /// The highest epoch the agent has seen.
    pub epoch: Epoch,
    /// Orders begun and not acknowledged, with their content hashes.
    pub in_hand: Vec<(OrderId, Digest)>,
    /// Its instances.
    pub instances: Vec<InstanceReport>,
    /// It keeps a link to a coordinator that follows. Agents before this one did not.
    #[serde(default)]
    pub stands_by: bool,
    /// Of each deployment the last upgrade that it accepted an order of: a store that was restored may not know it.
    #[serde(default)]
    pub newest: BTreeMap<DeploymentName, UpgradeId>,
}

/// Why an agent refuses an order.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// It was sent under an older leadership.
    #[error("sent under epoch {sent}, but epoch {known} is known here")]
    OldEpoch {
        /// Of the message.
        sent: Epoch,
        /// Known here.
        known: Epoch,
    },
    /// Its id is known with other content.
    #[error("this id is known here with other content")]
    OtherContent,
    /// It is addressed to another agent, or concerns an instance that is not here.
    #[error("it does not concern this host: {0}")]
    NotHere(String),
    /// It was revoked before.
    #[error("it was revoked here before")]
    RevokedBefore,
    /// It must not run beside an order that is in hand.
    #[error("it must not run beside {0}")]
    Conflicts(String),
    /// A person took the upgrade over on this host.
    #[error("a person took this upgrade over on this host: {0}")]
    TakenOver(String),
}

/// Whatever comes over a link: from the coordinator that leads, or from one that follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// It leads, under the epoch that the message carries.
    Leader(CoordinatorMessage),
    /// It does not: what it says is of no account for orders.
    Follower(Standby),
}

/// What a coordinator says that follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standby {
    /// It follows this leader; none while nobody leads.
    Following(Option<Followed>),
    /// It leads from now on: attach anew.
    Leading,
}

/// Who leads, as a coordinator says that follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Followed {
    /// The leader's name, for people.
    pub leader: String,
    /// The number of its leadership.
    pub epoch: Epoch,
}

/// From the coordinator that leads. Every message carries the epoch it was sent under.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CoordinatorMessage {
    /// Under which leadership.
    pub epoch: Epoch,
    /// What is said.
    pub say: Say,
}

/// What a coordinator says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Say {
    /// The answer to a hello.
    Welcome,
    /// Please do this.
    Do(Box<Order>),
    /// Please do not, or stop.
    Revoke(OrderId),
    /// The outcome or the answer to a revoke is stored; it need not be sent again.
    Acknowledge(OrderId),
    /// Please look.
    Survey {
        /// Which survey.
        request: RequestId,
        /// At what.
        ask: SurveyAsk,
    },
    /// Which of the agent's instances may be started by whoever starts them: after a boot, units wait for it.
    Permits(BTreeMap<InstanceName, Permit>),
}

/// Whether an instance that is down may be started, by what is known of its deployment. Says nothing against one that runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Permit {
    /// Nothing speaks against it.
    Start,
    /// It would start another release than its deployment is to run, or nobody counts with it.
    Stay {
        /// Why, and what to do; for people.
        why: String,
    },
}
