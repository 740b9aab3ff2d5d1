//! Lost agents: not heard for a while under this leader, after a grace of the same length. Silence settles nothing; it
//! asks a person.

use super::Driver;
use cutover_core::upgrade::Input;
use cutover_vocabulary::hold::HoldReason;
use cutover_vocabulary::{AgentName, Elapsed};

/// Whether an agent counts as lost. `heard` is when it was last heard under this leadership. An open link counts as
/// hearing: its keep-alive probes are answered by the agent's process.
pub(crate) fn is_lost(now: Elapsed, heard: Option<Elapsed>, limit: Elapsed) -> bool {
    // One that was not heard yet gets a grace to find the new leader.
    now >= heard.unwrap_or(limit).plus(limit)
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
                | HoldReason::TakenOver { .. } => None,
            })
            .collect();
        self.told_silent.retain(|agent| silent.contains(agent));
        for agent in silent {
            if self.told_silent.insert(agent.clone()) {
                self.take(Input::Silent { agent }, None);
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
