//! Refusals: how the API says no. One definition for the services that refuse and the clients that show it.
//!
//! On the wire a refusal is a gRPC status with one `google.rpc.ErrorInfo` of the domain `cutover`: its `reason` is the
//! code, its metadata holds the remedy and the particulars.

use crate::malformed::Malformed;
use cutover_vocabulary::name::shown;
use std::collections::BTreeMap;
use std::fmt;
use tonic::Status;
use tonic_types::{ErrorDetails, StatusExt as _};

/// The domain of our `google.rpc.ErrorInfo`.
pub const DOMAIN: &str = "cutover";

const REMEDY: &str = "remedy";

/// Longest message in bytes. A status travels in HTTP/2 trailers, twice and percent-encoded, and clients take 16 KiB
/// of them in all.
const LONGEST_MESSAGE: usize = 1_500;
/// Longest remedy in bytes, for the same reason.
const LONGEST_REMEDY: usize = 1_000;
/// Bytes of all other metadata together, for the same reason; what comes later in the alphabet is left out.
const LONGEST_METADATA: usize = 2_000;

macro_rules! codes {
    ($(#[doc = $doc:literal] $name:ident => $word:literal, $grpc:ident;)*) => {
        /// A refusal's stable code.
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $(#[doc = $doc] $name,)*
            /// A code that this version does not know: a newer Cutover sent it.
            Other(String),
        }
        impl Code {
            /// Every code that this version knows.
            pub const ALL: &[Code] = &[$(Code::$name,)*];
            /// The code on the wire, in scripts and in documentation.
            pub fn word(&self) -> &str {
                match self { $(Self::$name => $word,)* Self::Other(word) => word }
            }
            /// What it means, and which particulars come with it; for documentation. Of one that this version does not know, nothing.
            pub fn meaning(&self) -> &'static str {
                match self { $(Self::$name => $doc.trim_ascii(),)* Self::Other(_) => "" }
            }
            /// The gRPC code that goes with it, for clients that know nothing else.
            pub fn grpc(&self) -> tonic::Code {
                match self { $(Self::$name => tonic::Code::$grpc,)* Self::Other(_) => tonic::Code::Unknown }
            }
            fn of(word: &str) -> Self {
                match word { $($word => Self::$name,)* other => Self::Other(other.to_owned()) }
            }
        }
    };
}

codes! {
    /// The request itself is wrong; `field` names where.
    InvalidArgument => "INVALID_ARGUMENT", InvalidArgument;
    /// No plan has this digest.
    NoSuchPlan => "NO_SUCH_PLAN", NotFound;
    /// No deployment has this name.
    NoSuchDeployment => "NO_SUCH_DEPLOYMENT", NotFound;
    /// No upgrade has this id.
    NoSuchUpgrade => "NO_SUCH_UPGRADE", NotFound;
    /// No such hold is open, nor any other.
    NoSuchHold => "NO_SUCH_HOLD", NotFound;
    /// Something that the plan binds has changed since it was made; `changes` says what.
    PlanStale => "PLAN_STALE", FailedPrecondition;
    /// Findings of the plan must be approved first; `findings` says which.
    NeedsApproval => "NEEDS_APPROVAL", FailedPrecondition;
    /// A finding of the plan blocks it; `findings` says which.
    Blocked => "BLOCKED", FailedPrecondition;
    /// The deployment has an upgrade that has not ended; `upgrade` says which.
    DeploymentBusy => "DEPLOYMENT_BUSY", FailedPrecondition;
    /// This hold is not open (any more), and others are; `holds` says which.
    HoldOutdated => "HOLD_OUTDATED", FailedPrecondition;
    /// The hold does not offer this choice; `choices` says what it offers.
    ChoiceNotOffered => "CHOICE_NOT_OFFERED", FailedPrecondition;
    /// The upgrade has ended; nothing about it can be steered any more.
    UpgradeEnded => "UPGRADE_ENDED", FailedPrecondition;
    /// The upgrade has not ended, and this is for ended ones.
    UpgradeActive => "UPGRADE_ACTIVE", FailedPrecondition;
    /// A border was crossed, and going back would not mean what was asked for.
    TooLate => "TOO_LATE", FailedPrecondition;
    /// What clients wrote on the new version would be lost; there is no way back then.
    WouldLoseWrites => "WOULD_LOSE_WRITES", FailedPrecondition;
    /// The same request id came before with another question.
    RequestReused => "REQUEST_REUSED", AlreadyExists;
    /// Another agent is connected under this name; `machine` says from where.
    AgentNameTaken => "AGENT_NAME_TAKEN", AlreadyExists;
    /// The caller's certificate does not say the name under which it speaks; `name` and `certificate` say both.
    NotCertified => "NOT_CERTIFIED", PermissionDenied;
    /// The caller's certificate is of nobody who may do this; `certificate` says which names it has.
    NotPermitted => "NOT_PERMITTED", PermissionDenied;
    /// An agent spoke for what is another agent's; `agent` says whose it is.
    NotItsOwn => "NOT_ITS_OWN", PermissionDenied;
    /// The instance's agent is connected, so it is not gone; `agent` says which.
    AgentConnected => "AGENT_CONNECTED", FailedPrecondition;
    /// An agent that is needed for this was not seen; `agents` says which.
    AgentNotSeen => "AGENT_NOT_SEEN", Unavailable;
    /// This coordinator does not lead; `leader` says who does, if anybody.
    NotLeader => "NOT_LEADER", Unavailable;
    /// The coordinator's store did not take or give what was needed; whether something was stored is not known.
    StoreUnavailable => "STORE_UNAVAILABLE", Unavailable;
    /// The upgrade holds a fact that this coordinator does not understand, so it does not lead it.
    Quarantined => "QUARANTINED", Unimplemented;
    /// The coordinator contradicts itself; its log has more.
    Internal => "INTERNAL", Internal;
}
impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// The API said no.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refused {
    /// Stable code.
    pub code: Code,
    /// What was refused and why, for people.
    pub message: String,
    /// What to do, for people; may be empty.
    pub remedy: String,
    /// The particulars by name, for tools. `remedy` is no name for one.
    pub metadata: BTreeMap<String, String>,
}

impl Refused {
    /// A refusal without particulars.
    pub fn new(code: Code, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { code, message: message.into(), remedy: remedy.into(), metadata: BTreeMap::new() }
    }
    /// With one particular more.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl fmt::Display) -> Self {
        self.metadata.insert(name.to_owned(), value.to_string());
        self
    }
    /// This coordinator does not lead.
    pub fn not_leader(leader: Option<&str>) -> Self {
        Self::led_elsewhere(leader, None)
    }
    /// The same, with where the leader is reached.
    pub fn led_elsewhere(leader: Option<&str>, address: Option<&str>) -> Self {
        match leader {
            Some(leader) => {
                let message = format!("this coordinator does not lead, {leader} does");
                match address {
                    Some(address) => Self::new(Code::NotLeader, message, format!("ask the leader, at {address}"))
                        .with("address", address),
                    None => Self::new(Code::NotLeader, message, "ask the leader"),
                }
                .with("leader", leader)
            }
            None => Self::new(
                Code::NotLeader,
                "no coordinator leads at the moment",
                "ask again in a few seconds; if it lasts, look at the coordinators' logs",
            ),
        }
    }
    /// What a status says, if it is one of our refusals; none for what the transport or a proxy said.
    pub fn of(status: &Status) -> Option<Self> {
        let info = status.get_details_error_info()?;
        if info.domain != DOMAIN {
            return None;
        }
        let mut metadata: BTreeMap<_, _> = info.metadata.into_iter().collect();
        let remedy = metadata.remove(REMEDY).unwrap_or_default();
        Some(Self { code: Code::of(&info.reason), message: status.message().to_owned(), remedy, metadata })
    }
}

/// Texts that are too long for a status are cut, with `…` at the end. What is for people can be printed as it is: whatever a client or
/// an agent put into it, its control characters come escaped.
impl From<Refused> for Status {
    fn from(refused: Refused) -> Self {
        let Refused { code, message, remedy, metadata } = refused;
        let mut room = LONGEST_METADATA;
        let mut info = std::collections::HashMap::new();
        for (name, value) in metadata {
            let Some(left) = room.checked_sub(name.len()) else { break };
            let value = cut(value, left);
            room = left - value.len();
            info.insert(name, value);
        }
        info.insert(REMEDY.to_owned(), cut(shown(&remedy).to_string(), LONGEST_REMEDY));
        let details = ErrorDetails::with_error_info(code.word(), DOMAIN, info);
        Status::with_error_details(code.grpc(), cut(shown(&message).to_string(), LONGEST_MESSAGE), details)
    }
}

impl From<Malformed> for Refused {
    fn from(malformed: Malformed) -> Self {
        Self::new(Code::InvalidArgument, malformed.to_string(), "correct the request").with("field", malformed.what)
    }
}

/// At most `longest` bytes of a text, whole characters only.
fn cut(mut text: String, longest: usize) -> String {
    const ELLIPSIS: &str = "…";
    if text.len() > longest {
        let mut end = longest.saturating_sub(ELLIPSIS.len());
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        if longest >= ELLIPSIS.len() {
            text.push_str(ELLIPSIS);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_survives_the_wire_with_code_remedy_and_particulars() {
        for code in Code::ALL.iter().cloned().chain([Code::Other("FROM_THE_FUTURE".to_owned())]) {
            let refused = Refused::new(code, "ledger-a: no", "do this").with("upgrade", "u-1").with("leader", "c-2");
            assert_eq!(Refused::of(&Status::from(refused.clone())), Some(refused));
        }
    }

    #[test]
    fn what_a_proxy_says_is_no_refusal_of_ours() {
        assert_eq!(Refused::of(&Status::unavailable("connection reset")), None);
    }

    #[test]
    fn a_code_on_the_wire_belongs_to_one_refusal() {
        for code in Code::ALL {
            assert_eq!(&Code::of(code.word()), code);
        }
    }

    #[test]
    fn what_is_for_people_comes_without_control_characters_and_what_is_for_tools_as_it_is() {
        let refused = Refused::new(Code::InvalidArgument, "no \u{1b}[2J", "not \u{9b}31m").with("machine", "m\u{7}");
        let heard = Refused::of(&Status::from(refused)).unwrap();
        assert_eq!((heard.message.as_str(), heard.remedy.as_str()), ("no \\u{1b}[2J", "not \\u{9b}31m"));
        assert_eq!(heard.metadata["machine"], "m\u{7}");
    }

    #[test]
    fn a_text_is_cut_at_a_character() {
        assert_eq!(cut("ääää".to_owned(), 7), "ää…");
        assert_eq!(cut("ääää".to_owned(), 8), "ääää");
        assert_eq!(cut("abc".to_owned(), 1), "a".repeat(0));
    }
}
