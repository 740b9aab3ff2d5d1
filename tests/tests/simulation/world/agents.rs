//! The agents: what they hear, and what their work does.

use super::Simulation;
use crate::coordinator::facts;
use crate::durable::is_durable;
use crate::mishap::Mishap;
use crate::support;
use cutover_desk::{Action, Event};
use cutover_vocabulary::fact::Fact;
use cutover_vocabulary::outcome::FailureKind;
use cutover_vocabulary::phase::Border;
use cutover_vocabulary::{AgentName, Order, Outcome};

impl Simulation {
    pub(super) fn agent(&mut self, name: &AgentName, event: Event) {
        self.say(|| format!("{name} hears {event:?}"));
        let Some(desk) = &mut self.host(name).desk else { return };
        let actions = desk.handle(event);
        self.act(name, actions);
    }

    pub(super) fn act(&mut self, name: &AgentName, actions: Vec<Action>) {
        // It may be killed between any two of them.
        let dies = self.faults > 0 && self.random.u32(0..300) == 0;
        for (n, action) in actions.into_iter().enumerate() {
            if dies && n > 0 {
                self.say(|| format!("!! {name} dies in between"));
                self.faults -= 1;
                self.links.remove(name);
                self.host(name).stop();
                return;
            }
            let host = self.host(name);
            assert!(is_durable(&action, &host.journal), "I7: {action:?} could be forgotten");
            match action {
                Action::Journal(entry) => host.journal.push(entry),
                Action::Begin { order, stopping } => host.work.push_back((*order, stopping)),
                Action::Stop(id) => {
                    host.work.iter_mut().filter(|(order, _)| order.id == id).for_each(|(_, stopping)| *stopping = true);
                }
                Action::Send(message) | Action::SendBack(message) if host.linked => {
                    host.to_coordinator.push_back(message)
                }
                Action::Send(_) | Action::SendBack(_) | Action::Permitted { .. } => {}
                Action::TurnAway { .. } => return self.cut(name),
            }
        }
    }

    /// Looks, performs, looks again: a result that is there already is the outcome.
    pub(super) fn perform(&mut self, name: &AgentName, order: &Order, stopping: bool) {
        let outcome = match self.hosts[name].results.get(&order.id) {
            Some(outcome) => outcome.clone(),
            None if stopping => support::failure(FailureKind::Interrupted),
            None => {
                let outcome = self.effect(name, order);
                self.host(name).results.insert(order.id.clone(), outcome.clone());
                outcome
            }
        };
        self.say(|| format!("{name} has done {}: {outcome:?}", order.id));
        self.agent(name, Event::Finished { order: order.id.clone(), outcome });
    }

    pub(super) fn effect(&mut self, name: &AgentName, order: &Order) -> Outcome {
        let mishap = self.mishaps.remove(name).then(|| {
            let mut fitting: Vec<_> = Mishap::ALL.iter().copied().filter(|mishap| mishap.fits(&order.work)).collect();
            // What only this work can meet is drawn more often than that it just fails.
            let own: Vec<_> = fitting.iter().copied().filter(|mishap| !mishap.is_common()).collect();
            if !own.is_empty() && self.random.bool() {
                fitting = own;
            }
            fitting[self.random.usize(0..fitting.len())]
        });
        if let Some(mishap) = mishap {
            self.coverage.met("mishap", format!("{mishap:?}"));
        }
        if let Some(outcome) = mishap.and_then(Mishap::instead) {
            return outcome;
        }
        let authorised = self.authorised();
        let at = support::now(self.millis).wall;
        let outcome = self.storage.effect(&mut self.hosts, name, order, &self.plan, authorised, at);
        match mishap {
            Some(mishap) => mishap.told(outcome),
            None => outcome,
        }
    }

    /// Whether migrating and opening are authorised: whether that is stored, whatever any coordinator thinks.
    pub(super) fn authorised(&mut self) -> (bool, bool) {
        if self.crossed != (true, true) {
            let stored = facts(&self.store);
            let crossed = |border| stored.iter().any(|recorded| recorded.fact == Fact::BorderCrossed { border });
            self.crossed = (crossed(Border::MigrateAuthorised), crossed(Border::OpenAuthorised));
        }
        self.crossed
    }
}
