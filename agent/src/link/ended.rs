//! Why a link ended.

use super::attach::ATTACH_WITHIN;
use cutover_proto::malformed::Malformed;
use cutover_proto::transport::{CannotConnect, Endpoint};
use cutover_proto::{Code, Refused};
use std::sync::Arc;

/// Why a link ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkError {
    #[error("{0}")]
    Connect(#[from] CannotConnect),
    #[error("the coordinator at {endpoint} does not take the link: {} ({:?})", status.message(), status.code())]
    Refused { endpoint: Arc<Endpoint>, status: Box<tonic::Status> },
    #[error("the coordinator at {endpoint} did not take the link within {} s", ATTACH_WITHIN.as_secs())]
    Silent { endpoint: Arc<Endpoint> },
    #[error("the link to {endpoint} broke: {} ({:?})", status.message(), status.code())]
    Broke { endpoint: Arc<Endpoint>, status: Box<tonic::Status> },
    #[error("the coordinator at {endpoint} ended the link")]
    Ended { endpoint: Arc<Endpoint> },
    #[error("the coordinator at {endpoint} leads now")]
    Leads { endpoint: Arc<Endpoint> },
    #[error(
        "the coordinator at {endpoint} said something that this agent does not understand: {source}; are both of one version?"
    )]
    Malformed { endpoint: Arc<Endpoint>, source: Malformed },
    #[error("the coordinator at {endpoint} spoke out of turn: {what}; are both of one version?")]
    OutOfTurn { endpoint: Arc<Endpoint>, what: &'static str },
    #[error("the desk ended the link to {endpoint}")]
    Cut { endpoint: Arc<Endpoint> },
}

impl LinkError {
    /// Whether the next link goes over the same connection: who leads has changed, or may have, and nothing else is the matter.
    /// After any other refusal a new connection is made, which shows what the certificates' files say by then.
    pub(super) fn line_holds(&self) -> bool {
        match self {
            Self::Refused { status, .. } | Self::Broke { status, .. } => {
                Refused::of(status).is_some_and(|refused| refused.code == Code::NotLeader)
            }
            Self::Ended { .. } | Self::Leads { .. } => true,
            Self::Connect(_)
            | Self::Silent { .. }
            | Self::Malformed { .. }
            | Self::OutOfTurn { .. }
            | Self::Cut { .. } => false,
        }
    }
}
