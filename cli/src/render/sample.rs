//! Plans and statuses that the tests of the pages share.

use cutover_vocabulary::finding::{Finding, FindingCode, FindingSubject, Level, Source};
use cutover_vocabulary::hold::{Choice, Hold, HoldId, HoldReason, Offer};
use cutover_vocabulary::order::{Epoch, OrderId, StepId};
use cutover_vocabulary::outcome::{Effect, FailureKind};
use cutover_vocabulary::phase::{Border, Stage};
use cutover_vocabulary::plan::{
    Binding, Limits, Member, Noticed, Observed, PathWords, Plan, Preparation, PreparationId, PreparationState, Strategy,
};
use cutover_vocabulary::release::Release;
use cutover_vocabulary::status::{InstanceStatus, LedgerStatus, StageStatus, State, Status, WaitingFor};
use cutover_vocabulary::storage::{
    LedgerSurvey, LossClass, Losses, LostRow, MetadataTarget, Migrations, RecoveryItem, RecoveryPoint, StorageIdentity,
};
use cutover_vocabulary::{
    AgentName, DeploymentName, Digest, Elapsed, Failure, InstanceName, LedgerName, OperatorName, Phase, Subject,
    Timestamp, UpgradeId, Version,
};
use std::collections::BTreeMap;

pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis((1_795_442_580 + 7 + seconds) * 1000)
}

fn ledger(name: &str) -> LedgerName {
    LedgerName::new(name).unwrap()
}

fn losses() -> Losses {
    let row = |class, target, key: &str, value: &str| LostRow { class, target, key: key.into(), value: value.into() };
    Losses {
        count: 3,
        by_class: BTreeMap::from([(LossClass::AccountMetadataWithoutPosting, 2), (LossClass::SqliteFirstMetadata, 1)]),
        sha256: Some(Digest::of(b"rows")),
        rows: vec![
            row(
                LossClass::AccountMetadataWithoutPosting,
                MetadataTarget::Account("vip:1".into()),
                "kyc",
                "{\"level\":1}",
            ),
            row(LossClass::SqliteFirstMetadata, MetadataTarget::Transaction("0".into()), "order", "\"o0\""),
        ],
    }
}

fn with(findings: Vec<Finding>, name: &str, losses: Losses) -> Plan {
    let noticed = findings
        .iter()
        .map(|finding| Noticed { code: finding.code.clone(), level: finding.level, subject: finding.subject.clone() })
        .collect();
    Plan {
        binding: Binding {
            deployment: DeploymentName::new("prod").unwrap(),
            from: Version::new(1, 3, 1),
            target: Release { version: Version::new(1, 4, 6), archive: Digest::of(b"archive") },
            strategy: Strategy::Downtime,
            members: BTreeMap::from([(
                InstanceName::new("ledger-a").unwrap(),
                Member {
                    agent: AgentName::new("host-a").unwrap(),
                    version: Version::new(1, 3, 1),
                    binary: Digest::of(b"binary"),
                    settings: Digest::of(b"settings"),
                },
            )]),
            beside: BTreeMap::new(),
            runner: AgentName::new("host-a").unwrap(),
            storage: StorageIdentity::Sqlite {
                machine: "m".into(),
                directory: "/srv/numary".into(),
                device: 1,
                inode: 2,
                db_name: "numary".into(),
            },
            ledgers: BTreeMap::from([(ledger(name), Migrations(Some(vec![0, 1, 2])))]),
            before: BTreeMap::from([(ledger(name), Migrations(Some(vec![0])))]),
            lost: losses.sha256.into_iter().map(|rows| (ledger(name), rows)).collect(),
            lossy: losses.count > 0,
            collides: false,
            first_start: false,
            unknown_target: false,
            one_writer: false,
            redis_lock: false,
            stages: vec![
                Stage::of(Phase::Preflight),
                Stage::of(Phase::Drain),
                Stage::behind(Border::MigrateAuthorised, Phase::Migrate),
                Stage::behind(Border::OpenAuthorised, Phase::Open),
            ],
            waves: Vec::new(),
            findings: noticed,
            questions: BTreeMap::new(),
            limits: Limits::default(),
        },
        observed: Observed {
            at: at(0),
            findings,
            ledgers: vec![LedgerSurvey {
                name: ledger(name),
                migrations: Migrations(Some(vec![0])),
                legacy_layout: true,
                transactions: 1200,
                bytes: 65_536,
                losses,
                bad_rows: Vec::new(),
                inconsistencies: Vec::new(),
                dependents: Vec::new(),
                damage: BTreeMap::new(),
            }],
            path: Some(PathWords {
                manual: vec!["1.4.x from 1.0.0 on: with downtime (manual, first edition)".to_owned()],
                measured: vec!["1.3.1 beside 1.4.6 was not measured".to_owned()],
                storage: vec!["1.4.6 knows 0, 1: 1 to migrate".to_owned()],
            }),
            preparations: vec![
                preparation("health-route", PreparationState::Asks { question: "Which route is asked?".to_owned() }),
                preparation(
                    "redis-lock",
                    PreparationState::Found { codes: vec![FindingCode("several-writers".into())] },
                ),
                preparation("pg-trgm", PreparationState::DoesNotApply { why: "this storage is sqlite".to_owned() }),
                preparation("unit-arguments", PreparationState::Done { how: "nothing was found".to_owned() }),
            ],
        },
    }
}

fn preparation(id: &str, state: PreparationState) -> Preparation {
    Preparation {
        id: PreparationId(id.to_owned()),
        note: "something changes".to_owned(),
        remedy: "see to it".to_owned(),
        source: Source::Measured,
        state,
    }
}

fn finding(code: &str, level: Level, subject: FindingSubject, source: Source) -> Finding {
    Finding {
        code: FindingCode(code.into()),
        level,
        subject,
        evidence: "what was seen, said in a sentence that is long enough to be wrapped at least once on a page".into(),
        remedy: "what to do about it".into(),
        source,
    }
}

pub(crate) fn plan() -> Plan {
    let lossy = finding("lossy-migration", Level::Approve, FindingSubject::Ledger(ledger("main")), Source::Measured);
    with(vec![lossy], "main", losses())
}

pub(crate) fn blocked() -> Plan {
    let block = finding("bad-rows", Level::Block, FindingSubject::Ledger(ledger("main")), Source::ThisStorage);
    let info = finding("downtime-required", Level::Info, FindingSubject::Path, Source::Manual);
    with(vec![info, block], "main", Losses::default())
}

/// Findings of every level, two of them with one reason, as rules say them.
pub(crate) fn noticed() -> Plan {
    let on = |name: &str| FindingSubject::Instance(InstanceName::new(name).unwrap());
    let said = |code, level, subject, source, evidence: &str, remedy: &str| Finding {
        evidence: evidence.into(),
        remedy: remedy.into(),
        ..finding(code, level, subject, source)
    };
    let argument = |name| {
        said(
            "argument-unknown",
            Level::Block,
            on(name),
            Source::ThisHost,
            "1.4.6 does not start with this instance's arguments: unknown flag: --persist-config",
            "take these out of the service's arguments, if the present version runs without them; plan again",
        )
    };
    let lost = said(
        "sqlite-first-metadata",
        Level::Approve,
        FindingSubject::Ledger(ledger("main")),
        Source::Measured,
        "the migration loses 1 metadata row(s): transaction 0 order",
        "approve exactly these rows (write them again afterwards where they matter), or copy them elsewhere first",
    );
    let limits = said(
        "session-limits",
        Level::Info,
        FindingSubject::Storage,
        Source::ThisStorage,
        "statement_timeout = 200 ms (set by: user); the commands of Cutover run without these limits",
        "nothing for this upgrade; the ledger's commands run by hand would end with `canceling statement`",
    );
    with(vec![argument("ledger-a"), argument("ledger-b"), lost, limits], "main", Losses::default())
}

pub(crate) fn hostile() -> Plan {
    let name = format!("a\u{1b}[2J{}", "x".repeat(120));
    let mut found = finding("bad-rows", Level::Approve, FindingSubject::Ledger(ledger(&name)), Source::ThisStorage);
    found.evidence = format!("\u{1b}]0;owned\u{7} {}", "y".repeat(200));
    let mut lost = losses();
    lost.rows[0].key = "k\u{1b}[31m".into();
    lost.rows[0].value = format!("\"{}\"", "z".repeat(500));
    with(vec![found], &name, lost)
}

pub(crate) fn hold() -> Hold {
    let order = OrderId {
        upgrade: UpgradeId::new("u-1").unwrap(),
        step: StepId { stage: 7, run: 1, subject: Subject::Ledger(ledger("main")) },
        phase: Phase::Migrate,
        attempt: 1,
    };
    let failure = Failure {
        kind: FailureKind::Failed,
        message: "`numary storage upgrade main` ended with status 1: \u{1b}[31mno such column".into(),
        remedy: "look at its output".into(),
        effect: Effect::Unknown,
    };
    Hold {
        id: HoldId(3),
        reason: HoldReason::StepFailed { order, failure },
        phase: Phase::Migrate,
        since: at(0),
        choices: vec![
            Offer { choice: Choice::Retry, cost: "try again, beginning with a fresh look".into() },
            Offer { choice: Choice::Rollback, cost: "restore what was migrated".into() },
        ],
    }
}

fn status(state: State, holds: Vec<Hold>) -> Status {
    let stage = |number, phase, entered, left, steps| StageStatus {
        number,
        stage: Stage::of(phase),
        run: 1,
        steps,
        entered,
        left,
        failures: Vec::new(),
    };
    let point = RecoveryPoint {
        item: RecoveryItem::Ledger(ledger("main")),
        place: "/var/lib/cutover/recovery/main.db".into(),
        sha256: Some(Digest::of(b"copy")),
        bytes: 65_536,
        digest: None,
        expected: None,
        losses: losses(),
        migrations: Migrations(Some(vec![0])),
        taken: at(0),
        restore_took: Elapsed(120),
        mark: None,
    };
    Status {
        id: UpgradeId::new("u-1").unwrap(),
        deployment: DeploymentName::new("prod").unwrap(),
        plan: plan().digest(),
        from: Version::new(1, 3, 1),
        target: Version::new(1, 4, 6),
        strategy: Strategy::Downtime,
        state,
        started: (at(0), Some(OperatorName::new("ada").unwrap())),
        stages: vec![
            stage(0, Phase::Preflight, Some(at(0)), Some(at(1)), (1, 1)),
            stage(1, Phase::Migrate, Some(at(1)), state.ended().then(|| at(3)), (1, 2)),
        ],
        waiting_for: holds.first().map(|hold| WaitingFor::Decision { hold: hold.id }),
        holds,
        borders: Vec::new(),
        ledgers: vec![LedgerStatus {
            name: ledger("main"),
            point: Some(point),
            before: Some(Digest::of(b"before")),
            after: Some(Digest::of(b"after")),
            migrated: Some(Elapsed(900)),
            migrating: None,
            rehearsed: Some(Elapsed(800)),
            lost: losses(),
            restored: false,
        }],
        system: None,
        instances: vec![InstanceStatus {
            name: InstanceName::new("ledger-a").unwrap(),
            agent: AgentName::new("host-a").unwrap(),
            down: (!state.ended()).then(|| at(1)),
            up: state.ended().then(|| (at(3), Version::new(1, 4, 6))),
            stopping: None,
        }],
        turned_back: None,
        paused: false,
        closed: None,
        runner: Some(AgentName::new("host-a").unwrap()),
        downtime: Some(Elapsed(2_000)),
        pause: None,
        close: None,
        end: None,
        seq: 12,
        epoch: Epoch(1),
        ended: state.ended().then(|| at(3)),
    }
}

pub(crate) fn held() -> Status {
    status(State::Held, vec![hold()])
}

pub(crate) fn completed() -> Status {
    status(State::Completed, Vec::new())
}
