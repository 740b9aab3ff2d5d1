//! What is known of an upgrade: the fold of its facts.

use super::sequence::Way;
use super::settled::{Settled, Steps};
use cutover_vocabulary::fact::{Cause, Ending, Fact, Recorded};
use cutover_vocabulary::hold::HoldId;
use cutover_vocabulary::order::{Epoch, StepId};
use cutover_vocabulary::outcome::{Migrated, Proof, Restored, StorageAttestation};
use cutover_vocabulary::phase::{Border, Stage};
use cutover_vocabulary::plan::{Approval, Member, Plan, Strategy};
use cutover_vocabulary::release::StagedRelease;
use cutover_vocabulary::served::Served;
use cutover_vocabulary::status::Said;
use cutover_vocabulary::storage::{Migrations, RecoveryItem, RecoveryPoint};
use cutover_vocabulary::{
    AgentName, Digest, Elapsed, Hold, InstanceName, LedgerName, OperatorName, Order, OrderId, Phase, RequestId,
    Subject, Timestamp, UpgradeId, Version,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A fact with what the fold needs of its envelope; what `decide` returns and the loop seals into a [`Recorded`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Happened {
    /// When, for people.
    pub at: Timestamp,
    /// Under which leadership.
    pub epoch: Epoch,
    /// How long that leadership had lasted.
    pub leading_for: Elapsed,
    /// Who caused it.
    pub by: Cause,
    /// What.
    pub fact: Fact,
}
impl Happened {
    /// Puts a fact into its envelope, at its place in the chain.
    pub fn seal(self, seq: u64, prev: Digest) -> Recorded {
        let Self { at, epoch, leading_for, by, fact } = self;
        Recorded { v: Recorded::V, seq, at, epoch, leading_for, by, prev, fact }
    }
}

/// Why facts are not an upgrade's facts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BrokenChain {
    /// There are none.
    #[error("the upgrade has no facts")]
    Empty,
    /// The first is no start.
    #[error("the first fact is {0}, not a start")]
    NoStart(&'static str),
    /// A number is missing, or the hash of the fact before does not match.
    #[error("the chain of facts is broken at number {seq}")]
    Broken {
        /// The fact that does not follow.
        seq: u64,
    },
}

/// When there is a further attempt at a step; lengths of that leadership.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Rest {
    pub(super) epoch: Epoch,
    /// When the last one failed.
    pub(super) since: Elapsed,
    pub(super) until: Elapsed,
}

/// Where a step of the present stage stands.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum StepState {
    /// It is not done, and so many attempts failed. It needs an order (`Upgrade::ready` holds it), or one is out for it.
    Open {
        /// Failed attempts.
        failed: u16,
    },
    /// Its evidence was refused; a person decides.
    Refused {
        /// Which attempt.
        attempt: u16,
    },
    /// It is done.
    Done {
        /// By which attempt; 0 where a person accepted what there is.
        attempt: u16,
    },
}

/// A stage and what happened in it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct StageState {
    pub(super) stage: Stage,
    pub(super) run: u16,
    pub(super) entered: Option<Timestamp>,
    pub(super) left: Option<Timestamp>,
    pub(super) steps: (u32, u32),
    pub(super) failures: Vec<String>,
}
impl StageState {
    pub(super) fn new(stage: Stage) -> Self {
        Self { stage, run: 0, entered: None, left: None, steps: (0, 0), failures: Vec::new() }
    }
}

/// An order that is not settled.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct OpenOrder {
    pub(super) order: Arc<Order>,
    pub(super) revoked: bool,
    /// From when its deadline counts: a leadership, and how long that had lasted.
    pub(super) since: (Epoch, Elapsed),
}

/// Whether an instance is down.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Drained {
    /// Proved; of the latest proof its moment and its fence, which later reports are held against. `since` is when it first was.
    Proved { at: Timestamp, fence: u64, since: Timestamp },
    /// Something was seen that contradicts the proof.
    Voided { since: Timestamp },
}

/// An upgrade: the fold of its facts. `Clone + Eq + Hash`, so that a model checker can walk it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Upgrade {
    pub(super) id: UpgradeId,
    pub(super) plan: Arc<Plan>,
    pub(super) approval: Option<Approval>,
    pub(super) started: (Timestamp, Option<OperatorName>),
    pub(super) seq: u64,
    pub(super) epoch: Epoch,

    // Who takes part. Begins as the plan has it.
    pub(super) members: Arc<BTreeMap<InstanceName, Member>>,
    /// Instances that were let in and whose inspection is awaited, with their agents.
    pub(super) joining: BTreeMap<InstanceName, AgentName>,
    /// Whether somebody was seen who may have written to a storage that was to be quiet, since what was kept of it: a person who is
    /// asked whether to restore that is told so.
    pub(super) may_be_written: bool,
    /// Every instance that was let in after the start.
    pub(super) joined: BTreeSet<InstanceName>,
    /// Members that joined after traffic was let in.
    pub(super) latecomers: BTreeSet<InstanceName>,
    pub(super) runner: AgentName,

    // Where it is.
    pub(super) stages: Vec<StageState>,
    pub(super) at: Option<u16>,
    /// Number of the first stage of the way back, once it has turned.
    pub(super) back_from: Option<u16>,
    pub(super) turned_back: Option<String>,
    /// Since when, and what was said.
    pub(super) paused: Option<(Timestamp, Option<Said>)>,
    pub(super) ended: Option<(Ending, Timestamp)>,
    /// Who ended it by hand.
    pub(super) end: Option<Said>,
    pub(super) closed: Option<(Timestamp, Option<Said>)>,
    pub(super) borders: BTreeMap<Border, Timestamp>,
    /// With downtime: since when no instance serves, and when the first one was let in again.
    pub(super) shut_out: Option<(Timestamp, Option<Timestamp>)>,
    pub(super) holds: BTreeMap<HoldId, Hold>,
    pub(super) next_hold: u32,
    /// Whether somebody answered the hold of a takeover, which stays.
    pub(super) left_frozen: bool,

    // The present stage.
    pub(super) steps: Steps,
    pub(super) ready: BTreeSet<Subject>,
    /// Those of which the last attempt failed in a way that may pass by itself.
    pub(super) resting: BTreeMap<Subject, Rest>,
    pub(super) open_steps: u32,

    // Orders.
    pub(super) orders: BTreeMap<OrderId, OpenOrder>,
    pub(super) settled: Settled,

    // What was learnt.
    /// How well each instance answered before anything was changed.
    pub(super) served: BTreeMap<InstanceName, Served>,
    pub(super) staged: BTreeMap<InstanceName, StagedRelease>,
    pub(super) drained: BTreeMap<InstanceName, Drained>,
    /// Instances of which nothing has proved that they are down, by the orders that may have stopped them.
    pub(super) stopping: BTreeMap<InstanceName, BTreeMap<OrderId, Timestamp>>,
    pub(super) storage: Option<StorageAttestation>,
    pub(super) points: BTreeMap<RecoveryItem, RecoveryPoint>,
    pub(super) registered: bool,
    /// Items that an order may have changed since they were last what their recovery point holds, with those orders.
    pub(super) touched: BTreeMap<RecoveryItem, BTreeSet<OrderId>>,
    /// How long each ledger's migration took when it was rehearsed.
    pub(super) rehearsed: BTreeMap<LedgerName, Elapsed>,
    /// What each ledger's copy recorded when it was rehearsed.
    pub(super) copies: BTreeMap<LedgerName, Migrations>,
    /// How large each ledger was when the plan was made.
    pub(super) sizes: Arc<BTreeMap<LedgerName, u64>>,
    pub(super) migrated: BTreeMap<LedgerName, Migrated>,
    pub(super) proofs: BTreeMap<LedgerName, Proof>,
    pub(super) restored: BTreeMap<RecoveryItem, Restored>,
    pub(super) up: BTreeMap<InstanceName, (Timestamp, Version)>,

    pub(super) requests: BTreeSet<RequestId>,
}

impl Upgrade {
    /// The upgrade that a first fact begins.
    pub fn begin(id: UpgradeId, first: &Happened) -> Result<Self, BrokenChain> {
        let Fact::Started { plan, approval } = &first.fact else {
            return Err(BrokenChain::NoStart(first.fact.kind()));
        };
        let by = match &first.by {
            Cause::Operator { name, .. } => Some(name.clone()),
            Cause::Agent(_) | Cause::Machine => None,
        };
        let mut upgrade = Self {
            id,
            plan: plan.clone(),
            approval: approval.clone(),
            started: (first.at, by),
            seq: 1,
            epoch: first.epoch,
            members: Arc::new(plan.binding.members.clone()),
            joining: BTreeMap::new(),
            may_be_written: false,
            joined: BTreeSet::new(),
            latecomers: BTreeSet::new(),
            runner: plan.binding.runner.clone(),
            stages: plan.binding.stages.iter().copied().map(StageState::new).collect(),
            at: None,
            back_from: None,
            turned_back: None,
            paused: None,
            ended: None,
            end: None,
            closed: None,
            borders: BTreeMap::new(),
            shut_out: None,
            holds: BTreeMap::new(),
            next_hold: 1,
            left_frozen: false,
            steps: Steps::new(),
            ready: BTreeSet::new(),
            resting: BTreeMap::new(),
            open_steps: 0,
            orders: BTreeMap::new(),
            settled: Settled::default(),
            staged: BTreeMap::new(),
            drained: BTreeMap::new(),
            stopping: BTreeMap::new(),
            storage: None,
            points: BTreeMap::new(),
            registered: false,
            touched: BTreeMap::new(),
            served: BTreeMap::new(),
            rehearsed: BTreeMap::new(),
            copies: BTreeMap::new(),
            sizes: Arc::new(plan.observed.ledgers.iter().map(|survey| (survey.name.clone(), survey.bytes)).collect()),
            migrated: BTreeMap::new(),
            proofs: BTreeMap::new(),
            restored: BTreeMap::new(),
            up: BTreeMap::new(),
            requests: BTreeSet::new(),
        };
        upgrade.note_request(&first.by);
        Ok(upgrade)
    }

    /// Folds stored facts. The numbers must be without gaps; the hash chain is the loader's to check
    /// ([`Recorded::hash`]), because it costs more than the fold.
    pub fn replay<'a>(id: UpgradeId, facts: impl IntoIterator<Item = &'a Recorded>) -> Result<Self, BrokenChain> {
        let mut facts = facts.into_iter();
        let first = facts.next().ok_or(BrokenChain::Empty)?;
        if first.seq != 1 {
            return Err(BrokenChain::Broken { seq: first.seq });
        }
        let opening = Happened {
            at: first.at,
            epoch: first.epoch,
            leading_for: first.leading_for,
            by: first.by.clone(),
            fact: first.fact.clone(),
        };
        let mut upgrade = Self::begin(id, &opening)?;
        for recorded in facts {
            if recorded.seq != upgrade.seq + 1 {
                return Err(BrokenChain::Broken { seq: recorded.seq });
            }
            upgrade.apply_parts(recorded.at, recorded.epoch, recorded.leading_for, &recorded.by, &recorded.fact);
        }
        Ok(upgrade)
    }

    pub(super) fn note_request(&mut self, by: &Cause) {
        match by {
            Cause::Operator { request, .. } => {
                self.requests.insert(request.clone());
            }
            Cause::Agent(_) | Cause::Machine => {}
        }
    }

    /// Who leads from now on. A leader calls it once after loading: deadlines restart with an election, and until its first
    /// fact nothing else says which leadership counts.
    pub fn led_by(&mut self, epoch: Epoch) {
        self.epoch = epoch;
    }
    /// When it was started.
    pub fn started_at(&self) -> Timestamp {
        self.started.0
    }
    /// Its name.
    pub fn id(&self) -> &UpgradeId {
        &self.id
    }
    /// What it carries out.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }
    /// The number of its last fact.
    pub fn seq(&self) -> u64 {
        self.seq
    }
    /// How it ended, if it did.
    pub fn ending(&self) -> Option<Ending> {
        self.ended.map(|(ending, _)| ending)
    }
    /// Whether nothing more is to be done for it.
    pub fn finished(&self) -> bool {
        self.ended.is_some()
    }
    /// Whether somebody said that its recovery points are not needed any more.
    pub fn closed(&self) -> bool {
        self.closed.is_some()
    }
    /// Whether a border was crossed.
    pub fn crossed(&self, border: Border) -> bool {
        self.borders.contains_key(&border)
    }
    /// What it waits for a person to decide.
    pub fn holds(&self) -> impl Iterator<Item = &Hold> {
        self.holds.values()
    }
    /// How many holds there have been, decided and lifted ones included.
    pub fn holds_so_far(&self) -> u32 {
        self.next_hold.saturating_sub(1)
    }
    /// Whether clients reach an instance on the target.
    pub fn opened(&self) -> bool {
        self.up.keys().any(|instance| self.runs_target(instance))
    }
    /// The phase it is in; none before the first and when it ended without one.
    pub fn phase(&self) -> Option<Phase> {
        self.current().map(|stage| stage.stage.phase)
    }
    /// Whether it is on the way back.
    pub fn going_back(&self) -> bool {
        self.back_from.is_some()
    }
    /// Whether a person took it over on a host; what is done then is theirs alone.
    pub fn taken_over(&self) -> bool {
        self.holds.values().any(|hold| matches!(hold.reason, cutover_vocabulary::hold::HoldReason::TakenOver { .. }))
    }
    /// Whether a call with this id was carried out.
    pub fn knows_request(&self, request: &RequestId) -> bool {
        self.requests.contains(request)
    }
    /// The agents that have unsettled orders, or are asked next.
    pub fn awaited_agents(&self) -> BTreeSet<&AgentName> {
        let next = self.ready.iter().map(|subject| self.agent_of(subject));
        self.orders.values().map(|open| &open.order.agent).chain(next).collect()
    }
    /// An agent's unsettled orders.
    pub fn orders_of(&self, agent: &AgentName) -> BTreeSet<&OrderId> {
        self.orders.iter().filter(|(_, open)| open.order.agent == *agent).map(|(id, _)| id).collect()
    }

    pub(super) fn current(&self) -> Option<&StageState> {
        self.stages.get(usize::from(self.at?))
    }
    pub(super) fn agent_of(&self, subject: &Subject) -> &AgentName {
        match subject {
            Subject::Instance(name) => {
                let member = self.members.get(name).map(|member| &member.agent);
                member.or_else(|| self.joining.get(name)).unwrap_or(&self.runner)
            }
            Subject::Ledger(_) | Subject::Storage => &self.runner,
        }
    }
    /// The target as the runner staged it; what storage work runs.
    pub(super) fn runner_staged(&self) -> Option<&StagedRelease> {
        self.staged
            .iter()
            .find(|(name, _)| self.members.get(*name).is_some_and(|member| member.agent == self.runner))
            .map(|(_, staged)| staged)
    }
    pub(super) fn all_instances(&self) -> Vec<Subject> {
        self.members.keys().cloned().map(Subject::Instance).collect()
    }
    /// Whom the present stage is about: every member, or those of its wave. On the way forward, who has moved already is
    /// left where it is when a wave is entered again.
    pub(super) fn instances(&self) -> Vec<Subject> {
        let Some(wave) = self.current().and_then(|stage| stage.stage.wave) else { return self.all_instances() };
        let moves = |name: &&InstanceName| self.wave_of(name) == wave && (self.going_back() || !self.runs_target(name));
        self.members.keys().filter(moves).cloned().map(Subject::Instance).collect()
    }
    /// Which wave an instance moves with: as planned; who joined since, with the last.
    fn wave_of(&self, instance: &InstanceName) -> u16 {
        let waves = &self.plan.binding.waves;
        let planned = waves.iter().position(|wave| wave.contains(instance));
        planned.unwrap_or(waves.len().saturating_sub(1)).try_into().unwrap_or(u16::MAX)
    }
    /// Whether it was opened on the target.
    pub fn runs_target(&self, instance: &InstanceName) -> bool {
        self.up.get(instance).is_some_and(|(_, version)| *version == self.plan.binding.target.version)
    }
    /// Whether it moves beside instances that serve, so that nothing is ever restored: one wave after the other, or a rejoin.
    pub(super) fn rolling(&self) -> bool {
        match self.plan.binding.strategy {
            Strategy::Downtime => false,
            Strategy::Rolling | Strategy::Rejoin => true,
        }
    }
    /// Whether it brings instances that were away to what the others run.
    pub(super) fn rejoins(&self) -> bool {
        match self.plan.binding.strategy {
            Strategy::Rejoin => true,
            Strategy::Downtime | Strategy::Rolling => false,
        }
    }
    pub(super) fn way(&self) -> Way {
        let binding = &self.plan.binding;
        match binding.strategy {
            Strategy::Downtime => Way::Downtime,
            Strategy::Rejoin => Way::Rejoin,
            Strategy::Rolling => Way::Rolling {
                waves: binding.waves.len().try_into().unwrap_or(u16::MAX),
                migrates: binding.stages.iter().any(|stage| stage.phase == Phase::Migrate),
            },
        }
    }
    /// Whether traffic was let in where going back would lose what was written since.
    pub(super) fn past_return(&self) -> bool {
        self.crossed(Border::OpenAuthorised) && !self.rolling()
    }
    /// Whether anything was authorised that shows after going back: a migration, or writes through the new version.
    pub(super) fn may_have_effect(&self) -> bool {
        self.crossed(Border::MigrateAuthorised) || self.crossed(Border::OpenAuthorised)
    }
    /// Who starts closed: with downtime one shows it for all; in a wave each shows that its own arguments are right.
    pub(super) fn starting_closed(&self) -> Vec<Subject> {
        if self.rolling() { self.instances() } else { self.first_instance() }
    }
    /// With downtime, the instance that starts closed: the first by name whose agent is the runner.
    pub(super) fn first_instance(&self) -> Vec<Subject> {
        let mine = self.members.iter().find(|(_, member)| member.agent == self.runner);
        mine.or_else(|| self.members.iter().next())
            .map(|(name, _)| Subject::Instance(name.clone()))
            .into_iter()
            .collect()
    }
    /// How many ledgers may be changed side by side. On SQLite one: the runner's lock and its look for strangers are for the
    /// whole directory, so that a second lane would be a stranger to the first. One as well where instances of the target
    /// migrate, and where nothing is known of it: how two of them would get on was never measured.
    pub(super) fn lanes(&self) -> usize {
        let binding = &self.plan.binding;
        match binding.storage.driver() {
            cutover_vocabulary::storage::Driver::Sqlite => 1,
            cutover_vocabulary::storage::Driver::Postgres if binding.first_start || binding.unknown_target => 1,
            cutover_vocabulary::storage::Driver::Postgres => usize::from(binding.limits.lanes),
        }
    }
    /// Which migrations a ledger must record afterwards: by the plan, or, where nothing is known of the target, what its copy
    /// recorded. None: it is no ledger of the plan, or was not rehearsed.
    pub(super) fn expected(&self, ledger: &LedgerName) -> Option<&Migrations> {
        let binding = &self.plan.binding;
        if binding.unknown_target { self.copies.get(ledger) } else { binding.ledgers.get(ledger) }
    }
    pub(super) fn step_id(&self, subject: &Subject) -> Option<StepId> {
        let stage = self.at?;
        let run = self.current()?.run;
        Some(StepId { stage, run, subject: subject.clone() })
    }
}
