//! The pure desk of an agent: which order is accepted, refused, adopted, revoked, acknowledged.
//!
//! Event in, actions out. The caller carries the actions out in the order given and makes every [`Action::Journal`]
//! durable before it touches the next one; then nothing is begun or sent that a power cut could make us forget.
//! The desk reads no clock and draws no random number. Its state compares and hashes, so that a model checker can walk it.

mod conflict;
mod desk;
mod entry;
mod fold;
mod judge;
mod known;

pub use desk::Desk;
pub use entry::{Entry, REMEMBERED_UPGRADES};
pub use fold::KEPT_UPGRADES;

use cutover_vocabulary::instance::InstanceReport;
use cutover_vocabulary::link::{AgentMessage, CoordinatorMessage, Permit};
use cutover_vocabulary::{AgentName, DeploymentName, Epoch, InstanceName, Order, OrderId, Outcome, UpgradeId};
use std::collections::BTreeMap;

/// Whose desk it is: what may be addressed to it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Host {
    /// The agent's name.
    pub agent: AgentName,
    /// The instances of this host, each with its deployment.
    pub instances: BTreeMap<InstanceName, DeploymentName>,
}

/// What the first message of a link says beside what the desk knows; see [`Desk::hello`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Greeting {
    /// Made with the agent's journal.
    pub incarnation: String,
    /// Machine id of the host.
    pub machine: String,
    /// Boot id of the host.
    pub boot: String,
    /// Its instances as they look now.
    pub instances: Vec<InstanceReport>,
}

/// What the desk is told.
#[expect(clippy::large_enum_variant, reason = "handled one at a time, never kept in numbers")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A coordinator spoke, over whichever link. From a welcome on, its link is the one that is spoken over, unless a higher
    /// epoch is known. Surveys pass the desk by; of such a message only the epoch counts here.
    ///
    /// Coordinators that follow are not the desk's business: links to them come and go without it.
    Heard(CoordinatorMessage),
    /// The work of an order that was begun has ended.
    Finished {
        /// Which order.
        order: OrderId,
        /// What came of it.
        outcome: Outcome,
    },
    /// The link that was welcomed last is gone. What was sent over it may or may not have arrived.
    LinkDown,
    /// Time to repeat what is not acknowledged: whoever heard it may not have been able to store it.
    Remind,
    /// A person on this host takes an upgrade out of our hands.
    TakenOver {
        /// Which upgrade.
        upgrade: UpgradeId,
        /// What they noted.
        note: String,
    },
    /// Somebody else on this host (the break-glass command) put this into the journal; it is durable already.
    FoundInJournal(Entry),
}

/// What is to be done, strictly in the order given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Make this durable (fsync) before any action that follows.
    Journal(Entry),
    /// Begin the order, or adopt what is left of it.
    Begin {
        /// The order.
        order: Box<Order>,
        /// It was revoked before a restart: ask for the stop before the work is called, so that it only looks, adopts
        /// and ends.
        stopping: bool,
    },
    /// Ask the order's work to end as soon as it safely can. It still answers with an outcome.
    Stop(OrderId),
    /// Send this over the link that was welcomed last. Where that fails nothing is lost: what matters is sent again until
    /// acknowledged.
    Send(AgentMessage),
    /// Send this over the link on which came what is answered, and over no other: it is for a leader of the past, and the present
    /// one would take it for an answer to itself.
    SendBack(AgentMessage),
    /// Carry out the newest word on what may be started, behind what was said before. Nothing of it is durable: it is said again on
    /// every link.
    Permitted {
        /// Under which leadership it was said.
        epoch: Epoch,
        /// What was said.
        permits: BTreeMap<InstanceName, Permit>,
    },
    /// End the link on which this welcome came: its coordinator leads under an older epoch than is known.
    TurnAway {
        /// The epoch of that welcome.
        welcomed: Epoch,
        /// The highest epoch that is known.
        known: Epoch,
    },
}
