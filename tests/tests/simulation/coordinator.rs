//! A coordinator: what it decides is stored under its epoch before it counts, in the real store.

use crate::support::{self, operator};
use cutover_core::upgrade::{Decision, Input, Upgrade, decide, start};
use cutover_store::memory::MemoryStore;
use cutover_store::{Appended, Batch, CoordinatorName, Nonce, Store as _, Stored};
use cutover_vocabulary::plan::{Approval, Plan};
use cutover_vocabulary::*;
use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// What a step of a coordinator came to.
#[derive(Debug)]
pub enum Step {
    /// Why the input changed nothing, if so.
    Heard(Option<cutover_core::upgrade::Rejected>),
    /// The store did not take it; nothing has changed.
    NotStored,
    /// It leads no more, or has died in the middle of an append.
    Gone,
}

/// One coordinator process.
#[derive(Debug)]
pub struct Coordinator {
    store: MemoryStore,
    pub epoch: Epoch,
    pub upgrade: Upgrade,
    hash: Digest,
    /// When it was elected, in milliseconds of the simulation.
    elected: u64,
    /// When it last heard each agent.
    pub heard: BTreeMap<AgentName, u64>,
    /// Whom it told to be silent, with what they were asked then.
    told_silent: BTreeMap<AgentName, (BTreeSet<OrderId>, Option<Phase>, bool)>,
    appended: u64,
}

/// What a future comes to that never waits; none: it waits for ever, as one does whose process dies meanwhile.
pub fn at_once<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

pub fn id() -> UpgradeId {
    UpgradeId::new("prod-1").unwrap()
}

/// Every fact that is stored.
pub fn facts(store: &MemoryStore) -> Vec<Recorded> {
    let stored = at_once(store.load(&id(), 0, usize::MAX)).unwrap().unwrap();
    let known = |stored| match stored {
        Stored::Known(recorded) => recorded,
        Stored::Foreign { seq, why } => panic!("fact {seq} is foreign: {why}"),
    };
    stored.into_iter().map(known).collect()
}

impl Coordinator {
    /// Takes the lead: the first one starts the upgrade, every other loads it. None: another leads, or the start was not stored.
    pub fn elect(store: MemoryStore, plan: &Plan, approval: Option<&Approval>, millis: u64) -> Option<Self> {
        let name = CoordinatorName::new("c").unwrap();
        let epoch = at_once(store.lead(&name))?.unwrap()?;
        let mut stored = facts(&store);
        if stored.is_empty() {
            let now = support::now(millis);
            let first = start(plan.clone(), approval.cloned(), operator(), support::request(0), epoch, now);
            let sealed = first.seal(1, Digest::of(b""));
            let batch = Batch { nonce: Nonce::new(u128::from(epoch.0) << 64), facts: vec![sealed.clone()] };
            let Appended::Committed = at_once(store.append(epoch, &id(), 0, &batch))? else { return None };
            stored.push(sealed);
        }
        let mut upgrade = Upgrade::replay(id(), &stored).unwrap();
        upgrade.led_by(epoch);
        let hash = stored.last().unwrap().hash();
        let (heard, told_silent) = (BTreeMap::new(), BTreeMap::new());
        Some(Self { store, epoch, upgrade, hash, elected: millis, heard, told_silent, appended: 0 })
    }

    fn now(&self, millis: u64) -> Now {
        Now { leading_for: Elapsed(millis - self.elected), ..support::now(millis) }
    }

    /// Decides over an input, stores what was decided, and only then is it so.
    pub fn hear(&mut self, input: Input, millis: u64) -> Step {
        let Decision { facts, mut rejected } =
            decide(&self.upgrade, self.epoch, self.now(millis), std::slice::from_ref(&input));
        let rejected = rejected.pop().flatten();
        if facts.is_empty() {
            return Step::Heard(rejected);
        }
        let (mut seq, mut hash) = (self.upgrade.seq(), self.hash);
        let mut sealed = Vec::new();
        for fact in &facts {
            seq += 1;
            let recorded = fact.clone().seal(seq, hash);
            hash = recorded.hash();
            sealed.push(recorded);
        }
        self.appended += 1;
        let nonce = Nonce::new(u128::from(self.epoch.0) << 64 | u128::from(self.appended));
        let batch = Batch { nonce, facts: sealed };
        match at_once(self.store.append(self.epoch, &id(), self.upgrade.seq(), &batch)) {
            Some(Appended::Committed) => {}
            Some(Appended::Unknown(_)) => match at_once(self.store.find_batch(&id(), &nonce)) {
                Some(Ok(Some(_))) => {}
                Some(Ok(None)) => return Step::NotStored,
                Some(Err(_)) | None => return Step::Gone,
            },
            Some(Appended::TooLarge { bytes, limit }) => panic!("a batch of {bytes} bytes, {limit} allowed"),
            Some(Appended::Fenced { .. } | Appended::Conflict { .. }) | None => return Step::Gone,
        }
        for fact in &facts {
            self.upgrade.apply(fact);
        }
        self.hash = hash;
        Step::Heard(rejected)
    }

    /// What the clock and the links say now.
    pub fn look(&mut self, linked: &BTreeSet<AgentName>, millis: u64) -> Vec<Input> {
        let limit = self.upgrade.plan().binding.limits.agent_lost.0;
        let mut inputs = Vec::new();
        let mut silent = BTreeMap::new();
        for agent in self.upgrade.awaited_agents() {
            let heard = self.heard.get(agent).copied();
            if linked.contains(agent) || millis < heard.unwrap_or(self.elected + limit) + limit {
                continue;
            }
            let orders = self.upgrade.orders_of(agent).into_iter().cloned().collect();
            let asked = (orders, self.upgrade.phase(), self.upgrade.going_back());
            if self.told_silent.get(agent) != Some(&asked) {
                let heard = heard.map(|at| support::now(at).wall);
                inputs.push(Input::Silent { agent: agent.clone(), heard });
            }
            silent.insert(agent.clone(), asked);
        }
        self.told_silent = silent;
        inputs.push(Input::Tick);
        inputs
    }

    /// How long from now until an order is overdue.
    pub fn until_overdue(&self, millis: u64) -> Option<u64> {
        Some((self.elected + self.upgrade.wake_at()?.0).saturating_sub(millis) + 1)
    }
}
