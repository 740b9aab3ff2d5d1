//! What is said between coordinators and agents.

use crate::kept::Table;
use cutover_vocabulary::link::{AgentMessage, CoordinatorMessage, Say};
use std::hash::{Hash, Hasher};

#[allow(clippy::large_enum_variant, reason = "every one is kept once")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    ToAgent(usize, CoordinatorMessage),
    ToCoordinator(usize, AgentMessage),
}
pub type Messages = Table<Message>;

impl Hash for Message {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Self::ToAgent(n, message) => {
                let (kind, order, id) = match &message.say {
                    Say::Welcome => (0, None, None),
                    Say::Do(order) => (1, Some(&**order), None),
                    Say::Revoke(id) => (2, None, Some(id)),
                    Say::Acknowledge(id) => (3, None, Some(id)),
                    Say::Survey { .. } | Say::Permits(_) => unreachable!("nobody surveys or permits"),
                };
                (0, n, message.epoch, kind, order, id).hash(state);
            }
            Self::ToCoordinator(n, message) => match message {
                AgentMessage::Outcome { order, outcome, .. } => (2, n, order, outcome).hash(state),
                AgentMessage::Revoked { order, settlement } => (3, n, order, settlement).hash(state),
                AgentMessage::Refused { order, why } => (4, n, order, why).hash(state),
                other => unreachable!("nobody says {other:?}"),
            },
        }
    }
}

impl Message {
    /// The agent that says or hears it.
    pub fn agent(&self) -> usize {
        match self {
            Self::ToAgent(n, _) | Self::ToCoordinator(n, _) => *n,
        }
    }
}
