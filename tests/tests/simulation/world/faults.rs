//! What breaks, and what somebody does to it.

use super::Simulation;
use crate::coordinator;
use crate::hosts::Host;
use crate::plans::PlanKind;
use crate::support::agent;
use cutover_core::upgrade::Ask;
use cutover_desk::Event;
use cutover_store::memory::AppendFault;
use cutover_vocabulary::AgentName;

/// What breaks, or what somebody does to it. Each is drawn from what is left of a run's share.
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    CoordinatorDies,
    /// Another is elected; the former one does not know.
    Deposed,
    AgentDies,
    LinkCut,
    HostDies,
    StartedByHand,
    Appears,
    WrittenUnseen,
    AgentsLost,
    Overdue,
    Append,
    Order,
    TakenOver,
    Called,
}

/// How often each is drawn; agents, links and orders break more often than a host burns down.
pub const FAULTS: &[(u32, Fault)] = &[
    (6, Fault::CoordinatorDies),
    (4, Fault::Deposed),
    (8, Fault::AgentDies),
    (8, Fault::LinkCut),
    (2, Fault::HostDies),
    (2, Fault::StartedByHand),
    (2, Fault::Appears),
    (1, Fault::WrittenUnseen),
    (2, Fault::AgentsLost),
    (2, Fault::Overdue),
    (6, Fault::Append),
    (24, Fault::Order),
    (2, Fault::TakenOver),
    (6, Fault::Called),
];

impl Simulation {
    pub(super) fn strike(&mut self, fault: Fault) {
        self.say(|| format!("!! {fault:?}"));
        match fault {
            Fault::CoordinatorDies => {
                if !self.coordinators.is_empty() {
                    let n = self.random.usize(0..self.coordinators.len());
                    self.lose(n);
                }
            }
            Fault::Deposed => {
                self.store.depose();
                self.elect();
            }
            Fault::AgentDies => {
                if let Some(name) = self.draw_host(|host| !host.dead) {
                    self.links.remove(&name);
                    self.host(&name).stop();
                }
            }
            Fault::LinkCut => {
                if let Some(name) = self.draw_host(|host| host.linked) {
                    self.cut(&name);
                }
            }
            // One burns down, no more, and never the last.
            Fault::HostDies => {
                if !self.host_died && self.hosts.len() > 1 {
                    self.host_died = true;
                    let name = self.draw_host(|host| !host.dead).unwrap();
                    self.links.remove(&name);
                    self.host(&name).die();
                }
            }
            Fault::StartedByHand => {
                if let Some(name) = self.draw_host(|host| !host.dead && host.fenced && !host.running && !host.closed) {
                    let host = self.host(&name);
                    host.running = true;
                    host.by_hand = true;
                }
            }
            Fault::Appears => {
                let host = Host { stranger: true, ..Host::new("d") };
                if self.kind != PlanKind::Single {
                    self.hosts.entry(agent("host-d")).or_insert(host);
                }
            }
            Fault::WrittenUnseen => {
                let ledgers: Vec<_> = self.plan.binding.ledgers.keys().cloned().collect();
                self.storage.write_unseen(&ledgers[self.random.usize(0..ledgers.len())]);
            }
            Fault::AgentsLost => {
                if let Some(name) = self.draw_host(|host| host.linked) {
                    self.cut(&name);
                }
                self.millis += 70_000;
                for n in (0..self.coordinators.len()).rev() {
                    self.tick(n);
                }
            }
            Fault::Overdue => {
                if let Some(until) = self.leader().and_then(|leader| leader.until_overdue(self.millis)) {
                    self.millis += until;
                    for n in (0..self.coordinators.len()).rev() {
                        self.tick(n);
                    }
                }
            }
            Fault::Append => {
                let fault = AppendFault::ALL[self.random.usize(0..AppendFault::ALL.len())];
                self.store.fail_append(self.store.appends() + 1, fault);
            }
            Fault::Order => {
                if let Some(name) = self.draw_host(|host| !host.dead) {
                    self.mishaps.insert(name);
                }
            }
            Fault::TakenOver => {
                if let Some(name) = self.draw_host(|host| host.desk.is_some()) {
                    let event = Event::TakenOver { upgrade: coordinator::id(), note: "by hand".to_owned() };
                    self.agent(&name, event);
                }
            }
            Fault::Called => {
                let reason = "drawn".to_owned();
                let call = match self.random.u32(0..5) {
                    0 => Ask::Abort { reason },
                    1 => Ask::Rollback { reason },
                    2 => Ask::Resume { reason: String::new() },
                    3 => Ask::Close { reason: String::new() },
                    _ => Ask::Pause { reason: String::new() },
                };
                self.ask(call);
            }
        }
    }

    pub(super) fn cut(&mut self, name: &AgentName) {
        self.links.remove(name);
        self.host(name).unlink();
    }

    /// A coordinator is gone, with its links.
    pub(super) fn lose(&mut self, n: usize) {
        let gone = self.coordinators.remove(n);
        let linked: Vec<_> =
            self.links.iter().filter(|(_, link)| link.to == gone.epoch).map(|(name, _)| name.clone()).collect();
        for name in linked {
            self.cut(&name);
        }
    }
}
