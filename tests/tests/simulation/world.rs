//! One simulated upgrade, and everything around it.

mod agents;
mod check;
mod coordinators;
mod faults;
mod people;

use crate::coordinator::{Coordinator, facts};
use crate::coverage::Coverage;
use crate::hosts::{Host, Storage};
use crate::plans::PlanKind;
use crate::support;
use cutover_desk::{Desk, Event, Greeting};
use cutover_store::memory::MemoryStore;
use cutover_vocabulary::fact::Fact;
use cutover_vocabulary::link::AgentMessage;
use cutover_vocabulary::plan::{Approval, Plan};
use cutover_vocabulary::*;
use faults::FAULTS;
use std::collections::{BTreeMap, BTreeSet};

/// Steps after which a run that has not ended is taken for one that never will.
const ENOUGH: u32 = 20_000;

/// What goes on without a fault.
#[derive(Debug, Clone)]
enum Move {
    Elect,
    Boot(AgentName),
    Link(AgentName),
    Hear(AgentName),
    Tell(AgentName),
    Work(AgentName),
    Report(AgentName),
    Remind(AgentName),
    Tick(usize),
    Operator,
}

/// An agent's link.
#[derive(Debug)]
struct Link {
    /// To the coordinator of this epoch.
    to: Epoch,
    /// The orders that were sent over it, each to be done or to be withdrawn.
    sent: BTreeSet<(OrderId, bool)>,
    /// The coordinator has heard the hello; before that nothing is sent.
    welcomed: bool,
}

/// One upgrade, and everything around it.
pub struct Simulation {
    pub coverage: Coverage,
    random: fastrand::Rng,
    kind: PlanKind,
    plan: Plan,
    approval: Option<Approval>,
    store: MemoryStore,
    /// Those that think that they lead.
    coordinators: Vec<Coordinator>,
    /// Who was elected last.
    elected: Epoch,
    hosts: BTreeMap<AgentName, Host>,
    links: BTreeMap<AgentName, Link>,
    storage: Storage,
    /// Whose next order meets a mishap.
    mishaps: BTreeSet<AgentName>,
    millis: u64,
    asked: u32,
    /// How many faults are left; at none the world is well.
    faults: u32,
    /// How many steps pass before the first: what breaks early mostly ends an upgrade before anything was touched.
    calm: u32,
    host_died: bool,
    crossed: (bool, bool),
    told: bool,
}

impl Simulation {
    pub fn new(seed: u64, told: bool) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let kind = PlanKind::ALL[usize::try_from(seed).unwrap() % PlanKind::ALL.len()];
        let plan = kind.plan();
        let needs_approval = plan.level() == Some(finding::Level::Approve);
        let faults = random.u32(0..24);
        let calm = random.u32(4..600);
        Self {
            coverage: Coverage::default(),
            kind,
            approval: needs_approval.then(|| support::approval(&plan)),
            store: MemoryStore::new(),
            coordinators: Vec::new(),
            elected: Epoch(0),
            hosts: kind.hosts(&plan),
            links: BTreeMap::new(),
            storage: Storage::new(&plan),
            mishaps: BTreeSet::new(),
            plan,
            millis: 0,
            asked: 0,
            faults,
            calm,
            host_died: false,
            crossed: (false, false),
            told,
            random,
        }
    }

    /// Plays it to its end, and checks what must hold.
    pub fn play(&mut self) {
        for step in 0..ENOUGH {
            if self.over() {
                return self.check();
            }
            self.millis += 5;
            for host in self.hosts.values().filter(|host| host.running && !host.fenced) {
                self.storage.write_through(host);
            }
            if self.faults > 0 && step >= self.calm && self.random.u32(0..16) == 0 {
                self.faults -= 1;
                let fault = self.draw(FAULTS);
                self.strike(fault);
            }
            let moves = self.moves();
            let next = self.draw(&moves);
            self.go(next);
        }
        let upgrade = self.leader().map(|leader| &leader.upgrade);
        let holds: Vec<_> = upgrade.map(|upgrade| upgrade.holds().cloned().collect()).unwrap_or_default();
        panic!("it does not end: {:?}, holds {holds:#?}\nhosts {:#?}", self.kind, self.hosts);
    }

    fn draw<T: Clone>(&mut self, among: &[(u32, T)]) -> T {
        let all = among.iter().map(|(weight, _)| weight).sum();
        let mut at = self.random.u32(0..all);
        for (weight, one) in among {
            if at < *weight {
                return one.clone();
            }
            at -= weight;
        }
        unreachable!("the weights add up")
    }
    fn draw_host(&mut self, wanted: impl Fn(&Host) -> bool) -> Option<AgentName> {
        let names: Vec<_> = self.hosts.iter().filter(|(_, host)| wanted(host)).map(|(name, _)| name.clone()).collect();
        if names.is_empty() { None } else { Some(names[self.random.usize(0..names.len())].clone()) }
    }
    fn say(&self, what: impl FnOnce() -> String) {
        if self.told {
            println!("{:>8} ms  {}", self.millis, what());
        }
    }
    fn host(&mut self, name: &AgentName) -> &mut Host {
        self.hosts.get_mut(name).unwrap()
    }
    /// The one that really leads.
    fn leader(&self) -> Option<&Coordinator> {
        self.coordinators.iter().find(|coordinator| coordinator.epoch == self.elected)
    }

    /// It is closed, and nothing is on its way any more.
    fn over(&self) -> bool {
        let closed = self.leader().is_some_and(|leader| {
            leader.upgrade.finished() && facts(&self.store).iter().any(|recorded| recorded.fact == Fact::Closed)
        });
        closed && self.hosts.values().all(|host| host.idle() || host.dead)
    }

    /// What can go on now, with how likely it is.
    fn moves(&self) -> Vec<(u32, Move)> {
        let mut moves = Vec::new();
        if self.leader().is_none() {
            moves.push((10, Move::Elect));
        }
        for n in 0..self.coordinators.len() {
            moves.push((1, Move::Tick(n)));
        }
        for (name, host) in self.hosts.iter().filter(|(_, host)| !host.dead) {
            let name = || name.clone();
            match &host.desk {
                None => moves.push((4, Move::Boot(name()))),
                Some(_) if !host.linked && !self.coordinators.is_empty() => moves.push((4, Move::Link(name()))),
                Some(desk) => {
                    if host.linked {
                        moves.push((1, Move::Report(name())));
                    }
                    if desk.owes_answers() {
                        moves.push((1, Move::Remind(name())));
                    }
                }
            }
            if !host.to_coordinator.is_empty() {
                moves.push((12, Move::Hear(name())));
            }
            if !host.to_agent.is_empty() {
                moves.push((12, Move::Tell(name())));
            }
            if !host.work.is_empty() {
                moves.push((8, Move::Work(name())));
            }
        }
        if self.leader().is_some() {
            moves.push((2, Move::Operator));
        }
        moves
    }

    fn go(&mut self, next: Move) {
        match next {
            Move::Elect => self.elect(),
            Move::Boot(name) => {
                self.say(|| format!("{name} starts"));
                let host = self.hosts.get_mut(&name).unwrap();
                let (desk, actions) = Desk::restore(host.desk_host(&name), host.journal.clone());
                host.desk = Some(desk);
                host.linked = false;
                self.act(&name, actions);
            }
            Move::Link(name) => {
                let to = self.coordinators[self.random.usize(0..self.coordinators.len())].epoch;
                self.say(|| format!("{name} links to {to}"));
                self.links.insert(name.clone(), Link { to, sent: BTreeSet::new(), welcomed: false });
                self.host(&name).linked = true;
                let greeting = Greeting {
                    incarnation: "inc".to_owned(),
                    machine: "m1".to_owned(),
                    boot: "boot".to_owned(),
                    instances: Vec::new(),
                };
                let host = self.host(&name);
                let hello = host.desk.as_ref().unwrap().hello(greeting);
                host.to_coordinator.push_back(AgentMessage::Hello(hello));
            }
            Move::Hear(name) => {
                let message = self.host(&name).to_coordinator.pop_front().unwrap();
                self.coordinator_hears(&name, message);
            }
            Move::Tell(name) => {
                let message = self.host(&name).to_agent.pop_front().unwrap();
                self.agent(&name, Event::Heard(message));
            }
            Move::Work(name) => {
                let host = self.hosts.get_mut(&name).unwrap();
                let n = self.random.usize(0..host.work.len());
                let (order, stopping) = host.work.remove(n).unwrap();
                self.perform(&name, &order, stopping);
            }
            Move::Report(name) => self.report(&name),
            Move::Remind(name) => self.agent(&name, Event::Remind),
            Move::Tick(n) => self.tick(n),
            Move::Operator => self.operator(),
        }
    }
}
