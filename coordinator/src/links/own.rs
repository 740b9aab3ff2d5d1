//! Whose it is: what an agent says of instances and orders is held against whom they belong to.

use crate::leadership::Leadership;
use cutover_core::upgrade::Upgrade;
use cutover_proto::{Code, Refused};
use cutover_vocabulary::link::AgentMessage;
use cutover_vocabulary::{AgentName, InstanceName, OrderId, Subject};
use tracing::warn;

/// How a message fits whom it comes from.
pub(super) enum Fit {
    /// It is about what is the agent's own.
    Own,
    /// It is about an order that does not stand any more and that the agent was never given; it changes nothing.
    Passed,
}

impl Leadership {
    /// Looks whether a message is about what belongs to the agent.
    ///
    /// # Errors
    /// Where it speaks for another agent's instance, or answers an order of another agent that stands. The claim to an instance is
    /// shown with its deployment, as one in a hello is.
    pub(super) fn fits(&self, agent: &AgentName, machine: &str, message: &AgentMessage) -> Result<Fit, Refused> {
        match message {
            AgentMessage::Hello(_) | AgentMessage::TakenOver { .. } => Ok(Fit::Own),
            AgentMessage::Report(reports) => {
                let mut instances = reports.iter().map(|report| &report.instance);
                instances.try_for_each(|instance| self.speaks_for_its_own(agent, machine, instance))?;
                Ok(Fit::Own)
            }
            AgentMessage::Surveyed { survey, .. } => {
                let mut instances = survey.instances.iter().flat_map(|one| [&one.instance, &one.report.instance]);
                instances.try_for_each(|instance| self.speaks_for_its_own(agent, machine, instance))?;
                Ok(Fit::Own)
            }
            AgentMessage::Outcome { order, .. }
            | AgentMessage::Revoked { order, .. }
            | AgentMessage::Refused { order, .. } => self.answers_its_own(agent, order),
        }
    }

    fn speaks_for_its_own(&self, agent: &AgentName, machine: &str, instance: &InstanceName) -> Result<(), Refused> {
        // Of one that is registered with nobody it is said by the upgrade that it appeared.
        let Some(owner) = self.agent_of(instance).filter(|owner| owner != agent) else { return Ok(()) };
        let why = format!("agent {agent} spoke for instance {instance}, which is registered with agent {owner}");
        warn!(%instance, %agent, machine, %owner, "refused an agent that spoke for an instance of another");
        self.claim([instance], agent, machine, &why);
        Err(not_its_own(why, &owner))
    }

    fn answers_its_own(&self, agent: &AgentName, order: &OrderId) -> Result<Fit, Refused> {
        if let Some(standing) = self.standing(order) {
            let owner = &standing.order.agent;
            if owner == agent {
                return Ok(Fit::Own);
            }
            warn!(%order, %agent, %owner, "refused an agent that answered an order of another");
            let why = format!("agent {agent} answered order {order}, which was given to agent {owner}");
            return Err(not_its_own(why, owner));
        }
        let led = self.led().into_iter().find(|handle| handle.id == order.upgrade);
        let given = led.is_none_or(|handle| may_have_been_given(&handle.now().upgrade, order, agent));
        if !given {
            warn!(%order, %agent, "an agent's answer to an order of another, which does not stand any more, was not taken");
        }
        Ok(if given { Fit::Own } else { Fit::Passed })
    }
}

/// Whether an order that is settled can have been the agent's. What concerns an instance was given to who speaks for it, all else to
/// the runner.
fn may_have_been_given(upgrade: &Upgrade, order: &OrderId, agent: &AgentName) -> bool {
    match &order.step.subject {
        Subject::Instance(instance) => {
            let planned = upgrade.plan().binding.members.get(instance).map(|member| &member.agent);
            planned == Some(agent) || upgrade.agent_for(instance).is_none_or(|owner| owner == *agent)
        }
        Subject::Ledger(_) | Subject::Storage => upgrade.runner() == agent || upgrade.plan().binding.runner == *agent,
    }
}

fn not_its_own(why: String, owner: &AgentName) -> Refused {
    let remedy = "see which host that is: two hosts with one instance in their settings are a mistake, and an agent that says what \
                  it was not asked may be in foreign hands";
    Refused::new(Code::NotItsOwn, why, remedy).with("agent", owner)
}
