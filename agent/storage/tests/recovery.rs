//! Promises of recovery points, restores and proofs, on real SQLite files.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod support;

use cutover_storage::StorageError;
use cutover_storage::digest;
use cutover_storage::points;
use cutover_storage::sqlite::recovery;
use cutover_storage::sqlite::{Layout, Ledger, SqlitePlace, SqliteStorage, restore};
use cutover_storage::storage::{CopyAsk, Secure, Storage as _};
use cutover_vocabulary::storage::{Migrations, RecoveryItem, RecoveryPoint};
use cutover_vocabulary::{LedgerName, UpgradeId};
use rusqlite::Connection;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

struct Scene {
    _root: tempfile::TempDir,
    data: PathBuf,
    points: PathBuf,
    aside: PathBuf,
    place: SqlitePlace,
}

impl Scene {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let data = root.path().join("data");
        std::fs::create_dir(&data).unwrap();
        support::sample(&data.join("numary_sample.db"));
        let place = SqlitePlace::find(&data, "numary").unwrap();
        Self { points: root.path().join("points"), aside: root.path().join("aside"), data, place, _root: root }
    }
    fn file(&self) -> PathBuf {
        self.data.join("numary_sample.db")
    }
    fn secure_item(&self, item: &RecoveryItem, lossy: bool) -> Result<RecoveryPoint, StorageError> {
        let storage = self.place.identity("machine").unwrap();
        let upgrade = UpgradeId::new("u1").unwrap();
        recovery::secure(
            &self.place,
            &Secure { storage: &storage, item, upgrade: &upgrade, folder: &self.points, lossy, serving: false },
        )
    }
    fn secure(&self) -> RecoveryPoint {
        self.secure_item(&sample(), true).unwrap()
    }
    fn restore(&self, point: &RecoveryPoint) -> cutover_vocabulary::outcome::Restored {
        restore::restore(&self.place, point, &self.aside, false).unwrap()
    }
    fn prove(&self, point: &RecoveryPoint) -> Result<cutover_vocabulary::outcome::Proof, StorageError> {
        SqliteStorage::at(self.place.clone(), "machine").unwrap().prove(point, &self.points)
    }
    fn migrate(&self) {
        support::migrate(&Connection::open(self.file()).unwrap());
    }
    fn names(&self) -> Vec<String> {
        names(&self.data).into_iter().filter(|name| !name.ends_with("-wal") && !name.ends_with("-shm")).collect()
    }
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn sample() -> RecoveryItem {
    RecoveryItem::Ledger(LedgerName::new("sample").unwrap())
}

fn digest_of(path: &Path) -> cutover_vocabulary::storage::LedgerDigest {
    digest::digest(&Ledger::open(path, &std::env::temp_dir()).unwrap()).unwrap()
}

#[test]
fn a_recovery_point_holds_the_digest_from_before_and_the_one_expected_after() {
    let scene = Scene::new();
    let point = scene.secure();
    assert_eq!(point.digest, Some(digest_of(&scene.file())));
    assert_ne!(point.digest, point.expected);
    assert_eq!(point.losses.count, 2);
    assert_eq!(point.migrations, Migrations(Some(vec![0])));
    assert_eq!(
        names(&scene.points),
        ["ledger-sample.db", "ledger-sample.db.losses.jsonl", "ledger-sample.db.manifest.json"]
    );
    let list = std::fs::read_to_string(points::losses_path(Path::new(&point.place))).unwrap();
    assert_eq!(list.lines().count(), 2);

    scene.migrate();
    let proof = scene.prove(&point).unwrap();
    assert_eq!((proof.difference_count, proof.inconsistencies.as_slice()), (0, &[][..]));
    assert_eq!(proof.migrations, Migrations(Some(vec![0, 1])));
}

#[test]
fn a_third_kind_of_loss_is_named_by_row() {
    let scene = Scene::new();
    let point = scene.secure();
    scene.migrate();
    Connection::open(scene.file())
        .unwrap()
        .execute("UPDATE transactions SET reference = NULL WHERE id = 2", [])
        .unwrap();
    let proof = scene.prove(&point).unwrap();
    assert_eq!(proof.difference_count, 1);
    assert_eq!(proof.differences[0].row, "transaction 2");
}

#[test]
fn a_loss_that_the_target_was_not_expected_to_cause_is_a_difference() {
    let scene = Scene::new();
    let point = scene.secure_item(&sample(), false).unwrap();
    assert_eq!(point.digest, point.expected);
    scene.migrate();
    assert_eq!(scene.prove(&point).unwrap().difference_count, 2);
}

#[test]
fn a_point_taken_once_is_returned_again_even_after_the_migration() {
    let scene = Scene::new();
    let first = scene.secure();
    scene.migrate();
    assert_eq!(scene.secure(), first);
}

#[test]
fn a_point_from_before_the_ledger_was_written_to_is_never_given_for_one_of_what_is_there() {
    let scene = Scene::new();
    let first = scene.secure();
    support::transaction(&Connection::open(scene.file()).unwrap(), 99, Some("later"), &[("world", "bank", "EUR", 1)]);
    let error = scene.secure_item(&sample(), true).unwrap_err();
    assert!(matches!(error, StorageError::Refused { .. }), "{error}");
    assert!(Path::new(&first.place).exists(), "somebody may need it");
    std::fs::rename(&scene.points, scene.points.with_extension("old")).unwrap();
    assert_eq!(scene.secure().digest, Some(digest_of(&scene.file())));
}

#[test]
fn a_damaged_copy_is_taken_again_only_while_the_ledger_is_unchanged() {
    let scene = Scene::new();
    let first = scene.secure();
    std::fs::write(&first.place, b"rot").unwrap();
    let again = scene.secure();
    assert_eq!(again.digest, first.digest);
    std::fs::write(&first.place, b"rot").unwrap();
    scene.migrate();
    let error = scene.secure_item(&sample(), true).unwrap_err();
    assert!(matches!(error, StorageError::Corrupt { .. }), "{error}");
    assert!(error.to_string().contains("changed since"), "{error}");
}

#[test]
fn what_a_killed_run_left_does_not_count_and_is_overwritten() {
    let scene = Scene::new();
    std::fs::create_dir(&scene.points).unwrap();
    for leftover in
        ["ledger-sample.db.partial", "ledger-sample.db.partial-journal", "ledger-sample.db.proof", "ledger-sample.db"]
    {
        std::fs::write(scene.points.join(leftover), b"half").unwrap();
    }
    let point = scene.secure();
    assert_eq!(digest_of(Path::new(&point.place)), point.digest.unwrap());
    assert_eq!(
        names(&scene.points),
        ["ledger-sample.db", "ledger-sample.db.losses.jsonl", "ledger-sample.db.manifest.json"]
    );
}

#[test]
fn a_point_is_one_snapshot_and_ends_although_a_writer_never_stops() {
    let scene = Scene::new();
    let file = scene.file();
    let stop = AtomicBool::new(false);
    let written = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let writer = Connection::open(&file).unwrap();
            writer.busy_timeout(std::time::Duration::from_secs(5)).unwrap();
            for id in 1000.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                writer.execute_batch("BEGIN IMMEDIATE").unwrap();
                support::transaction(&writer, id, None, &[("world", "bank", "USD/2", 1)]);
                writer.execute_batch("COMMIT").unwrap();
                written.store(true, Ordering::Relaxed);
            }
        });
        while !written.load(Ordering::Relaxed) {
            std::thread::yield_now();
        }
        let result = std::panic::catch_unwind(|| {
            let point = scene.secure();
            assert_eq!(digest_of(Path::new(&point.place)), point.digest.unwrap());
        });
        stop.store(true, Ordering::Relaxed);
        assert!(result.is_ok(), "the recovery point failed under a writer");
    });
}

#[test]
fn a_restore_brings_back_what_was_there_and_keeps_what_was_migrated() {
    let scene = Scene::new();
    let point = scene.secure();
    scene.migrate();
    let migrated = digest_of(&scene.file());
    let restored = scene.restore(&point);
    assert!(restored.changed);
    assert_eq!(Some(digest_of(&scene.file())), point.digest);
    let kept = PathBuf::from(restored.moved_to.unwrap());
    assert_eq!(digest_of(&kept), migrated);
    assert_eq!(Ledger::open(&scene.file(), &scene.aside).unwrap().layout(), Layout::Split);
    assert_eq!(scene.names(), ["numary_sample.db"]);
    let mode: String =
        Connection::open(scene.file()).unwrap().query_row("PRAGMA journal_mode", [], |row| row.get(0)).unwrap();
    assert_eq!(mode, "wal", "the release from before finds the file as it left it");
}

#[test]
fn a_ledger_that_did_not_change_is_left_alone() {
    let scene = Scene::new();
    let point = scene.secure();
    let restored = scene.restore(&point);
    assert!(!restored.changed);
    assert_eq!(names(&scene.aside).len(), 0);
}

#[test]
fn a_migrated_ledger_that_lost_nothing_is_still_restored() {
    let scene = Scene::new();
    {
        let ledger = Connection::open(scene.file()).unwrap();
        ledger.execute("DELETE FROM metadata", []).unwrap();
    }
    let point = scene.secure();
    scene.migrate();
    assert_eq!(Some(digest_of(&scene.file())), point.digest, "equal content, other tables");
    assert!(scene.restore(&point).changed);
    assert_eq!(Ledger::open(&scene.file(), &scene.aside).unwrap().layout(), Layout::Split);
}

#[test]
fn a_migration_that_lies_in_the_log_alone_is_not_replayed_into_the_restored_file() {
    let scene = Scene::new();
    let point = scene.secure();
    // A killed command leaves its whole migration in the write-ahead log.
    let live = scene.data.join("numary_sample.db");
    let elsewhere = scene.points.join("killed");
    std::fs::create_dir(&elsewhere).unwrap();
    {
        let writer = Connection::open(&live).unwrap();
        writer.pragma_update(None, "wal_autocheckpoint", 0).unwrap();
        support::migrate(&writer);
        for suffix in ["", "-wal"] {
            std::fs::copy(scene.data.join(format!("numary_sample.db{suffix}")), elsewhere.join(format!("f{suffix}")))
                .unwrap();
        }
    }
    for suffix in ["", "-wal"] {
        std::fs::copy(elsewhere.join(format!("f{suffix}")), scene.data.join(format!("numary_sample.db{suffix}")))
            .unwrap();
    }
    let _ = std::fs::remove_file(scene.data.join("numary_sample.db-shm"));
    assert!(std::fs::metadata(scene.data.join("numary_sample.db-wal")).unwrap().len() > 0);
    let restored = scene.restore(&point);
    assert_eq!(Some(digest_of(&scene.file())), point.digest);
    assert_eq!(Ledger::open(Path::new(&restored.moved_to.unwrap()), &scene.aside).unwrap().layout(), Layout::Documents);
}

#[test]
fn a_restore_ends_the_same_from_every_half_done_state() {
    for half in ["nothing", "coming", "linked", "renamed", "done twice"] {
        let scene = Scene::new();
        let point = scene.secure();
        scene.migrate();
        let coming = scene.data.join("numary_sample.db.cutover-restoring");
        std::fs::create_dir_all(&scene.aside).unwrap();
        match half {
            "nothing" => {}
            "coming" => std::fs::write(&coming, b"half").unwrap(),
            "linked" => {
                std::fs::copy(&point.place, &coming).unwrap();
                std::fs::hard_link(scene.file(), scene.aside.join("numary_sample.db.moved-1")).unwrap();
            }
            "renamed" => {
                std::fs::hard_link(scene.file(), scene.aside.join("numary_sample.db.moved-1")).unwrap();
                std::fs::copy(&point.place, &coming).unwrap();
                std::fs::rename(&coming, scene.file()).unwrap();
            }
            _ => {
                scene.restore(&point);
            }
        }
        scene.restore(&point);
        assert_eq!(Some(digest_of(&scene.file())), point.digest, "{half}");
        assert_eq!(scene.names(), ["numary_sample.db"], "{half}");
        let kept: Vec<_> =
            names(&scene.aside).into_iter().filter(|n| !n.ends_with("-wal") && !n.ends_with("-shm")).collect();
        assert_eq!(kept, ["numary_sample.db.moved-1"], "{half}");
    }
}

#[test]
fn a_damaged_copy_is_found_before_anything_is_moved() {
    let scene = Scene::new();
    let point = scene.secure();
    scene.migrate();
    let migrated = digest_of(&scene.file());
    // A database all the same, and one that would restore: only its digest says that it is not the copy.
    let copy = Connection::open(&point.place).unwrap();
    copy.execute("UPDATE postings SET amount = amount + 1", []).unwrap();
    drop(copy);
    let error = restore::restore(&scene.place, &point, &scene.aside, false).unwrap_err();
    assert!(matches!(error, StorageError::Corrupt { .. }), "{error}");
    assert_eq!(digest_of(&scene.file()), migrated);
}

#[test]
fn a_damaged_migrated_file_is_kept_and_replaced() {
    let scene = Scene::new();
    let point = scene.secure();
    std::fs::write(scene.file(), vec![9; 8192]).unwrap();
    let restored = scene.restore(&point);
    assert_eq!(Some(digest_of(&scene.file())), point.digest);
    assert_eq!(std::fs::read(restored.moved_to.unwrap()).unwrap(), vec![9; 8192]);
}

#[test]
fn a_system_store_that_did_not_exist_is_gone_after_a_restore_and_kept_aside() {
    let scene = Scene::new();
    let point = scene.secure_item(&RecoveryItem::System, true).unwrap();
    assert_eq!(point.sha256, None);
    let system = scene.place.system();
    Connection::open(&system)
        .unwrap()
        .execute_batch("CREATE TABLE ledgers (ledger varchar(255) primary key, addedAt timestamp)")
        .unwrap();
    let restored = scene.restore(&point);
    assert!(restored.changed && !system.exists());
    assert!(Path::new(&restored.moved_to.unwrap()).exists());
    assert!(!scene.restore(&point).changed);
}

#[test]
fn a_system_store_that_existed_gets_its_rows_back() {
    let scene = Scene::new();
    let system = scene.place.system();
    let store = Connection::open(&system).unwrap();
    store.execute_batch("CREATE TABLE ledgers (ledger varchar(255) primary key, addedAt timestamp); INSERT INTO ledgers VALUES ('a', 1)").unwrap();
    let point = scene.secure_item(&RecoveryItem::System, true).unwrap();
    assert!(!scene.restore(&point).changed);
    store.execute("INSERT INTO ledgers VALUES ('b', 2)", []).unwrap();
    drop(store);
    assert!(scene.restore(&point).changed);
    assert_eq!(scene.place.inventory(&scene.points).unwrap().registered, Some(vec![LedgerName::new("a").unwrap()]));
}

#[test]
fn recovery_points_in_the_storage_directory_are_refused() {
    let mut scene = Scene::new();
    scene.points = scene.data.join("points");
    let error = scene.secure_item(&sample(), true).unwrap_err();
    assert!(error.to_string().contains("storage scan"), "{error}");
}

#[test]
fn a_ledger_that_vanished_or_is_damaged_gives_no_point() {
    let scene = Scene::new();
    std::fs::write(scene.file(), vec![9; 8192]).unwrap();
    assert!(matches!(scene.secure_item(&sample(), true).unwrap_err(), StorageError::Corrupt { .. }));
    std::fs::remove_file(scene.file()).unwrap();
    assert!(matches!(scene.secure_item(&sample(), true).unwrap_err(), StorageError::Missing { .. }));
    assert!(!scene.file().exists(), "looking must not create it");
}

#[test]
fn a_full_disk_at_the_recovery_point_says_so_and_leaves_no_half_copy() {
    let scene = Scene::new();
    {
        let ledger = Connection::open(scene.file()).unwrap();
        ledger.execute_batch("BEGIN").unwrap();
        for id in 100..20_000 {
            support::transaction(&ledger, id, None, &[("world", "bank", "USD/2", 1)]);
        }
        ledger.execute_batch("COMMIT").unwrap();
    }
    std::fs::create_dir(&scene.points).unwrap();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=512k", "cutover-test"])
        .arg(&scene.points)
        .output()
        .is_ok_and(|output| output.status.success());
    if !mounted {
        assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "CI must be able to mount a tmpfs");
        support::skipped(
            "a_full_disk_at_the_recovery_point_says_so_and_leaves_no_half_copy: mounting a tmpfs needs root",
        );
        return;
    }
    let result = scene.secure_item(&sample(), true);
    let left: Vec<_> = names(&scene.points).into_iter().filter(|name| !name.ends_with(".losses.jsonl")).collect();
    assert!(std::process::Command::new("umount").arg(&scene.points).status().unwrap().success());
    let error = result.unwrap_err();
    assert!(matches!(error, StorageError::Full { .. }), "{error:?}");
    assert_eq!(left, Vec::<String>::new());
    assert!(scene.secure_item(&sample(), true).is_ok(), "with space it works again");
}

#[test]
fn a_migrated_file_is_kept_on_another_disk_too() {
    let mut scene = Scene::new();
    let device = |path: &Path| std::os::unix::fs::MetadataExt::dev(&std::fs::metadata(path).unwrap());
    // Temporary folders may lie in memory themselves.
    let places = ["/dev/shm", env!("CARGO_TARGET_TMPDIR")].map(|place| tempfile::tempdir_in(place).unwrap());
    let Some(other) = places.iter().find(|place| device(place.path()) != device(&scene.data)) else {
        support::skipped("a_migrated_file_is_kept_on_another_disk_too: /dev/shm is no file system of its own");
        return;
    };
    scene.aside = other.path().join("aside");
    let point = scene.secure();
    scene.migrate();
    let migrated = digest_of(&scene.file());
    let restored = scene.restore(&point);
    assert_eq!(digest_of(Path::new(&restored.moved_to.unwrap())), migrated);
    assert_eq!(Some(digest_of(&scene.file())), point.digest);
}

#[test]
fn a_run_that_was_killed_before_it_could_report_says_where_the_migrated_file_lies() {
    let scene = Scene::new();
    let point = scene.secure();
    scene.migrate();
    let first = scene.restore(&point);
    let again = scene.restore(&point);
    assert_eq!((again.changed, again.moved_to), (false, first.moved_to));
}

#[test]
fn a_manifest_of_a_newer_version_is_refused() {
    let scene = Scene::new();
    let point = scene.secure();
    let path = points::manifest_path(Path::new(&point.place));
    let text = std::fs::read_to_string(&path).unwrap().replacen("\"version\": 1", "\"version\": 2", 1);
    std::fs::write(&path, text).unwrap();
    let error = restore::restore(&scene.place, &point, &scene.aside, false).unwrap_err().to_string();
    assert!(error.contains("a newer Cutover wrote it"), "{error}");
}

/// A damaged file with a log beside it that nothing can fold into it: a few pages, the first one of the database not among
/// them. Gives the log.
fn damage_with_a_log(scene: &Scene) -> Vec<u8> {
    let log = scene.data.join("numary_sample.db-wal");
    let held = {
        let writer = Connection::open(scene.file()).unwrap();
        writer.pragma_update(None, "wal_autocheckpoint", 0).unwrap();
        support::migrate(&writer);
        let _: i64 = writer.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0)).unwrap();
        writer.execute("UPDATE transactions SET reference = 'later' WHERE id = 0", []).unwrap();
        std::fs::read(&log).unwrap()
    };
    std::fs::write(scene.file(), vec![9; 8192]).unwrap();
    std::fs::write(&log, &held).unwrap();
    held
}

#[test]
fn a_damaged_migrated_file_with_a_log_beside_it_leaves_no_log_to_the_restored_one() {
    let scene = Scene::new();
    let point = scene.secure();
    let log = damage_with_a_log(&scene);
    let restored = scene.restore(&point);
    assert_eq!(Some(digest_of(&scene.file())), point.digest);
    assert_eq!(std::fs::read(format!("{}-wal", restored.moved_to.unwrap())).unwrap(), log);
}

#[test]
fn a_log_is_never_taken_away_before_it_is_kept_whatever_an_earlier_run_left() {
    for half in ["linked", "copied", "another log"] {
        let scene = Scene::new();
        let point = scene.secure();
        let log = damage_with_a_log(&scene);
        std::fs::create_dir_all(&scene.aside).unwrap();
        let kept = scene.aside.join("numary_sample.db.moved-1");
        match half {
            "linked" => std::fs::hard_link(scene.file(), &kept).unwrap(),
            _ => drop(std::fs::copy(scene.file(), &kept).unwrap()),
        }
        let kept_log = scene.aside.join("numary_sample.db.moved-1-wal");
        if half == "another log" {
            std::fs::write(&kept_log, "of another time").unwrap();
        }
        let moved = scene.restore(&point).moved_to.unwrap();
        assert_eq!(std::fs::read(format!("{moved}-wal")).unwrap(), log, "{half}");
        assert_eq!(std::fs::read(moved).unwrap(), vec![9; 8192], "{half}");
        if half == "another log" {
            assert_eq!(std::fs::read(kept_log).unwrap(), b"of another time");
        }
    }
}

#[test]
fn a_ledgers_name_never_stands_for_nothing_while_it_is_restored() {
    use rustix::fs::inotify;
    let scene = Scene::new();
    let point = scene.secure();
    scene.migrate();
    let watch = inotify::init(inotify::CreateFlags::NONBLOCK).unwrap();
    let gone = inotify::WatchFlags::DELETE | inotify::WatchFlags::MOVED_FROM | inotify::WatchFlags::MOVED_TO;
    inotify::add_watch(&watch, &scene.data, gone).unwrap();
    assert!(scene.restore(&point).changed);
    let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
    let mut reader = inotify::Reader::new(&watch, &mut buffer);
    let mut events = Vec::new();
    while let Ok(event) = reader.next() {
        if event.file_name().is_some_and(|name| name.to_bytes() == b"numary_sample.db") {
            events.push(event.events());
        }
    }
    assert_eq!(events, [inotify::ReadFlags::MOVED_TO], "one rename over the name, and nothing else");
}

/// The storage directory is the service's own, and we may be root.
#[test]
fn a_link_that_was_planted_in_the_storage_directory_is_not_followed() {
    let scene = Scene::new();
    let point = scene.secure();
    scene.migrate();
    let precious = scene.points.join("precious");
    let untouched = || assert_eq!(std::fs::read_to_string(&precious).unwrap(), "keep this");
    std::fs::write(&precious, "keep this").unwrap();
    let mode = std::fs::metadata(&precious).unwrap().permissions();
    let coming = scene.data.join("numary_sample.db.cutover-restoring");
    std::os::unix::fs::symlink(&precious, &coming).unwrap();
    assert!(scene.restore(&point).changed);
    assert_eq!(Some(digest_of(&scene.file())), point.digest);
    untouched();
    assert_eq!(std::fs::metadata(&precious).unwrap().permissions(), mode);

    // In the database's own place: neither kept as if it were the ledger, nor replaced.
    std::fs::remove_file(scene.file()).unwrap();
    std::os::unix::fs::symlink(&precious, scene.file()).unwrap();
    let refused = restore::restore(&scene.place, &point, &scene.aside, false).unwrap_err().to_string();
    assert!(refused.contains("a link or folder in a database's place"), "{refused}");
    let refused = scene.secure_item(&sample(), true).unwrap_err().to_string();
    assert!(refused.contains("a link or folder in a database's place"), "{refused}");
    untouched();
}

#[test]
fn a_restored_file_has_the_mode_and_the_journal_mode_of_the_original() {
    use std::os::unix::fs::PermissionsExt as _;
    let scene = Scene::new();
    let point = scene.secure();
    scene.migrate();
    std::fs::set_permissions(scene.file(), std::fs::Permissions::from_mode(0o640)).unwrap();
    assert!(scene.restore(&point).changed);
    assert_eq!(std::fs::metadata(scene.file()).unwrap().permissions().mode() & 0o7777, 0o640);
    let mode: String =
        Connection::open(scene.file()).unwrap().query_row("PRAGMA journal_mode", [], |row| row.get(0)).unwrap();
    assert_eq!(mode, "wal", "what the original has");
}

#[test]
fn a_link_that_is_planted_while_a_restore_runs_is_not_followed_either() {
    let scene = Scene::new();
    let point = scene.secure();
    scene.migrate();
    let migrated = std::fs::read(scene.file()).unwrap();
    let precious = scene.points.join("precious");
    std::fs::write(&precious, "keep this").unwrap();
    let mode = std::fs::metadata(&precious).unwrap().permissions();
    let (coming, over) = (scene.data.join("numary_sample.db.cutover-restoring"), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                let _ = std::os::unix::fs::symlink(&precious, &coming);
            }
        });
        for _ in 0..50 {
            // Whether it passes is chance; what the link leads to is not.
            let _ = restore::restore(&scene.place, &point, &scene.aside, false);
            let _ = std::fs::remove_file(scene.file());
            std::fs::write(scene.file(), &migrated).unwrap();
        }
        over.store(true, Ordering::Relaxed);
    });
    assert_eq!(std::fs::read_to_string(&precious).unwrap(), "keep this");
    assert_eq!(std::fs::metadata(&precious).unwrap().permissions(), mode);
}

/// A recovery point is digested from the file itself, which keeps a ledger that serves from committing.
#[test]
fn a_rehearsals_copy_is_taken_for_its_pages_alone() {
    let scene = Scene::new();
    let (folder, upgrade) = (scene.points.join("rehearsal"), UpgradeId::new("u1").unwrap());
    let ask = CopyAsk { upgrade: &upgrade, ledgers: &[LedgerName::new("sample").unwrap()], folder: &folder };
    let copied = SqliteStorage::at(scene.place.clone(), "machine").unwrap().copy(&ask).unwrap();
    assert_eq!(names(&folder.join("points")), ["ledger-sample.db"], "nothing that only a recovery point has");
    assert_eq!(copied.compare(&ask.ledgers[0], &folder).unwrap().unexplained, 0);
}
