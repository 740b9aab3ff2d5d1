//! What the desk knows of one order.

use cutover_vocabulary::fact::Settlement;
use cutover_vocabulary::link::AgentMessage;
use cutover_vocabulary::{DeploymentName, Digest, Order, OrderId, Outcome};

/// When a revoke was heard of an order that was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Revoke {
    Never,
    /// Its work was asked to stop.
    WhileInHand,
    /// Its work had ended.
    Afterwards,
}

/// One order, as far as it went.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Known {
    /// Revoked before it was known: a tombstone.
    NeverBegun { acknowledged: bool },
    /// Accepted, without an outcome. The content hash is kept, since every hello and every repetition needs it.
    InHand { order: Box<Order>, content: Digest, revoked: bool },
    /// Its work ended.
    Finished { deployment: DeploymentName, content: Digest, outcome: Box<Outcome>, revoke: Revoke, acknowledged: bool },
}

impl Known {
    /// Whether the coordinator has stored what came of it.
    pub(crate) fn settled(&self) -> bool {
        match self {
            Self::InHand { .. } => false,
            Self::NeverBegun { acknowledged } | Self::Finished { acknowledged, .. } => *acknowledged,
        }
    }

    /// Its content hash; a tombstone has none.
    pub(crate) fn content(&self) -> Option<&Digest> {
        match self {
            Self::NeverBegun { .. } => None,
            Self::InHand { content, .. } | Self::Finished { content, .. } => Some(content),
        }
    }

    /// Its deployment; of a tombstone it is not known.
    pub(crate) fn deployment(&self) -> Option<&DeploymentName> {
        match self {
            Self::NeverBegun { .. } => None,
            Self::InHand { order, .. } => Some(&order.deployment),
            Self::Finished { deployment, .. } => Some(deployment),
        }
    }

    /// What there is to say about it to a coordinator; nothing while it is in hand.
    pub(crate) fn answer(&self, id: &OrderId) -> Option<AgentMessage> {
        match self {
            Self::InHand { .. } => None,
            Self::NeverBegun { .. } => {
                Some(AgentMessage::Revoked { order: id.clone(), settlement: Settlement::NeverBegun })
            }
            Self::Finished { content, outcome, revoke, .. } => Some(match revoke {
                Revoke::Never => {
                    AgentMessage::Outcome { order: id.clone(), content: *content, outcome: outcome.as_ref().clone() }
                }
                Revoke::WhileInHand | Revoke::Afterwards => {
                    AgentMessage::Revoked { order: id.clone(), settlement: settlement(outcome, *revoke) }
                }
            }),
        }
    }

    /// The answer to a revoke that is heard now.
    pub(crate) fn answer_to_revoke(&self, id: &OrderId) -> Option<AgentMessage> {
        match self {
            Self::InHand { .. } | Self::NeverBegun { .. } => self.answer(id),
            Self::Finished { outcome, revoke, .. } => {
                Some(AgentMessage::Revoked { order: id.clone(), settlement: settlement(outcome, *revoke) })
            }
        }
    }
}

/// A failure counts as the stop that was asked for only when it came after the asking.
fn settlement(outcome: &Outcome, revoke: Revoke) -> Settlement {
    match (revoke, outcome) {
        (Revoke::WhileInHand, Outcome::Failed(failure)) => Settlement::Stopped(failure.clone()),
        (Revoke::WhileInHand, Outcome::Done(_)) | (Revoke::Never | Revoke::Afterwards, _) => {
            Settlement::Finished(outcome.clone())
        }
    }
}
