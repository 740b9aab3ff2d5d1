//! What a coordinator's message leads to.

use crate::conflict::conflict;
use crate::desk::{Desk, taken_over};
use crate::known::{Known, Revoke};
use crate::{Action, Entry};
use cutover_vocabulary::link::{AgentMessage, CoordinatorMessage, Refusal, Say};
use cutover_vocabulary::{Epoch, Order, OrderId, Subject};

impl Desk {
    pub(crate) fn heard(&mut self, message: CoordinatorMessage, actions: &mut Vec<Action>) {
        let CoordinatorMessage { epoch, say } = message;
        if epoch < self.epoch {
            return self.heard_old(epoch, &say, actions);
        }
        if epoch > self.epoch {
            self.record(actions, Entry::Epoch(epoch));
        }
        match say {
            Say::Welcome => self.welcomed(actions),
            Say::Survey { .. } => {}
            Say::Permits(permits) => actions.push(Action::Permitted { epoch, permits }),
            Say::Do(order) => self.asked(order, actions),
            Say::Revoke(id) => self.revoked(id, actions),
            Say::Acknowledge(id) => self.acknowledged(id, actions),
        }
    }

    /// A fenced leader is told so where it asks for something new. Of an order that is known here nothing is said to it:
    /// a refusal means "never begun" to whoever reads it.
    fn heard_old(&self, sent: Epoch, say: &Say, actions: &mut Vec<Action>) {
        let known = self.epoch;
        match say {
            Say::Do(order) if !self.orders.contains_key(&order.id) => {
                let why = Refusal::OldEpoch { sent, known };
                actions.push(Action::SendBack(AgentMessage::Refused { order: order.id.clone(), why }));
            }
            Say::Welcome => actions.push(Action::TurnAway { welcomed: sent, known }),
            Say::Do(_) | Say::Revoke(_) | Say::Acknowledge(_) | Say::Survey { .. } | Say::Permits(_) => {}
        }
    }

    fn asked(&mut self, order: Box<Order>, actions: &mut Vec<Action>) {
        let id = order.id.clone();
        let refusal = match self.orders.get(&id) {
            Some(Known::NeverBegun { .. }) => Some(Refusal::RevokedBefore),
            Some(known) if known.content() != Some(&order.content()) => Some(Refusal::OtherContent),
            Some(Known::InHand { .. }) => {
                if let Some(note) = self.taken_over.get(&id.upgrade) {
                    self.send(actions, taken_over(&id.upgrade, note));
                }
                return;
            }
            Some(Known::Finished { .. }) => return self.answer(actions, &id),
            None => self.refusal(&order),
        };
        match refusal {
            Some(why) => self.refuse(actions, id, why),
            None => {
                self.record(actions, Entry::Accepted(order.clone()));
                actions.push(Action::Begin { order, stopping: false });
            }
        }
    }

    /// Why an order that is not known must not be begun, if so.
    fn refusal(&self, order: &Order) -> Option<Refusal> {
        let upgrade = &order.id.upgrade;
        if self.forgotten.contains(upgrade) {
            return Some(Refusal::NotHere(format!("upgrade {upgrade} ended here and its orders are forgotten")));
        }
        if order.agent != self.host.agent {
            return Some(Refusal::NotHere(format!("it is for {}, this is {}", order.agent, self.host.agent)));
        }
        let here = match &order.id.step.subject {
            Subject::Instance(name) => self.host.instances.get(name) == Some(&order.deployment),
            Subject::Ledger(_) | Subject::Storage => self.host.instances.values().any(|of| *of == order.deployment),
        };
        if !here {
            let what = match &order.id.step.subject {
                Subject::Instance(name) => format!("instance {name} of deployment {}", order.deployment),
                Subject::Ledger(_) | Subject::Storage => format!("an instance of deployment {}", order.deployment),
            };
            return Some(Refusal::NotHere(format!("{what} is not in the settings of agent {}", self.host.agent)));
        }
        if let Some(note) = self.taken_over.get(upgrade) {
            return Some(Refusal::TakenOver(note.clone()));
        }
        self.running().find(|other| conflict(order, other)).map(|other| Refusal::Conflicts(other.id.to_string()))
    }

    fn revoked(&mut self, id: OrderId, actions: &mut Vec<Action>) {
        match self.orders.get(&id) {
            None if self.forgotten.contains(&id.upgrade) => {
                // Whether it was begun is not known any more, and it must not be said that it was not.
                let why = format!("upgrade {} ended here and its orders are forgotten", id.upgrade);
                self.refuse(actions, id, Refusal::NotHere(why));
            }
            None => {
                self.record(actions, Entry::Revoked(id.clone()));
                self.answer(actions, &id);
            }
            Some(Known::NeverBegun { .. }) => self.answer(actions, &id),
            Some(Known::InHand { revoked, .. }) => match self.taken_over.get(&id.upgrade) {
                // The person decides what becomes of what runs.
                Some(note) => self.send(actions, taken_over(&id.upgrade, note)),
                None => {
                    if !revoked {
                        self.record(actions, Entry::Revoked(id.clone()));
                        actions.push(Action::Stop(id));
                    }
                }
            },
            Some(Known::Finished { revoke: Revoke::Never, acknowledged: false, .. }) => {
                self.record(actions, Entry::Revoked(id.clone()));
                self.answer(actions, &id);
            }
            Some(known @ Known::Finished { .. }) => {
                if let Some(answer) = known.answer_to_revoke(&id) {
                    self.send(actions, answer);
                }
            }
        }
    }

    fn acknowledged(&mut self, id: OrderId, actions: &mut Vec<Action>) {
        match self.orders.get(&id) {
            // Nothing was said about such an order that could have been stored.
            None | Some(Known::InHand { .. }) => {}
            Some(known @ (Known::NeverBegun { .. } | Known::Finished { .. })) => {
                if !known.settled() {
                    self.record(actions, Entry::Acknowledged(id));
                    for upgrade in self.forgettable() {
                        self.record(actions, Entry::Forgotten(upgrade));
                    }
                }
            }
        }
    }
}
