//! A deployment that exists only here, and an agent that answers every order as an honest one would.
#![allow(dead_code, unreachable_pub, reason = "every test file uses its own part")]
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "helpers of tests, which fail by panicking")]

use cutover_core::plan::{self, Approve, PlanAsk, StrategyAsk};
use cutover_core::upgrade::{Ask, Decision, Happened, Input, Upgrade, Want, decide, start};
use cutover_vocabulary::fact::{Fact, Recorded};
use cutover_vocabulary::instance::{InstanceReport, Manager, RunState};
use cutover_vocabulary::order::{Epoch, Work};
use cutover_vocabulary::outcome::*;
use cutover_vocabulary::plan::{Approval, Limits, Plan, Strategy};
use cutover_vocabulary::release::{Release, StagedRelease};
use cutover_vocabulary::served::Served;
use cutover_vocabulary::storage::*;
use cutover_vocabulary::survey::{About, HostSurvey, InstanceSurvey, LockStrategy, StorageSurvey};
use cutover_vocabulary::*;
use std::collections::BTreeMap;

pub const OLD: Version2 = (1, 3, 1);
pub const NEW: Version2 = (1, 4, 6);
type Version2 = (u64, u64, u64);

pub fn version((major, minor, patch): Version2) -> Version {
    Version::new(major, minor, patch)
}
pub fn instance(name: &str) -> InstanceName {
    InstanceName::new(name).unwrap()
}
pub fn ledger(name: &str) -> LedgerName {
    LedgerName::new(name).unwrap()
}
pub fn agent(name: &str) -> AgentName {
    AgentName::new(name).unwrap()
}
pub fn operator() -> OperatorName {
    OperatorName::new("ops").unwrap()
}
pub fn request(n: u32) -> RequestId {
    RequestId::new(format!("request-{n}")).unwrap()
}
pub fn now(millis: u64) -> Now {
    Now { wall: Timestamp::from_millis(1_800_000_000_000 + millis as i64), leading_for: Elapsed(millis) }
}
pub fn storage() -> StorageIdentity {
    StorageIdentity::Sqlite {
        machine: "m1".to_owned(),
        directory: "/var/lib/numary".to_owned(),
        device: 1,
        inode: 2,
        db_name: "numary".to_owned(),
    }
}
pub fn database() -> StorageIdentity {
    StorageIdentity::Postgres {
        system_identifier: "7300000000000000001".to_owned(),
        timeline: 1,
        database: "numary".to_owned(),
    }
}
pub fn report(name: &str, run: RunState, at: Timestamp) -> InstanceReport {
    InstanceReport {
        drift: Vec::new(),
        missing_guard: String::new(),
        instance: instance(name),
        deployment: DeploymentName::new("prod").unwrap(),
        run,
        running: None,
        on_disk: None,
        fenced: true,
        fence: 1,
        manager: Manager::Process,
        observe_only: false,
        fenced_by: String::new(),
        at,
    }
}
pub fn digest_of(ledger: &LedgerName, lost: u64) -> LedgerDigest {
    let section = |rows| SectionDigest { rows, sha256: Digest::of(format!("{ledger:?} {rows}").as_bytes()) };
    LedgerDigest {
        version: 1,
        sections: [(Section::Transactions, section(10)), (Section::AccountMetadata, section(9 - lost))].into(),
    }
}
pub fn losses(count: u64) -> Losses {
    let rows: Vec<LostRow> = (0..count)
        .map(|n| LostRow {
            class: LossClass::AccountMetadataWithoutPosting,
            target: MetadataTarget::Account(format!("users:{n:04}")),
            key: "kyc".to_owned(),
            value: "\"done\"".to_owned(),
        })
        .collect();
    let sha256 = (count > 0).then(|| Digest::of_json(&rows));
    let by_class = [(LossClass::AccountMetadataWithoutPosting, count)].into_iter().filter(|(_, n)| *n > 0).collect();
    Losses { count, sha256, rows, by_class }
}
pub fn archive() -> Release {
    Release { version: version(NEW), archive: Digest::of(b"archive") }
}
pub fn staged() -> StagedRelease {
    StagedRelease { release: archive(), binary: Digest::of(b"new"), storage_commands: true }
}

/// What a deployment looks like before its upgrade.
#[derive(Clone)]
pub struct Seen {
    pub deployment: &'static str,
    pub from: Version2,
    pub instances: Vec<&'static str>,
    pub ledgers: Vec<(&'static str, u64)>,
    pub storage: StorageIdentity,
    /// The migrations that every ledger records; none: it keeps no record. From two on its tables are those of 1.3.2 or later.
    pub migrations: Vec<u32>,
    /// Instances whose hosts were off: down behind their fence, with [`OLD`].
    pub away: Vec<&'static str>,
}
impl Default for Seen {
    fn default() -> Self {
        Self {
            deployment: "prod",
            from: OLD,
            instances: vec!["a"],
            ledgers: vec![("main", 0), ("shop", 2)],
            storage: storage(),
            migrations: vec![0],
            away: Vec::new(),
        }
    }
}
impl Seen {
    /// Three instances on three hosts that share one database.
    pub fn three() -> Self {
        Self { instances: vec!["a", "b", "c"], storage: database(), ..Self::default() }
    }
    /// Three instances of a release that knows these migrations, with ledgers that lose nothing.
    pub fn three_at(from: Version2, migrations: u32) -> Self {
        let ledgers = vec![("main", 0), ("shop", 0)];
        Self { from, ledgers, migrations: (0..=migrations).collect(), ..Self::three() }
    }
    pub fn registered(&self) -> BTreeMap<InstanceName, AgentName> {
        self.instances.iter().map(|name| (instance(name), agent(&format!("host-{name}")))).collect()
    }
    pub fn surveys(&self) -> Vec<HostSurvey> {
        let mut surveys: Vec<HostSurvey> = self.instances.iter().map(|name| self.survey(name)).collect();
        let all = surveys.iter_mut().flat_map(|host| &mut host.instances);
        all.filter(|survey| self.away.contains(&survey.instance.as_str())).for_each(|survey| down(survey, OLD));
        surveys
    }
    fn survey(&self, name: &str) -> HostSurvey {
        let report = InstanceReport {
            drift: Vec::new(),
            missing_guard: String::new(),
            instance: instance(name),
            deployment: DeploymentName::new(self.deployment).unwrap(),
            run: RunState::Running { pid: 7 },
            running: Some(version(self.from)),
            on_disk: Some(version(self.from)),
            fenced: false,
            fence: 0,
            manager: Manager::Process,
            observe_only: false,
            fenced_by: String::new(),
            at: now(0).wall,
        };
        let ledgers = self.ledgers.iter().map(|(name, lost)| LedgerSurvey {
            name: ledger(name),
            migrations: Migrations((!self.migrations.is_empty()).then(|| self.migrations.clone())),
            legacy_layout: self.migrations.len() < 2,
            transactions: 10,
            bytes: 4096,
            losses: losses(*lost),
            bad_rows: Vec::new(),
            inconsistencies: Vec::new(),
            dependents: Vec::new(),
            damage: BTreeMap::new(),
        });
        HostSurvey {
            agent: agent(&format!("host-{name}")),
            machine: "m1".to_owned(),
            instances: vec![InstanceSurvey {
                instance: instance(name),
                report,
                lock: Some(LockStrategy::Memory),
                inspection: Ok(self.inspection()),
                storage: Ok(StorageSurvey {
                    identity: self.storage.clone(),
                    ledgers: ledgers.collect(),
                    registered: None,
                    skipped: Vec::new(),
                    strangers: Vec::new(),
                    free_bytes: 1 << 30,
                    needed_bytes: 1 << 20,
                    read_only: None,
                    sessions: Vec::new(),
                    obstacles: Vec::new(),
                    session_settings: Vec::new(),
                }),
                manager: Manager::Process,
                tried: None,
                settings_file: None,
                triggers: Vec::new(),
            }],
            target: Ok(archive()),
            about: Some(Ok(About { version: archive().version, storage_commands: true })),
        }
    }
    pub fn inspection(&self) -> Inspection {
        Inspection {
            running: Some(version(self.from)),
            on_disk: Some(version(self.from)),
            binary: Some(Digest::of(b"old")),
            storage: self.storage.clone(),
            settings: Digest::of(b"settings"),
            lock: None,
            served: Served { requests: 500, errors: 1 },
        }
    }
    pub fn plan(&self) -> Plan {
        self.plan_for(&ask())
    }
    pub fn plan_for(&self, ask: &PlanAsk) -> Plan {
        plan::make(&cutover_core::catalogue::shipped().unwrap(), ask, &self.registered(), &self.surveys(), now(0).wall)
            .unwrap()
    }
    /// A plan to another target than [`NEW`]; `about` is what its binary said of itself, where nothing is known of it.
    pub fn plan_to(&self, target: Version2, about: Option<bool>, ask: PlanAsk) -> Plan {
        let target = version(target);
        let mut surveys = self.surveys();
        for survey in &mut surveys {
            survey.target = Ok(Release { version: target.clone(), ..archive() });
            if let Some(storage_commands) = about {
                survey.about = Some(Ok(About { version: target.clone(), storage_commands }));
            }
        }
        let catalogue = cutover_core::catalogue::shipped().unwrap();
        let ask = PlanAsk { target, ..ask };
        plan::make(&catalogue, &ask, &self.registered(), &surveys, now(0).wall).unwrap()
    }
    /// A plan that brings whoever was away to [`NEW`], which the others run.
    pub fn rejoin(&self) -> Plan {
        let instances = self.away.iter().map(|name| instance(name)).collect();
        self.plan_for(&PlanAsk { strategy: StrategyAsk::Rejoin, allowed: Some(version(NEW)), instances, ..ask() })
    }
    /// A plan for members that SQLite would not allow, to test the barriers: what blocks is taken out.
    pub fn plan_without_blocks(&self) -> Plan {
        let mut plan = self.plan();
        plan.binding.findings.retain(|finding| finding.level != finding::Level::Block);
        plan.observed.findings.retain(|finding| finding.level != finding::Level::Block);
        plan
    }
}

/// An instance whose host was off: down behind its fence, with what it had before.
pub fn down(survey: &mut InstanceSurvey, on_disk: Version2) {
    let report = &mut survey.report;
    (report.run, report.running, report.fenced, report.fence) = (RunState::Stopped, None, true, 3);
    report.on_disk = Some(version(on_disk));
    let found = survey.inspection.as_mut().unwrap();
    (found.running, found.on_disk) = (None, Some(version(on_disk)));
}

pub fn ask() -> PlanAsk {
    PlanAsk {
        allowed: None,
        deployment: DeploymentName::new("prod").unwrap(),
        target: version(NEW),
        strategy: StrategyAsk::Auto,
        // Fewer lanes than ledgers, so that some begin later than others.
        limits: Limits { lanes: 2, ..Limits::default() },
        rehearse_only: false,
        declared: std::collections::BTreeSet::new(),
        instances: std::collections::BTreeSet::new(),
        elsewhere: BTreeMap::new(),
    }
}

/// An answer to each question of a plan.
pub fn answers(plan: &Plan) -> BTreeMap<cutover_vocabulary::plan::PreparationId, String> {
    plan.binding.questions.keys().map(|id| (id.clone(), "seen to".to_owned())).collect()
}

pub fn approval(plan: &Plan) -> Approval {
    plan::approve(plan, &Approve::All, &answers(plan), operator(), "we know".to_owned(), now(0).wall).unwrap()
}

/// What an honest agent answers.
pub fn honest(plan: &Plan, order: &Order, at: Timestamp) -> Evidence {
    let drained = || {
        Evidence::Drained(DrainProof {
            boot: "boot".to_owned(),
            incarnation: "inc".to_owned(),
            fence: 1,
            ended: Some(CleanEnd::Exited),
            connections: 0,
            idle: 0,
            at,
            guarded: false,
        })
    };
    let ledgers: Vec<LedgerName> = plan.binding.ledgers.keys().cloned().collect();
    match &order.work {
        Work::Inspect => {
            let storage = plan.binding.storage.clone();
            let member = match &order.id.step.subject {
                Subject::Instance(name) => plan.binding.members.get(name),
                Subject::Ledger(_) | Subject::Storage => None,
            };
            let on_disk = Some(member.map_or(&plan.binding.from, |member| &member.version).clone());
            let rejoins = plan.binding.strategy == Strategy::Rejoin;
            Evidence::Inspected(Inspection {
                storage,
                running: on_disk.clone().filter(|_| !rejoins),
                on_disk,
                ..Seen::default().inspection()
            })
        }
        Work::StageRelease { release } => Evidence::Staged(StagedRelease {
            release: release.clone(),
            storage_commands: !plan.binding.first_start,
            ..staged()
        }),
        Work::Rehearse { .. } => {
            let migrations = if plan.binding.unknown_target {
                let more =
                    |before: &Migrations| Migrations(Some(before.0.iter().flatten().copied().chain([77]).collect()));
                plan.binding.ledgers.iter().map(|(name, before)| (name.clone(), more(before))).collect()
            } else {
                plan.binding.ledgers.clone()
            };
            Evidence::Rehearsed(Rehearsal {
                took: Vec::new(),
                differences: Vec::new(),
                difference_count: 0,
                migrations,
            })
        }
        Work::Drain { .. } | Work::Attest => drained(),
        Work::AttestStorage { storage } => Evidence::StorageAttested(StorageAttestation {
            storage: storage.clone(),
            ledgers,
            migrations: Vec::new(),
            openers: Vec::new(),
            sessions: Vec::new(),
            not_visible: Vec::new(),
            at,
        }),
        Work::Secure { item, .. } => {
            let lost = match item {
                RecoveryItem::Ledger(name) => plan.observed.losses(name).map_or(0, |losses| losses.count),
                RecoveryItem::System => 0,
            };
            let digest = |lost| match item {
                RecoveryItem::Ledger(name) => Some(digest_of(name, lost)),
                RecoveryItem::System => None,
            };
            Evidence::Secured(Box::new(RecoveryPoint {
                item: item.clone(),
                place: format!("/state/points/{item}"),
                sha256: Some(Digest::of(b"copy")),
                bytes: 4096,
                digest: digest(0),
                expected: digest(lost),
                losses: losses(lost),
                migrations: match item {
                    RecoveryItem::Ledger(name) => plan.binding.before.get(name).cloned().unwrap_or_default(),
                    RecoveryItem::System => Migrations::default(),
                },
                taken: at,
                restore_took: Elapsed(12),
                mark: Some("log 17".to_owned()),
            }))
        }
        Work::Register { ledgers, .. } => Evidence::Registered { ledgers: ledgers.clone() },
        Work::Migrate { expected, .. } => {
            Evidence::Migrated(Migrated { changed: true, migrations: expected.clone(), took: Elapsed(200) })
        }
        Work::Prove { point, expected, .. } => Evidence::Proved(Proof {
            digest: point.expected.clone().unwrap(),
            migrations: expected.clone(),
            differences: Vec::new(),
            difference_count: 0,
            inconsistencies: Vec::new(),
        }),
        Work::Switch { to } => Evidence::Switched { binary: to.binary },
        Work::SwitchBack { .. } => Evidence::Switched { binary: Digest::of(b"old") },
        Work::StartClosed { .. } => Evidence::StartedClosed { address: "127.0.0.1:40000".to_owned() },
        Work::Verify { version, ledgers } => Evidence::Verified { version: version.clone(), ledgers: ledgers.clone() },
        Work::Open { version, .. } => Evidence::Opened { version: version.clone(), at },
        Work::Bake { version, .. } => {
            Evidence::Baked { version: version.clone(), looks: 3, served: Served { requests: 90, errors: 0 } }
        }
        Work::Restore { point, .. } => Evidence::Restored(Restored {
            changed: true,
            moved_to: None,
            digest: point.digest.clone(),
            notes: Vec::new(),
        }),
    }
}

/// An upgrade with its facts, as a coordinator holds it.
#[derive(Clone)]
pub struct Play {
    pub upgrade: Upgrade,
    pub facts: Vec<Recorded>,
    pub millis: u64,
    pub epoch: Epoch,
}

impl Play {
    pub fn start(plan: Plan) -> Self {
        let approval = (plan.level() == Some(finding::Level::Approve)).then(|| approval(&plan));
        let first = start(plan, approval, operator(), request(0), Epoch(1), now(0));
        let id = UpgradeId::new("prod-1").unwrap();
        let upgrade = Upgrade::begin(id, &first).unwrap();
        let mut play = Self { upgrade, facts: Vec::new(), millis: 0, epoch: Epoch(1) };
        play.seal(first);
        play.hear(&[Input::Tick]);
        play
    }
    fn seal(&mut self, happened: Happened) {
        let prev = self.facts.last().map_or(Digest::of(b""), Recorded::hash);
        self.facts.push(happened.seal(self.facts.len() as u64 + 1, prev));
    }
    /// Decides, stores, applies; and checks that replaying all facts gives the same state.
    pub fn hear(&mut self, inputs: &[Input]) -> Decision {
        self.millis += 10;
        let decision = decide(&self.upgrade, self.epoch, now(self.millis), inputs);
        for happened in decision.facts.clone() {
            self.upgrade.apply(&happened);
            self.seal(happened);
        }
        decision
    }
    pub fn orders(&self) -> Vec<(Order, Want)> {
        self.upgrade.orders().map(|(order, want)| (order.clone(), want)).collect()
    }
    pub fn outcome(&mut self, order: &Order, outcome: Outcome) -> Decision {
        self.hear(&[Input::Outcome { agent: order.agent.clone(), order: order.id.clone(), outcome }])
    }
    /// Answers everything honestly until `stop` says so or nothing is left; returns whether it stopped.
    pub fn until(&mut self, stop: impl Fn(&Self, &Order) -> bool) -> Option<Order> {
        for _ in 0..10_000 {
            let Some((order, want)) = self.orders().into_iter().next() else {
                // A step that rests after a failed attempt: time passes.
                self.millis = self.upgrade.wake_at()?.0;
                self.hear(&[Input::Tick]);
                continue;
            };
            if want == Want::Do && stop(self, &order) {
                return Some(order);
            }
            match want {
                Want::Do => {
                    let evidence = honest(self.upgrade.plan(), &order, now(self.millis).wall);
                    self.outcome(&order, Outcome::Done(evidence));
                }
                Want::Revoke => {
                    let settlement = fact::Settlement::NeverBegun;
                    self.hear(&[Input::Revoked { agent: order.agent.clone(), order: order.id.clone(), settlement }]);
                }
            }
        }
        panic!("it does not end: {:?}", self.kinds());
    }
    /// Answers what is out honestly.
    pub fn settle(&mut self) {
        for (order, _) in self.orders() {
            let evidence = self.evidence(&order);
            self.outcome(&order, Outcome::Done(evidence));
        }
    }
    pub fn evidence(&self, order: &Order) -> Evidence {
        honest(self.upgrade.plan(), order, now(self.millis).wall)
    }
    /// Decides the oldest hold.
    pub fn decide(&mut self, n: u32, choice: hold::Choice) -> Decision {
        let hold = self.hold().id;
        self.ask(n, Ask::Decide { hold, choice, reason: "seen to".to_owned() })
    }
    pub fn until_phase(&mut self, phase: Phase) -> Order {
        self.until(|_, order| order.id.phase == phase).unwrap_or_else(|| panic!("never reached {phase}"))
    }
    pub fn until_end(&mut self) {
        assert!(self.until(|_, _| false).is_none());
    }
    pub fn ask(&mut self, n: u32, ask: Ask) -> Decision {
        self.hear(&[Input::Asked { by: operator(), request: request(n), ask }])
    }
    pub fn kinds(&self) -> Vec<String> {
        self.facts
            .iter()
            .map(|recorded| match &recorded.fact {
                Fact::StageEntered { stage, .. } => format!("enter {}", stage.phase),
                Fact::BorderCrossed { border } => format!("cross {border}"),
                other => other.kind().to_owned(),
            })
            .collect()
    }
    pub fn entered(&self) -> Vec<Phase> {
        self.facts
            .iter()
            .filter_map(|recorded| match &recorded.fact {
                Fact::StageEntered { stage, .. } => Some(stage.phase),
                _ => None,
            })
            .collect()
    }
    pub fn hold(&self) -> hold::Hold {
        self.upgrade.holds().next().unwrap_or_else(|| panic!("no hold: {:?}", self.kinds())).clone()
    }
}

pub fn failure(kind: FailureKind) -> Outcome {
    Outcome::Failed(Failure {
        kind,
        message: "it did not work".to_owned(),
        remedy: "look".to_owned(),
        effect: Effect::Unknown,
    })
}

/// A failure of which the agent knows that it changed nothing.
pub fn without_effect(kind: FailureKind) -> Outcome {
    match failure(kind) {
        Outcome::Failed(failed) => Outcome::Failed(Failure { effect: Effect::None, ..failed }),
        done @ Outcome::Done(_) => done,
    }
}
