//! Workers killed at any moment: the same work again ends with the same state.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod support;

use cutover_storage::digest;
use cutover_storage::points;
use cutover_storage::sqlite::recovery;
use cutover_storage::sqlite::{Ledger, SqlitePlace, restore};
use cutover_storage::storage::Secure;
use cutover_vocabulary::storage::{LedgerDigest, RecoveryItem, RecoveryPoint};
use cutover_vocabulary::{LedgerName, UpgradeId};
use rusqlite::Connection;
use std::path::Path;
use std::process::{Command, Stdio};

/// How many times each kind of worker is killed.
const ROUNDS: u64 = 40;

fn item() -> RecoveryItem {
    RecoveryItem::Ledger(LedgerName::new("sample").unwrap())
}

fn secure(root: &Path) -> RecoveryPoint {
    let place = SqlitePlace::find(&root.join("data"), "numary").unwrap();
    let storage = place.identity("machine").unwrap();
    let upgrade = UpgradeId::new("u1").unwrap();
    let folder = root.join("points");
    recovery::secure(
        &place,
        &Secure { storage: &storage, item: &item(), upgrade: &upgrade, folder: &folder, lossy: true, serving: false },
    )
    .unwrap()
}

fn put_back(root: &Path) {
    let place = SqlitePlace::find(&root.join("data"), "numary").unwrap();
    let point = points::manifest(&recovery::copy_path(&root.join("points"), &item())).unwrap().unwrap().point;
    restore::restore(&place, &point, &root.join("aside"), false).unwrap();
}

fn digest_of(file: &Path) -> LedgerDigest {
    digest::digest(&Ledger::open(file, &std::env::temp_dir()).unwrap()).unwrap()
}

/// Not a test of its own: what the killed processes run.
#[test]
#[ignore = "the worker that the other tests start and kill"]
fn worker() {
    let Some(root) = std::env::var_os("WORKER_ROOT") else { return };
    match std::env::var("WORKER_DOES").unwrap().as_str() {
        "secure" => drop(secure(Path::new(&root))),
        _ => put_back(Path::new(&root)),
    }
}

/// Runs a worker to its end, or kills it after some microseconds. Returns how long it ran and whether it ended by itself.
fn run_worker(root: &Path, does: &str, kill_after: Option<u64>) -> (u64, bool) {
    let begun = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let micros = |from: rustix::time::Timespec| {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        u64::try_from((now.tv_sec - from.tv_sec) * 1_000_000 + (now.tv_nsec - from.tv_nsec) / 1_000).unwrap()
    };
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["worker", "--exact", "--ignored", "--test-threads=1"])
        .env("WORKER_ROOT", root)
        .env("WORKER_DOES", does)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    if let Some(limit) = kill_after {
        while micros(begun) < limit {
            std::hint::spin_loop();
        }
        child.kill().unwrap();
    }
    let ended = child.wait().unwrap().success();
    (micros(begun), ended)
}

fn scene() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir(root.path().join("data")).unwrap();
    drop(support::sample(&root.path().join("data/numary_sample.db")));
    root
}

#[test]
fn a_recovery_point_whose_worker_was_killed_at_any_moment_is_taken_again_or_found_whole() {
    let model = scene();
    let (whole, ended) = run_worker(model.path(), "secure", None);
    assert!(ended);
    for round in 0..ROUNDS {
        let root = scene();
        let before = digest_of(&root.path().join("data/numary_sample.db"));
        run_worker(root.path(), "secure", Some(whole * (round + 1) / ROUNDS));
        let point = secure(root.path());
        assert_eq!(point.digest.as_ref(), Some(&before), "round {round}");
        assert_eq!(digest_of(Path::new(&point.place)), before, "round {round}");
        assert_eq!(
            std::fs::read_dir(root.path().join("points")).unwrap().count(),
            3,
            "round {round}: something was left"
        );
    }
}

#[test]
fn a_restore_whose_worker_was_killed_at_any_moment_leaves_a_whole_ledger_and_ends_when_run_again() {
    let mut whole = 0;
    for round in 0..=ROUNDS {
        let root = scene();
        let file = root.path().join("data/numary_sample.db");
        let before = digest_of(&file);
        let point = secure(root.path());
        support::migrate(&Connection::open(&file).unwrap());
        let migrated = digest_of(&file);
        if round == 0 {
            whole = run_worker(root.path(), "restore", None).0;
        } else {
            run_worker(root.path(), "restore", Some(whole * round / ROUNDS));
        }
        // At every moment the name stands for one of the two ledgers.
        let between = digest_of(&file);
        assert!(between == before || between == migrated, "round {round}");
        put_back(root.path());
        assert_eq!(point.digest, Some(digest_of(&file)), "round {round}");
        let names: Vec<_> =
            std::fs::read_dir(root.path().join("data")).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert!(names.iter().all(|name| !name.to_string_lossy().contains("cutover")), "round {round}: {names:?}");
        let kept = root.path().join("aside/numary_sample.db.moved-1");
        assert_eq!(digest_of(&kept), migrated, "round {round}");
        assert!(!root.path().join("aside/numary_sample.db.moved-2").exists(), "round {round}");
    }
}
