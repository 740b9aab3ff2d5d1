//! One simulated upgrade.

use crate::coordinator::{self, Coordinator, Step, facts};
use crate::coverage::Coverage;
use crate::hosts::{Host, Storage};
use crate::mishap::Mishap;
use crate::support::{self, Seen, agent, operator};
use cutover_core::plan::{PlanAsk, StrategyAsk};
use cutover_core::upgrade::{Ask, Input, Rejected, Upgrade, Want};
use cutover_desk::{Action, Desk, Event, Greeting};
use cutover_store::memory::{AppendFault, MemoryStore};
use cutover_vocabulary::fact::{Ending, Fact};
use cutover_vocabulary::hold::{Choice, Hold, HoldReason};
use cutover_vocabulary::instance::RunState;
use cutover_vocabulary::link::{AgentMessage, CoordinatorMessage, Say};
use cutover_vocabulary::outcome::FailureKind;
use cutover_vocabulary::phase::Border;
use cutover_vocabulary::plan::{Approval, Limits, Plan};
use cutover_vocabulary::*;
use std::collections::{BTreeMap, BTreeSet};

/// Which upgrade is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlanKind {
    /// One instance on SQLite.
    Single,
    /// Three on PostgreSQL, with downtime.
    Downtime,
    /// Three that move one after the other; nothing is migrated.
    Rolling,
    /// Three that move one after the other, migrated beside them first.
    RollingMigrating,
    /// The target has no storage commands: its first start migrates.
    FirstStart,
    /// Nothing is known of the target.
    UnknownTarget,
}

impl PlanKind {
    pub const ALL: &[Self] =
        &[Self::Single, Self::Downtime, Self::Rolling, Self::RollingMigrating, Self::FirstStart, Self::UnknownTarget];

    fn plan(self) -> Plan {
        let rolling = PlanAsk { strategy: StrategyAsk::Rolling, limits: Limits::default(), ..support::ask() };
        match self {
            Self::Single => Seen::default().plan_without_blocks(),
            Self::Downtime => Seen::three().plan_without_blocks(),
            Self::Rolling => Seen::three_at((1, 4, 0), 6).plan_for(&rolling),
            Self::RollingMigrating => Seen::three_at((1, 4, 6), 6).plan_to((1, 7, 3), None, rolling),
            Self::FirstStart => {
                let ledgers = vec![("main", 0), ("shop", 0), ("vault", 0)];
                let seen = Seen { from: (1, 2, 1), ledgers, migrations: Vec::new(), ..Seen::three() };
                seen.plan_to((1, 3, 1), None, support::ask())
            }
            Self::UnknownTarget => Seen::three_at((1, 4, 6), 6).plan_to((1, 4, 99), Some(true), support::ask()),
        }
    }
}

/// What breaks, or what somebody does to it. Each is drawn from what is left of a run's share.
#[derive(Debug, Clone, Copy)]
enum Fault {
    CoordinatorDies,
    /// Another is elected; the former one does not know.
    Deposed,
    AgentDies,
    LinkCut,
    HostDies,
    StartedByHand,
    Appears,
    WrittenUnseen,
    AgentsLost,
    Overdue,
    Append,
    Order,
    TakenOver,
    Called,
}

/// How often each is drawn; agents, links and orders break more often than a host burns down.
const FAULTS: &[(u32, Fault)] = &[
    (6, Fault::CoordinatorDies),
    (4, Fault::Deposed),
    (8, Fault::AgentDies),
    (8, Fault::LinkCut),
    (2, Fault::HostDies),
    (2, Fault::StartedByHand),
    (2, Fault::Appears),
    (1, Fault::WrittenUnseen),
    (2, Fault::AgentsLost),
    (2, Fault::Overdue),
    (6, Fault::Append),
    (24, Fault::Order),
    (1, Fault::TakenOver),
    (6, Fault::Called),
];

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
        let names: Vec<String> = plan.binding.members.keys().map(ToString::to_string).collect();
        Self {
            coverage: Coverage::default(),
            kind,
            approval: needs_approval.then(|| support::approval(&plan)),
            store: MemoryStore::new(),
            coordinators: Vec::new(),
            elected: Epoch(0),
            hosts: names.iter().map(|name| (agent(&format!("host-{name}")), Host::new(name))).collect(),
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
                self.links.insert(name.clone(), Link { to, sent: BTreeSet::new() });
                self.host(&name).linked = true;
                let greeting = Greeting {
                    incarnation: "inc".to_owned(),
                    machine: "m1".to_owned(),
                    boot: "boot".to_owned(),
                    instances: Vec::new(),
                };
                self.agent(&name, Event::LinkUp(greeting));
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

    // ---- faults

    fn strike(&mut self, fault: Fault) {
        self.say(|| format!("!! {fault:?}"));
        match fault {
            Fault::CoordinatorDies => {
                if !self.coordinators.is_empty() {
                    let n = self.random.usize(0..self.coordinators.len());
                    self.lose(n);
                }
            }
            Fault::Deposed => {
                self.store.depose();
                self.elect();
            }
            Fault::AgentDies => {
                if let Some(name) = self.draw_host(|host| !host.dead) {
                    self.links.remove(&name);
                    self.host(&name).stop();
                }
            }
            Fault::LinkCut => {
                if let Some(name) = self.draw_host(|host| host.linked) {
                    self.cut(&name);
                }
            }
            // One burns down, no more, and never the last.
            Fault::HostDies => {
                if !self.host_died && self.hosts.len() > 1 {
                    self.host_died = true;
                    let name = self.draw_host(|host| !host.dead).unwrap();
                    self.links.remove(&name);
                    self.host(&name).die();
                }
            }
            Fault::StartedByHand => {
                if let Some(name) = self.draw_host(|host| !host.dead && host.fenced && !host.running && !host.closed) {
                    let host = self.host(&name);
                    host.running = true;
                    host.by_hand = true;
                }
            }
            Fault::Appears => {
                let host = Host { stranger: true, ..Host::new("d") };
                if self.kind != PlanKind::Single {
                    self.hosts.entry(agent("host-d")).or_insert(host);
                }
            }
            Fault::WrittenUnseen => {
                let ledgers: Vec<_> = self.plan.binding.ledgers.keys().cloned().collect();
                self.storage.write_unseen(&ledgers[self.random.usize(0..ledgers.len())]);
            }
            Fault::AgentsLost => {
                if let Some(name) = self.draw_host(|host| host.linked) {
                    self.cut(&name);
                }
                self.millis += 70_000;
                for n in (0..self.coordinators.len()).rev() {
                    self.tick(n);
                }
            }
            Fault::Overdue => {
                if let Some(until) = self.leader().and_then(|leader| leader.until_overdue(self.millis)) {
                    self.millis += until;
                    for n in (0..self.coordinators.len()).rev() {
                        self.tick(n);
                    }
                }
            }
            Fault::Append => {
                let fault = AppendFault::ALL[self.random.usize(0..AppendFault::ALL.len())];
                self.store.fail_append(self.store.appends() + 1, fault);
            }
            Fault::Order => {
                if let Some(name) = self.draw_host(|host| !host.dead) {
                    self.mishaps.insert(name);
                }
            }
            Fault::TakenOver => {
                if let Some(name) = self.draw_host(|host| host.desk.is_some()) {
                    let event = Event::TakenOver { upgrade: coordinator::id(), note: "by hand".to_owned() };
                    self.agent(&name, event);
                }
            }
            Fault::Called => {
                let reason = "drawn".to_owned();
                let call = match self.random.u32(0..5) {
                    0 => Ask::Abort { reason },
                    1 => Ask::Rollback { reason },
                    2 => Ask::Resume,
                    3 => Ask::Close { reason: String::new() },
                    _ => Ask::Pause,
                };
                self.ask(call);
            }
        }
    }

    fn cut(&mut self, name: &AgentName) {
        self.links.remove(name);
        self.host(name).unlink();
    }

    /// A coordinator is gone, with its links.
    fn lose(&mut self, n: usize) {
        let gone = self.coordinators.remove(n);
        let linked: Vec<_> =
            self.links.iter().filter(|(_, link)| link.to == gone.epoch).map(|(name, _)| name.clone()).collect();
        for name in linked {
            self.cut(&name);
        }
    }

    // ---- coordinators

    fn elect(&mut self) {
        let handle = self.store.another_handle();
        match Coordinator::elect(handle, &self.plan, self.approval.as_ref(), self.millis) {
            Some(elected) => {
                self.say(|| format!("epoch {} leads", elected.epoch));
                self.elected = elected.epoch;
                self.coordinators.push(elected);
            }
            // Another leads still, or it died while it started the upgrade: the lease runs out.
            None => self.store.depose(),
        }
    }

    fn tick(&mut self, n: usize) {
        let epoch = self.coordinators[n].epoch;
        // One that was deposed learns it when it writes, or when its lease runs out.
        if epoch != self.elected && self.random.u32(0..40) == 0 {
            self.say(|| format!("epoch {epoch} ends"));
            return self.lose(n);
        }
        let linked: BTreeSet<AgentName> =
            self.links.iter().filter(|(_, link)| link.to == epoch).map(|(name, _)| name.clone()).collect();
        let nudge = self.random.u32(0..20) == 0;
        for name in &linked {
            self.coordinators[n].heard.insert(name.clone(), self.millis);
            // Now and then everything is sent once more: who refused it beside another order may do it by now.
            if nudge
                && self.hosts[name].to_agent.is_empty()
                && let Some(link) = self.links.get_mut(name)
            {
                link.sent.clear();
            }
        }
        for input in self.coordinators[n].look(&linked, self.millis) {
            if self.decide(epoch, input).is_none() {
                return;
            }
        }
        self.dispatch(epoch);
    }

    /// The coordinator of that epoch hears it. None: it was not stored, or the coordinator is gone.
    fn decide(&mut self, epoch: Epoch, input: Input) -> Option<Option<Rejected>> {
        let n = self.coordinators.iter().position(|coordinator| coordinator.epoch == epoch)?;
        self.say(|| format!("epoch {epoch} hears {input:?}"));
        let before = self.coordinators[n].upgrade.seq();
        match self.coordinators[n].hear(input, self.millis) {
            Step::Heard(rejected) => {
                if self.told {
                    for recorded in facts(&self.store).iter().filter(|recorded| recorded.seq > before) {
                        println!("             {} {:?}", recorded.seq, recorded.fact);
                    }
                }
                if self.coordinators[n].upgrade.seq() > before {
                    self.dispatch(epoch);
                }
                Some(rejected)
            }
            Step::NotStored => None,
            Step::Gone => {
                self.say(|| format!("epoch {epoch} is gone"));
                self.lose(n);
                None
            }
        }
    }

    /// Sends every order that stands to whom is linked and was not sent it yet over that link.
    fn dispatch(&mut self, epoch: Epoch) {
        let Some(coordinator) = self.coordinators.iter().find(|coordinator| coordinator.epoch == epoch) else { return };
        for (order, want) in coordinator.upgrade.orders() {
            let Some(link) = self.links.get_mut(&order.agent).filter(|link| link.to == epoch) else { continue };
            if link.sent.insert((order.id.clone(), want == Want::Revoke)) {
                let say = match want {
                    Want::Do => Say::Do(Box::new(order.clone())),
                    Want::Revoke => Say::Revoke(order.id.clone()),
                };
                self.hosts.get_mut(&order.agent).unwrap().to_agent.push_back(CoordinatorMessage { epoch, say });
            }
        }
    }

    fn coordinator_hears(&mut self, from: &AgentName, message: AgentMessage) {
        let Some(epoch) = self.links.get(from).map(|link| link.to) else { return };
        let settles = match &message {
            AgentMessage::Outcome { order, .. } | AgentMessage::Revoked { order, .. } => Some(order.clone()),
            _ => None,
        };
        let agent = from.clone();
        let input = match message {
            AgentMessage::Hello(_) => {
                self.host(from).to_agent.push_back(CoordinatorMessage { epoch, say: Say::Welcome });
                Input::Heard { agent }
            }
            AgentMessage::Outcome { order, outcome, .. } => Input::Outcome { agent, order, outcome },
            AgentMessage::Revoked { order, settlement } => Input::Revoked { agent, order, settlement },
            AgentMessage::Refused { order, why } => Input::Refused { agent, order, why },
            AgentMessage::TakenOver { note, .. } => Input::TakenOver { agent, note },
            AgentMessage::Report(_) | AgentMessage::Surveyed { .. } => return,
        };
        if self.decide(epoch, input).is_some() {
            if let Some(order) = settles
                && let Some(host) = self.hosts.get_mut(from)
                && self.links.get(from).is_some_and(|link| link.to == epoch)
            {
                host.to_agent.push_back(CoordinatorMessage { epoch, say: Say::Acknowledge(order) });
            }
            self.dispatch(epoch);
        }
    }

    /// An agent's telemetry, as it is now.
    fn report(&mut self, from: &AgentName) {
        let Some(epoch) = self.links.get(from).map(|link| link.to) else { return };
        let host = &self.hosts[from];
        let run = if host.running { RunState::Running { pid: 9 } } else { RunState::Stopped };
        let report = support::report(host.instance.as_str(), run, support::now(self.millis).wall);
        let Some(coordinator) = self.coordinators.iter().find(|coordinator| coordinator.epoch == epoch) else { return };
        let agent = from.clone();
        let input = if coordinator.upgrade.members().contains_key(&host.instance) {
            Input::Observed { agent, report }
        } else {
            Input::Appeared { agent, report }
        };
        self.decide(epoch, input);
    }

    // ---- people

    fn ask(&mut self, ask: Ask) -> Option<Option<Rejected>> {
        self.asked += 1;
        let epoch = self.leader()?.epoch;
        self.decide(epoch, Input::Asked { by: operator(), request: support::request(self.asked), ask })
    }

    /// Whether somebody who was asked got what they wanted.
    fn taken(&mut self, ask: Ask) -> bool {
        self.ask(ask) == Some(None)
    }

    /// Somebody looks at the upgrade and does what there is to do. While things break they choose as it comes; afterwards they
    /// mend what they can, and go on.
    fn operator(&mut self) {
        let Some(leader) = self.leader() else { return };
        let upgrade = leader.upgrade.clone();
        if upgrade.finished() {
            self.ask(Ask::Close { reason: String::new() });
            return;
        }
        let well = self.faults == 0;
        if well && let Some(name) = self.draw_host(|host| host.by_hand) {
            self.say(|| format!("{name}: what was started by hand is stopped"));
            let host = self.host(&name);
            host.running = false;
            host.by_hand = false;
        }
        let taken_over = |hold: &Hold| matches!(hold.reason, HoldReason::TakenOver { .. });
        if upgrade.holds().any(taken_over) && (well || self.random.u32(0..8) == 0) {
            self.ask(Ask::Close { reason: "went back by hand".to_owned() });
            return;
        }
        if well && self.bury(&upgrade) {
            return;
        }
        if well && upgrade.holds().next().is_none() && self.random.u32(0..4) == 0 {
            self.ask(Ask::Resume);
            return;
        }
        // Who appeared comes first: as long as it runs, nothing else can be answered for good.
        let appeared = |hold: &&Hold| matches!(hold.reason, HoldReason::InstanceAppeared { .. });
        let hold = upgrade.holds().find(appeared).or_else(|| upgrade.holds().next()).cloned();
        let Some(hold) = hold else { return };
        if well
            && !hold.offers(Choice::Accept)
            && let HoldReason::InstanceAppeared { agent, .. } = &hold.reason
        {
            self.say(|| format!("{agent}: what appeared there is stopped, for it cannot be let in"));
            self.host(agent).running = false;
        }
        self.answer(&hold, well);
    }

    /// Lets a host go that burnt down, or has it back where it cannot be spared.
    fn bury(&mut self, upgrade: &Upgrade) -> bool {
        let takes_part = |host: &Host, name: &AgentName| {
            upgrade.members().contains_key(&host.instance) || upgrade.awaited_agents().contains(name)
        };
        let dead = |(name, host): &(&AgentName, &Host)| host.dead && takes_part(host, name);
        let Some((name, instance)) =
            self.hosts.iter().find(dead).map(|(name, host)| (name.clone(), host.instance.clone()))
        else {
            return false;
        };
        let (reason, evidence) = ("burnt down".to_owned(), "no session from its address".to_owned());
        let answer = self.ask(Ask::Excuse { instance, reason, evidence });
        if let Some(Some(Rejected::RunnerNeeded { .. } | Rejected::LastMember(_))) = answer {
            self.say(|| format!("{name} is back"));
            let host = self.host(&name);
            host.dead = false;
            host.running = !host.fenced;
        }
        true
    }

    fn answer(&mut self, hold: &Hold, well: bool) {
        let mut wanted: Vec<Choice> = hold.choices.iter().map(|offer| offer.choice).collect();
        self.random.shuffle(&mut wanted);
        if well && self.random.u32(0..4) > 0 {
            // Forward, where that can be.
            wanted.sort_by_key(|choice| match choice {
                Choice::Accept => 0,
                Choice::Retry => 1,
                Choice::Wait => 2,
                Choice::Rollback | Choice::Abort => 3,
            });
        }
        for choice in wanted {
            if self.taken(Ask::Decide { hold: hold.id, choice, reason: "drawn".to_owned() }) {
                return;
            }
        }
    }

    // ---- agents

    fn agent(&mut self, name: &AgentName, event: Event) {
        self.say(|| format!("{name} hears {event:?}"));
        let Some(desk) = &mut self.host(name).desk else { return };
        let actions = desk.handle(event);
        self.act(name, actions);
    }

    fn act(&mut self, name: &AgentName, actions: Vec<Action>) {
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
            match action {
                Action::Journal(entry) => host.journal.push(entry),
                Action::Begin { order, stopping } => host.work.push_back((*order, stopping)),
                Action::Stop(id) => {
                    host.work.iter_mut().filter(|(order, _)| order.id == id).for_each(|(_, stopping)| *stopping = true);
                }
                Action::Send(message) if host.linked => host.to_coordinator.push_back(message),
                Action::Send(_) => {}
            }
        }
    }

    /// Looks, performs, looks again: a result that is there already is the outcome.
    fn perform(&mut self, name: &AgentName, order: &Order, stopping: bool) {
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

    fn effect(&mut self, name: &AgentName, order: &Order) -> Outcome {
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
    fn authorised(&mut self) -> (bool, bool) {
        if self.crossed != (true, true) {
            let stored = facts(&self.store);
            let crossed = |border| stored.iter().any(|recorded| recorded.fact == Fact::BorderCrossed { border });
            self.crossed = (crossed(Border::MigrateAuthorised), crossed(Border::OpenAuthorised));
        }
        self.crossed
    }

    // ---- what must hold

    fn check(&mut self) {
        let stored = facts(&self.store);
        self.coverage.facts(&format!("{:?}", self.kind), &stored);
        let leader = self.leader().unwrap();
        let mut replayed = Upgrade::replay(coordinator::id(), &stored).unwrap();
        replayed.led_by(leader.epoch);
        assert!(replayed == leader.upgrade, "the facts give another upgrade than the leader has");
        let ending = leader.upgrade.ending();
        if ending == Some(Ending::TakenOver) {
            return;
        }
        let completed = ending == Some(Ending::Completed);
        let members = leader.upgrade.members();
        for (name, host) in self.hosts.iter().filter(|(_, host)| members.contains_key(&host.instance) && !host.dead) {
            assert!(host.running && !host.fenced && !host.closed, "{name} does not serve clients");
            assert_eq!(host.new_binary, completed, "{name} runs the wrong release");
        }
        for host in self.hosts.values() {
            assert!(host.effects.values().all(|times| *times <= 1), "an order had effect twice");
        }
        self.storage.check_end(completed);
        self.check_orders(&stored);
    }

    /// Every order was opened once, and settled once.
    fn check_orders(&self, stored: &[fact::Recorded]) {
        let mut opened: BTreeMap<&OrderId, &AgentName> = BTreeMap::new();
        let mut settled: BTreeSet<&OrderId> = BTreeSet::new();
        for recorded in stored {
            match &recorded.fact {
                Fact::AttemptOpened { order } => {
                    assert!(opened.insert(&order.id, &order.agent).is_none(), "{} opened twice", order.id);
                }
                Fact::StepSucceeded { order, .. }
                | Fact::EvidenceRefused { order, .. }
                | Fact::StepFailed { order, .. }
                | Fact::Revoked { order, .. } => assert!(settled.insert(order), "{order} settled twice"),
                // A person settled what its agent had in hand.
                Fact::MemberExcused { instance, .. } => {
                    let gone = agent(&format!("host-{instance}"));
                    settled.extend(opened.iter().filter(|(_, agent)| ***agent == gone).map(|(id, _)| *id));
                }
                _ => {}
            }
        }
        let open: Vec<_> = opened.keys().filter(|id| !settled.contains(*id)).collect();
        assert!(open.is_empty(), "never settled: {open:?}");
    }
}
