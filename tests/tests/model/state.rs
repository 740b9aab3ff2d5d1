//! One state of the model, and all that can happen in it.

use crate::durable::is_durable;
use crate::host::{self, Host, Ledger};
use crate::shared::{Shared, fingerprint};
use crate::support::{self, Seen, database, operator, request};
use cutover_core::upgrade::{Ask, Happened, Input, Upgrade, Want, decide, start};
use cutover_desk::{Action, Desk, Event};
use cutover_vocabulary::fact::{Ending, Fact};
use cutover_vocabulary::link::{AgentMessage, CoordinatorMessage, Say};
use cutover_vocabulary::phase::Border;
use cutover_vocabulary::*;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// How much may go wrong.
#[derive(Debug, Clone, Copy, Default, Hash)]
pub struct Bounds {
    /// Agents and coordinators that are killed, and elections beside a leader that lives.
    pub crashes: u8,
    /// Messages that never arrive.
    pub losses: u8,
    /// Messages that arrive twice.
    pub twice: u8,
    /// A person turns back once, anywhere.
    pub turns_back: bool,
}

/// What becomes of an acknowledgement. All that it does is end the repetitions of its answer, so that it commutes with everything
/// else; it arrives at once, is lost, or comes once more later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Acknowledged {
    AtOnce,
    Lost,
    OnceMore,
}

/// On its way.
#[allow(clippy::large_enum_variant, reason = "every one is kept behind a pointer")]
#[derive(Debug, Clone, PartialEq, Eq)]
enum Message {
    ToAgent(usize, CoordinatorMessage),
    ToCoordinator(usize, AgentMessage),
}

/// A coordinator that thinks that it leads.
#[derive(Debug, Clone)]
struct Leader {
    epoch: Epoch,
    upgrade: Shared<Upgrade>,
}

#[derive(Debug, Clone)]
pub struct State {
    bounds: Bounds,
    /// What the stored facts fold to.
    stored: Shared<Upgrade>,
    /// The highest epoch that the store gave.
    epoch: Epoch,
    leaders: Vec<Leader>,
    hosts: [Shared<Host>; 2],
    ledger: Ledger,
    /// By what they are: a message that is on its way is not sent a second time.
    network: BTreeMap<u64, Arc<Message>>,
}

impl Message {
    fn key(&self) -> u64 {
        match self {
            Self::ToAgent(n, message) => {
                let (kind, order, id) = match &message.say {
                    Say::Welcome => (0, None, None),
                    Say::Do(order) => (1, Some(&**order), None),
                    Say::Revoke(id) => (2, None, Some(id)),
                    Say::Acknowledge(id) => (3, None, Some(id)),
                    Say::Survey { .. } => unreachable!("nobody surveys"),
                };
                fingerprint(&(0, n, message.epoch, kind, order, id))
            }
            Self::ToCoordinator(n, message) => match message {
                AgentMessage::Outcome { order, outcome, .. } => fingerprint(&(2, n, order, outcome)),
                AgentMessage::Revoked { order, settlement } => fingerprint(&(3, n, order, settlement)),
                AgentMessage::Refused { order, why } => fingerprint(&(4, n, order, why)),
                other => unreachable!("nobody says {other:?}"),
            },
        }
    }
}

impl State {
    /// Before anything was ordered.
    pub fn first(bounds: Bounds) -> Self {
        let seen =
            Seen { instances: vec!["a", "b"], ledgers: vec![("main", 0)], storage: database(), ..Seen::default() };
        let plan = seen.plan_without_blocks();
        let first = start(plan, None, operator(), request(0), Epoch(1), support::now(0));
        let upgrade = Shared::new(Upgrade::begin(UpgradeId::new("prod-1").unwrap(), &first).unwrap());
        Self {
            bounds,
            stored: upgrade,
            epoch: Epoch(0),
            leaders: Vec::new(),
            hosts: ["host-a", "host-b"].map(|name| Shared::new(Host::new(name))),
            ledger: Ledger::default(),
            network: BTreeMap::new(),
        }
    }

    /// What tells it from every other state.
    pub fn fingerprint(&self) -> u64 {
        let Self { bounds, stored, epoch, leaders, hosts, ledger, network } = self;
        let mut hasher = DefaultHasher::new();
        (bounds, stored, epoch, hosts, ledger).hash(&mut hasher);
        for leader in leaders {
            // One that has heard everything knows what is stored.
            let behind = leader.upgrade.seq() < stored.seq();
            (leader.epoch, behind.then_some(&leader.upgrade)).hash(&mut hasher);
        }
        network.keys().for_each(|key| key.hash(&mut hasher));
        hasher.finish()
    }

    pub fn ending(&self) -> Option<String> {
        self.stored.ending().map(|ending| format!("{ending:?}"))
    }

    /// What must hold when nothing can happen any more.
    pub fn check_end(&self) {
        let completed = self.stored.ending() == Some(Ending::Completed);
        assert_eq!(self.ledger.migrated, completed, "I14: the ledger");
        for host in &self.hosts {
            assert!(host.running && !host.fenced && !host.closed, "{} does not serve", host.name);
            assert_eq!(host.new_binary, completed, "I14: {} runs the wrong release", host.name);
        }
    }

    /// Every state that can follow.
    pub fn next(&self) -> Vec<Self> {
        let mut all = Vec::new();
        self.people(&mut all);
        self.coordinators(&mut all);
        for n in 0..self.hosts.len() {
            self.agents(n, &mut all);
        }
        for (key, message) in &self.network {
            self.arrivals(*key, message, &mut all);
        }
        if all.is_empty() && self.stored.ending().is_none() {
            self.nudge(&mut all);
        }
        all
    }

    fn changed(&self, change: impl FnOnce(&mut Self)) -> Self {
        let mut state = self.clone();
        change(&mut state);
        // Nobody hears one that was deposed once nobody is linked to it, and what it writes is refused.
        let Self { leaders, hosts, epoch, .. } = &mut state;
        leaders.retain(|leader| leader.epoch == *epoch || hosts.iter().any(|host| host.to == leader.epoch));
        state
    }
    fn crashed(&self, change: impl FnOnce(&mut Self)) -> Option<Self> {
        (self.bounds.crashes > 0).then(|| {
            self.changed(|state| {
                state.bounds.crashes -= 1;
                change(state);
            })
        })
    }
    fn send(&mut self, message: Message) {
        self.network.insert(message.key(), Arc::new(message));
    }

    // ---- people

    fn people(&self, all: &mut Vec<Self>) {
        let Some(n) = self.leading() else { return };
        if self.bounds.turns_back && self.stored.ending().is_none() {
            for ask in [Ask::Abort { reason: "r".to_owned() }, Ask::Rollback { reason: "r".to_owned() }] {
                let input = Input::Asked { by: operator(), request: request(1), ask };
                let mut state = self.clone();
                state.bounds.turns_back = false;
                if state.hear(n, &input) && state.stored.seq() > self.stored.seq() {
                    all.push(state);
                }
            }
        }
    }

    // ---- coordinators

    fn leading(&self) -> Option<usize> {
        self.leaders.iter().position(|leader| leader.epoch == self.epoch)
    }

    fn elect(&mut self) {
        self.epoch = Epoch(self.epoch.0 + 1);
        let mut upgrade = (*self.stored).clone();
        upgrade.led_by(self.epoch);
        self.leaders.push(Leader { epoch: self.epoch, upgrade: Shared::new(upgrade) });
        let n = self.leaders.len() - 1;
        self.hear(n, &Input::Tick);
    }

    fn coordinators(&self, all: &mut Vec<Self>) {
        if self.leading().is_none() {
            all.push(self.changed(Self::elect));
            return;
        }
        // A lease runs out while its holder lives; a second one at a time is enough.
        if self.leaders.len() == 1 && self.stored.ending().is_none() {
            all.extend(self.crashed(Self::elect));
        }
        for n in 0..self.leaders.len() {
            if self.leaders[n].epoch < self.epoch {
                // One that was deposed learns it in the end, which is no crash.
                all.push(self.changed(|state| _ = state.leaders.remove(n)));
            } else if self.stored.ending().is_none() {
                all.extend(self.crashed(|state| _ = state.leaders.remove(n)));
            }
        }
    }

    /// A coordinator decides and stores; sends what follows. False: it leads no more, and is gone.
    fn hear(&mut self, n: usize, input: &Input) -> bool {
        let leader = &self.leaders[n];
        let decision = decide(&leader.upgrade, leader.epoch, support::now(0), std::slice::from_ref(input));
        if decision.facts.is_empty() {
            return true;
        }
        if leader.epoch != self.epoch {
            // I1: the store refuses it.
            self.leaders.remove(n);
            return false;
        }
        let mut upgrade = (*leader.upgrade).clone();
        decision.facts.iter().for_each(|fact| upgrade.apply(fact));
        let upgrade = Shared::new(upgrade);
        (self.stored, self.leaders[n].upgrade) = (upgrade.clone(), upgrade);
        let news: Vec<Message> = decision.facts.iter().filter_map(|happened| self.news(happened)).collect();
        news.into_iter().for_each(|message| self.send(message));
        true
    }

    /// What a fact makes the leader say.
    fn news(&self, happened: &Happened) -> Option<Message> {
        let (to, say) = match &happened.fact {
            Fact::AttemptOpened { order } => (&order.agent, Say::Do(Box::new((**order).clone()))),
            Fact::RevokeAsked { order } => {
                let (standing, _) = self.stored.orders().find(|(standing, _)| standing.id == *order)?;
                (&standing.agent, Say::Revoke(order.clone()))
            }
            _ => return None,
        };
        // It speaks to whom is linked to it.
        let n = self.hosts.iter().position(|host| host.name == *to && host.to == happened.epoch)?;
        Some(Message::ToAgent(n, CoordinatorMessage { epoch: happened.epoch, say }))
    }

    /// Every order of an agent that stands is said again.
    fn say_all(&mut self, leader: usize, n: usize) {
        let Leader { epoch, upgrade } = self.leaders[leader].clone();
        let name = self.hosts[n].name.clone();
        for (order, want) in upgrade.orders().filter(|(order, _)| order.agent == name) {
            let say = match want {
                Want::Do => Say::Do(Box::new(order.clone())),
                Want::Revoke => Say::Revoke(order.id.clone()),
            };
            self.send(Message::ToAgent(n, CoordinatorMessage { epoch, say }));
        }
    }

    // ---- agents

    fn agents(&self, n: usize, all: &mut Vec<Self>) {
        let host = &self.hosts[n];
        let Some(desk) = &host.desk else {
            return all.push(self.changed(|state| state.boot(n)));
        };
        if self.stored.ending().is_none() {
            all.extend(self.crashed(|state| state.agent_dies(n)));
        }
        if host.to != self.epoch && self.leading().is_some() {
            all.push(self.changed(|state| state.link(n)));
        }
        // Repeated until it is acknowledged; while it is on its way once, that is the same.
        if desk.owes_answers() && host.to == self.epoch {
            let state = self.changed(|state| state.tell(n, Event::Remind));
            if state.network.len() > self.network.len() && !self.speaks(n) {
                all.push(state);
            }
        }
        for at in 0..host.work.len() {
            self.perform(n, at, all);
        }
    }

    /// Its link goes with it, and what was on its way over it.
    fn agent_dies(&mut self, n: usize) {
        self.network.retain(|_, message| !matches!(&**message, Message::ToAgent(to, _) if *to == n));
        let host = self.hosts[n].change();
        host.die();
        host.to = Epoch(0);
    }

    fn speaks(&self, n: usize) -> bool {
        self.network.values().any(|message| matches!(&**message, Message::ToCoordinator(from, _) if *from == n))
    }

    fn boot(&mut self, n: usize) {
        let host = self.hosts[n].change();
        let (desk, actions) = Desk::restore(host::desk_host(&host.name), host.journal.clone());
        host.desk = Some(desk);
        self.act(n, actions);
    }

    /// A new link: what was on its way over the former one is gone, and the greetings are exchanged before anything else.
    fn link(&mut self, n: usize) {
        let Some(leader) = self.leading() else { return };
        let other = |message: &Message| match message {
            Message::ToAgent(to, _) => *to != n,
            Message::ToCoordinator(from, _) => *from != n,
        };
        self.network.retain(|_, message| other(message));
        self.hosts[n].change().to = self.epoch;
        self.tell(n, Event::LinkDown);
        self.tell(n, Host::greet());
        self.tell(n, Event::Heard(CoordinatorMessage { epoch: self.epoch, say: Say::Welcome }));
        let agent = self.hosts[n].name.clone();
        if self.hear(leader, &Input::Heard { agent }) {
            self.say_all(leader, n);
        }
    }

    fn tell(&mut self, n: usize, event: Event) {
        if self.hosts[n].desk.is_none() {
            return;
        }
        let actions = self.hosts[n].change().desk.as_mut().unwrap().handle(event);
        self.act(n, actions);
    }

    fn act(&mut self, n: usize, actions: Vec<Action>) {
        for action in actions {
            let host = &mut self.hosts[n];
            assert!(is_durable(&action, &host.journal), "I7: {action:?} could be forgotten");
            match action {
                Action::Journal(entry) => host.change().journal.push(entry),
                Action::Begin { order, stopping } => host.change().work.push((*order, stopping)),
                Action::Stop(id) => {
                    let work = host.change().work.iter_mut().filter(|(order, _)| order.id == id);
                    work.for_each(|(_, stopping)| *stopping = true);
                }
                // Greetings are exchanged in `link`.
                Action::Send(AgentMessage::Hello(_)) => {}
                Action::Send(message) => self.send(Message::ToCoordinator(n, message)),
            }
        }
    }

    /// The same, and it is killed behind the first `survives` of what it does.
    fn tell_and_die(&self, n: usize, event: &Event, all: &mut Vec<Self>) {
        let mut desk = self.hosts[n].desk.clone().unwrap();
        let actions = desk.handle(event.clone());
        for survives in 1..actions.len() {
            all.extend(self.crashed(|state| {
                state.act(n, actions[..survives].to_vec());
                state.agent_dies(n);
            }));
        }
    }

    /// Looks whether it was done already, does it, and says what came of it; or is killed behind the effect.
    fn perform(&self, n: usize, at: usize, all: &mut Vec<Self>) {
        let mut state = self.clone();
        let (order, stopping) = state.hosts[n].change().work.remove(at);
        let outcome = match state.hosts[n].results.get(&order.id) {
            Some(outcome) => outcome.clone(),
            None if stopping => support::failure(outcome::FailureKind::Interrupted),
            None => {
                let authorised =
                    [Border::MigrateAuthorised, Border::OpenAuthorised].map(|border| self.stored.crossed(border));
                let Self { hosts, ledger, .. } = &mut state;
                let outcome = host::effect(hosts, n, ledger, &order, self.stored.plan(), authorised);
                hosts[n].change().results.insert(order.id.clone(), outcome.clone());
                all.extend(state.crashed(|state| state.agent_dies(n)));
                outcome
            }
        };
        let event = Event::Finished { order: order.id, outcome };
        state.tell_and_die(n, &event, all);
        state.tell(n, event);
        all.push(state);
    }

    // ---- the network

    fn arrivals(&self, key: u64, message: &Message, all: &mut Vec<Self>) {
        if self.bounds.losses > 0 {
            all.push(self.changed(|state| {
                state.bounds.losses -= 1;
                state.network.remove(&key);
            }));
        }
        for twice in [false, true] {
            if twice && self.bounds.twice == 0 {
                continue;
            }
            let without = self.changed(|state| {
                if twice {
                    state.bounds.twice -= 1;
                } else {
                    state.network.remove(&key);
                }
            });
            match message {
                Message::ToAgent(n, message) => {
                    let event = Event::Heard(message.clone());
                    if without.hosts[*n].desk.is_some() {
                        without.tell_and_die(*n, &event, all);
                    }
                    all.push(without.changed(|state| state.tell(*n, event)));
                }
                Message::ToCoordinator(n, message) => {
                    if without.leaders.is_empty() {
                        continue;
                    }
                    for leader in 0..without.leaders.len() {
                        without.hears(leader, *n, message, all);
                    }
                }
            }
        }
    }

    /// A coordinator hears a message; or is killed behind the append, and what would have been sent never is.
    fn hears(&self, leader: usize, n: usize, message: &AgentMessage, all: &mut Vec<Self>) {
        all.push(self.changed(|state| state.coordinator_hears(leader, n, message, Acknowledged::AtOnce)));
        let settles = matches!(message, AgentMessage::Outcome { .. } | AgentMessage::Revoked { .. });
        if settles && self.bounds.losses > 0 {
            all.push(self.changed(|state| {
                state.bounds.losses -= 1;
                state.coordinator_hears(leader, n, message, Acknowledged::Lost);
            }));
        }
        if settles && self.bounds.twice > 0 {
            all.push(self.changed(|state| {
                state.bounds.twice -= 1;
                state.coordinator_hears(leader, n, message, Acknowledged::OnceMore);
            }));
        }
        all.extend(self.crashed(|state| {
            let before = state.network.clone();
            let epoch = state.leaders[leader].epoch;
            state.coordinator_hears(leader, n, message, Acknowledged::Lost);
            state.network = before;
            state.leaders.retain(|leader| leader.epoch != epoch);
        }));
    }

    fn coordinator_hears(&mut self, leader: usize, n: usize, message: &AgentMessage, acknowledged: Acknowledged) {
        let epoch = self.leaders[leader].epoch;
        let agent = self.hosts[n].name.clone();
        match message.clone() {
            AgentMessage::Outcome { order, outcome, .. } => {
                if self.hear(leader, &Input::Outcome { agent, order: order.clone(), outcome }) {
                    self.acknowledge(epoch, n, order, acknowledged);
                }
            }
            AgentMessage::Revoked { order, settlement } => {
                if self.hear(leader, &Input::Revoked { agent, order: order.clone(), settlement }) {
                    self.acknowledge(epoch, n, order, acknowledged);
                }
            }
            AgentMessage::Refused { order, why } => _ = self.hear(leader, &Input::Refused { agent, order, why }),
            other => unreachable!("nobody says {other:?}"),
        }
    }

    fn acknowledge(&mut self, epoch: Epoch, n: usize, order: OrderId, acknowledged: Acknowledged) {
        let message = CoordinatorMessage { epoch, say: Say::Acknowledge(order) };
        if acknowledged != Acknowledged::Lost {
            self.tell(n, Event::Heard(message.clone()));
        }
        if acknowledged == Acknowledged::OnceMore {
            self.send(Message::ToAgent(n, message));
        }
    }

    /// Nothing is on its way and nothing is being done: what stands is said once more.
    fn nudge(&self, all: &mut Vec<Self>) {
        let Some(leader) = self.leading() else { return };
        for n in 0..self.hosts.len() {
            if self.hosts[n].to != self.epoch {
                continue;
            }
            let state = self.changed(|state| state.say_all(leader, n));
            if state.network.len() > self.network.len() {
                all.push(state);
            }
        }
    }
}
