//! One release of every distinct behaviour keeps the contract, and so do pairs of them, on both drivers.
#![expect(clippy::unwrap_used, reason = "a test: what fails, fails it, and what is skipped is printed")]

mod cluster;

use cutover_ledger_simulator::contract::{self, Bench, Check, Place, Server, Subject};
use cutover_ledger_simulator::pack;
use cutover_ledger_simulator::storage::Driver;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A release of each behaviour. 1.3.1, 1.3.3 and 1.4.6 keep the whole contract in tests/contract.rs, 1.4.0 with its pauses is among the
/// pairs, and what differs in migrations alone is in tests/releases.rs.
const LEVELS: &[&str] = &[
    "1.0.5", "1.1.0", "1.2.1", "1.4.3", "1.5.0", "1.6.1", "1.7.3", "1.7.8", "1.8.0", "1.9.0", "1.9.6", "1.10.0",
    "1.10.7", "1.10.12",
];

/// Those of them whose schemas differ.
const LEVELS_OF_SCHEMAS: &[&str] = &["1.2.1", "1.6.1", "1.7.8", "1.8.3", "1.9.6", "1.10.7"];

/// What takes seconds each, on every release the same way; and what only root can look at.
const LEFT_OUT: &[&str] = &[
    "files_that_may_not_be_written_fail_upgrade_but_not_list_and_scan",
    "a_ledger_locked_by_another_fails_upgrade_after_5_seconds",
    "two_instances_that_write_at_once_lose_nothing_and_conflict_with_409",
    "two_instances_cannot_spend_the_same_money",
    "two_commands_without_a_scan_may_race_for_the_system_store_and_pass_when_run_again",
];

/// Older and newer, as they were measured to get on.
const PAIRS: &[(&str, &str)] = &[
    ("1.3.3", "1.4.0"),
    ("1.4.0", "1.4.6"),
    ("1.4.6", "1.7.3"),
    ("1.6.1", "1.7.3"),
    ("1.7.3", "1.7.8"),
    ("1.4.6", "1.8.1"),
    ("1.7.8", "1.8.1"),
    ("1.7.8", "1.8.3"),
    ("1.7.8", "1.9.6"),
    ("1.4.6", "1.9.6"),
    ("1.8.1", "1.9.6"),
    ("1.9.6", "1.10.0"),
    ("1.9.6", "1.10.5"),
    ("1.9.6", "1.10.14"),
    ("1.11.2", "1.12.0"),
];

/// Binaries, each made once.
struct Shelf {
    dir: tempfile::TempDir,
    made: Mutex<BTreeMap<String, Subject>>,
}

impl Shelf {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), made: Mutex::default() }
    }

    fn get(&self, version: &str) -> Subject {
        let mut made = self.made.lock().unwrap();
        let make = || {
            let path: PathBuf = self.dir.path().join(format!("numary-{version}"));
            pack::install(Path::new(env!("CARGO_BIN_EXE_numary")), version, &path).unwrap();
            Subject::new(path, version).unwrap()
        };
        made.entry(version.to_owned()).or_insert_with(make).clone()
    }
}

/// Runs jobs, a few at once, and fails with every line that says what differs.
fn all_hold<T: Sync>(jobs: &[T], run: impl Fn(&T, &mut dyn FnMut(&str)) + Sync) {
    let (next, differs) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    run(job, &mut |line| {
                        // What becomes of storages of 1.3.1 is looked at in tests/contract.rs.
                        let skipped = line.contains("SKIPPED") && !line.contains("--from-bin");
                        if line.contains("FAILED") || skipped {
                            differs.lock().unwrap().push(line.to_owned());
                        }
                    });
                }
            });
        }
    });
    let differs = differs.into_inner().unwrap();
    assert!(differs.is_empty(), "{differs:#?}");
}

fn levels_hold(levels: &[&str], checks: fn(Driver) -> Vec<Check>, place: &Place) {
    let shelf = Shelf::new();
    all_hold(levels, |version, report| {
        let bench = Bench { subject: shelf.get(version), from: None, beside: None, place: place.clone() };
        let quick = |check: &Check| !LEFT_OUT.contains(&check.name);
        let checks = checks(place.driver()).into_iter().filter(quick);
        let tally = contract::run_these(&bench, checks, "", |line| report(&format!("{version} {line}")));
        assert!(tally.passed > 20, "only {} checks of {version} ran", tally.passed);
    });
}

fn pairs_hold(place: &Place) {
    let shelf = Shelf::new();
    all_hold(PAIRS, |(old, new), report| {
        let bench = Bench { subject: shelf.get(new), from: None, beside: Some(shelf.get(old)), place: place.clone() };
        let checks = contract::checks_of_pairs(place.driver());
        let tally = contract::run_these(&bench, checks, "", |line| report(&format!("{old} {new} {line}")));
        assert!(tally.passed > 0, "no check of {old} and {new} ran");
    });
}

fn on_postgresql(hold: impl Fn(&Place)) {
    let Some(trial) = cluster::trial() else { return };
    hold(&Place::Postgres(Server::parse(&trial.cluster.superuser_url("postgres")).unwrap()));
}

#[test]
fn every_behaviour_has_a_release_that_keeps_the_contract() {
    levels_hold(LEVELS, contract::checks, &Place::Sqlite);
}

#[test]
fn every_behaviour_has_a_release_that_keeps_the_contract_on_postgresql() {
    on_postgresql(|place| levels_hold(LEVELS_OF_SCHEMAS, contract::checks_of_storage, place));
}

#[test]
fn pairs_of_releases_upgrade_as_they_were_measured_to() {
    pairs_hold(&Place::Sqlite);
}

#[test]
fn pairs_of_releases_upgrade_and_run_side_by_side_as_they_were_measured_to() {
    on_postgresql(pairs_hold);
}

/// Which checks there are depends on the driver, and none is there twice.
#[test]
fn no_check_has_the_name_of_another() {
    for driver in [Driver::Sqlite, Driver::Postgres] {
        let mut names: Vec<&str> =
            contract::checks(driver).iter().chain(&contract::checks_of_pairs(driver)).map(|check| check.name).collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}
