//! A host of the model: its instance, its agent's journal and desk, and what its work does to the storage.

use crate::shared::Shared;
use crate::support::{agent, failure, honest, instance};
use cutover_desk::{Desk, Entry, Event};
use cutover_vocabulary::outcome::{FailureKind, Migrated, Restored};
use cutover_vocabulary::plan::Plan;
use cutover_vocabulary::storage::RecoveryItem;
use cutover_vocabulary::*;
use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};

/// What is really on a host.
#[derive(Debug, Clone)]
pub struct Host {
    pub name: AgentName,
    pub running: bool,
    pub closed: bool,
    pub fenced: bool,
    pub new_binary: bool,
    /// What each order came to, as a worker's result file keeps it.
    pub results: BTreeMap<OrderId, Outcome>,
    pub journal: Vec<Entry>,
    /// None: the agent is down.
    pub desk: Option<Desk>,
    pub work: Vec<(Order, bool)>,
    /// To which coordinator it is linked.
    pub to: Epoch,
}

/// A desk is the fold of its journal: journals with one fold are one state.
impl Hash for Host {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Self { name, running, closed, fenced, new_binary, results, journal, desk, work, to } = self;
        (running, closed, fenced, new_binary, results, work, to, desk.is_some()).hash(state);
        match desk {
            Some(desk) => desk.hash(state),
            None => Desk::replay(desk_host(name), journal.iter().cloned()).hash(state),
        }
    }
}

pub fn desk_host(name: &AgentName) -> cutover_desk::Host {
    let instance = instance(name.as_str().trim_start_matches("host-"));
    let deployment = DeploymentName::new("prod").unwrap();
    cutover_desk::Host { agent: name.clone(), instances: [(instance, deployment)].into() }
}

impl Host {
    pub fn new(name: &str) -> Self {
        Self {
            name: agent(name),
            running: true,
            closed: false,
            fenced: false,
            new_binary: false,
            results: BTreeMap::new(),
            journal: Vec::new(),
            desk: None,
            work: Vec::new(),
            to: Epoch(0),
        }
    }
    pub fn up(&self) -> bool {
        self.running || self.closed
    }
    /// The agent is killed.
    pub fn die(&mut self) {
        self.desk = None;
        self.work.clear();
    }
    /// What it says once a link stands.
    pub fn greet() -> Event {
        let (incarnation, machine, boot) = ("inc".to_owned(), "m1".to_owned(), "boot".to_owned());
        Event::LinkUp(cutover_desk::Greeting { incarnation, machine, boot, instances: Vec::new() })
    }
}

/// The ledger, and the order that changed it last.
#[derive(Debug, Clone, Default, Hash)]
pub struct Ledger {
    pub point: bool,
    pub migrated: bool,
}

/// What work does, and what must hold when it does.
pub fn effect(
    hosts: &mut [Shared<Host>; 2],
    n: usize,
    ledger: &mut Ledger,
    order: &Order,
    plan: &Plan,
    authorised: [bool; 2],
) -> Outcome {
    let [migrate, open] = authorised;
    let down = hosts.iter().all(|host| !host.up());
    let served = hosts.iter().any(|host| host.running);
    let host = hosts[n].change();
    let id = &order.id;
    let mut evidence = honest(plan, order, crate::support::now(0).wall);
    match &order.work {
        Work::Inspect | Work::StageRelease { .. } | Work::Rehearse { .. } | Work::Bake { .. } => {}
        Work::Drain { .. } => (host.fenced, host.running, host.closed) = (true, false, false),
        Work::Attest if host.up() => return failure(FailureKind::Refused),
        Work::Attest => {}
        Work::AttestStorage { .. } => assert!(down, "I9: {id}: the storage is attested beside a running instance"),
        Work::Secure { item, .. } => {
            assert!(down, "I9: {id}: a recovery point is taken beside a running instance");
            assert!(!ledger.migrated, "I4: {id}: a recovery point of what was migrated");
            ledger.point |= matches!(item, RecoveryItem::Ledger(_));
        }
        Work::Register { .. } => assert!(down && migrate, "I3, I9: {id}: the storage is changed too early"),
        Work::Migrate { expected, .. } => {
            assert!(down, "I9: {id}: migrates beside a running instance");
            assert!(migrate, "I3: {id}: migrates before it is authorised");
            assert!(ledger.point, "I4: {id}: migrates without a recovery point");
            let changed = !ledger.migrated;
            ledger.migrated = true;
            evidence = Evidence::Migrated(Migrated { changed, migrations: expected.clone(), took: Elapsed(1) });
        }
        Work::Prove { .. } => assert!(down, "I9: {id}: compared beside a running instance"),
        Work::Switch { .. } => host.new_binary = true,
        Work::SwitchBack { .. } => host.new_binary = false,
        Work::StartClosed { .. } => {
            assert!(!served && host.new_binary && ledger.migrated, "I8: {id}: starts and migrates");
            host.closed = true;
        }
        Work::Verify { .. } => host.closed = false,
        Work::Open { version } => {
            let new = *version == plan.binding.target.version;
            assert_eq!(new, host.new_binary, "I14: {id}: another binary would start");
            assert!(!new || open, "I3: {id}: traffic is let in before it is authorised");
            assert_eq!(ledger.migrated, new, "I14: {id}: starts on a storage of the other version");
            (host.fenced, host.running) = (false, true);
        }
        Work::Restore { point, .. } => {
            assert!(down && !open, "I9, I10: {id}: restored beside a running instance or after opening");
            let changed = ledger.migrated && matches!(point.item, RecoveryItem::Ledger(_));
            ledger.migrated &= !changed;
            evidence = Evidence::Restored(Restored {
                changed,
                moved_to: None,
                digest: point.digest.clone(),
                notes: Vec::new(),
            });
        }
    }
    Outcome::Done(evidence)
}
