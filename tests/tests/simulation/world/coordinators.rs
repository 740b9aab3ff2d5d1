//! The coordinators: elections, what they hear, what they send.

use super::Simulation;
use crate::coordinator::{Coordinator, Step, facts};
use crate::support;
use cutover_core::upgrade::{Input, Rejected, Want};
use cutover_vocabulary::instance::RunState;
use cutover_vocabulary::link::{AgentMessage, CoordinatorMessage, Say};
use cutover_vocabulary::{AgentName, Epoch};
use std::collections::BTreeSet;

impl Simulation {
    pub(super) fn elect(&mut self) {
        let handle = self.store.another_handle();
        match Coordinator::elect(handle, &self.plan, self.approval.as_ref(), self.millis) {
            Some(elected) => {
                self.say(|| format!("epoch {} leads", elected.epoch));
                self.elected = elected.epoch;
                self.coordinators.push(elected);
            }
            // Another leads still, or it died while it started the upgrade: the lease runs out.
            None => self.store.depose(),
        }
    }

    pub(super) fn tick(&mut self, n: usize) {
        let epoch = self.coordinators[n].epoch;
        // One that was deposed learns it when it writes, or when its lease runs out.
        if epoch != self.elected && self.random.u32(0..40) == 0 {
            self.say(|| format!("epoch {epoch} ends"));
            return self.lose(n);
        }
        let linked: BTreeSet<AgentName> =
            self.links.iter().filter(|(_, link)| link.to == epoch).map(|(name, _)| name.clone()).collect();
        let nudge = self.random.u32(0..20) == 0;
        for name in &linked {
            self.coordinators[n].heard.insert(name.clone(), self.millis);
            // Now and then everything is sent once more: who refused it beside another order may do it by now.
            if nudge
                && self.hosts[name].to_agent.is_empty()
                && let Some(link) = self.links.get_mut(name)
            {
                link.sent.clear();
            }
        }
        for input in self.coordinators[n].look(&linked, self.millis) {
            if self.decide(epoch, input).is_none() {
                return;
            }
        }
        self.dispatch(epoch);
    }

    /// The coordinator of that epoch hears it. None: it was not stored, or the coordinator is gone.
    pub(super) fn decide(&mut self, epoch: Epoch, input: Input) -> Option<Option<Rejected>> {
        let n = self.coordinators.iter().position(|coordinator| coordinator.epoch == epoch)?;
        self.say(|| format!("epoch {epoch} hears {input:?}"));
        let before = self.coordinators[n].upgrade.seq();
        match self.coordinators[n].hear(input, self.millis) {
            Step::Heard(rejected) => {
                if self.told {
                    for recorded in facts(&self.store).iter().filter(|recorded| recorded.seq > before) {
                        println!("             {} {:?}", recorded.seq, recorded.fact);
                    }
                }
                if self.coordinators[n].upgrade.seq() > before {
                    self.dispatch(epoch);
                }
                Some(rejected)
            }
            Step::NotStored => None,
            Step::Gone => {
                self.say(|| format!("epoch {epoch} is gone"));
                self.lose(n);
                None
            }
        }
    }

    /// Sends every order that stands to whom is linked and was not sent it yet over that link.
    pub(super) fn dispatch(&mut self, epoch: Epoch) {
        let Some(coordinator) = self.coordinators.iter().find(|coordinator| coordinator.epoch == epoch) else { return };
        for (order, want) in coordinator.upgrade.orders() {
            let Some(link) = self.links.get_mut(&order.agent).filter(|link| link.to == epoch && link.welcomed) else {
                continue;
            };
            if link.sent.insert((order.id.clone(), want == Want::Revoke)) {
                let say = match want {
                    Want::Do => Say::Do(Box::new(order.clone())),
                    Want::Revoke => Say::Revoke(order.id.clone()),
                };
                self.hosts.get_mut(&order.agent).unwrap().to_agent.push_back(CoordinatorMessage { epoch, say });
            }
        }
    }

    pub(super) fn coordinator_hears(&mut self, from: &AgentName, message: AgentMessage) {
        let Some(epoch) = self.links.get(from).map(|link| link.to) else { return };
        let settles = match &message {
            AgentMessage::Outcome { order, .. } | AgentMessage::Revoked { order, .. } => Some(order.clone()),
            _ => None,
        };
        let agent = from.clone();
        let input = match message {
            AgentMessage::Hello(_) => {
                self.links.get_mut(from).unwrap().welcomed = true;
                self.host(from).to_agent.push_back(CoordinatorMessage { epoch, say: Say::Welcome });
                Input::Heard { agent }
            }
            AgentMessage::Outcome { order, outcome, .. } => Input::Outcome { agent, order, outcome },
            AgentMessage::Revoked { order, settlement } => Input::Revoked { agent, order, settlement },
            AgentMessage::Refused { order, why } => Input::Refused { agent, order, why },
            AgentMessage::TakenOver { note, .. } => Input::TakenOver { agent, note },
            AgentMessage::Report(_) | AgentMessage::Surveyed { .. } => return,
        };
        if self.decide(epoch, input).is_some() {
            if let Some(order) = settles
                && let Some(host) = self.hosts.get_mut(from)
                && self.links.get(from).is_some_and(|link| link.to == epoch)
            {
                host.to_agent.push_back(CoordinatorMessage { epoch, say: Say::Acknowledge(order) });
            }
            self.dispatch(epoch);
        }
    }

    /// An agent's telemetry, as it is now.
    pub(super) fn report(&mut self, from: &AgentName) {
        let Some(epoch) = self.links.get(from).map(|link| link.to) else { return };
        let host = &self.hosts[from];
        let run = if host.running { RunState::Running { pid: 9 } } else { RunState::Stopped };
        let report = support::report(host.instance.as_str(), run, support::now(self.millis).wall);
        let Some(coordinator) = self.coordinators.iter().find(|coordinator| coordinator.epoch == epoch) else { return };
        let agent = from.clone();
        let input = if coordinator.upgrade.members().contains_key(&host.instance) {
            Input::Observed { agent, report }
        } else {
            Input::Appeared { agent, report }
        };
        self.decide(epoch, input);
    }
}
