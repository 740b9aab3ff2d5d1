//! What agents and coordinators say to each other.

use super::stored;
use crate::malformed::{Malformed, each, json, text, wanted};
use crate::v1 as pb;
use cutover_vocabulary::link::{
    AgentMessage, CoordinatorMessage, Followed, Heard, Hello, Permit, Refusal, Say, Standby,
};
use cutover_vocabulary::order::Epoch;
use cutover_vocabulary::survey::{HostSurvey, SurveyAsk};
use cutover_vocabulary::{DeploymentName, Digest, Order, OrderId, UpgradeId};
use pb::agent_message::Say as AgentSay;
use pb::coordinator_message::Say as CoordinatorSay;
use pb::order_refused::Why;

impl From<Hello> for pb::Hello {
    fn from(hello: Hello) -> Self {
        let Hello { agent, incarnation, machine, boot, epoch, in_hand, instances, stands_by, newest } = hello;
        let in_hand = in_hand
            .into_iter()
            .map(|(order, content)| pb::OrderInHand { order: Some(order.into()), content_sha256: content.into() });
        Self {
            agent: agent.into(),
            incarnation,
            machine,
            boot,
            epoch: epoch.0,
            in_hand: in_hand.collect(),
            instances: instances.into_iter().map(Into::into).collect(),
            stands_by,
            newest: newest.into_iter().map(Into::into).collect(),
        }
    }
}
impl From<(DeploymentName, UpgradeId)> for pb::KnownUpgrade {
    fn from((deployment, upgrade): (DeploymentName, UpgradeId)) -> Self {
        Self { deployment: deployment.into(), upgrade: upgrade.into() }
    }
}
impl TryFrom<pb::KnownUpgrade> for (DeploymentName, UpgradeId) {
    type Error = Malformed;
    fn try_from(wire: pb::KnownUpgrade) -> Result<Self, Malformed> {
        Ok((text("deployment", &wire.deployment)?, text("upgrade", &wire.upgrade)?))
    }
}
impl TryFrom<pb::OrderInHand> for (OrderId, Digest) {
    type Error = Malformed;
    fn try_from(wire: pb::OrderInHand) -> Result<Self, Malformed> {
        Ok((wanted("order", wire.order)?, text("content_sha256", &wire.content_sha256)?))
    }
}
impl TryFrom<pb::Hello> for Hello {
    type Error = Malformed;
    fn try_from(wire: pb::Hello) -> Result<Self, Malformed> {
        Ok(Self {
            agent: text("agent", &wire.agent)?,
            incarnation: wire.incarnation,
            machine: wire.machine,
            boot: wire.boot,
            epoch: Epoch(wire.epoch),
            in_hand: each("in_hand", wire.in_hand)?,
            instances: each("instances", wire.instances)?,
            stands_by: wire.stands_by,
            newest: each("newest", wire.newest)?.into_iter().collect(),
        })
    }
}

impl From<Refusal> for Why {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::OldEpoch { sent, known } => Self::OldEpoch(pb::OldEpoch { sent: sent.0, known: known.0 }),
            Refusal::OtherContent => Self::OtherContent(pb::OtherContent {}),
            Refusal::NotHere(what) => Self::NotHere(what),
            Refusal::RevokedBefore => Self::RevokedBefore(pb::RevokedBefore {}),
            Refusal::Conflicts(with) => Self::Conflicts(with),
            Refusal::TakenOver(note) => Self::TakenOver(note),
        }
    }
}
impl From<Why> for Refusal {
    fn from(wire: Why) -> Self {
        match wire {
            Why::OldEpoch(pb::OldEpoch { sent, known }) => Self::OldEpoch { sent: Epoch(sent), known: Epoch(known) },
            Why::OtherContent(pb::OtherContent {}) => Self::OtherContent,
            Why::NotHere(what) => Self::NotHere(what),
            Why::RevokedBefore(pb::RevokedBefore {}) => Self::RevokedBefore,
            Why::Conflicts(with) => Self::Conflicts(with),
            Why::TakenOver(note) => Self::TakenOver(note),
        }
    }
}

impl From<AgentMessage> for pb::AgentMessage {
    fn from(message: AgentMessage) -> Self {
        let say = match message {
            AgentMessage::Hello(hello) => AgentSay::Hello(hello.into()),
            AgentMessage::Report(instances) => {
                AgentSay::Report(pb::Report { instances: instances.into_iter().map(Into::into).collect() })
            }
            AgentMessage::Outcome { order, content, outcome } => AgentSay::Outcome(pb::OrderOutcome {
                order: Some(order.into()),
                content_sha256: content.into(),
                outcome_json: stored(&outcome),
            }),
            AgentMessage::Revoked { order, settlement } => {
                AgentSay::Revoked(pb::OrderRevoked { order: Some(order.into()), settlement_json: stored(&settlement) })
            }
            AgentMessage::Refused { order, why } => {
                AgentSay::Refused(pb::OrderRefused { order: Some(order.into()), why: Some(why.into()) })
            }
            AgentMessage::Surveyed { request, survey } => AgentSay::Surveyed(pb::Surveyed {
                request: request.into(),
                agent: survey.agent.as_str().to_owned(),
                survey_json: stored(&survey),
            }),
            AgentMessage::TakenOver { upgrade, note } => {
                AgentSay::TakenOver(pb::TakenOver { upgrade: upgrade.into(), note })
            }
        };
        Self { say: Some(say) }
    }
}
impl TryFrom<pb::AgentMessage> for AgentMessage {
    type Error = Malformed;
    fn try_from(wire: pb::AgentMessage) -> Result<Self, Malformed> {
        match wire.say.ok_or_else(unknown)? {
            AgentSay::Hello(hello) => Ok(Self::Hello(Hello::try_from(hello).map_err(|error| error.within("hello"))?)),
            AgentSay::Report(report) => Ok(Self::Report(each("report.instances", report.instances)?)),
            AgentSay::Outcome(wire) => Ok(Self::Outcome {
                order: wanted("outcome.order", wire.order)?,
                content: text("outcome.content_sha256", &wire.content_sha256)?,
                outcome: json("outcome.outcome_json", &wire.outcome_json)?,
            }),
            AgentSay::Revoked(wire) => Ok(Self::Revoked {
                order: wanted("revoked.order", wire.order)?,
                settlement: json("revoked.settlement_json", &wire.settlement_json)?,
            }),
            AgentSay::Refused(wire) => Ok(Self::Refused {
                order: wanted("refused.order", wire.order)?,
                why: wire.why.ok_or_else(|| Malformed::at("refused.why", "it is missing"))?.into(),
            }),
            AgentSay::Surveyed(wire) => {
                let survey: Box<HostSurvey> = json("surveyed.survey_json", &wire.survey_json)?;
                if survey.agent.as_str() != wire.agent {
                    let why = format!("it is {:?}, but the survey is of {}", wire.agent, survey.agent);
                    return Err(Malformed::at("surveyed.agent", why));
                }
                Ok(Self::Surveyed { request: text("surveyed.request", &wire.request)?, survey })
            }
            AgentSay::TakenOver(wire) => {
                Ok(Self::TakenOver { upgrade: text("taken_over.upgrade", &wire.upgrade)?, note: wire.note })
            }
        }
    }
}

impl From<Order> for pb::Do {
    fn from(order: Order) -> Self {
        let order_json = stored(&order);
        Self {
            content_sha256: Digest::of(&order_json).into(),
            order_json,
            agent: order.agent.into(),
            order: Some(order.id.into()),
        }
    }
}
/// Refuses an order that is not what its content hash and its routing fields say; and one whose JSON holds something
/// that this version does not know, because what is not understood must not be carried out in part.
impl TryFrom<pb::Do> for Order {
    type Error = Malformed;
    fn try_from(wire: pb::Do) -> Result<Self, Malformed> {
        let content: Digest = text("content_sha256", &wire.content_sha256)?;
        let id: OrderId = wanted("order", wire.order)?;
        if Digest::of(&wire.order_json) != content {
            return Err(Malformed::at("content_sha256", "it is not the digest of order_json"));
        }
        let order: Order = json("order_json", &wire.order_json)?;
        if order.content() != content {
            return Err(Malformed::at(
                "order_json",
                "it holds something that this version of Cutover does not know: install one as new as the coordinator",
            ));
        }
        if order.id != id {
            return Err(Malformed::at("order", format_args!("it is {id}, but order_json is {}", order.id)));
        }
        if order.agent.as_str() != wire.agent {
            return Err(Malformed::at(
                "agent",
                format_args!("it is {:?}, but order_json is for {}", wire.agent, order.agent),
            ));
        }
        Ok(order)
    }
}

impl From<Permit> for pb::Permit {
    fn from(permit: Permit) -> Self {
        match permit {
            Permit::Start => Self { stay: String::new() },
            Permit::Stay { why } => Self { stay: why },
        }
    }
}
impl From<pb::Permit> for Permit {
    fn from(wire: pb::Permit) -> Self {
        if wire.stay.is_empty() { Self::Start } else { Self::Stay { why: wire.stay } }
    }
}

impl From<CoordinatorMessage> for pb::CoordinatorMessage {
    fn from(message: CoordinatorMessage) -> Self {
        let say = match message.say {
            Say::Welcome => CoordinatorSay::Welcome(pb::Welcome {}),
            Say::Do(order) => CoordinatorSay::Do((*order).into()),
            Say::Revoke(order) => CoordinatorSay::Revoke(pb::Revoke { order: Some(order.into()) }),
            Say::Acknowledge(order) => CoordinatorSay::Acknowledge(pb::Acknowledge { order: Some(order.into()) }),
            Say::Survey { request, ask: SurveyAsk { deployment, target } } => CoordinatorSay::Survey(pb::Survey {
                request: request.into(),
                deployment: deployment.into(),
                target: target.into(),
            }),
            Say::Permits(permits) => CoordinatorSay::Permits(pb::Permits {
                instances: permits.into_iter().map(|(instance, permit)| (instance.into(), permit.into())).collect(),
            }),
        };
        Self { epoch: message.epoch.0, say: Some(say) }
    }
}
impl From<Standby> for pb::CoordinatorMessage {
    fn from(standby: Standby) -> Self {
        let say = match standby {
            Standby::Following(followed) => CoordinatorSay::Following(pb::Following {
                epoch: followed.as_ref().map_or(0, |followed| followed.epoch.0),
                leader: followed.map(|followed| followed.leader),
            }),
            Standby::Leading => CoordinatorSay::Leading(pb::Leading {}),
        };
        Self { epoch: 0, say: Some(say) }
    }
}
impl TryFrom<pb::CoordinatorMessage> for Heard {
    type Error = Malformed;
    fn try_from(wire: pb::CoordinatorMessage) -> Result<Self, Malformed> {
        Ok(match wire.say {
            Some(CoordinatorSay::Following(pb::Following { leader, epoch })) => {
                let followed = leader.map(|leader| Followed { leader, epoch: Epoch(epoch) });
                Self::Follower(Standby::Following(followed))
            }
            Some(CoordinatorSay::Leading(pb::Leading {})) => Self::Follower(Standby::Leading),
            say => Self::Leader(CoordinatorMessage::try_from(pb::CoordinatorMessage { say, ..wire })?),
        })
    }
}
impl From<Heard> for pb::CoordinatorMessage {
    fn from(heard: Heard) -> Self {
        match heard {
            Heard::Leader(message) => message.into(),
            Heard::Follower(standby) => standby.into(),
        }
    }
}
/// Of the leader alone: what a coordinator says that follows is refused; see [`Heard`].
impl TryFrom<pb::CoordinatorMessage> for CoordinatorMessage {
    type Error = Malformed;
    fn try_from(wire: pb::CoordinatorMessage) -> Result<Self, Malformed> {
        let say = match wire.say.ok_or_else(unknown)? {
            CoordinatorSay::Welcome(pb::Welcome {}) => Say::Welcome,
            CoordinatorSay::Do(order) => Say::Do(Box::new(Order::try_from(order).map_err(|error| error.within("do"))?)),
            CoordinatorSay::Revoke(wire) => Say::Revoke(wanted("revoke.order", wire.order)?),
            CoordinatorSay::Acknowledge(wire) => Say::Acknowledge(wanted("acknowledge.order", wire.order)?),
            CoordinatorSay::Survey(wire) => Say::Survey {
                request: text("survey.request", &wire.request)?,
                ask: SurveyAsk {
                    deployment: text("survey.deployment", &wire.deployment)?,
                    target: text("survey.target", &wire.target)?,
                },
            },
            CoordinatorSay::Permits(wire) => Say::Permits(
                wire.instances
                    .into_iter()
                    .map(|(instance, permit)| Ok((text("permits.instances", &instance)?, permit.into())))
                    .collect::<Result<_, Malformed>>()?,
            ),
            CoordinatorSay::Following(_) | CoordinatorSay::Leading(_) => {
                return Err(Malformed::at("say", "a coordinator that follows says it"));
            }
        };
        Ok(Self { epoch: Epoch(wire.epoch), say })
    }
}

/// protobuf drops what it does not know, so a message of a newer version looks empty.
fn unknown() -> Malformed {
    Malformed::at("say", "it says nothing that this version of Cutover knows")
}
