//! Facts: what happened, stored for good. An upgrade is the fold of its facts.
//!
//! The rule of this file: fields are only added, with defaults; new meaning is a new variant; a variant is never renamed
//! or removed. One golden file a variant stands guard (`coordinator/core/tests/golden`).

use crate::hold::{Choice, Hold, HoldId};
use crate::order::{Epoch, StepId};
use crate::phase::{Border, Stage};
use crate::plan::{Approval, Member, Plan};
use crate::{
    AgentName, Digest, Elapsed, Evidence, Failure, InstanceName, OperatorName, Order, OrderId, Outcome, RequestId,
    Timestamp,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Who caused a fact.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// A person or a tool that called the API.
    Operator {
        /// Who.
        name: OperatorName,
        /// With which call; the same call again changes nothing.
        request: RequestId,
        /// Why, in their words, where the fact itself does not hold them. Empty: nothing was said, or an older Cutover wrote it.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        reason: String,
    },
    /// An agent's message.
    Agent(AgentName),
    /// The machine itself: a barrier was reached, a deadline passed.
    Machine,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fact {
    /// The plan was started. From here its members, storage, release and approvals are frozen.
    Started {
        /// The plan. Shared: folding it costs nothing.
        plan: Arc<Plan>,
        /// The approval, where the plan needed one.
        approval: Option<Approval>,
    },
    /// A stage was entered.
    StageEntered {
        /// Its number.
        number: u16,
        /// How often it was entered, this time included.
        run: u16,
        /// Which stage.
        stage: Stage,
    },
    /// A border was crossed: an authorisation, stored before any order that needs it leaves.
    BorderCrossed {
        /// Which.
        border: Border,
    },
    /// An order exists from now on, until it is settled.
    AttemptOpened {
        /// The order, frozen.
        order: Arc<Order>,
    },
    /// A step was done; its order is settled.
    StepSucceeded {
        /// Which order.
        order: OrderId,
        /// What shows it.
        evidence: Evidence,
    },
    /// A step was done, but what shows it is not enough or shows something that a person must see; its order is settled,
    /// the step is not done.
    EvidenceRefused {
        /// Which order.
        order: OrderId,
        /// What was shown.
        evidence: Evidence,
    },
    /// An attempt failed; its order is settled.
    StepFailed {
        /// Which order.
        order: OrderId,
        /// How.
        failure: Failure,
    },
    /// An order is being withdrawn; it stays unsettled until its agent answers.
    RevokeAsked {
        /// Which order.
        order: OrderId,
    },
    /// An agent answered a revoke; the order is settled.
    Revoked {
        /// Which order.
        order: OrderId,
        /// What the agent did with it.
        settlement: Settlement,
    },
    /// An outcome that came after its order was settled; kept, because it may show an effect.
    LateOutcome {
        /// Which order.
        order: OrderId,
        /// What came of it.
        outcome: Outcome,
    },
    /// The upgrade waits for a person.
    Held {
        /// Why, and what can be chosen.
        hold: Box<Hold>,
    },
    /// A person decided.
    HoldDecided {
        /// Which hold.
        hold: HoldId,
        /// What.
        choice: Choice,
        /// In their words.
        reason: String,
    },
    /// A hold's cause went away by itself.
    HoldLifted {
        /// Which hold.
        hold: HoldId,
    },
    /// Something was seen that contradicts an instance's proof of being down.
    ProofVoided {
        /// Which instance.
        instance: InstanceName,
        /// What was seen.
        seen: String,
    },
    /// An instance that appeared while the upgrade ran takes part from here on.
    MemberJoined {
        /// Which instance.
        instance: InstanceName,
        /// What its inspection showed: what a way back makes of it again.
        member: Member,
    },
    /// An instance takes no part any more. The only way for one to leave. Its agent's unsettled orders about it are settled
    /// by this: a person declared, with evidence from the storage's side, that nobody works on them any more.
    MemberExcused {
        /// Which instance.
        instance: InstanceName,
        /// Why, in the operator's words; who it was is in the envelope.
        reason: String,
        /// What shows that nobody of it is at work on the storage, in their words.
        evidence: String,
    },
    /// The runner was excused: another agent touches the storage from here on. Recovery points that lie on the former
    /// runner's host are none any more.
    RunnerChosen {
        /// Which agent.
        agent: AgentName,
    },
    /// From here the upgrade goes back: by the stages given.
    TurnedBack {
        /// Why, for people.
        why: String,
        /// The way back.
        stages: Vec<Stage>,
    },
    /// No new orders until it is resumed.
    Paused,
    /// Orders are given again.
    Resumed,
    /// The end.
    Ended {
        /// Which.
        ending: Ending,
        /// An operator's words, where one ended it. Orders that were not settled are settled by this: they declared it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// An operator said that the recovery points are not needed any more. Only outcomes that come late follow it.
    Closed,
}

impl Fact {
    /// The variant's name as it is stored.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Started { .. } => "started",
            Self::StageEntered { .. } => "stage-entered",
            Self::BorderCrossed { .. } => "border-crossed",
            Self::AttemptOpened { .. } => "attempt-opened",
            Self::StepSucceeded { .. } => "step-succeeded",
            Self::EvidenceRefused { .. } => "evidence-refused",
            Self::StepFailed { .. } => "step-failed",
            Self::RevokeAsked { .. } => "revoke-asked",
            Self::Revoked { .. } => "revoked",
            Self::LateOutcome { .. } => "late-outcome",
            Self::Held { .. } => "held",
            Self::HoldDecided { .. } => "hold-decided",
            Self::HoldLifted { .. } => "hold-lifted",
            Self::ProofVoided { .. } => "proof-voided",
            Self::MemberJoined { .. } => "member-joined",
            Self::MemberExcused { .. } => "member-excused",
            Self::RunnerChosen { .. } => "runner-chosen",
            Self::TurnedBack { .. } => "turned-back",
            Self::Paused => "paused",
            Self::Resumed => "resumed",
            Self::Ended { .. } => "ended",
            Self::Closed => "closed",
        }
    }
}

/// What an agent did with an order that was revoked.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Settlement {
    /// It was never begun, and never will be.
    NeverBegun,
    /// It was stopped; what is known of its effect is in the failure.
    Stopped(Failure),
    /// It had finished.
    Finished(Outcome),
}

/// How an upgrade ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// All members answer on the target version.
    Completed,
    /// It went back before any data was touched.
    Aborted,
    /// It went back by restoring.
    RolledBack,
    /// A person took it over on a host, and another closed it: what became of it is theirs to know.
    TakenOver,
    /// It was only to be rehearsed, and was: no instance was stopped, and nothing but copies was touched.
    Rehearsed,
}

/// A fact as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Recorded {
    /// Version of this envelope.
    pub v: u16,
    /// Position in the upgrade, from 1, without gaps.
    pub seq: u64,
    /// When, by the leader's wall clock; for people.
    pub at: Timestamp,
    /// Under which leadership.
    pub epoch: Epoch,
    /// How long that leadership had lasted; deadlines count from here.
    pub leading_for: Elapsed,
    /// Who caused it.
    pub by: Cause,
    /// [`Recorded::hash`] of the fact before; of the first, the digest of nothing.
    pub prev: Digest,
    /// What happened.
    pub fact: Fact,
}
impl Recorded {
    /// Present version of the envelope.
    pub const V: u16 = 1;
    /// What the next fact's `prev` must be.
    pub fn hash(&self) -> Digest {
        Digest::of_json(self)
    }
    /// Which step a fact concerns, if one.
    pub fn step(&self) -> Option<&StepId> {
        self.order().map(|order| &order.step)
    }
    /// Which order a fact concerns, if one.
    pub fn order(&self) -> Option<&OrderId> {
        match &self.fact {
            Fact::AttemptOpened { order } => Some(&order.id),
            Fact::StepSucceeded { order, .. }
            | Fact::EvidenceRefused { order, .. }
            | Fact::StepFailed { order, .. }
            | Fact::RevokeAsked { order }
            | Fact::Revoked { order, .. }
            | Fact::LateOutcome { order, .. } => Some(order),
            Fact::Started { .. }
            | Fact::StageEntered { .. }
            | Fact::BorderCrossed { .. }
            | Fact::Held { .. }
            | Fact::HoldDecided { .. }
            | Fact::HoldLifted { .. }
            | Fact::ProofVoided { .. }
            | Fact::MemberJoined { .. }
            | Fact::MemberExcused { .. }
            | Fact::RunnerChosen { .. }
            | Fact::TurnedBack { .. }
            | Fact::Paused
            | Fact::Resumed
            | Fact::Ended { .. }
            | Fact::Closed => None,
        }
    }
}
