//! The desk: what it knows, and what it does about what it is told.

use crate::known::Known;
use crate::{Action, Entry, Event, Greeting, Host};
use cutover_vocabulary::link::{AgentMessage, Hello, Refusal};
use cutover_vocabulary::outcome::{Effect, FailureKind};
use cutover_vocabulary::{DeploymentName, Digest, Epoch, Failure, Order, OrderId, Outcome, UpgradeId};
use std::collections::{BTreeMap, VecDeque};

/// What an agent knows of its orders. Nothing of it is lost in a restart: it is the fold of its journal.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Desk {
    pub(crate) host: Host,
    pub(crate) epoch: Epoch,
    pub(crate) orders: BTreeMap<OrderId, Known>,
    /// Upgrades in the order in which they were first heard of.
    pub(crate) upgrades: Vec<UpgradeId>,
    pub(crate) taken_over: BTreeMap<UpgradeId, String>,
    pub(crate) forgotten: VecDeque<UpgradeId>,
    pub(crate) linked: bool,
}

impl Desk {
    /// What a journal says, and nothing done about it: for a look at a host. Has no link.
    pub fn replay(host: Host, entries: impl IntoIterator<Item = Entry>) -> Self {
        let mut desk = Self {
            host,
            epoch: Epoch::default(),
            orders: BTreeMap::new(),
            upgrades: Vec::new(),
            taken_over: BTreeMap::new(),
            forgotten: VecDeque::new(),
            linked: false,
        };
        for entry in entries {
            desk.fold(&entry);
        }
        desk
    }

    /// A desk from its journal, without a link. The actions begin again what was in hand: the work looks first and
    /// adopts. In an upgrade that a person took over nothing is begun again; such an order ends as interrupted, and a
    /// worker process that still runs is left to finish.
    pub fn restore(host: Host, entries: impl IntoIterator<Item = Entry>) -> (Self, Vec<Action>) {
        let mut desk = Self::replay(host, entries);
        let mut actions = Vec::new();
        let in_hand: Vec<(Box<Order>, bool)> = desk
            .orders
            .values()
            .filter_map(|known| match known {
                Known::InHand { order, revoked, .. } => Some((order.clone(), *revoked)),
                Known::NeverBegun { .. } | Known::Finished { .. } => None,
            })
            .collect();
        for (order, revoked) in in_hand {
            match desk.taken_over.get(&order.id.upgrade) {
                None => actions.push(Action::Begin { order, stopping: revoked }),
                Some(note) => {
                    let outcome = Box::new(left_alone(&order, note));
                    desk.record(&mut actions, Entry::Finished { order: order.id, outcome });
                }
            }
        }
        (desk, actions)
    }

    /// Judges an event and says what is to be done about it. The state has changed already: where an entry cannot be
    /// made durable, the caller goes back to a clone from before.
    pub fn handle(&mut self, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        match event {
            Event::Heard(message) => self.heard(message, &mut actions),
            Event::Finished { order, outcome } => {
                // The work of an order ends once; whatever else is told about it is not news.
                if matches!(self.orders.get(&order), Some(Known::InHand { .. })) {
                    self.record(&mut actions, Entry::Finished { order: order.clone(), outcome: Box::new(outcome) });
                    self.answer(&mut actions, &order);
                }
            }
            Event::LinkDown => self.linked = false,
            Event::Remind => {
                let answers: Vec<_> = self.reminders().filter_map(|(id, known)| known.answer(id)).collect();
                answers.into_iter().for_each(|answer| self.send(&mut actions, answer));
            }
            Event::TakenOver { upgrade, note } => {
                if !self.taken_over.contains_key(&upgrade) {
                    let message = taken_over(&upgrade, &note);
                    self.record(&mut actions, Entry::TakenOver { upgrade, note });
                    self.send(&mut actions, message);
                }
            }
            Event::FoundInJournal(entry) => {
                let news = match &entry {
                    Entry::TakenOver { upgrade, note } => Some(taken_over(upgrade, note)),
                    Entry::Epoch(_)
                    | Entry::Accepted(_)
                    | Entry::Revoked(_)
                    | Entry::Finished { .. }
                    | Entry::Acknowledged(_)
                    | Entry::Forgotten(_) => None,
                };
                self.fold(&entry);
                if let Some(news) = news {
                    self.send(&mut actions, news);
                }
            }
        }
        actions
    }

    /// The highest epoch seen.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Orders begun and not acknowledged, with their content hashes, as a hello tells them. Nobody waits for what a person has
    /// taken over.
    pub fn in_hand(&self) -> Vec<(OrderId, Digest)> {
        let open =
            self.orders.iter().filter(|(id, known)| !known.settled() && !self.taken_over.contains_key(&id.upgrade));
        open.filter_map(|(id, known)| Some((id.clone(), *known.content()?))).collect()
    }

    /// Of each deployment the last upgrade that an order was accepted of, as a hello tells it.
    fn newest(&self) -> BTreeMap<DeploymentName, UpgradeId> {
        let deployment =
            |upgrade: &UpgradeId| self.orders_of(upgrade).find_map(|(_, known)| known.deployment()).cloned();
        // The later replaces the earlier.
        self.upgrades.iter().filter_map(|upgrade| Some((deployment(upgrade)?, upgrade.clone()))).collect()
    }

    /// Orders without an outcome.
    pub fn running(&self) -> impl Iterator<Item = &Order> {
        self.orders.values().filter_map(|known| match known {
            Known::InHand { order, .. } => Some(order.as_ref()),
            Known::NeverBegun { .. } | Known::Finished { .. } => None,
        })
    }

    /// What is said again on a standing link. Of an upgrade that a person took over it was said once a link, and may never be
    /// acknowledged: a store that was restored does not know it.
    fn reminders(&self) -> impl Iterator<Item = (&OrderId, &Known)> {
        let unsettled = self.orders.iter().filter(|(_, known)| !known.settled());
        unsettled.filter(|(id, _)| !self.taken_over.contains_key(&id.upgrade))
    }

    /// Whether something was or will be sent that is not acknowledged: [`Event::Remind`] has an effect.
    pub fn owes_answers(&self) -> bool {
        self.reminders().any(|(id, known)| known.answer(id).is_some())
    }

    /// The first message of a link, to whichever coordinator: only its answer tells whether it leads.
    pub fn hello(&self, greeting: Greeting) -> Hello {
        let Greeting { incarnation, machine, boot, instances } = greeting;
        Hello {
            agent: self.host.agent.clone(),
            incarnation,
            machine,
            boot,
            epoch: self.epoch,
            in_hand: self.in_hand(),
            instances,
            stands_by: true,
            newest: self.newest(),
        }
    }

    /// The link on which the present leader's welcome came is the one that is spoken over from now on; it begins with all that
    /// is not acknowledged, since nothing that was said on another one need have arrived, or been stored by whoever heard it.
    pub(crate) fn welcomed(&mut self, actions: &mut Vec<Action>) {
        self.linked = true;
        for (upgrade, note) in &self.taken_over {
            self.send(actions, taken_over(upgrade, note));
        }
        self.answer_all(actions);
    }

    /// Says again what came of every order that is not acknowledged.
    pub(crate) fn answer_all(&self, actions: &mut Vec<Action>) {
        for (id, known) in self.orders.iter().filter(|(_, known)| !known.settled()) {
            if let Some(answer) = known.answer(id) {
                self.send(actions, answer);
            }
        }
    }

    pub(crate) fn answer(&self, actions: &mut Vec<Action>, id: &OrderId) {
        if let Some(answer) = self.orders.get(id).and_then(|known| known.answer(id)) {
            self.send(actions, answer);
        }
    }

    pub(crate) fn refuse(&self, actions: &mut Vec<Action>, order: OrderId, why: Refusal) {
        self.send(actions, AgentMessage::Refused { order, why });
    }

    /// Without a leader's link nothing is said; the next one begins with everything that is not acknowledged.
    pub(crate) fn send(&self, actions: &mut Vec<Action>, message: AgentMessage) {
        if self.linked {
            actions.push(Action::Send(message));
        }
    }

    pub(crate) fn record(&mut self, actions: &mut Vec<Action>, entry: Entry) {
        self.fold(&entry);
        actions.push(Action::Journal(entry));
    }
}

pub(crate) fn taken_over(upgrade: &UpgradeId, note: &str) -> AgentMessage {
    AgentMessage::TakenOver { upgrade: upgrade.clone(), note: note.to_owned() }
}

fn left_alone(order: &Order, note: &str) -> Outcome {
    Outcome::Failed(Failure {
        kind: FailureKind::Interrupted,
        message: format!(
            "the agent was restarted with {} in hand after a person had taken its upgrade over ({note}), so it was not \
             taken up again",
            order.id
        ),
        remedy: "look at the host before anything else is done there: a worker process of this order may still run"
            .to_owned(),
        effect: Effect::Unknown,
    })
}
