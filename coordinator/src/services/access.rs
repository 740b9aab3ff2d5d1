//! Who may call what. [`permit`] is the one place that says so; roles will be told apart there.

use cutover_proto::transport::{Caller, Names};
use cutover_proto::{Code, Refused};
use cutover_vocabulary::{AgentName, OperatorName};
use std::collections::BTreeSet;
use std::sync::Arc;
use tonic::service::Interceptor;
use tonic::{Extensions, Request, Status};
use tracing::warn;

/// What somebody wants to do.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Wish<'a> {
    /// Call what is for operators: everything about upgrades and the fleet, looking included.
    Operate,
    /// Speak as this agent.
    SpeakAs(&'a AgentName),
}

/// Whether a caller may do what it wants. A process of this host may do all: the permissions of the socket let it in. Over TLS
/// the names in the caller's certificate decide.
pub(crate) fn permit(caller: &Caller, wish: Wish<'_>, operators: &BTreeSet<OperatorName>) -> Result<(), Refused> {
    let (names, address) = match caller {
        Caller::Unix { .. } | Caller::Loopback(_) => return Ok(()),
        Caller::Tls { names, address } => (names, address),
    };
    match wish {
        Wish::Operate if operators.iter().any(|operator| names.have(operator.as_str())) => Ok(()),
        Wish::Operate => {
            warn!(%address, certificate = %names, "refused a caller who is no operator");
            Err(Refused::new(
                Code::NotPermitted,
                format!("a certificate for {names} is not one of an operator"),
                "call over the coordinator's Unix socket, or have that name added to `operators` in the table [tls] of its \
                 settings",
            )
            .with("certificate", names))
        }
        Wish::SpeakAs(agent) if names.have(agent.as_str()) => Ok(()),
        Wish::SpeakAs(agent) => {
            warn!(%address, %agent, certificate = %names, "refused an agent whose certificate does not say its name");
            Err(Refused::new(
                Code::NotCertified,
                format!("agent {agent} shows a certificate for {names}, which does not say its name"),
                format!(
                    "have a certificate issued for this agent that has {agent} among its subject alternative names (DNS or \
                     URI), or correct `name` in the agent's settings"
                ),
            )
            .with("name", agent)
            .with("certificate", names))
        }
    }
}

/// Who is at the other end of a request.
pub(crate) fn caller(extensions: &Extensions) -> Result<Caller, Refused> {
    let known = extensions.get::<Caller>().cloned();
    known.ok_or_else(|| {
        Refused::new(Code::Internal, "it is not known who calls", "report this: it is a fault of the coordinator")
    })
}

/// Stands before the services for operators: every call of theirs goes through it.
#[derive(Debug, Clone)]
pub(super) struct Door {
    pub(super) operators: Arc<BTreeSet<OperatorName>>,
}
impl Interceptor for Door {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let caller = caller(request.extensions())?;
        permit(&caller, Wish::Operate, &self.operators)?;
        let speaker = match caller {
            Caller::Unix { .. } | Caller::Loopback(_) => Speaker::Anybody,
            Caller::Tls { names, .. } => {
                let own = self.operators.iter().filter(|operator| names.have(operator.as_str())).cloned().collect();
                Speaker::Certified { own, names }
            }
        };
        request.extensions_mut().insert(speaker);
        Ok(request)
    }
}

/// Under which names the caller of an operator's call may speak.
#[derive(Debug, Clone)]
pub(super) enum Speaker {
    /// Under any: the system's permissions let it in, and its word is taken for its name.
    Anybody,
    /// Under those that its certificate has and the settings list.
    Certified { own: BTreeSet<OperatorName>, names: Names },
}
impl Speaker {
    /// Of a request that came through the [`Door`].
    pub(super) fn of<T>(request: &Request<T>) -> Result<Self, Refused> {
        let speaker = request.extensions().get::<Self>().cloned();
        speaker.ok_or_else(|| {
            Refused::new(Code::Internal, "it is not known who calls", "report this: it is a fault of the coordinator")
        })
    }

    /// The name under which a call is stored: the one that is said, where the caller may speak under it. Who says none speaks
    /// under the one name of its certificate.
    pub(super) fn named(&self, said: &str) -> Result<OperatorName, Refused> {
        let (own, names) = match self {
            Self::Anybody => return Ok(cutover_proto::malformed::text("operator", said)?),
            Self::Certified { own, names } => (own, names),
        };
        let mut own = own.iter();
        let chosen = match (said, own.len()) {
            ("", 1) => own.next(),
            _ => own.find(|operator| operator.as_str() == said),
        };
        chosen.cloned().ok_or_else(|| {
            warn!(operator = said, certificate = %names, "refused a call under a name that is not the caller's");
            Refused::new(
                Code::NotCertified,
                format!("operator {said:?} is not a name that the caller's certificate has and the coordinator's settings list"),
                format!("call with the name of the certificate, one of: {names}"),
            )
            .with("name", said)
            .with("certificate", names)
        })
    }
}
