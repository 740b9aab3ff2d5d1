//! What comes in: what the coordinator learnt, what operators ask, and why an input may change nothing.

use super::state::Happened;
use cutover_vocabulary::fact::Settlement;
use cutover_vocabulary::hold::{Choice, HoldId};
use cutover_vocabulary::instance::InstanceReport;
use cutover_vocabulary::link::Refusal;
use cutover_vocabulary::{AgentName, InstanceName, OperatorName, OrderId, Outcome, RequestId, Timestamp};

/// What the coordinator learnt since it last decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// An operator's call.
    Asked {
        /// Who.
        by: OperatorName,
        /// Which call; the same again changes nothing.
        request: RequestId,
        /// What.
        ask: Ask,
    },
    /// An agent's outcome; that its content hash is the order's, the caller checked.
    Outcome {
        /// From whom.
        agent: AgentName,
        /// Of which order.
        order: OrderId,
        /// What came of it.
        outcome: Outcome,
    },
    /// An agent's answer to a revoke.
    Revoked {
        /// From whom.
        agent: AgentName,
        /// Which order.
        order: OrderId,
        /// What became of it.
        settlement: Settlement,
    },
    /// An agent refused an order; it has not begun it.
    Refused {
        /// From whom.
        agent: AgentName,
        /// Which order.
        order: OrderId,
        /// Why.
        why: Refusal,
    },
    /// Telemetry. Satisfies nothing; may void a proof.
    Observed {
        /// From whom.
        agent: AgentName,
        /// What was seen.
        report: InstanceReport,
    },
    /// An agent speaks for an instance of this deployment that is no member.
    Appeared {
        /// Which agent.
        agent: AgentName,
        /// What was seen of the instance.
        report: InstanceReport,
    },
    /// An agent has not been heard for as long as the plan allows.
    Silent {
        /// Which.
        agent: AgentName,
        /// When it was last heard; none when this leader never heard it.
        heard: Option<Timestamp>,
    },
    /// An agent is heard again.
    Heard {
        /// Which.
        agent: AgentName,
    },
    /// A person on a host took the upgrade over.
    TakenOver {
        /// On whose host.
        agent: AgentName,
        /// What they noted.
        note: String,
    },
    /// Time passed.
    Tick,
}

/// What an operator can ask of an upgrade.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// Decide a hold.
    Decide {
        /// Which.
        hold: HoldId,
        /// How.
        choice: Choice,
        /// In their words.
        reason: String,
    },
    /// Go back while no data was touched.
    Abort {
        /// In their words.
        reason: String,
    },
    /// Go back by restoring.
    Rollback {
        /// In their words.
        reason: String,
    },
    /// Stop at the next safe point.
    Pause {
        /// In their words; may be empty.
        reason: String,
    },
    /// Go on.
    Resume {
        /// In their words; may be empty.
        reason: String,
    },
    /// The recovery points are not needed any more; and the end of an upgrade that a person took over.
    Close {
        /// In their words; needed where it ends the upgrade.
        reason: String,
    },
    /// Let an instance go that is gone for good. That its agent is not connected, the caller made sure.
    Excuse {
        /// Which.
        instance: InstanceName,
        /// In their words.
        reason: String,
        /// What shows that nobody of it is at work on the storage, in their words.
        evidence: String,
    },
}

/// Why an input changed nothing. Meant to be shown to whoever sent it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// No such order was ever given.
    #[error("this upgrade never gave order {0}")]
    UnknownOrder(OrderId),
    /// The order was given to another agent.
    #[error("order {order} was given to agent {to}, not to {from}")]
    OtherAgent {
        /// Which order.
        order: OrderId,
        /// To whom it was given.
        to: AgentName,
        /// Who answered.
        from: AgentName,
    },
    /// It takes no part, and never did.
    #[error("agent {0} has no part in this upgrade, so nothing of it was taken over on its host")]
    Stranger(AgentName),
    /// No such hold is open.
    #[error("hold {0} is not open; see `status` for what the upgrade waits for now")]
    NoSuchHold(HoldId),
    /// The hold does not offer that choice.
    #[error("hold {hold} does not offer {choice}; it offers {offered}")]
    NotOffered {
        /// Which hold.
        hold: HoldId,
        /// What was chosen.
        choice: Choice,
        /// What it offers.
        offered: String,
    },
    /// It has ended.
    #[error("the upgrade has ended")]
    Ended,
    /// It has not ended.
    #[error("the upgrade has not ended; it can be closed once it has")]
    NotEnded,
    /// There is no way back without loss.
    #[error(
        "clients may have written to the new version since it was opened; going back would lose what they wrote, \
         so it is refused"
    )]
    OpenedAlready,
    /// It goes back already.
    #[error("the upgrade goes back already: {0}")]
    GoesBackAlready(String),
    /// Abort means something else from here on.
    #[error(
        "the storage may have been migrated already, or clients let in: ask for `rollback`; `--what-if` says what it means here"
    )]
    MigratedAlready,
    /// Nothing was migrated.
    #[error("no data was touched yet: ask for `abort`, which only lets the instances in again")]
    NothingMigrated,
    /// Orders must be settled first.
    #[error("{0} order(s) are still out; wait until they are settled")]
    OrdersOut(usize),
    /// An instance leaves only with evidence.
    #[error(
        "{0} is excused only with a reason and with evidence that nobody of it is at work on the storage: what its agent \
         was asked counts as settled from then on"
    )]
    NoEvidence(InstanceName),
    /// It takes no part.
    #[error("{0} is no member of this upgrade")]
    NoSuchMember(InstanceName),
    /// Nobody would be left.
    #[error("{0} is the last member of this upgrade: there would be nothing left to upgrade")]
    LastMember(InstanceName),
    /// The runner cannot be replaced now.
    #[error("agent {agent} touches the storage in this upgrade and nobody can take its place: {why}")]
    RunnerNeeded {
        /// Which agent.
        agent: AgentName,
        /// Why not.
        why: &'static str,
    },
    /// Ending it by hand needs a reason.
    #[error("a person took this upgrade over; to end it, say in a reason what became of it")]
    NoReason,
    /// It is paused or running already, or closed already.
    #[error("nothing to do: {0}")]
    NothingToDo(&'static str),
}

/// What comes of inputs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Decision {
    /// To be stored, in this order, in one batch; then to be applied.
    pub facts: Vec<Happened>,
    /// For each input, in their order: the reason why it changed nothing, if so. A call or outcome that was carried out
    /// before is not rejected; it just changes nothing.
    pub rejected: Vec<Option<Rejected>>,
}
