//! Every rule of `plan/findings` fires on a case made for it, and no other rule does.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

#[path = "findings/noticed.rs"]
mod noticed;
#[path = "findings/pages.rs"]
mod pages;
#[path = "findings/postgres.rs"]
mod postgres;
#[path = "findings/preparations.rs"]
mod preparations;
#[path = "findings/rejoin.rs"]
mod rejoin;
mod support;

use cutover_core::catalogue;
use cutover_core::plan::{self, PlanAsk, StrategyAsk, findings};
use cutover_vocabulary::finding::{Finding, FindingSubject, Level};
use cutover_vocabulary::instance::{Drift, DriftKind, Manager};
use cutover_vocabulary::outcome::Inspection;
use cutover_vocabulary::plan::Plan;
use cutover_vocabulary::storage::*;
use cutover_vocabulary::survey::{HostSurvey, InstanceSurvey, LockStrategy, ReleaseProblem, StorageSurvey};
use cutover_vocabulary::*;
use std::collections::{BTreeMap, BTreeSet};
use support::*;

/// All that a plan is made from.
#[derive(Clone)]
struct World {
    ask: PlanAsk,
    registered: BTreeMap<InstanceName, AgentName>,
    surveys: Vec<HostSurvey>,
}

fn drifted(kind: DriftKind) -> Drift {
    Drift { kind, allowed: "SHA-256 bb".to_owned(), found: "1.3.1 with SHA-256 aa".to_owned() }
}

impl World {
    /// One instance, one ledger that loses nothing, under systemd: nothing to notice.
    fn healthy() -> Self {
        Self::of(&Seen { ledgers: vec![("main", 0)], ..Seen::default() })
    }
    /// Two instances on one PostgreSQL: nothing to notice either.
    fn two() -> Self {
        let mut world = Self::of(&Seen { instances: vec!["a", "b"], ledgers: vec![("main", 0)], ..Seen::default() });
        let postgres = StorageIdentity::Postgres {
            system_identifier: "7301".to_owned(),
            timeline: 1,
            database: "ledger".to_owned(),
        };
        world.each_storage(|storage| storage.identity = postgres.clone());
        world
    }
    fn of(seen: &Seen) -> Self {
        let mut world = Self { ask: ask(), registered: seen.registered(), surveys: seen.surveys() };
        world.surveys.iter_mut().for_each(|host| host.instances[0].manager = Manager::Systemd);
        world
    }
    fn to(mut self, target: (u64, u64, u64)) -> Self {
        self.ask.target = version(target);
        self.surveys.iter_mut().for_each(|host| {
            if let Ok(release) = &mut host.target {
                release.version = version(target);
            }
            if let Some(Ok(about)) = &mut host.about {
                about.version = version(target);
            }
        });
        self
    }
    fn from(mut self, from: (u64, u64, u64)) -> Self {
        for n in 0..self.surveys.len() {
            self.runs(n, from);
        }
        self
    }
    fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }
    fn instance(&mut self, n: usize) -> &mut InstanceSurvey {
        &mut self.surveys[n].instances[0]
    }
    fn inspection(&mut self, n: usize) -> &mut Inspection {
        self.instance(n).inspection.as_mut().unwrap()
    }
    fn runs(&mut self, n: usize, which: (u64, u64, u64)) {
        let inspection = self.inspection(n);
        (inspection.running, inspection.on_disk) = (Some(version(which)), Some(version(which)));
    }
    fn storage(&mut self) -> &mut StorageSurvey {
        self.instance(0).storage.as_mut().unwrap()
    }
    fn ledger(&mut self) -> &mut LedgerSurvey {
        &mut self.storage().ledgers[0]
    }
    fn each_storage(&mut self, change: impl Fn(&mut StorageSurvey)) {
        for host in &mut self.surveys {
            host.instances.iter_mut().for_each(|survey| change(survey.storage.as_mut().unwrap()));
        }
    }
    fn findings(&self) -> Vec<Finding> {
        let catalogue = catalogue::shipped().unwrap();
        let Self { ask, registered, surveys } = self;
        let parties = plan::Parties::of(ask, registered, surveys);
        findings::all(&parties.case(&catalogue, ask))
    }
    fn plan(&self) -> Result<Plan, Vec<Finding>> {
        plan::make(
            &cutover_core::catalogue::shipped().unwrap(),
            &self.ask,
            &self.registered,
            &self.surveys,
            now(0).wall,
        )
        .map_err(|cannot| cannot.findings)
    }
}

/// A case that a rule was made for.
struct Made {
    code: &'static str,
    level: Level,
    subject: FindingSubject,
    /// What an operator must read in the evidence: what is wrong, with its own names and numbers.
    seen: &'static str,
    /// What must be in the remedy.
    remedy: &'static str,
    /// Other codes that the same case must fire; every one that is not here must stay silent.
    also: &'static [&'static str],
    world: World,
}

fn about(name: &str) -> FindingSubject {
    FindingSubject::Instance(instance(name))
}
fn of_ledger(name: &str) -> FindingSubject {
    FindingSubject::Ledger(ledger(name))
}
fn of_deployment() -> FindingSubject {
    FindingSubject::Deployment(DeploymentName::new("prod").unwrap())
}
fn one_loss(class: LossClass) -> Losses {
    let row = LostRow {
        class,
        target: MetadataTarget::Account("users:0001".to_owned()),
        key: "kyc".to_owned(),
        value: "\"done\"".to_owned(),
    };
    let sha256 = Some(Digest::of_json(&[&row]));
    Losses { count: 1, sha256, rows: vec![row], by_class: [(class, 1)].into() }
}
fn corrupt() -> ReleaseProblem {
    ReleaseProblem::Corrupt { version: version(NEW), found: Digest::of(b"found"), named: Digest::of(b"named") }
}

/// Case by case, each named by what is wrong in it.
fn cases() -> Vec<Made> {
    let made =
        |code, level, subject, seen, remedy, also, world| Made { code, level, subject, seen, remedy, also, world };
    let mut cases = about_instances();
    cases.extend(about_paths());
    cases.extend(about_storages());
    cases.extend(postgres::cases());
    cases.extend(noticed::cases());
    cases.extend(rejoin::cases());
    cases.push(made(
        "rolling-refused",
        Level::Block,
        FindingSubject::Path,
        "1.3.1 beside 1.3.3 was tried: the old one answers 503 on migrated ledgers",
        "--strategy downtime",
        &[],
        World::two().to((1, 3, 3)).with(|w| w.ask.strategy = StrategyAsk::Rolling),
    ));
    cases.push(made(
        "release-unusable",
        Level::Block,
        about("a"),
        "host-a: the file of release 1.4.6 is corrupt",
        "fetch the archive and its checksum file again",
        &[],
        World::healthy().with(|w| w.surveys[0].target = Err(corrupt())),
    ));
    let missing = || ReleaseProblem::Missing { version: version(NEW), place: "/srv/releases".to_owned() };
    cases.push(made(
        "release-unusable",
        Level::Block,
        about("a"),
        "host-a: release 1.4.6 was not found at /srv/releases",
        "put the release's archive and its checksum file where",
        &[],
        World::healthy().with(|w| w.surveys[0].target = Err(missing())),
    ));
    cases.push(made(
        "releases-differ",
        Level::Block,
        FindingSubject::Path,
        "different files for 1.4.6",
        "one and the same archive on every host",
        &[],
        World::two().with(|w| w.surveys[1].target.as_mut().unwrap().archive = Digest::of(b"another")),
    ));
    cases
}

fn about_instances() -> Vec<Made> {
    let made =
        |code, level, subject, seen, remedy, also, world| Made { code, level, subject, seen, remedy, also, world };
    let unreadable =
        |seen, remedy, also, world| made("instance-unreadable", Level::Block, about("a"), seen, remedy, also, world);
    vec![
        made(
            "agent-not-seen",
            Level::Block,
            about("b"),
            "agent host-b did not answer",
            "start the agent on its host",
            &[],
            World::two().with(|w| w.surveys.truncate(1)),
        ),
        unreadable(
            "NUMARY_STORAGE_DRIVER",
            "mend its settings",
            &[],
            World::healthy()
                .with(|w| w.instance(0).inspection = Err("NUMARY_STORAGE_DRIVER names no driver".to_owned())),
        ),
        unreadable(
            "does not answer",
            "start it, or look at its log",
            &[],
            World::healthy().with(|w| w.inspection(0).running = None),
        ),
        unreadable(
            "its binary on disk cannot be read",
            "let the agent read",
            &[],
            World::healthy().with(|w| w.inspection(0).binary = None),
        ),
        unreadable(
            "its storage cannot be used: /data is gone",
            "mend that, then plan again",
            &[],
            World::healthy().with(|w| w.instance(0).storage = Err("/data is gone".to_owned())),
        ),
        made(
            "mixed-versions",
            Level::Approve,
            of_deployment(),
            "1.3.0, 1.3.1",
            "find out why",
            &[],
            World::two().with(|w| w.runs(1, (1, 3, 0))),
        ),
        made(
            "disk-and-running-differ",
            Level::Block,
            about("a"),
            "it runs 1.3.1, but its binary on disk is 1.4.0",
            "put the binary of the version that runs back",
            &[],
            World::healthy().with(|w| w.inspection(0).on_disk = Some(version((1, 4, 0)))),
        ),
        made(
            "disk-and-running-differ",
            Level::Block,
            about("a"),
            "it runs 1.3.1, but its binary on disk does not say which version it is",
            "put the binary of the version that runs back",
            &[],
            World::healthy().with(|w| w.inspection(0).on_disk = None),
        ),
        made(
            "drift",
            Level::Approve,
            about("a"),
            "on disk lies 1.3.1 with SHA-256 aa, allowed is SHA-256 bb",
            "cutover-agent local allow a",
            &[],
            World::healthy().with(|w| w.instance(0).report.drift = vec![drifted(DriftKind::Disk)]),
        ),
        made(
            "drift",
            Level::Block,
            about("a"),
            "it would start 1.3.1 with SHA-256 aa",
            "put back",
            &[],
            World::healthy().with(|w| w.instance(0).report.drift = vec![drifted(DriftKind::Command)]),
        ),
        made(
            "drift",
            Level::Approve,
            about("a"),
            "its guard /etc/systemd/system/numary.service.d/50-cutover-guard.conf is gone",
            "cutover-agent local guard a",
            &[],
            World::healthy().with(|w| {
                w.instance(0).report.missing_guard =
                    "/etc/systemd/system/numary.service.d/50-cutover-guard.conf".to_owned();
            }),
        ),
        made(
            "other-release-than-allowed",
            Level::Approve,
            about("a"),
            "it runs 1.3.1, and the deployment's latest upgrade left 1.3.3",
            "stop it unless",
            &[],
            World::healthy().with(|w| w.ask.allowed = Some(version((1, 3, 3)))),
        ),
        made(
            "started-by-others",
            Level::Info,
            about("a"),
            "nightly.timer may start it",
            "its guard refuses",
            &[],
            World::healthy().with(|w| w.instance(0).triggers = vec!["nightly.timer".to_owned()]),
        ),
        made(
            "process-manager-has-no-guard",
            Level::Info,
            about("a"),
            "plain process",
            "systemd",
            &[],
            World::healthy().with(|w| w.instance(0).manager = Manager::Process),
        ),
        made(
            "observe-only",
            Level::Block,
            about("a"),
            "may only look at it",
            "take `observe_only = true` of instance a out",
            &[],
            World::healthy().with(|w| w.instance(0).report.observe_only = true),
        ),
    ]
}

fn about_paths() -> Vec<Made> {
    let path = |code, level, seen, remedy, also, world| Made {
        code,
        level,
        subject: FindingSubject::Path,
        seen,
        remedy,
        also,
        world,
    };
    let older = "a downgrade is not an upgrade back";
    vec![
        path(
            "target-not-newer",
            Level::Block,
            "runs 1.4.6; 1.4.0",
            older,
            &[],
            World::healthy().from(NEW).to((1, 4, 0)),
        ),
        path("target-not-newer", Level::Block, "1.4.6 is not newer", older, &[], World::healthy().from(NEW)),
        path(
            "target-not-newer",
            Level::Block,
            "instance b runs 1.5.0 already",
            older,
            &["mixed-versions"],
            World::two().with(|w| w.runs(1, (1, 5, 0))),
        ),
        path(
            "path-not-in-table",
            Level::Block,
            "does not name 1.3.1 to 1.9.6",
            "1.8.3",
            &[],
            World::healthy().to((1, 9, 6)),
        ),
        path(
            "path-not-in-table",
            Level::Approve,
            "does not name 1.9.6 to 1.12.0",
            "no stop on the way",
            &[],
            World::healthy().from((1, 9, 6)).to((1, 12, 0)).with(|w| w.ledger().legacy_layout = false),
        ),
        path(
            "unknown-release",
            Level::Approve,
            "asked itself, it has storage commands",
            "what a copy records there is what the ledger must record",
            &[],
            World::healthy().to((1, 4, 99)),
        ),
        Made {
            code: "unknown-release",
            level: Level::Block,
            subject: about("a"),
            seen: "its binary could not be asked: exec format error",
            remedy: "whose binary runs on this host",
            also: &[],
            world: World::healthy()
                .to((1, 4, 99))
                .with(|w| w.surveys[0].about = Some(Err("exec format error".to_owned()))),
        },
        Made {
            code: "unknown-release",
            level: Level::Block,
            subject: about("a"),
            seen: "its binary says that it is 1.4.6",
            remedy: "says its version",
            also: &[],
            world: World::healthy().with(|w| w.ask.target = version((1, 4, 99))),
        },
        path(
            "unknown-release",
            Level::Approve,
            "nothing is known of 1.3.77, which runs now",
            "before anything is stopped the target is rehearsed",
            &[],
            World::healthy().from((1, 3, 77)),
        ),
        path(
            "target-without-storage-commands",
            Level::Info,
            "1.2.1 has no storage commands",
            "to an instance that no client reaches",
            &[],
            World::healthy().from((1, 1, 0)).to((1, 2, 1)).with(|w| w.ledger().migrations = Migrations(None)),
        ),
        path(
            "bad-release",
            Level::Block,
            "1.10.6: after a start of the process, balances count from zero",
            "choose another target",
            &["path-not-in-table"],
            World::healthy().from((1, 9, 6)).to((1, 10, 6)).with(|w| w.ledger().legacy_layout = false),
        ),
        path(
            "several-writers",
            Level::Block,
            "2 instances of 1.12.0 would write, and it bears only one: it keeps the last transaction in memory",
            "set `lock-strategy: redis` on every instance",
            &["path-not-in-table"],
            World::two().from((1, 9, 6)).to((1, 12, 0)).with(|w| {
                w.each_storage(|storage| storage.ledgers[0].legacy_layout = false);
                // One of two is not every instance.
                w.instance(1).lock = Some(LockStrategy::Redis);
            }),
        ),
        path(
            "storage-newer",
            Level::Block,
            "records migration 17, which neither 1.4.6 nor 1.5.0 knows",
            "the first release that knows these migrations is 1.8.1",
            &[],
            World::healthy().from((1, 4, 6)).to((1, 5, 0)).with(|w| {
                w.each_storage(|storage| storage.identity = database());
                w.ledger().migrations = Migrations(Some((0..=17).collect()));
                w.ledger().legacy_layout = false;
            }),
        ),
        path(
            "storage-newer",
            Level::Approve,
            "records migration 7, which neither 1.4.0 nor 1.4.6 knows",
            "the first release that knows these migrations is 1.5.0",
            &[],
            World::healthy().from((1, 4, 0)).to((1, 4, 6)).with(|w| {
                w.each_storage(|storage| storage.identity = database());
                w.ledger().migrations = Migrations(Some((0..=7).collect()));
                w.ledger().legacy_layout = false;
            }),
        ),
        path(
            "broken-upgrade",
            Level::Block,
            "1.7.8 to 1.8.0 on sqlite: upgrade ends 0, then every transaction is refused",
            "way around",
            &[],
            World::healthy().from((1, 7, 8)).to((1, 8, 0)).with(|w| w.ledger().legacy_layout = false),
        ),
        // It ran 1.7.8 for a while, and went back.
        path(
            "broken-upgrade",
            Level::Block,
            "a ledger records what 1.7.5 or 1.7.6 or 1.7.7 or 1.7.8 would have left, to 1.8.3 on sqlite: upgrade ends 0",
            "way around: none is known",
            &[],
            World::healthy().from((1, 7, 4)).to((1, 8, 3)).with(|w| {
                w.ledger().migrations = Migrations(Some((0..=11).collect()));
                w.ledger().legacy_layout = false;
            }),
        ),
        path(
            "broken-upgrade",
            Level::Approve,
            "1.7.8 to 1.8.2 on postgres: works, and every row of the table `postings`",
            "find out who reads that table",
            &[],
            World::healthy().from((1, 7, 8)).to((1, 8, 2)).with(|w| {
                w.each_storage(|storage| storage.identity = database());
                w.ledger().legacy_layout = false;
            }),
        ),
    ]
}

fn about_storages() -> Vec<Made> {
    let made =
        |code, level, subject, seen, remedy, world| Made { code, level, subject, seen, remedy, also: &[], world };
    let storage = |code, level, seen, remedy, world| made(code, level, FindingSubject::Storage, seen, remedy, world);
    let main = |code, level, seen, remedy, world| made(code, level, of_ledger("main"), seen, remedy, world);
    let opener = || Opener { pid: 4711, command: "backup\nnow".to_owned(), file: "numary_main.db".to_owned() };
    let bad = || BadRow { what: "reference".to_owned(), text: "a\"b".to_owned() };
    let elsewhere = || match support::storage() {
        StorageIdentity::Sqlite { machine, device, db_name, .. } => {
            StorageIdentity::Sqlite { machine, directory: "/srv/other".to_owned(), device, inode: 77, db_name }
        }
        other @ StorageIdentity::Postgres { .. } => other,
    };
    let sqlite = |db_name: &str| StorageIdentity::Sqlite {
        machine: "m1".to_owned(),
        directory: "/var/lib/numary".to_owned(),
        device: 1,
        inode: 2,
        db_name: db_name.to_owned(),
    };
    vec![
        Made {
            also: &["sqlite-shared"],
            ..made(
                "several-storages",
                Level::Block,
                of_deployment(),
                "2 storages: sqlite /var/lib/numary/numary_*.db by a; sqlite /srv/other/numary_*.db by b",
                "one deployment for each",
                World::two().with(|w| {
                    w.each_storage(|storage| storage.identity = support::storage());
                    w.instance(1).storage.as_mut().unwrap().identity = elsewhere();
                }),
            )
        },
        made(
            "storage-of-another-deployment",
            Level::Approve,
            FindingSubject::Deployment(DeploymentName::new("billing").unwrap()),
            "it used sqlite /var/lib/numary/numary_*.db too when it was planned for last, and has instances",
            "approve where one of the two is a copy",
            World::healthy().with(|w| {
                let [billing, apart] = ["billing", "apart"].map(|name| DeploymentName::new(name).unwrap());
                w.ask.elsewhere = [(billing, support::storage()), (apart, elsewhere())].into();
            }),
        ),
        made(
            "sqlite-shared",
            Level::Block,
            of_deployment(),
            "2 instances are registered on one SQLite storage",
            "one instance on SQLite",
            World::two().with(|w| w.each_storage(|storage| storage.identity = support::storage())),
        ),
        storage(
            "storage-read-only",
            Level::Block,
            "it cannot be written: /data: read-only file system",
            "make it writable",
            World::healthy().with(|w| w.storage().read_only = Some("/data: read-only file system".to_owned())),
        ),
        storage(
            "storage-held-by-others",
            Level::Block,
            "process 4711 (backup\\nnow) has numary_main.db open",
            "end that process",
            World::healthy().with(|w| w.storage().strangers = vec![opener()]),
        ),
        storage(
            "db-name-with-underscore",
            Level::Block,
            "db_name is \"my_db\"",
            "rename the files",
            World::healthy().with(|w| w.storage().identity = sqlite("my_db")),
        ),
        storage(
            "file-skipped",
            Level::Approve,
            "old.db is not upgraded: Bad name",
            "move it out",
            World::healthy().with(|w| w.storage().skipped = vec![("old.db".to_owned(), "Bad name".to_owned())]),
        ),
        made(
            "ledger-only-registered",
            Level::Block,
            of_ledger("ghost"),
            "the storage does not hold it",
            "find out where its data went",
            World::healthy().with(|w| w.storage().registered = Some(vec![ledger("main"), ledger("ghost")])),
        ),
        main(
            "bad-rows",
            Level::Block,
            "1 row(s) make the ledger's migration fail: reference \"a\\\"b\"",
            "mend them in the storage",
            World::healthy().with(|w| w.ledger().bad_rows = vec![bad()]),
        ),
        main(
            "storage-inconsistent",
            Level::Approve,
            "1 place(s) disagree, among them: volume of bank is 3, its postings say 4",
            "find out how it came about",
            World::healthy().with(|w| {
                w.ledger().inconsistencies = vec!["volume of bank is 3, its postings say 4".to_owned()];
            }),
        ),
        main(
            "account-metadata-without-posting",
            Level::Approve,
            "loses 1 metadata row(s): account users:0001 kyc",
            "approve exactly these rows",
            World::healthy().with(|w| w.ledger().losses = one_loss(LossClass::AccountMetadataWithoutPosting)),
        ),
        main(
            "sqlite-first-metadata",
            Level::Approve,
            "loses 1 metadata row(s): account users:0001 kyc",
            "approve exactly these rows",
            World::healthy().with(|w| w.ledger().losses = one_loss(LossClass::SqliteFirstMetadata)),
        ),
        storage(
            "target-knows-fewer-migrations",
            Level::Info,
            "records migration 7, and 1.4.0 does not know it",
            "no release takes a migration away",
            World::healthy().from((1, 3, 3)).to((1, 4, 0)).with(|w| {
                w.each_storage(|storage| storage.identity = database());
                w.ledger().migrations = Migrations(Some((0..=7).collect()));
                w.ledger().legacy_layout = false;
            }),
        ),
        Made {
            also: &["path-not-in-table"],
            ..storage(
                "ran-on-bad-release",
                Level::Info,
                "1.10.7 runs now: after a start of the process, balances count from zero",
                "compare balances with your own books",
                World::healthy().from((1, 10, 7)).to((1, 10, 8)).with(|w| {
                    w.ledger().migrations = Migrations(Some((0..=20).collect()));
                    w.ledger().legacy_layout = false;
                }),
            )
        },
        storage(
            "disk-space",
            Level::Block,
            "need 3 MiB, 1 MiB are free",
            "free room there",
            World::healthy().with(|w| (w.storage().needed_bytes, w.storage().free_bytes) = ((2 << 20) + 1, 1 << 20)),
        ),
    ]
}

#[test]
fn a_healthy_deployment_has_no_findings() {
    assert_eq!(World::healthy().findings(), []);
    assert_eq!(World::two().findings(), []);
}

#[test]
fn every_rule_has_a_case_made_for_it() {
    let declared: Vec<&str> = findings::codes().collect();
    let made: BTreeSet<&str> = cases().iter().map(|case| case.code).collect();
    let missing: Vec<_> = declared.iter().filter(|code| !made.contains(**code)).collect();
    assert!(missing.is_empty(), "these codes have no case in tests/findings.rs: {missing:?}");
    let unknown: Vec<_> = made.iter().filter(|code| !declared.contains(code)).collect();
    assert!(unknown.is_empty(), "no rule says {unknown:?}");
    let unique: BTreeSet<_> = declared.iter().collect();
    assert_eq!(unique.len(), declared.len(), "two rules say the same code: {declared:?}");
}

#[test]
fn each_rule_fires_on_its_case_and_no_other_rule_does() {
    for case in cases() {
        let found = case.world.findings();
        let codes: BTreeSet<&str> = found.iter().map(|finding| finding.code.0.as_str()).collect();
        let expected: BTreeSet<&str> = case.also.iter().copied().chain([case.code]).collect();
        assert_eq!(codes, expected, "{}: {found:#?}", case.seen);
        let of_it: Vec<&Finding> = found.iter().filter(|finding| finding.code.0 == case.code).collect();
        let [finding] = of_it.as_slice() else { panic!("{} once, not {of_it:#?}", case.code) };
        assert_eq!((finding.level, &finding.subject), (case.level, &case.subject), "{finding:#?}");
        assert!(finding.evidence.contains(case.seen), "{} in {finding:#?}", case.seen);
        assert!(finding.remedy.contains(case.remedy), "{} in {finding:#?}", case.remedy);
    }
}

#[test]
fn findings_explain_every_missing_plan() {
    let mut without = 0;
    for case in cases() {
        let blocks = case.world.findings().iter().any(|finding| finding.level == Level::Block);
        match case.world.plan() {
            Ok(plan) => assert_eq!(plan.level() == Some(Level::Block), blocks, "{}", case.seen),
            Err(findings) => {
                without += 1;
                assert!(findings.iter().any(|finding| finding.code.0 == case.code), "{}: {findings:#?}", case.seen);
                assert!(findings.iter().all(|finding| finding.level == Level::Block), "{findings:#?}");
            }
        }
    }
    assert!(without > 3, "some of these cases leave too little for a plan: {without}");
    let nobody = World::healthy().with(|w| w.surveys.clear());
    assert!(!nobody.plan().unwrap_err().is_empty());
}

#[test]
fn what_blocks_comes_first() {
    let world = World::healthy().with(|w| {
        w.instance(0).manager = Manager::Process;
        w.ledger().losses = one_loss(LossClass::SqliteFirstMetadata);
        w.storage().read_only = Some("/data: read-only file system".to_owned());
    });
    let levels: Vec<Level> = world.findings().iter().map(|finding| finding.level).collect();
    assert_eq!(levels, [Level::Block, Level::Approve, Level::Info]);
}

#[test]
fn one_trouble_with_settings_is_said_once() {
    let world = World::healthy().with(|w| {
        w.instance(0).inspection = Err("/data is gone".to_owned());
        w.instance(0).storage = Err("/data is gone".to_owned());
    });
    assert_eq!(world.findings().len(), 1);
}

#[test]
fn losses_of_ledgers_that_were_migrated_before_are_none() {
    let world = World::healthy().with(|w| {
        w.ledger().losses = one_loss(LossClass::SqliteFirstMetadata);
        w.ledger().bad_rows = vec![BadRow { what: "reference".to_owned(), text: "a\"b".to_owned() }];
        w.ledger().legacy_layout = false;
    });
    assert_eq!(world.findings(), []);
    assert!(!world.plan().unwrap().binding.lossy);
}

/// A fleet that was rolled half by hand: who runs the target already stands in nobody's way.
#[test]
fn an_instance_at_the_target_does_not_block_the_others() {
    let world = World::two().with(|w| w.runs(1, NEW));
    let codes: Vec<_> = world.findings().iter().map(|finding| finding.code.to_string()).collect();
    assert_eq!(codes, ["mixed-versions"]);
}
