//! One state of the model, and all that can happen in it.

mod agents;
mod coordinators;
mod network;
mod people;

use crate::cores::Cores;
use crate::desks::{After, Desks};
use crate::host::{Host, Ledger};
use crate::kept::Kept;
use crate::message::{Message, Messages};
use crate::support::{self, Seen, database, operator, request};
use cutover_core::upgrade::{Upgrade, start};
use cutover_vocabulary::fact::Ending;
use cutover_vocabulary::*;
use std::fmt;

/// How much may go wrong. What is on its way may always be late, overtaken, lost, or arrive again, without a bound.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Bounds {
    /// Agents and coordinators that are killed, and elections beside a leader that lives.
    pub crashes: u8,
    /// Agents that go back to a leader that was deposed and does not know.
    pub strays: u8,
    /// Work that fails, an instance that must be killed, a stranger on the storage.
    pub troubles: u8,
    /// An agent that is not heard of for long, and deadlines that pass.
    pub silences: u8,
    /// A person turns back once, anywhere.
    pub turns_back: bool,
}

impl fmt::Display for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { crashes, strays, troubles, silences, turns_back } = self;
        let turns = u8::from(*turns_back);
        write!(f, "{crashes} crashes, {strays} strays, {troubles} troubles, {silences} silences, {turns} turns back")
    }
}

/// The real core and the real desks, and all that they were asked.
#[derive(Debug, Default)]
pub struct Parts {
    pub cores: Cores,
    pub desks: Desks,
    pub messages: Messages,
}

/// A coordinator that thinks that it leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Leader {
    epoch: Epoch,
    upgrade: Kept<Upgrade>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    bounds: Bounds,
    /// What the stored facts fold to.
    stored: Kept<Upgrade>,
    /// The highest epoch that the store gave.
    epoch: Epoch,
    leaders: Vec<Leader>,
    hosts: [Kept<Host>; 2],
    ledger: Ledger,
    /// What was said over the links that stand and is still of account, by number.
    said: Vec<Kept<Message>>,
}

impl State {
    /// Before anything was ordered.
    pub fn first(parts: &mut Parts, bounds: Bounds) -> Self {
        let seen =
            Seen { instances: vec!["a", "b"], ledgers: vec![("main", 0)], storage: database(), ..Seen::default() };
        let plan = seen.plan_without_blocks();
        let first = start(plan, None, operator(), request(0), Epoch(1), support::now(0));
        let upgrade = Upgrade::begin(UpgradeId::new("prod-1").unwrap(), &first).unwrap();
        Self {
            bounds,
            stored: parts.cores.keep(upgrade),
            epoch: Epoch(0),
            leaders: Vec::new(),
            hosts: ["host-a", "host-b"].map(|name| parts.desks.keep(Host::new(name))),
            ledger: Ledger::default(),
            said: Vec::new(),
        }
    }

    pub fn ending(&self) -> Option<String> {
        self.stored.ending().map(|ending| format!("{ending:?}"))
    }

    /// What is in it, in short.
    pub fn story(&self) -> String {
        let holds: Vec<_> = self.stored.holds().map(|hold| &hold.reason).collect();
        let orders: Vec<_> = self.stored.orders().map(|(order, want)| (order.id.to_string(), want)).collect();
        let hosts: Vec<_> =
            self.hosts.iter().map(|host| (host.alive, host.to, host.work.keys(), host.running)).collect();
        let (phase, leaders) = (self.stored.phase(), self.leaders.iter().map(|leader| leader.epoch));
        let leaders: Vec<_> = leaders.collect();
        format!("in {phase:?}, holds {holds:?}, orders {orders:?}, hosts {hosts:?}, leaders {leaders:?}")
    }

    /// What must hold when nothing can happen any more.
    pub fn check_end(&self) {
        let completed = self.stored.ending() == Some(Ending::Completed);
        assert_eq!(self.ledger.migrated, completed, "I14: the ledger");
        for host in &self.hosts {
            assert!(host.running && !host.fenced && !host.closed, "I14: {} does not serve", host.name);
            assert_eq!(host.new_binary, completed, "I14: {} runs the wrong release", host.name);
        }
    }

    /// Every other state that can follow.
    pub fn next(&self, parts: &mut Parts) -> Vec<Self> {
        let mut all = Vec::new();
        self.people(parts, &mut all);
        self.coordinators(parts, &mut all);
        for n in 0..self.hosts.len() {
            self.agents(parts, n, &mut all);
        }
        self.network(parts, &mut all);
        for state in &mut all {
            state.leave_the_deposed();
            state.say_what_stands(parts);
            state.forget_what_was_dealt_with(parts);
        }
        all.retain(|state| state != self);
        all
    }

    fn changed(&self, change: impl FnOnce(&mut Self)) -> Self {
        let mut state = self.clone();
        change(&mut state);
        state
    }
    fn crashed(&self, change: impl FnOnce(&mut Self)) -> Option<Self> {
        let crashes = self.bounds.crashes.checked_sub(1)?;
        Some(self.changed(|state| {
            state.bounds.crashes = crashes;
            change(state);
        }))
    }
    fn say(&mut self, message: Kept<Message>) {
        if let Err(at) = self.said.binary_search_by_key(&message.number, |said| said.number) {
            self.said.insert(at, message);
        }
    }
    /// A host as its agent left it.
    fn becomes(&mut self, n: usize, after: &After) {
        self.hosts[n] = after.host;
        after.said.iter().for_each(|message| self.say(*message));
    }
}
