//! What is really there: hosts with their agents, and the storage that they share. Durable things survive a crash.
#![allow(clippy::wildcard_enum_match_arm, reason = "a test looks for one variant")]

use crate::support::{failure, honest, instance, without_effect};
use cutover_desk::{Desk, Entry, Event};
use cutover_vocabulary::link::{AgentMessage, CoordinatorMessage};
use cutover_vocabulary::outcome::{FailureKind, Migrated, Restored};
use cutover_vocabulary::plan::{Plan, Strategy};
use cutover_vocabulary::storage::{RecoveryItem, SessionKind, StorageSession};
use cutover_vocabulary::*;
use std::collections::{BTreeMap, VecDeque};

/// A host: an instance, its agent, and the link between that agent and the coordinator.
#[derive(Debug)]
pub struct Host {
    pub instance: InstanceName,
    pub running: bool,
    pub closed: bool,
    pub fenced: bool,
    pub new_binary: bool,
    /// It appeared while the upgrade ran.
    pub stranger: bool,
    /// Somebody started it past its fence. Who looks sees it; nobody could have known before.
    pub by_hand: bool,
    /// It burnt down.
    pub dead: bool,
    /// Finished work of orders by name, as a worker's result file keeps it.
    pub results: BTreeMap<OrderId, Outcome>,
    /// How often each order had an effect.
    pub effects: BTreeMap<OrderId, u32>,
    pub journal: Vec<Entry>,
    // Volatile.
    pub desk: Option<Desk>,
    pub work: VecDeque<(Order, bool)>,
    pub linked: bool,
    /// Its hello was heard, and it may be told things.
    pub welcomed: bool,
    pub to_agent: VecDeque<CoordinatorMessage>,
    pub to_coordinator: VecDeque<AgentMessage>,
}

impl Host {
    pub fn new(name: &str) -> Self {
        Self {
            instance: instance(name),
            running: true,
            closed: false,
            fenced: false,
            new_binary: false,
            stranger: false,
            by_hand: false,
            dead: false,
            results: BTreeMap::new(),
            effects: BTreeMap::new(),
            journal: Vec::new(),
            desk: None,
            work: VecDeque::new(),
            linked: false,
            welcomed: false,
            to_agent: VecDeque::new(),
            to_coordinator: VecDeque::new(),
        }
    }
    pub fn desk_host(&self, name: &AgentName) -> cutover_desk::Host {
        let instances = [(self.instance.clone(), DeploymentName::new("prod").unwrap())].into();
        cutover_desk::Host { agent: name.clone(), instances }
    }
    /// Its link is gone, with what was on the way.
    pub fn unlink(&mut self) {
        self.to_agent.clear();
        self.to_coordinator.clear();
        self.linked = false;
        self.welcomed = false;
        if let Some(desk) = &mut self.desk {
            desk.handle(Event::LinkDown);
        }
    }
    /// Its agent is gone, with what only memory held.
    pub fn stop(&mut self) {
        self.unlink();
        self.desk = None;
        self.work.clear();
    }
    /// The whole host is gone, for good.
    pub fn die(&mut self) {
        self.stop();
        self.dead = true;
        self.running = false;
        self.closed = false;
    }
    pub fn idle(&self) -> bool {
        self.dead || (self.to_agent.is_empty() && self.to_coordinator.is_empty() && self.work.is_empty())
    }
    fn up(&self) -> bool {
        self.running || self.closed
    }
    /// Whether anybody could have known by now that it runs.
    fn known(&self) -> bool {
        !self.by_hand && (self.fenced || !self.stranger)
    }
}

/// A ledger as data: how many writes it holds, how many a client was told are kept, and what its recovery point held.
#[derive(Debug, Clone, Default)]
struct Ledger {
    writes: u64,
    acknowledged: u64,
    migrated: bool,
    point: Option<u64>,
    /// Effects since the storage was last what it was at the start.
    migrations: u32,
}
impl Ledger {
    fn written(&mut self) {
        self.writes += 1;
        self.acknowledged += 1;
    }
}

/// The storage that the hosts share.
#[derive(Debug)]
pub struct Storage {
    ledgers: BTreeMap<LedgerName, Ledger>,
    /// Both versions serve on it, migrated or not.
    rolling: bool,
    /// It was migrated before: the former version must not serve on it again.
    rejoin: bool,
    /// The upgrade migrates it.
    migrates: bool,
}

impl Storage {
    pub fn new(plan: &Plan) -> Self {
        let ledgers = plan.binding.ledgers.keys().map(|name| (name.clone(), Ledger::default())).collect();
        Self {
            ledgers,
            rolling: match plan.binding.strategy {
                Strategy::Downtime => false,
                Strategy::Rolling | Strategy::Rejoin => true,
            },
            rejoin: plan.binding.strategy == Strategy::Rejoin,
            migrates: plan.binding.stages.iter().any(|stage| stage.phase == Phase::Migrate),
        }
    }

    /// An instance writes to the ledgers that have its version's layout; of the others it answers 503.
    pub fn write_through(&mut self, host: &Host) {
        let rolling = self.rolling;
        for ledger in self.ledgers.values_mut().filter(|ledger| rolling || ledger.migrated == host.new_binary) {
            ledger.written();
        }
    }
    /// Somebody writes past every instance by the former release, which cannot write to what was migrated.
    pub fn write_unseen(&mut self, name: &LedgerName) {
        let ledger = self.ledgers.get_mut(name).unwrap();
        if !ledger.migrated {
            ledger.written();
        }
    }

    pub fn check_end(&self, completed: bool) {
        for (name, ledger) in &self.ledgers {
            assert!(ledger.migrations <= 1, "{name} was migrated {} times", ledger.migrations);
            assert_eq!(ledger.writes, ledger.acknowledged, "{name}: writes that exist and acknowledged writes");
            // A roll restores nothing: what it migrated stays so, and the former release serves on it.
            if completed || !self.rolling {
                assert_eq!(ledger.migrated, completed && self.migrates, "{name}");
            }
        }
    }

    /// What work does, and what must hold when it does.
    pub fn effect(
        &mut self,
        hosts: &mut BTreeMap<AgentName, Host>,
        at: &AgentName,
        order: &Order,
        plan: &Plan,
        (migrate_authorised, open_authorised): (bool, bool),
        moment: Timestamp,
    ) -> Outcome {
        let mut evidence = honest(plan, order, moment);
        // One that appeared counts from when it was drained.
        let down = hosts.values().all(|host| !host.up() || !host.known());
        // A closed copy that is there already is found by whoever looks first.
        let served = hosts.values().any(|host| host.running && host.known());
        let sessions: Vec<StorageSession> = hosts.values().filter(|host| host.up()).map(session).collect();
        let others_serve = hosts.iter().any(|(name, host)| name != at && host.running && !host.fenced);
        let host = hosts.get_mut(at).unwrap();
        let ledger = match &order.id.step.subject {
            Subject::Ledger(name) => Some(name.clone()),
            Subject::Instance(_) | Subject::Storage => None,
        };
        match &order.work {
            Work::Inspect | Work::StageRelease { .. } | Work::Rehearse { .. } | Work::Bake { .. } => {}
            Work::Drain { .. } => {
                assert!(!self.rolling || others_serve, "{}: nobody serves", order.id);
                host.fenced = true;
                host.running = false;
                host.closed = false;
                host.by_hand = false;
            }
            Work::Attest if host.up() => return failure(FailureKind::Refused),
            Work::Attest => {}
            Work::AttestStorage { .. } => {
                let Evidence::StorageAttested(attestation) = &mut evidence else { unreachable!() };
                attestation.sessions = sessions;
            }
            Work::Secure { item, serving, .. } => {
                assert!(down || *serving, "{}: a recovery point is taken beside a running instance", order.id);
                if let RecoveryItem::Ledger(name) = item {
                    let ledger = self.ledgers.get_mut(name).unwrap();
                    assert!(!ledger.migrated, "{}: a recovery point of a migrated ledger", order.id);
                    ledger.point = Some(ledger.writes);
                    let Evidence::Secured(point) = &mut evidence else { unreachable!() };
                    point.mark = Some(ledger.writes.to_string());
                }
            }
            Work::Register { serving, .. } => {
                assert!((down || *serving) && migrate_authorised, "{}: the storage is changed too early", order.id);
            }
            Work::Migrate { expected, mark, serving, .. } => {
                let ledger = self.ledgers.get_mut(&ledger.unwrap()).unwrap();
                assert!(down || *serving, "{}: a ledger migrates beside a running instance", order.id);
                assert!(migrate_authorised, "{}: a ledger migrates before it is authorised", order.id);
                if !ledger.migrated && !*serving {
                    if *mark != Some(ledger.writes.to_string()) {
                        return without_effect(FailureKind::Refused);
                    }
                    assert_eq!(ledger.point, Some(ledger.writes), "{}: no recovery point of what is there", order.id);
                }
                assert!(ledger.point.is_some(), "{}: no recovery point", order.id);
                let changed = !ledger.migrated;
                if changed {
                    ledger.migrated = true;
                    ledger.migrations += 1;
                    *host.effects.entry(order.id.clone()).or_default() += 1;
                }
                evidence = Evidence::Migrated(Migrated { changed, migrations: expected.clone(), took: Elapsed(1) });
            }
            Work::Prove { serving, .. } => {
                assert!(down || *serving, "{}: compared beside a running instance", order.id);
            }
            Work::Switch { .. } => host.new_binary = true,
            Work::SwitchBack { .. } => host.new_binary = false,
            Work::StartClosed { .. } if self.rolling => {
                assert!((!host.running || host.by_hand) && host.new_binary, "{}", order.id);
                host.closed = true;
            }
            Work::StartClosed { .. } => {
                assert!(!served && host.new_binary, "{}", order.id);
                assert!(
                    !self.migrates || self.ledgers.values().all(|ledger| ledger.migrated),
                    "{}: starts and migrates",
                    order.id
                );
                host.closed = true;
            }
            Work::Verify { .. } => host.closed = false,
            Work::Open { version, .. } => {
                let new = *version == plan.binding.target.version;
                assert_eq!(new, host.new_binary, "{}: another binary would start", order.id);
                assert!(new || !self.rejoin, "{}: a former version starts on a storage that is newer", order.id);
                assert!(!new || open_authorised, "{}: traffic is let in before it is authorised", order.id);
                assert!(
                    self.rolling || !self.migrates || self.ledgers.values().all(|ledger| ledger.migrated == new),
                    "{}: {version} starts on a storage of the other version",
                    order.id
                );
                host.fenced = false;
                host.running = true;
                host.by_hand = false;
            }
            Work::Restore { point, .. } => {
                assert!(down && !open_authorised, "{}: restored beside a running instance or after opening", order.id);
                let mut changed = false;
                if let RecoveryItem::Ledger(name) = &point.item {
                    let ledger = self.ledgers.get_mut(name).unwrap();
                    changed = ledger.migrated;
                    // What was not migrated stays: somebody may have written to it.
                    if changed {
                        ledger.migrated = false;
                        ledger.migrations = 0;
                        ledger.writes = ledger.point.unwrap();
                    }
                }
                let digest = point.digest.clone();
                evidence = Evidence::Restored(Restored { changed, moved_to: None, digest, notes: Vec::new() });
            }
        }
        Outcome::Done(evidence)
    }
}

fn session(host: &Host) -> StorageSession {
    StorageSession {
        pid: 7,
        role: "numary".to_owned(),
        client: format!("{}:5000", host.instance),
        application: String::new(),
        kind: SessionKind::Ledger,
        since: None,
    }
}
