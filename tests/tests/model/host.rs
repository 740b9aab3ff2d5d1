//! A host of the model: its instance, its agent's journal and desk, and what its work does to the storage.

use crate::support::{agent, failure, honest, instance, without_effect};
use cutover_desk::{Desk, Entry, Event};
use cutover_vocabulary::link::{CoordinatorMessage, Say};
use cutover_vocabulary::outcome::{FailureKind, Migrated, Restored};
use cutover_vocabulary::plan::Plan;
use cutover_vocabulary::storage::RecoveryItem;
use cutover_vocabulary::*;
use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// What is really on a host.
#[derive(Debug, Clone)]
pub struct Host {
    pub name: AgentName,
    pub running: bool,
    pub closed: bool,
    pub fenced: bool,
    pub new_binary: bool,
    /// What each order came to, as a worker's result file keeps it.
    pub results: BTreeMap<OrderId, Arc<Outcome>>,
    pub journal: Vec<Arc<Entry>>,
    /// The fold of the journal. Memory, too, while its agent is alive.
    pub desk: Desk,
    pub alive: bool,
    /// In hand, and whether it was asked to stop.
    pub work: BTreeMap<OrderId, (Arc<Order>, bool)>,
    /// To which coordinator it is linked.
    pub to: Epoch,
}

/// A desk is the fold of its journal: journals with one fold are one state.
impl Hash for Host {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Self { name, running, closed, fenced, new_binary, results, journal: _, desk, alive, work, to } = self;
        (name, running, closed, fenced, new_binary, results, desk, alive, work, to).hash(state);
    }
}

impl Host {
    pub fn new(name: &str) -> Self {
        let name = agent(name);
        Self {
            desk: Desk::replay(desk_host(&name), []),
            alive: false,
            name,
            running: true,
            closed: false,
            fenced: false,
            new_binary: false,
            results: BTreeMap::new(),
            journal: Vec::new(),
            work: BTreeMap::new(),
            to: Epoch(0),
        }
    }
    pub fn up(&self) -> bool {
        self.running || self.closed
    }
    /// Its agent is killed, and its link goes with it. Of what it knew there remains what it wrote.
    pub fn die(&mut self, written: Desk) {
        self.desk = written;
        self.desk.handle(Event::LinkDown);
        self.alive = false;
        self.work.clear();
        self.to = Epoch(0);
    }
    pub fn entries(&self) -> impl Iterator<Item = Entry> {
        self.journal.iter().map(|entry| (**entry).clone())
    }
    /// What the leader of an epoch says first on a link.
    pub fn welcome(epoch: Epoch) -> Event {
        Event::Heard(CoordinatorMessage { epoch, say: Say::Welcome })
    }
}

pub fn desk_host(name: &AgentName) -> cutover_desk::Host {
    let instance = instance(name.as_str().trim_start_matches("host-"));
    let deployment = DeploymentName::new("prod").unwrap();
    cutover_desk::Host { agent: name.clone(), instances: [(instance, deployment)].into() }
}

/// The ledger, and what was seen of its storage.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Ledger {
    pub point: bool,
    pub migrated: bool,
    /// Somebody else has it open, until a person has seen to it.
    pub stranger: bool,
    /// The stage that attested it last.
    pub attested: Option<u16>,
}

/// How work goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Trouble {
    /// It fails before it changed anything, and the agent knows that.
    Nothing,
    /// It has its effect and ends as if it had been interrupted.
    Unknown,
    /// The instance had to be killed.
    Killed,
    /// Somebody else is found on the storage.
    Stranger,
}

impl Trouble {
    pub const ALL: [Self; 4] = [Self::Nothing, Self::Unknown, Self::Killed, Self::Stranger];

    pub fn befalls(self, work: &Work) -> bool {
        match self {
            Self::Nothing | Self::Unknown => {
                matches!(work, Work::Migrate { .. } | Work::Restore { .. } | Work::Open { .. })
            }
            Self::Killed => matches!(work, Work::Drain { .. }),
            Self::Stranger => matches!(work, Work::AttestStorage { .. }),
        }
    }
}

/// Where work is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Around {
    pub ledger: Ledger,
    /// Whether the other instance runs in any way, and whether it serves.
    pub other_up: bool,
    pub other_serves: bool,
    pub migrate_authorised: bool,
    pub open_authorised: bool,
}

/// What work does, and what must hold when it does.
pub fn effect(host: &mut Host, around: &mut Around, order: &Order, trouble: Option<Trouble>, plan: &Plan) -> Outcome {
    let Around { ledger, other_up, other_serves, migrate_authorised, open_authorised } = around;
    let down = !host.up() && !*other_up;
    let id = &order.id;
    if trouble == Some(Trouble::Nothing) {
        return without_effect(FailureKind::Failed);
    }
    // What must not run beside a writer follows a round of attestations.
    let fresh = ledger.attested.is_some_and(|stage| stage + 1 == id.step.stage);
    let mut evidence = honest(plan, order, crate::support::now(0).wall);
    match &order.work {
        Work::Inspect | Work::StageRelease { .. } | Work::Rehearse { .. } | Work::Bake { .. } => {}
        Work::Drain { .. } => (host.fenced, host.running, host.closed) = (true, false, false),
        Work::Attest if host.up() => return failure(FailureKind::Refused),
        Work::Attest => {}
        Work::AttestStorage { .. } => {
            assert!(down, "I9: {id}: the storage is attested beside a running instance");
            ledger.attested = Some(id.step.stage);
            ledger.stranger = trouble == Some(Trouble::Stranger);
            if let (true, Evidence::StorageAttested(attestation)) = (ledger.stranger, &mut evidence) {
                let (command, file) = ("cron".to_owned(), "numary.db".to_owned());
                attestation.openers.push(storage::Opener { pid: 4711, command, file });
            }
        }
        Work::Secure { item, .. } => {
            assert!(down, "I9: {id}: a recovery point is taken beside a running instance");
            assert!(!ledger.stranger, "I9: {id}: a recovery point is taken beside a stranger");
            assert!(fresh, "I8: {id}: no fresh round of attestations");
            assert!(!ledger.migrated, "I4: {id}: a recovery point of what was migrated");
            ledger.point |= matches!(item, RecoveryItem::Ledger(_));
        }
        Work::Register { .. } => {
            assert!(down, "I9: {id}: the storage is changed beside a running instance");
            assert!(*migrate_authorised, "I3: {id}: the storage is changed before it is authorised");
        }
        Work::Migrate { expected, .. } => {
            assert!(down && !ledger.stranger, "I9: {id}: migrates beside others");
            assert!(fresh, "I8: {id}: no fresh round of attestations");
            assert!(*migrate_authorised, "I3: {id}: migrates before it is authorised");
            assert!(ledger.point, "I4: {id}: migrates without a recovery point");
            let changed = !ledger.migrated;
            ledger.migrated = true;
            evidence = Evidence::Migrated(Migrated { changed, migrations: expected.clone(), took: Elapsed(1) });
        }
        Work::Prove { .. } => assert!(down, "I9: {id}: compared beside a running instance"),
        Work::Switch { .. } => host.new_binary = true,
        Work::SwitchBack { .. } => host.new_binary = false,
        Work::StartClosed { .. } => {
            assert!(!*other_serves && !host.running, "I9: {id}: starts closed beside an instance that serves");
            assert!(fresh && !ledger.stranger, "I8: {id}: no fresh round of attestations");
            assert!(host.new_binary && ledger.migrated, "I14: {id}: starts and migrates");
            host.closed = true;
        }
        Work::Verify { .. } => host.closed = false,
        Work::Open { version, .. } => {
            let new = *version == plan.binding.target.version;
            assert_eq!(new, host.new_binary, "I14: {id}: another binary would start");
            assert!(!new || *open_authorised, "I3: {id}: traffic is let in before it is authorised");
            assert!(!new || fresh, "I8: {id}: no fresh round of attestations");
            assert_eq!(ledger.migrated, new, "I14: {id}: starts on a storage of the other version");
            (host.fenced, host.running) = (false, true);
        }
        Work::Restore { point, .. } => {
            assert!(!*open_authorised, "I10: {id}: restored after opening");
            assert!(down, "I9: {id}: restored beside a running instance");
            assert!(fresh, "I8: {id}: no fresh round of attestations");
            let changed = ledger.migrated && matches!(point.item, RecoveryItem::Ledger(_));
            ledger.migrated &= !changed;
            let (moved_to, digest) = (None, point.digest.clone());
            evidence = Evidence::Restored(Restored { changed, moved_to, digest, notes: Vec::new() });
        }
    }
    match trouble {
        Some(Trouble::Unknown) => failure(FailureKind::Interrupted),
        Some(Trouble::Killed) => failure(FailureKind::Unclean),
        Some(Trouble::Nothing | Trouble::Stranger) | None => Outcome::Done(evidence),
    }
}
