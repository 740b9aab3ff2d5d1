//! A coordinator, an agent and a host as data. What is durable survives a crash; everything else is forgotten.
#![allow(clippy::wildcard_enum_match_arm, reason = "a test looks for one variant")]

use crate::support::{self, Seen, agent, failure, honest, instance, now, operator, request};
use cutover_core::upgrade::{Ask, Input, Upgrade, Want, decide, start};
use cutover_desk::{Action, Desk, Entry, Event, Greeting, Host};
use cutover_vocabulary::fact::{Ending, Fact, Recorded};
use cutover_vocabulary::hold::Choice;
use cutover_vocabulary::link::{AgentMessage, CoordinatorMessage, Say};
use cutover_vocabulary::order::Epoch;
use cutover_vocabulary::outcome::{FailureKind, Migrated, Restored};
use cutover_vocabulary::phase::Border;
use cutover_vocabulary::plan::Plan;
use cutover_vocabulary::storage::RecoveryItem;
use cutover_vocabulary::*;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// What an operator or the ledger does to an upgrade.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scenario {
    Honest,
    /// The operator aborts when this phase is entered.
    AbortAt(Phase),
    /// The operator rolls back when this phase is entered.
    RollbackAt(Phase),
    /// One ledger's migration fails for good; the operator rolls back.
    FailingLedger,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    Coordinator,
    Agent,
    Link,
}

/// Stop something at the n-th point of a run.
#[derive(Debug, Clone, Copy)]
pub struct Crash {
    pub at: usize,
    pub who: Who,
}
impl Crash {
    pub fn all(at: usize) -> [Self; 3] {
        [Who::Coordinator, Who::Agent, Who::Link].map(|who| Self { at, who })
    }
}

pub const KINDS: &[&str] = &[
    "before append",
    "after append",
    "before send to agent",
    "after send to agent",
    "before send to coordinator",
    "after send to coordinator",
    "before journal write",
    "after journal write",
    "before effect",
    "after effect",
    "before acknowledgement",
    "after acknowledgement",
];

/// A ledger as data: how many writes it holds, and what its recovery point held.
#[derive(Debug, Clone, Default)]
struct Ledger {
    writes: u64,
    migrated: bool,
    point: Option<u64>,
    /// Effects since the storage was last what it was at the start.
    migrations: u32,
}

/// What is really there. Survives everything.
struct Machine {
    running: bool,
    closed: bool,
    fenced: bool,
    new_binary: bool,
    ledgers: BTreeMap<LedgerName, Ledger>,
    /// Writes that a client was told are kept.
    acknowledged: u64,
    /// Finished work of orders by name, as a worker's result file keeps it.
    results: BTreeMap<OrderId, Outcome>,
    /// How often each order had an effect.
    effects: BTreeMap<OrderId, u32>,
}

/// Someone was stopped.
struct Stopped;

pub struct World {
    scenario: Scenario,
    crashes: Vec<Crash>,
    pub crashed: usize,
    pub points: Vec<&'static str>,
    // Coordinator: durable, then volatile.
    pub store: Vec<Recorded>,
    upgrade: Option<Upgrade>,
    epoch: Epoch,
    asked: u32,
    // The link.
    to_agent: VecDeque<CoordinatorMessage>,
    to_coordinator: VecDeque<AgentMessage>,
    linked: bool,
    // Agent: durable, then volatile.
    journal: Vec<Entry>,
    desk: Option<Desk>,
    work: VecDeque<(Order, bool)>,
    machine: Machine,
    millis: u64,
    plan: Plan,
}

impl World {
    pub fn new(scenario: Scenario, crashes: &[Crash]) -> Self {
        let seen = Seen::default();
        let plan = seen.plan();
        let ledgers = plan.binding.ledgers.keys().map(|name| (name.clone(), Ledger::default())).collect();
        Self {
            scenario,
            crashes: crashes.to_vec(),
            crashed: 0,
            points: Vec::new(),
            store: Vec::new(),
            upgrade: None,
            epoch: Epoch(0),
            asked: 0,
            to_agent: VecDeque::new(),
            to_coordinator: VecDeque::new(),
            linked: false,
            journal: Vec::new(),
            desk: None,
            work: VecDeque::new(),
            machine: Machine {
                running: true,
                closed: false,
                fenced: false,
                new_binary: false,
                ledgers,
                acknowledged: 0,
                results: BTreeMap::new(),
                effects: BTreeMap::new(),
            },
            millis: 0,
            plan,
        }
    }

    pub fn ending(&self) -> Option<Ending> {
        self.store.iter().find_map(|recorded| match &recorded.fact {
            Fact::Ended { ending, reason: _ } => Some(*ending),
            _ => None,
        })
    }

    /// One point of the run: is anybody stopped here?
    fn point(&mut self, kind: &'static str) -> Result<(), Stopped> {
        let n = self.points.len();
        self.points.push(kind);
        let Some(crash) = self.crashes.iter().find(|crash| crash.at == n).copied() else { return Ok(()) };
        self.crashed += 1;
        self.to_agent.clear();
        self.to_coordinator.clear();
        self.linked = false;
        match crash.who {
            Who::Coordinator => self.upgrade = None,
            Who::Agent => {
                self.desk = None;
                self.work.clear();
            }
            Who::Link => {
                if let Some(desk) = &mut self.desk {
                    desk.handle(Event::LinkDown);
                }
            }
        }
        // Whoever is not stopped goes on with what it was doing.
        let at_work = match kind {
            "before append" | "after append" | "before send to agent" | "after send to agent" => Who::Coordinator,
            "before acknowledgement" | "after acknowledgement" => Who::Coordinator,
            _ => Who::Agent,
        };
        if crash.who == at_work { Err(Stopped) } else { Ok(()) }
    }

    pub fn run_to_end(&mut self) {
        for _ in 0..20_000 {
            if self.ending().is_some() && self.upgrade.is_some() && self.settled() {
                return;
            }
            // A stopped turn is simply over; what is missing is started again in the next.
            let _ = self.turn();
        }
        let last: Vec<_> = self.store.iter().rev().take(3).map(|recorded| &recorded.fact).collect();
        let (desk, work) = (&self.desk, &self.work);
        panic!(
            "{:?} with {:?} does not end.\nlast facts: {last:?}\nwork: {work:?}\nlinked: {}, desk: {desk:?}",
            self.scenario, self.crashes, self.linked
        );
    }

    fn settled(&self) -> bool {
        self.to_agent.is_empty() && self.to_coordinator.is_empty() && self.work.is_empty()
    }

    fn turn(&mut self) -> Result<(), Stopped> {
        self.millis += 5;
        self.client_writes();
        if self.upgrade.is_none() {
            self.elect();
        }
        if self.desk.is_none() {
            return self.boot_agent();
        }
        if !self.linked {
            return self.link_up();
        }
        if let Some(ask) = self.wanted() {
            return self.ask(ask);
        }
        if let Some(message) = self.to_coordinator.pop_front() {
            return self.coordinator_hears(message);
        }
        if let Some(message) = self.to_agent.pop_front() {
            return self.agent(Event::Heard(message));
        }
        if let Some((order, stopping)) = self.work.pop_front() {
            return self.perform(&order, stopping);
        }
        self.operator()
    }

    /// A client that writes whenever an instance lets it in.
    fn client_writes(&mut self) {
        if self.machine.running && !self.machine.fenced {
            for ledger in self.machine.ledgers.values_mut() {
                ledger.writes += 1;
            }
            self.machine.acknowledged += 1;
        }
    }

    // ---- coordinator

    fn elect(&mut self) {
        self.epoch = Epoch(self.epoch.0 + 1);
        if self.store.is_empty() {
            let approval = Some(support::approval(&self.plan));
            let first = start(self.plan.clone(), approval, operator(), request(0), self.epoch, now(self.millis));
            self.store.push(first.seal(1, Digest::of(b"")));
        }
        let id = UpgradeId::new("prod-1").unwrap();
        self.upgrade = Some(Upgrade::replay(id, &self.store).unwrap());
        self.linked = false;
    }

    fn decide(&mut self, input: Input) -> Result<(), Stopped> {
        let upgrade = self.upgrade.as_ref().unwrap();
        let decision = decide(upgrade, self.epoch, now(self.millis), std::slice::from_ref(&input));
        if !decision.facts.is_empty() {
            self.point("before append")?;
            let mut upgrade = self.upgrade.take().unwrap();
            for happened in decision.facts {
                upgrade.apply(&happened);
                let prev = self.store.last().map_or(Digest::of(b""), Recorded::hash);
                self.store.push(happened.seal(self.store.len() as u64 + 1, prev));
            }
            self.upgrade = Some(upgrade);
            self.point("after append")?;
            self.dispatch()?;
        }
        match input {
            Input::Outcome { order, .. } | Input::Revoked { order, .. } => {
                self.point("before acknowledgement")?;
                self.send_to_agent(Say::Acknowledge(order))?;
                self.point("after acknowledgement")
            }
            _ => Ok(()),
        }
    }

    fn dispatch(&mut self) -> Result<(), Stopped> {
        let orders: Vec<(Order, Want)> =
            self.upgrade.as_ref().unwrap().orders().map(|(order, want)| (order.clone(), want)).collect();
        for (order, want) in orders {
            self.point("before send to agent")?;
            let say = match want {
                Want::Do => Say::Do(Box::new(order)),
                Want::Revoke => Say::Revoke(order.id),
            };
            self.send_to_agent(say)?;
            self.point("after send to agent")?;
        }
        Ok(())
    }

    fn send_to_agent(&mut self, say: Say) -> Result<(), Stopped> {
        if self.linked {
            self.to_agent.push_back(CoordinatorMessage { epoch: self.epoch, say });
        }
        Ok(())
    }

    fn coordinator_hears(&mut self, message: AgentMessage) -> Result<(), Stopped> {
        let from = agent("host-a");
        match message {
            AgentMessage::Hello(_) => {
                self.send_to_agent(Say::Welcome)?;
                self.decide(Input::Heard { agent: from })?;
                self.dispatch()
            }
            AgentMessage::Outcome { order, outcome, .. } => self.decide(Input::Outcome { agent: from, order, outcome }),
            AgentMessage::Revoked { order, settlement } => {
                self.decide(Input::Revoked { agent: from, order, settlement })
            }
            AgentMessage::Refused { order, why } => self.decide(Input::Refused { agent: from, order, why }),
            AgentMessage::Report(_) | AgentMessage::Surveyed { .. } | AgentMessage::TakenOver { .. } => Ok(()),
        }
    }

    /// Asks and decides as the scenario says; an answer that got lost is asked again under a new request.
    fn operator(&mut self) -> Result<(), Stopped> {
        let hold = self.upgrade.as_ref().and_then(|upgrade| upgrade.holds().next().cloned());
        if let Some(hold) = hold {
            let wanted = [Choice::Rollback, Choice::Abort, Choice::Retry, Choice::Wait];
            let choice = wanted.into_iter().find(|choice| hold.offers(*choice)).unwrap();
            let ask = Ask::Decide { hold: hold.id, choice, reason: "scenario".to_owned() };
            return self.ask(ask);
        }
        // Nothing is on its way: orders that were refused for a conflict are sent again, as the coordinator does.
        self.dispatch()
    }

    fn ask(&mut self, ask: Ask) -> Result<(), Stopped> {
        self.asked += 1;
        let request = request(self.asked + 1_000 * u32::try_from(self.epoch.0).unwrap());
        self.decide(Input::Asked { by: operator(), request, ask })
    }

    // ---- agent

    fn host() -> Host {
        let instances = [(instance("a"), DeploymentName::new("prod").unwrap())].into();
        Host { agent: agent("host-a"), instances }
    }

    fn boot_agent(&mut self) -> Result<(), Stopped> {
        let (desk, actions) = Desk::restore(Self::host(), self.journal.clone());
        self.desk = Some(desk);
        self.linked = false;
        self.act(actions)
    }

    fn link_up(&mut self) -> Result<(), Stopped> {
        self.linked = true;
        let greeting = Greeting {
            incarnation: "inc".to_owned(),
            machine: "m1".to_owned(),
            boot: "boot".to_owned(),
            instances: Vec::new(),
        };
        self.agent(Event::LinkUp(greeting))
    }

    fn agent(&mut self, event: Event) -> Result<(), Stopped> {
        let Some(desk) = &mut self.desk else { return Ok(()) };
        let actions = desk.handle(event);
        self.act(actions)
    }

    fn act(&mut self, actions: Vec<Action>) -> Result<(), Stopped> {
        for action in actions {
            match action {
                Action::Journal(entry) => {
                    self.point("before journal write")?;
                    self.journal.push(entry);
                    self.point("after journal write")?;
                }
                Action::Begin { order, stopping } => self.work.push_back((*order, stopping)),
                Action::Stop(id) => {
                    for (order, stopping) in &mut self.work {
                        *stopping |= order.id == id;
                    }
                }
                Action::Send(message) => {
                    self.point("before send to coordinator")?;
                    if self.linked {
                        self.to_coordinator.push_back(message);
                    }
                    self.point("after send to coordinator")?;
                }
            }
        }
        Ok(())
    }

    /// Looks, performs, looks again: a result that is there already is the outcome.
    fn perform(&mut self, order: &Order, stopping: bool) -> Result<(), Stopped> {
        let outcome = match self.machine.results.get(&order.id) {
            Some(outcome) => outcome.clone(),
            None if stopping => failure(FailureKind::Interrupted),
            None => {
                // The order is in hand until its work is done.
                self.work.push_front((order.clone(), stopping));
                self.point("before effect")?;
                let outcome = self.effect(order);
                self.point("after effect")?;
                self.work.retain(|(other, _)| other.id != order.id);
                self.machine.results.insert(order.id.clone(), outcome.clone());
                outcome
            }
        };
        self.agent(Event::Finished { order: order.id.clone(), outcome })
    }

    /// What the scenario's operator asks for now, if anything.
    fn wanted(&self) -> Option<Ask> {
        let upgrade = self.upgrade.as_ref()?;
        if upgrade.going_back() || upgrade.finished() {
            return None;
        }
        let reason = "scenario".to_owned();
        let (phase, migrated) = (upgrade.phase()?, upgrade.crossed(Border::MigrateAuthorised));
        match self.scenario {
            Scenario::AbortAt(at) if at == phase && !migrated => Some(Ask::Abort { reason }),
            Scenario::RollbackAt(at) if at == phase && migrated => Some(Ask::Rollback { reason }),
            Scenario::Honest | Scenario::AbortAt(_) | Scenario::RollbackAt(_) | Scenario::FailingLedger => None,
        }
    }

    // ---- what work does to the machine, and what must hold when it does

    fn authorised(&self, border: Border) -> bool {
        self.store.iter().any(|recorded| recorded.fact == Fact::BorderCrossed { border })
    }

    fn effect(&mut self, order: &Order) -> Outcome {
        let at = now(self.millis).wall;
        let mut evidence = honest(&self.plan, order, at);
        let migrate_authorised = self.authorised(Border::MigrateAuthorised);
        let open_authorised = self.authorised(Border::OpenAuthorised);
        let machine = &mut self.machine;
        let down = !machine.running && !machine.closed;
        let ledger = match &order.id.step.subject {
            Subject::Ledger(name) => Some(name.clone()),
            Subject::Instance(_) | Subject::Storage => None,
        };
        match &order.work {
            Work::Inspect | Work::StageRelease { .. } | Work::Rehearse { .. } => {}
            Work::Drain { .. } => {
                machine.fenced = true;
                machine.running = false;
                machine.closed = false;
            }
            Work::Attest | Work::AttestStorage { .. } if !down => return failure(FailureKind::Refused),
            Work::Attest | Work::AttestStorage { .. } => {}
            Work::Secure { item, .. } => {
                assert!(down, "{}: a recovery point is taken beside a running instance", order.id);
                if let RecoveryItem::Ledger(name) = item {
                    let ledger = machine.ledgers.get_mut(name).unwrap();
                    assert!(!ledger.migrated, "{}: a recovery point of a migrated ledger", order.id);
                    ledger.point = Some(ledger.writes);
                }
            }
            Work::Register { .. } => {
                assert!(down && migrate_authorised, "{}: the storage is changed too early", order.id);
            }
            Work::Migrate { expected, .. } => {
                let ledger = machine.ledgers.get_mut(&ledger.unwrap()).unwrap();
                assert!(down, "{}: a ledger migrates beside a running instance", order.id);
                assert!(migrate_authorised, "{}: a ledger migrates before it is authorised", order.id);
                assert_eq!(ledger.point, Some(ledger.writes), "{}: no recovery point of what is there", order.id);
                if self.scenario == Scenario::FailingLedger && order.id.step.subject.to_string() == "ledger shop" {
                    return failure(FailureKind::Failed);
                }
                let changed = !ledger.migrated;
                if changed {
                    ledger.migrated = true;
                    ledger.migrations += 1;
                    *machine.effects.entry(order.id.clone()).or_default() += 1;
                }
                evidence = Evidence::Migrated(Migrated { changed, migrations: expected.clone(), took: Elapsed(1) });
            }
            Work::Prove { .. } => assert!(down, "{}: compared beside a running instance", order.id),
            Work::Switch { .. } => machine.new_binary = true,
            Work::SwitchBack { .. } => machine.new_binary = false,
            Work::StartClosed { .. } => {
                assert!(!machine.running && machine.new_binary, "{}", order.id);
                assert!(machine.ledgers.values().all(|ledger| ledger.migrated), "{}: starts and migrates", order.id);
                machine.closed = true;
            }
            Work::Verify { .. } => machine.closed = false,
            Work::Open { version } => {
                let new = *version == support::version(support::NEW);
                assert_eq!(new, machine.new_binary, "{}: another binary would start", order.id);
                assert!(!new || open_authorised, "{}: traffic is let in before it is authorised", order.id);
                assert!(
                    machine.ledgers.values().all(|ledger| ledger.migrated == new),
                    "{}: {version} starts on a storage of the other version",
                    order.id
                );
                machine.fenced = false;
                machine.running = true;
            }
            Work::Restore { point, .. } => {
                assert!(down && !open_authorised, "{}: restored beside a running instance or after opening", order.id);
                let mut changed = false;
                if let RecoveryItem::Ledger(name) = &point.item {
                    let ledger = machine.ledgers.get_mut(name).unwrap();
                    changed = ledger.migrated;
                    if changed {
                        ledger.migrated = false;
                        ledger.migrations = 0;
                        ledger.writes = ledger.point.unwrap();
                    }
                }
                let digest = point.digest.clone();
                evidence = Evidence::Restored(Restored { changed, moved_to: None, digest });
            }
        }
        Outcome::Done(evidence)
    }

    /// What must hold when all is over, whatever was stopped in between.
    pub fn check_end(&self) {
        let machine = &self.machine;
        assert!(machine.running && !machine.fenced, "clients are not served");
        for (name, ledger) in &machine.ledgers {
            assert!(ledger.migrations <= 1, "{name} was migrated {} times", ledger.migrations);
            assert_eq!(ledger.writes, machine.acknowledged, "{name}: acknowledged writes and writes that exist");
            assert_eq!(ledger.migrated, self.ending() == Some(Ending::Completed), "{name}");
        }
        assert!(machine.effects.values().all(|n| *n <= 1), "an order had effect twice");
        // The facts are one chain, and every order of an upgrade was opened once and settled once.
        let mut prev = Digest::of(b"");
        let mut opened = BTreeSet::new();
        let mut settled = BTreeSet::new();
        for (n, recorded) in self.store.iter().enumerate() {
            assert_eq!((recorded.seq, recorded.prev), (n as u64 + 1, prev));
            prev = recorded.hash();
            match &recorded.fact {
                Fact::AttemptOpened { order } => assert!(opened.insert(order.id.clone()), "{} opened twice", order.id),
                Fact::StepSucceeded { order, .. }
                | Fact::EvidenceRefused { order, .. }
                | Fact::StepFailed { order, .. }
                | Fact::Revoked { order, .. } => assert!(settled.insert(order.clone()), "{order} settled twice"),
                _ => {}
            }
        }
        assert_eq!(opened, settled);
    }
}
