//! Lost agents: not heard for a while under this leader, after a grace of the same length. Silence settles nothing; it
//! asks a person.

use super::Driver;
use cutover_core::upgrade::{Input, Upgrade};
use cutover_vocabulary::hold::HoldReason;
use cutover_vocabulary::{AgentName, Elapsed, OrderId, Phase};
use std::collections::BTreeSet;

/// Whether an agent counts as lost. `heard` is when it was last heard under this leadership. An open link counts as
/// hearing: its keep-alive probes are answered by the agent's process.
pub(crate) fn is_lost(now: Elapsed, heard: Option<Elapsed>, limit: Elapsed) -> bool {
    // One that was not heard yet gets a grace to find the new leader.
    now >= heard.unwrap_or(limit).plus(limit)
}

/// What an agent is asked at a moment. A person who chose to wait is asked again when it is asked something else; when the
/// upgrade turns back, too, because that question went with the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    orders: BTreeSet<OrderId>,
    phase: Option<Phase>,
    going_back: bool,
}

impl Asked {
    fn of(upgrade: &Upgrade, agent: &AgentName) -> Self {
        let orders = upgrade.orders_of(agent).into_iter().cloned().collect();
        Self { orders, phase: upgrade.phase(), going_back: upgrade.going_back() }
    }
}

impl Driver {
    pub(super) fn look_for_silence(&mut self, now: Elapsed) {
        let limit = self.upgrade.plan().binding.limits.agent_lost;
        let links = &self.leadership.links;
        let lost = |agent: &AgentName| !links.is_connected(agent) && is_lost(now, links.last_heard(agent), limit);
        let silent: Vec<AgentName> =
            self.upgrade.awaited_agents().into_iter().filter(|agent| lost(agent)).cloned().collect();
        let heard: Vec<AgentName> = self
            .upgrade
            .holds()
            .filter_map(|hold| match &hold.reason {
                HoldReason::AgentLost { agent, .. } if links.is_connected(agent) => Some(agent.clone()),
                HoldReason::AgentLost { .. }
                | HoldReason::StepFailed { .. }
                | HoldReason::UncleanStop { .. }
                | HoldReason::Strangers { .. }
                | HoldReason::PlanDrifted { .. }
                | HoldReason::OtherStorage { .. }
                | HoldReason::LedgersChanged { .. }
                | HoldReason::LossesChanged { .. }
                | HoldReason::UnexplainedDifferences { .. }
                | HoldReason::Inconsistent { .. }
                | HoldReason::Overdue { .. }
                | HoldReason::ProofVoided { .. }
                | HoldReason::InstanceAppeared { .. }
                | HoldReason::TakenOver { .. } => None,
            })
            .collect();
        self.told_silent.retain(|agent, _| silent.contains(agent));
        for agent in silent {
            let asked = Asked::of(&self.upgrade, &agent);
            if self.told_silent.get(&agent) != Some(&asked) {
                self.told_silent.insert(agent.clone(), asked);
                let heard = self.leadership.links.seen(&agent).heard;
                self.take(Input::Silent { agent, heard }, None);
            }
        }
        for agent in heard {
            self.take(Input::Heard { agent }, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_that_a_new_leader_never_heard_gets_a_grace_before_it_is_lost() {
        let limit = Elapsed::from_secs(30);
        assert!(!is_lost(Elapsed::from_secs(59), None, limit));
        assert!(is_lost(Elapsed::from_secs(60), None, limit));
        assert!(is_lost(Elapsed::from_secs(35), Some(Elapsed::from_secs(5)), limit));
        assert!(!is_lost(Elapsed::from_secs(34), Some(Elapsed::from_secs(5)), limit));
    }
}
