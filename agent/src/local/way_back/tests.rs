//! The commands for PostgreSQL, run on a real server, and those for one file; `tests/effects/storage.rs` runs a whole script.

#[path = "../../../storage/tests/support/postgres.rs"]
mod support;

use super::{put_file_back, put_schema_back};
use cutover_storage::points::{Manifest, manifest};
use cutover_storage::storage::{Secure, Storage as _};
use cutover_vocabulary::storage::{Losses, Migrations, RecoveryItem, RecoveryPoint, StorageIdentity};
use cutover_vocabulary::{Digest, Elapsed, LedgerName, Timestamp, UpgradeId};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

#[test]
fn what_a_print_put_back_it_leaves_alone_and_what_it_moved_aside_keeps_its_name() {
    let Some(cluster) = support::cluster() else { return };
    let database = support::sample(cluster, "shop");
    support::run(cluster, &database, "shop", support::SYSTEM);
    let (storage, folder) = (support::open(cluster, &database), tempfile::tempdir().unwrap());
    let secure = |item: RecoveryItem| -> Manifest {
        let (identity, upgrade) = (storage.identity().clone(), UpgradeId::new("u1").unwrap());
        let (folder, upgrade) = (folder.path(), &upgrade);
        let ask = Secure { item: &item, storage: &identity, upgrade, folder, lossy: true, serving: false };
        manifest(Path::new(&storage.secure(&ask).unwrap().place)).unwrap().unwrap()
    };
    let points = [secure(RecoveryItem::Ledger(LedgerName::new("shop").unwrap())), secure(RecoveryItem::System)];
    let change = || {
        support::run(cluster, &database, "shop", support::MIGRATE);
        support::run(cluster, &database, "shop", "INSERT INTO _system.ledgers VALUES ('shop', '2026-11-23')");
    };
    let run = |number, points: &[Manifest]| {
        let mut script = String::new();
        let aside = folder.path().join(format!("aside-{number}"));
        let _ = std::fs::create_dir(&aside);
        for (index, point) in points.iter().enumerate() {
            put_schema_back(&mut script, &aside, &format!("{number}_{index}"), point);
        }
        let port = cluster.port().to_string();
        let to = [("PGHOST", "127.0.0.1"), ("PGPORT", &port), ("PGUSER", support::ROLE)];
        let ran = Command::new("sh")
            .args(["-e", "-c", &script])
            .envs(to)
            .envs([("PGPASSWORD", support::PASSWORD), ("PGDATABASE", &database)])
            .output()
            .unwrap();
        assert!(ran.status.success(), "{script}\n{}", String::from_utf8_lossy(&ran.stderr));
    };
    let sql = |sql: &str| cluster.sql(&database, sql).unwrap();
    let schemas = || {
        let ours = "SELECT string_agg(nspname, ' ' ORDER BY nspname) FROM pg_namespace WHERE nspname ~ 'shop|_system'";
        sql(ours)
    };
    change();
    // It ended behind the first; then all of it, twice, clients having come back in between.
    run(17, &points[..1]);
    run(17, &points);
    sql("INSERT INTO _system.ledgers VALUES ('later', '2026-11-24')");
    // As a release that ran before adds what it knows to a ledger that nobody had asked for long.
    sql("INSERT INTO shop.migrations VALUES ('7', '2026-11-24')");
    run(17, &points);
    assert_eq!(sql("DELETE FROM shop.migrations WHERE version = '7' RETURNING version"), "7");
    assert_eq!(schemas(), "_system by_hand_17_0_shop by_hand_17_1__system shop");
    assert_eq!(sql("SELECT ledger FROM _system.ledgers"), "later");
    assert_eq!(sql("SELECT count(*) FROM shop.migrations"), "1");
    assert_eq!(sql("SELECT count(*) FROM by_hand_17_0_shop.migrations"), "2");
    // Another upgrade that has to be gone back from in the same way.
    change();
    run(23, &points);
    assert_eq!(
        schemas(),
        "_system by_hand_17_0_shop by_hand_17_1__system by_hand_23_0_shop by_hand_23_1__system shop",
        "each print has names of its own"
    );
}

/// A file of a ledger, its recovery point, and where things go aside.
struct File {
    folder: tempfile::TempDir,
    file: PathBuf,
    point: Manifest,
}

/// Whose the file is, who is not us.
const OWNER: u32 = 4711;
/// Whose its folder is.
const FOLDERS: u32 = 4712;

impl File {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (copy, data) = (folder.path().join("ledger-main.db"), folder.path().join("their data"));
        std::fs::write(&copy, "before").unwrap();
        std::fs::create_dir(&data).unwrap();
        std::os::unix::fs::chown(&data, Some(FOLDERS), None).unwrap();
        let storage = StorageIdentity::Sqlite {
            machine: "m1".to_owned(),
            directory: data.display().to_string(),
            device: 1,
            inode: 2,
            db_name: "numary".to_owned(),
        };
        let point = RecoveryPoint {
            item: RecoveryItem::Ledger(LedgerName::new("main").unwrap()),
            place: copy.display().to_string(),
            sha256: Some(Digest::of(b"before")),
            bytes: 6,
            digest: None,
            expected: None,
            losses: Losses::default(),
            migrations: Migrations(None),
            taken: Timestamp::from_millis(0),
            restore_took: Elapsed(1),
            mark: None,
        };
        let point = Manifest {
            version: 1,
            upgrade: UpgradeId::new("u1").unwrap(),
            storage,
            lossy: false,
            journal_mode: String::new(),
            losses_file: None,
            contents: None,
            dependents: Vec::new(),
            published: Vec::new(),
            took: Elapsed(1),
            point,
        };
        Self { file: data.join("numary_main.db"), folder, point }
    }
    fn write(&self, text: &str) {
        std::fs::write(&self.file, text).unwrap();
        std::os::unix::fs::chown(&self.file, Some(OWNER), None).unwrap();
    }
    fn aside(&self, print: u32) -> PathBuf {
        self.folder.path().join(format!("aside-by-hand-{print}"))
    }
    fn script(&self, print: u32) -> String {
        let _ = std::fs::create_dir(self.aside(print));
        let mut script = String::new();
        put_file_back(&mut script, &self.aside(print), &self.point, &self.file);
        script
    }
    fn run(script: &str) {
        let ran = Command::new("sh").args(["-e", "-c", script]).output().unwrap();
        assert!(ran.status.success(), "{script}\n{}", String::from_utf8_lossy(&ran.stderr));
    }
    /// What lies there, as the service's own.
    fn holds(&self) -> String {
        self.holds_of(OWNER)
    }
    fn holds_of(&self, owner: u32) -> String {
        let found = std::fs::symlink_metadata(&self.file).unwrap();
        assert!(found.is_file() && found.uid() == owner, "{found:?}");
        std::fs::read_to_string(&self.file).unwrap()
    }
}

#[test]
fn a_file_that_was_put_back_is_left_alone_also_where_there_was_none_before() {
    for there in [true, false] {
        let made = File::new();
        if there {
            made.write("migrated");
        }
        let script = made.script(1);
        File::run(&script);
        assert_eq!(made.holds_of(if there { OWNER } else { FOLDERS }), "before");
        made.write("by clients");
        File::run(&script);
        assert_eq!(made.holds(), "by clients", "there: {there}");
        let aside = std::fs::read_to_string(made.aside(1).join("numary_main.db")).ok();
        assert_eq!(aside, there.then(|| "migrated".to_owned()));
    }
}

#[test]
fn a_print_after_one_that_ended_at_any_line_leaves_the_service_its_own_file() {
    let lines = File::new().script(1).lines().count();
    assert!(lines > 10, "{lines}");
    for end in 0..lines {
        let made = File::new();
        made.write("migrated");
        let first: Vec<String> = made.script(1).lines().take(end).map(str::to_owned).collect();
        File::run(&first.join("\n"));
        File::run(&made.script(2));
        assert_eq!(made.holds(), "before", "the first ended at line {end}");
        let kept = [1, 2].map(|print| std::fs::read_to_string(made.aside(print).join("numary_main.db")).ok());
        assert!(kept.contains(&Some("migrated".to_owned())), "{end}: {kept:?}");
    }
}

/// A migrated log beside the restored file would be replayed into it: the former version would start on a migrated storage.
#[test]
fn a_move_between_two_disks_that_ended_half_way_is_made_up_for_by_the_next_run() {
    for half in ["numary_main.db", "numary_main.db-wal"] {
        let made = File::new();
        made.write("migrated");
        let log = made.file.with_file_name("numary_main.db-wal");
        std::fs::write(&log, "a migrated log").unwrap();
        let script = made.script(1);
        std::fs::write(made.aside(1).join(half), "mig").unwrap();
        File::run(&script);
        assert_eq!(made.holds(), "before");
        assert!(!log.exists(), "half of {half}");
        let kept = |name: &str| std::fs::read_to_string(made.aside(1).join(name)).unwrap();
        assert_eq!(
            (kept("numary_main.db"), kept("numary_main.db-wal")),
            ("migrated".to_owned(), "a migrated log".to_owned())
        );
    }
}

#[test]
fn what_was_not_moved_aside_is_never_written_over_also_by_somebody_who_pastes_on() {
    for left in ["numary_main.db", "numary_main.db-wal"] {
        let made = File::new();
        made.write("migrated");
        let log = made.file.with_file_name("numary_main.db-wal");
        std::fs::write(&log, "a migrated log").unwrap();
        // As a shell that asks, and is told no.
        let script = made.script(1).replace("command rm -f", &format!("[ \"$f\" = {left} ] || rm -f"));
        for flags in ["-ec", "-c"] {
            let ran = Command::new("sh").args([flags, &script]).output().unwrap();
            assert_eq!(flags == "-c", ran.status.success(), "{script}");
            assert!(!made.aside(1).join("numary_main.db.done").exists());
        }
        let there = std::fs::read_to_string(&made.file).ok();
        assert_eq!(there, (left == "numary_main.db").then(|| "migrated".to_owned()));
        File::run(&made.script(1));
        assert_eq!(made.holds(), "before");
        assert!(!log.exists());
    }
}

#[test]
fn a_link_in_the_services_folder_takes_nothing_elsewhere() {
    let made = File::new();
    made.write("migrated");
    let elsewhere = made.folder.path().join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, made.file.with_file_name("numary_main.db.by-hand")).unwrap();
    File::run(&made.script(1));
    assert_eq!(made.holds(), "before");
    assert_eq!(std::fs::read_dir(&elsewhere).unwrap().count(), 0);
}
