//! What agents do: the real desk, asked once about each host and event.

use crate::durable::is_durable;
use crate::host::{self, Around, Host, Trouble};
use crate::kept::{Kept, Table};
use crate::message::{Message, Messages};
use crate::support;
use cutover_desk::{Action, Desk, Entry, Event};
use cutover_vocabulary::link::{AgentMessage, CoordinatorMessage, Refusal, Say};
use cutover_vocabulary::outcome::FailureKind;
use cutover_vocabulary::plan::Plan;
use cutover_vocabulary::*;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;

/// A host afterwards, and what its agent said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct After {
    pub host: Kept<Host>,
    pub said: Vec<Kept<Message>>,
}

/// What an agent does about something.
#[derive(Debug)]
pub struct Reaction {
    pub whole: After,
    /// It is killed behind the first action, the second, and so on.
    pub killed: Vec<After>,
    /// What was heard is of no account: nothing changed, and what was said is what was said before.
    pub dealt_with: bool,
}

/// Work that was done.
#[derive(Debug)]
pub struct Performed {
    pub around: Around,
    /// Killed behind the effect, before anybody knows of it.
    pub killed: Kept<Host>,
    pub reaction: Reaction,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Happens {
    Heard(Kept<Message>),
    Boot,
    Link(Epoch),
    Dies,
}

/// Which order of a host is worked on, in what surroundings, and what befalls it.
type Attempt = (Kept<Host>, usize, Around, Option<Trouble>);

#[derive(Debug, Default)]
pub struct Desks {
    hosts: Table<Host>,
    reactions: HashMap<(Kept<Host>, Happens), Rc<Reaction>>,
    performed: HashMap<Attempt, Rc<Performed>>,
    owed: HashMap<Kept<Host>, Vec<Kept<Message>>>,
    /// Which host became which.
    became: HashSet<(usize, Kept<Host>, Kept<Host>)>,
}

impl Desks {
    pub fn keep(&mut self, host: Host) -> Kept<Host> {
        self.hosts.keep(host)
    }
    pub fn count(&self) -> usize {
        self.hosts.len()
    }

    pub fn hear(&mut self, messages: &mut Messages, host: Kept<Host>, message: Kept<Message>) -> Rc<Reaction> {
        self.happens(messages, message.agent(), host, Happens::Heard(message))
    }
    pub fn boot(&mut self, messages: &mut Messages, n: usize, host: Kept<Host>) -> Rc<Reaction> {
        self.happens(messages, n, host, Happens::Boot)
    }
    /// A new link: the greetings are exchanged before anything else.
    pub fn link(&mut self, messages: &mut Messages, n: usize, host: Kept<Host>, to: Epoch) -> Rc<Reaction> {
        self.happens(messages, n, host, Happens::Link(to))
    }
    pub fn die(&mut self, messages: &mut Messages, n: usize, host: Kept<Host>) -> Kept<Host> {
        self.happens(messages, n, host, Happens::Dies).whole.host
    }

    fn happens(&mut self, messages: &mut Messages, n: usize, host: Kept<Host>, what: Happens) -> Rc<Reaction> {
        if let Some(reaction) = self.reactions.get(&(host, what)) {
            return reaction.clone();
        }
        let mut after = (*host).clone();
        let mut actions = Vec::new();
        match what {
            Happens::Heard(message) => {
                if let (Message::ToAgent(_, message), true) = (&*message, after.alive) {
                    let old = message.epoch < after.desk.epoch();
                    actions = after.desk.handle(Event::Heard(message.clone()));
                    let obeys = actions.iter().any(|action| !matches!(action, Action::SendBack(_)));
                    assert!(
                        !old || !obeys,
                        "I2: {message:?} is obeyed under an epoch that was fenced off: {actions:?}"
                    );
                }
            }
            Happens::Boot => {
                (after.desk, actions) = Desk::restore(host::desk_host(&host.name), host.entries());
                assert!(after.desk == host.desk, "I7: what its agent knew is not what its journal says");
                after.alive = true;
            }
            Happens::Link(to) => {
                if to < after.desk.epoch() {
                    // The link to the leader stands beside this one, which is not kept.
                    actions = after.desk.handle(Host::welcome(to));
                    assert!(matches!(actions[..], [Action::TurnAway { .. }]), "I2: {to} is linked to: {actions:?}");
                } else {
                    after.to = to;
                    for event in [Event::LinkDown, Host::welcome(to)] {
                        actions.extend(after.desk.handle(event));
                    }
                }
            }
            Happens::Dies => after.die(host.desk.clone()),
        }
        let reaction = Rc::new(self.act(messages, n, host, after, &actions));
        self.reactions.insert((host, what), reaction.clone());
        reaction
    }

    fn act(
        &mut self,
        messages: &mut Messages,
        n: usize,
        before: Kept<Host>,
        mut host: Host,
        actions: &[Action],
    ) -> Reaction {
        let mut said = Vec::new();
        let mut killed = Vec::new();
        let mut written = before.desk.clone();
        for (done, action) in actions.iter().enumerate() {
            if done > 0 {
                let mut dead = host.clone();
                dead.die(written.clone());
                killed.push(After { host: self.hosts.keep(dead), said: said.clone() });
            }
            assert!(is_durable(action, &host.journal), "I7: {action:?} could be forgotten");
            match action.clone() {
                Action::Journal(entry) => {
                    written.handle(Event::FoundInJournal(entry.clone()));
                    host.journal.push(Arc::new(entry));
                }
                Action::Begin { order, stopping } => {
                    let begun = host.work.insert(order.id.clone(), (Arc::new(*order), stopping));
                    assert!(begun.is_none(), "I7: {begun:?} is begun twice");
                }
                Action::Stop(id) => {
                    if let Some((_, stopping)) = host.work.get_mut(&id) {
                        *stopping = true;
                    }
                }
                Action::TurnAway { .. } | Action::Permitted { .. } => {}
                Action::Send(message) | Action::SendBack(message) => {
                    said.push(messages.keep(Message::ToCoordinator(n, message)))
                }
            }
        }
        let host = self.hosts.keep(host);
        for after in killed.iter().map(|after| after.host).chain([host]) {
            self.became.insert((n, before, after));
        }
        let dealt_with = actions.iter().all(repeats);
        Reaction { whole: After { host, said }, killed, dealt_with }
    }

    /// What an agent says again and again until it is acknowledged.
    pub fn owed(&mut self, messages: &mut Messages, n: usize, host: Kept<Host>) -> &[Kept<Message>] {
        self.owed.entry(host).or_insert_with(|| {
            let said = host.desk.clone().handle(Event::Remind).into_iter().filter_map(|action| match action {
                Action::Send(message) => Some(messages.keep(Message::ToCoordinator(n, message))),
                _ => None,
            });
            said.collect()
        })
    }

    /// Looks whether it was done already, does it, and says what came of it.
    pub fn perform(
        &mut self,
        messages: &mut Messages,
        (n, host, at): (usize, Kept<Host>, usize),
        around: Around,
        trouble: Option<Trouble>,
        plan: &Plan,
    ) -> Rc<Performed> {
        if let Some(performed) = self.performed.get(&(host, at, around, trouble)) {
            return performed.clone();
        }
        let mut after = (*host).clone();
        let id = after.work.keys().nth(at).unwrap().clone();
        let (order, stopping) = after.work.remove(&id).unwrap();
        let mut now_around = around;
        let outcome = match after.results.get(&id) {
            Some(outcome) => outcome.clone(),
            None if stopping => Arc::new(support::failure(FailureKind::Interrupted)),
            None => {
                let outcome = Arc::new(host::effect(&mut after, &mut now_around, &order, trouble, plan));
                after.results.insert(id.clone(), outcome.clone());
                outcome
            }
        };
        let mut dead = after.clone();
        dead.die(host.desk.clone());
        let killed = self.hosts.keep(dead);
        self.became.insert((n, host, killed));
        let actions = after.desk.handle(Event::Finished { order: id, outcome: (*outcome).clone() });
        let reaction = self.act(messages, n, host, after, &actions);
        let performed = Rc::new(Performed { around: now_around, killed, reaction });
        self.performed.insert((host, at, around, trouble), performed.clone());
        performed
    }

    /// The reduction by which a state forgets what was dealt with: whatever was once of no account to a host is so to all that
    /// becomes of it. And no desk that can be reached takes an order for another one of the same name.
    pub fn check_what_was_left_out(&self, messages: &Messages) {
        let said: Vec<(usize, CoordinatorMessage)> = messages
            .all()
            .filter_map(|message| match &*message {
                Message::ToAgent(_, CoordinatorMessage { say: Say::Acknowledge(_) | Say::Welcome, .. }) => None,
                Message::ToAgent(n, said) => Some((*n, said.clone())),
                Message::ToCoordinator(..) => None,
            })
            .collect();
        let mut heard: HashMap<Kept<Host>, Vec<&CoordinatorMessage>> = HashMap::new();
        for (host, what) in self.reactions.keys() {
            if let Happens::Heard(message) = what
                && let Message::ToAgent(_, message) = message.value()
            {
                heard.entry(*host).or_default().push(message);
            }
        }
        let mut known: HashMap<(usize, Kept<Host>), Vec<bool>> = HashMap::new();
        for (n, host) in self.became.iter().flat_map(|(n, before, after)| [(*n, *before), (*n, *after)]) {
            known.entry((n, host)).or_insert_with(|| {
                check_other_content(&host);
                check_unacknowledged(&host, heard.get(&host).into_iter().flatten().copied());
                let mut desk = linked(host.desk.clone());
                let mut dealt_with = |(to, said): &(usize, CoordinatorMessage)| {
                    if *to != n {
                        return true;
                    }
                    let dealt_with = desk.handle(Event::Heard(said.clone())).iter().all(repeats);
                    if !dealt_with {
                        desk = linked(host.desk.clone());
                    }
                    dealt_with
                };
                said.iter().map(&mut dealt_with).collect()
            });
        }
        for (n, before, after) in &self.became {
            for (at, said) in said.iter().enumerate() {
                let held = !known[&(*n, *before)][at] || known[&(*n, *after)][at];
                assert!(held, "I7: {said:?} was dealt with, and is again of account");
            }
        }
    }
}

/// Says what it said before, and changes nothing. That an order conflicts with another one passes.
fn repeats(action: &Action) -> bool {
    match action {
        Action::Send(AgentMessage::Refused { why, .. }) => !matches!(why, Refusal::Conflicts(_)),
        Action::Send(_) | Action::SendBack(_) | Action::TurnAway { .. } | Action::Permitted { .. } => true,
        Action::Journal(_) | Action::Begin { .. } | Action::Stop(_) => false,
    }
}

/// With a link: without one it says nothing.
fn linked(mut desk: Desk) -> Desk {
    desk.handle(Host::welcome(desk.epoch()));
    desk
}

/// I6: an order id stands for one content. Of the last orders that a host accepted.
fn check_other_content(host: &Host) {
    let accepted = host.journal.iter().rev().filter_map(|entry| match &**entry {
        Entry::Accepted(order) => Some(order),
        _ => None,
    });
    for order in accepted.take(2) {
        let mut desk = linked(host.desk.clone());
        let work = if order.work == Work::Attest { Work::Inspect } else { Work::Attest };
        let other = Order { work, ..(**order).clone() };
        let message = CoordinatorMessage { epoch: desk.epoch(), say: Say::Do(Box::new(other)) };
        let refused = AgentMessage::Refused { order: order.id.clone(), why: Refusal::OtherContent };
        let actions = desk.handle(Event::Heard(message));
        assert_eq!(actions, [Action::Send(refused)], "I6: another order of the same name as {}", order.id);
    }
}

/// The reduction by which acknowledgements arrive at once: a desk that missed all of them does about what it hears what it does
/// anyway, but for what it says about those orders.
fn check_unacknowledged<'a>(host: &Host, heard: impl Iterator<Item = &'a CoordinatorMessage>) {
    let missed = |entry: &Entry| matches!(entry, Entry::Acknowledged(_));
    let orders: BTreeSet<&OrderId> = host
        .journal
        .iter()
        .filter_map(|entry| match &**entry {
            Entry::Acknowledged(order) => Some(order),
            _ => None,
        })
        .collect();
    let without = linked(Desk::replay(host::desk_host(&host.name), host.entries().filter(|entry| !missed(entry))));
    let with = linked(host.desk.clone());
    let of_others = |action: &Action| match action {
        Action::Send(AgentMessage::Outcome { order, .. } | AgentMessage::Revoked { order, .. })
        | Action::Journal(Entry::Acknowledged(order) | Entry::Revoked(order)) => !orders.contains(order),
        _ => true,
    };
    for message in heard {
        let does = |desk: &Desk| -> Vec<Action> {
            desk.clone().handle(Event::Heard(message.clone())).into_iter().filter(of_others).collect()
        };
        assert_eq!(
            does(&with),
            does(&without),
            "I7: {message:?} is taken otherwise where acknowledgements were missed"
        );
    }
}
