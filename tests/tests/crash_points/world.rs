//! A coordinator, an agent and a host as data. What is durable survives a crash; everything else is forgotten.
#![allow(clippy::wildcard_enum_match_arm, reason = "a test looks for one variant")]

use crate::durable::is_durable;
use crate::hosts::{Host, Storage};
use crate::support::{self, Seen, agent, now, operator, request};
use cutover_core::upgrade::{Ask, Input, Upgrade, Want, decide, start};
use cutover_desk::{Action, Desk, Event, Greeting};
use cutover_vocabulary::fact::{Ending, Fact, Recorded};
use cutover_vocabulary::hold::{Choice, Hold, HoldReason};
use cutover_vocabulary::instance::RunState;
use cutover_vocabulary::link::{AgentMessage, CoordinatorMessage, Say};
use cutover_vocabulary::order::Epoch;
use cutover_vocabulary::outcome::FailureKind;
use cutover_vocabulary::phase::Border;
use cutover_vocabulary::plan::Plan;
use cutover_vocabulary::*;
use std::collections::{BTreeMap, BTreeSet};

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
    /// Somebody writes to one ledger after its recovery point was taken, unseen; the operator tries again, or rolls back.
    WrittenBetween {
        rollback: bool,
    },
    /// Three instances on one database.
    Three,
    /// Three, and the operator rolls back when this phase is entered.
    ThreeRollbackAt(Phase),
    /// Three, and a fourth that runs and writes appears when this phase is entered; it is let in.
    AppearsAt(Phase),
    /// Three, and the host of this one burns down when this phase is entered; it is excused.
    DiesAt(&'static str, Phase),
    /// Three that move one after the other, with nothing to migrate.
    Rolling,
    /// The same, and the operator rolls back when this phase is entered after clients were let in.
    RollingBackAt(Phase),
    /// The host of one of three was off while the others were upgraded: it is brought to what they run.
    Rejoin,
    /// The same, and the operator breaks it off when this phase is entered.
    RejoiningBackAt(Phase),
}
impl Scenario {
    /// How many hosts take part.
    pub fn hosts(self) -> usize {
        match self.away() {
            Some(_) => 1,
            None => self.seen().instances.len(),
        }
    }
    /// Who was off.
    pub fn away(self) -> Option<&'static str> {
        matches!(self, Self::Rejoin | Self::RejoiningBackAt(_)).then_some("c")
    }
    fn plan(self) -> Plan {
        match self.away() {
            Some(_) => self.seen().rejoin(),
            None => self.seen().plan_without_blocks(),
        }
    }
    /// Where somebody was off, the others have the target, and that one is down behind its fence.
    fn host(self, name: &str) -> Host {
        match self.away() {
            None => Host::new(name),
            Some(away) if away == name => Host { running: false, fenced: true, ..Host::new(name) },
            Some(_) => Host { new_binary: true, ..Host::new(name) },
        }
    }
    fn seen(self) -> Seen {
        match self {
            Self::Rejoin | Self::RejoiningBackAt(_) => {
                Seen { away: self.away().into_iter().collect(), ..Seen::three_at(support::NEW, 6) }
            }
            Self::Rolling | Self::RollingBackAt(_) => Seen::three_at((1, 4, 0), 6),
            Self::Three | Self::ThreeRollbackAt(_) | Self::AppearsAt(_) | Self::DiesAt(..) => Seen::three(),
            Self::Honest
            | Self::AbortAt(_)
            | Self::RollbackAt(_)
            | Self::FailingLedger
            | Self::WrittenBetween { .. } => Seen::default(),
        }
    }
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
    /// Every host, with its agent and its link.
    hosts: BTreeMap<AgentName, Host>,
    /// The host at whose expense a crash goes.
    at: AgentName,
    storage: Storage,
    written: bool,
    millis: u64,
    plan: Plan,
}

impl World {
    pub fn new(scenario: Scenario, crashes: &[Crash]) -> Self {
        let seen = scenario.seen();
        let plan = scenario.plan();
        Self {
            scenario,
            crashes: crashes.to_vec(),
            crashed: 0,
            points: Vec::new(),
            store: Vec::new(),
            upgrade: None,
            epoch: Epoch(0),
            asked: 0,
            hosts: seen.instances.iter().map(|name| (agent(&format!("host-{name}")), scenario.host(name))).collect(),
            at: agent("host-a"),
            storage: Storage::new(&plan),
            written: false,
            millis: 0,
            plan,
        }
    }

    pub fn ending(&self) -> Option<Ending> {
        self.store.iter().find_map(|recorded| match &recorded.fact {
            Fact::Ended { ending, .. } => Some(*ending),
            _ => None,
        })
    }

    /// One point of the run: is anybody stopped here?
    fn point(&mut self, kind: &'static str) -> Result<(), Stopped> {
        let n = self.points.len();
        self.points.push(kind);
        let Some(crash) = self.crashes.iter().find(|crash| crash.at == n).copied() else { return Ok(()) };
        self.crashed += 1;
        match crash.who {
            Who::Coordinator => {
                self.upgrade = None;
                self.hosts.values_mut().for_each(Host::unlink);
            }
            Who::Agent => self.host().stop(),
            Who::Link => self.host().unlink(),
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
        panic!(
            "{:?} with {:?} does not end.\nlast facts: {last:?}\nhosts: {:?}",
            self.scenario, self.crashes, self.hosts
        );
    }

    fn host(&mut self) -> &mut Host {
        self.hosts.get_mut(&self.at).unwrap()
    }

    /// The first host that is alive and for which something is to be done.
    fn next_host(&mut self, wanted: impl Fn(&Host) -> bool) -> bool {
        let found = self.hosts.iter().find(|(_, host)| !host.dead && wanted(host)).map(|(name, _)| name.clone());
        match found {
            Some(name) => {
                self.at = name;
                true
            }
            None => false,
        }
    }

    fn settled(&self) -> bool {
        self.hosts.values().all(Host::idle)
    }

    fn turn(&mut self) -> Result<(), Stopped> {
        self.millis += 5;
        self.client_writes();
        if self.upgrade.is_none() {
            self.elect();
        }
        self.happens();
        if self.next_host(|host| host.desk.is_none()) {
            return self.boot_agent();
        }
        if self.next_host(|host| !host.linked) {
            return self.link_up();
        }
        if let Some(ask) = self.wanted() {
            return self.ask(ask);
        }
        if self.next_host(|host| !host.to_coordinator.is_empty()) {
            let message = self.host().to_coordinator.pop_front().unwrap();
            return self.coordinator_hears(message);
        }
        if self.next_host(|host| !host.to_agent.is_empty()) {
            let message = self.host().to_agent.pop_front().unwrap();
            return self.agent(Event::Heard(message));
        }
        if self.next_host(|host| !host.work.is_empty()) {
            let (order, stopping) = self.host().work.pop_front().unwrap();
            return self.perform(&order, stopping);
        }
        self.operator()
    }

    /// A client that writes through every instance that lets it in.
    fn client_writes(&mut self) {
        for host in self.hosts.values().filter(|host| host.running && !host.fenced) {
            self.storage.write_through(host);
        }
    }

    /// What the scenario does to the hosts.
    fn happens(&mut self) {
        let Some(upgrade) = &self.upgrade else { return };
        let phase = upgrade.phase();
        match self.scenario {
            Scenario::AppearsAt(at) if phase == Some(at) && !self.hosts.contains_key(&agent("host-d")) => {
                self.hosts.insert(agent("host-d"), Host { stranger: true, ..Host::new("d") });
            }
            Scenario::DiesAt(name, at) if phase == Some(at) => {
                self.hosts.get_mut(&agent(&format!("host-{name}"))).unwrap().die();
            }
            // Between the recovery points and the border, where the storage was just seen to be quiet.
            Scenario::WrittenBetween { .. } if !self.written && phase == Some(Phase::Migrate) => {
                self.written = true;
                self.storage.write_unseen(&support::ledger("shop"));
            }
            _ => {}
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
        self.hosts.values_mut().for_each(Host::unlink);
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
                let from = self.at.clone();
                self.send_to(&from, Say::Acknowledge(order));
                self.point("after acknowledgement")
            }
            _ => Ok(()),
        }
    }

    fn dispatch(&mut self) -> Result<(), Stopped> {
        let orders: Vec<(Order, Want)> =
            self.upgrade.as_ref().unwrap().orders().map(|(order, want)| (order.clone(), want)).collect();
        for (order, want) in orders {
            self.at = order.agent.clone();
            self.point("before send to agent")?;
            let to = order.agent.clone();
            let say = match want {
                Want::Do => Say::Do(Box::new(order)),
                Want::Revoke => Say::Revoke(order.id),
            };
            self.send_to(&to, say);
            self.point("after send to agent")?;
        }
        Ok(())
    }

    fn send_to(&mut self, to: &AgentName, say: Say) {
        let epoch = self.epoch;
        let host = self.hosts.get_mut(to).unwrap();
        host.welcomed |= host.linked && say == Say::Welcome;
        if host.welcomed {
            host.to_agent.push_back(CoordinatorMessage { epoch, say });
        }
    }

    fn coordinator_hears(&mut self, message: AgentMessage) -> Result<(), Stopped> {
        let from = self.at.clone();
        match message {
            AgentMessage::Hello(_) => {
                self.send_to(&from, Say::Welcome);
                self.decide(Input::Heard { agent: from.clone() })?;
                let upgrade = self.upgrade.as_ref().unwrap();
                if !upgrade.members().contains_key(&self.hosts[&from].instance) {
                    let run = RunState::Running { pid: 9 };
                    let report = support::report(self.hosts[&from].instance.as_str(), run, now(self.millis).wall);
                    self.decide(Input::Appeared { agent: from, report })?;
                }
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
        let upgrade = self.upgrade.as_ref().unwrap();
        let dead = |name: &AgentName| self.hosts[name].dead;
        let lost = upgrade.awaited_agents().into_iter().find(|name| dead(name)).cloned();
        if let Some(lost) = lost {
            let held = upgrade
                .holds()
                .any(|hold| matches!(&hold.reason, HoldReason::AgentLost { agent, .. } if *agent == lost));
            if !held {
                return self.decide(Input::Silent { agent: lost, heard: None });
            }
            let (reason, evidence) = ("burnt down".to_owned(), "no session from its address".to_owned());
            return self.ask(Ask::Excuse { instance: self.hosts[&lost].instance.clone(), reason, evidence });
        }
        // Who appeared comes first: as long as it runs, nothing else can be answered for good.
        let asks_about_one = |hold: &&Hold| matches!(hold.reason, HoldReason::InstanceAppeared { .. });
        let hold = upgrade.holds().find(asks_about_one).or_else(|| upgrade.holds().next()).cloned();
        if let Some(hold) = hold {
            let forward =
                matches!(self.scenario, Scenario::AppearsAt(_) | Scenario::WrittenBetween { rollback: false });
            let wanted = match forward {
                true => [Choice::Accept, Choice::Retry, Choice::Wait, Choice::Rollback, Choice::Abort],
                false => [Choice::Rollback, Choice::Abort, Choice::Retry, Choice::Wait, Choice::Accept],
            };
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

    fn boot_agent(&mut self) -> Result<(), Stopped> {
        let (at, host) = (self.at.clone(), self.host());
        let (desk, actions) = Desk::restore(host.desk_host(&at), host.journal.clone());
        host.desk = Some(desk);
        host.linked = false;
        self.act(actions)
    }

    fn link_up(&mut self) -> Result<(), Stopped> {
        self.host().linked = true;
        let greeting = Greeting {
            incarnation: "inc".to_owned(),
            machine: "m1".to_owned(),
            boot: "boot".to_owned(),
            instances: Vec::new(),
        };
        let hello = self.host().desk.as_ref().unwrap().hello(greeting);
        self.send(AgentMessage::Hello(hello))
    }

    fn agent(&mut self, event: Event) -> Result<(), Stopped> {
        let Some(desk) = &mut self.host().desk else { return Ok(()) };
        let actions = desk.handle(event);
        self.act(actions)
    }

    fn act(&mut self, actions: Vec<Action>) -> Result<(), Stopped> {
        for action in actions {
            assert!(is_durable(&action, &self.host().journal), "I7: {action:?} could be forgotten");
            match action {
                Action::Journal(entry) => {
                    self.point("before journal write")?;
                    self.host().journal.push(entry);
                    self.point("after journal write")?;
                }
                Action::Begin { order, stopping } => self.host().work.push_back((*order, stopping)),
                Action::Stop(id) => {
                    for (order, stopping) in &mut self.host().work {
                        *stopping |= order.id == id;
                    }
                }
                Action::Send(message) => self.send(message)?,
                action @ (Action::SendBack(_) | Action::TurnAway { .. } | Action::Permitted { .. }) => {
                    unreachable!("one coordinator at a time: {action:?}")
                }
            }
        }
        Ok(())
    }

    fn send(&mut self, message: AgentMessage) -> Result<(), Stopped> {
        self.point("before send to coordinator")?;
        let host = self.host();
        if host.linked {
            host.to_coordinator.push_back(message);
        }
        self.point("after send to coordinator")
    }

    /// Looks, performs, looks again: a result that is there already is the outcome.
    fn perform(&mut self, order: &Order, stopping: bool) -> Result<(), Stopped> {
        let outcome = match self.host().results.get(&order.id) {
            Some(outcome) => outcome.clone(),
            None if stopping => support::failure(FailureKind::Interrupted),
            None => {
                // The order is in hand until its work is done.
                self.host().work.push_front((order.clone(), stopping));
                self.point("before effect")?;
                let outcome = self.effect(order);
                self.point("after effect")?;
                self.host().work.retain(|(other, _)| other.id != order.id);
                self.host().results.insert(order.id.clone(), outcome.clone());
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
            Scenario::RollbackAt(at) | Scenario::ThreeRollbackAt(at) if at == phase && migrated => {
                Some(Ask::Rollback { reason })
            }
            Scenario::RollingBackAt(at) if at == phase && upgrade.crossed(Border::OpenAuthorised) => {
                Some(Ask::Rollback { reason })
            }
            Scenario::RejoiningBackAt(at) if at == phase => Some(match upgrade.crossed(Border::OpenAuthorised) {
                true => Ask::Rollback { reason },
                false => Ask::Abort { reason },
            }),
            Scenario::Honest
            | Scenario::Rejoin
            | Scenario::RejoiningBackAt(_)
            | Scenario::Rolling
            | Scenario::RollingBackAt(_)
            | Scenario::AbortAt(_)
            | Scenario::RollbackAt(_)
            | Scenario::ThreeRollbackAt(_)
            | Scenario::FailingLedger
            | Scenario::WrittenBetween { .. }
            | Scenario::Three
            | Scenario::AppearsAt(_)
            | Scenario::DiesAt(..) => None,
        }
    }

    // ---- what work does to the machine, and what must hold when it does

    fn authorised(&self, border: Border) -> bool {
        self.store.iter().any(|recorded| recorded.fact == Fact::BorderCrossed { border })
    }

    fn effect(&mut self, order: &Order) -> Outcome {
        let authorised = (self.authorised(Border::MigrateAuthorised), self.authorised(Border::OpenAuthorised));
        if self.scenario == Scenario::FailingLedger
            && matches!(order.work, Work::Migrate { .. })
            && order.id.step.subject == Subject::Ledger(support::ledger("shop"))
        {
            return support::failure(FailureKind::Failed);
        }
        let at = now(self.millis).wall;
        self.storage.effect(&mut self.hosts, &self.at, order, &self.plan, authorised, at)
    }

    /// What must hold when all is over, whatever was stopped in between.
    pub fn check_end(&self) {
        let upgrade = self.upgrade.as_ref().unwrap();
        for (name, host) in self.hosts.iter().filter(|(_, host)| upgrade.members().contains_key(&host.instance)) {
            if self.scenario.away().is_some() && self.ending() != Some(Ending::Completed) {
                assert!(!host.running && !host.closed && host.fenced, "{name}: it stays down behind its fence");
                continue;
            }
            assert!(host.running && !host.fenced && !host.dead, "{name} does not serve clients");
            assert_eq!(host.new_binary, self.ending() == Some(Ending::Completed), "{name}");
            assert!(host.effects.values().all(|n| *n <= 1), "an order had effect twice");
        }
        self.storage.check_end(self.ending() == Some(Ending::Completed));
        // The facts are one chain, and every order of an upgrade was opened once and settled once.
        let mut prev = Digest::of(b"");
        let mut opened = BTreeSet::new();
        let mut settled = BTreeSet::new();
        let mut agents: BTreeMap<OrderId, AgentName> = BTreeMap::new();
        for (n, recorded) in self.store.iter().enumerate() {
            assert_eq!((recorded.seq, recorded.prev), (n as u64 + 1, prev));
            prev = recorded.hash();
            match &recorded.fact {
                Fact::AttemptOpened { order } => {
                    agents.insert(order.id.clone(), order.agent.clone());
                    assert!(opened.insert(order.id.clone()), "{} opened twice", order.id);
                }
                Fact::StepSucceeded { order, .. }
                | Fact::EvidenceRefused { order, .. }
                | Fact::StepFailed { order, .. }
                | Fact::Revoked { order, .. } => assert!(settled.insert(order.clone()), "{order} settled twice"),
                // A person settled what its agent had in hand; each agent here speaks for one instance.
                Fact::MemberExcused { instance, .. } => {
                    let gone = agent(&format!("host-{instance}"));
                    settled.extend(opened.iter().filter(|id| agents[*id] == gone).cloned());
                }
                _ => {}
            }
        }
        assert_eq!(opened, settled);
    }
}
