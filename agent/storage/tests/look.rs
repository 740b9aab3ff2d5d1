//! Promises of inventory, survey, quiet and lock, on real files and processes.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod support;

use cutover_storage::clock;
use cutover_storage::sqlite::inventory::ProblemKind;
use cutover_storage::sqlite::lock::{Locking, StorageLock};
use cutover_storage::sqlite::{Layout, SqlitePlace};
use cutover_vocabulary::storage::{Migrations, StorageIdentity};
use cutover_vocabulary::{Elapsed, LedgerName};
use rusqlite::Connection;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

fn place(folder: &Path) -> SqlitePlace {
    SqlitePlace::find(folder, "numary").unwrap()
}

#[test]
fn an_inventory_names_every_ledger_with_layout_migrations_and_size() {
    let folder = tempfile::tempdir().unwrap();
    let scratch = tempfile::tempdir().unwrap();
    support::sample(&folder.path().join("numary_old.db"));
    support::migrate(&support::sample(&folder.path().join("numary_new_one.db")));
    Connection::open(folder.path().join("numary__system.db"))
        .unwrap()
        .execute_batch("CREATE TABLE ledgers (ledger varchar(255) primary key, addedAt timestamp); INSERT INTO ledgers VALUES ('new_one', 1)")
        .unwrap();
    let found = place(folder.path()).inventory(scratch.path()).unwrap();
    let ledgers: Vec<_> =
        found.ledgers.iter().map(|l| (l.name.as_str(), l.layout, l.migrations.clone(), l.transactions)).collect();
    assert_eq!(
        ledgers,
        [
            ("new_one", Layout::Documents, Migrations(Some(vec![0, 1])), 3),
            ("old", Layout::Split, Migrations(Some(vec![0])), 3),
        ]
    );
    assert_eq!(found.registered, Some(vec![LedgerName::new("new_one").unwrap()]));
    assert_eq!(found.problems, []);
    assert!(found.ledgers.iter().all(|ledger| ledger.bytes > 4096));
}

#[test]
fn a_ledger_from_before_1_3_records_no_migrations_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = support::sample(&folder.path().join("numary_old.db"));
    ledger.execute_batch("DROP TABLE migrations").unwrap();
    let found = place(folder.path()).inventory(folder.path()).unwrap();
    assert_eq!(found.ledgers[0].migrations, Migrations(None));
}

#[test]
fn every_file_that_cannot_be_upgraded_is_named_with_its_reason() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("numary_broken.db"), vec![7; 9000]).unwrap();
    std::fs::write(at("numary_empty.db"), b"").unwrap();
    std::fs::write(at("other_shop.db"), b"x").unwrap();
    std::fs::write(at("backup.db"), b"x").unwrap();
    std::fs::write(at("numary_note.txt"), b"x").unwrap();
    std::os::unix::fs::symlink(at("numary_broken.db"), at("numary_link.db")).unwrap();
    Connection::open(at("numary_foreign.db")).unwrap().execute_batch("CREATE TABLE transactions(id, note)").unwrap();
    let found = place(folder.path()).inventory(folder.path()).unwrap();
    let problems: Vec<_> = found.problems.iter().map(|p| (p.file.as_str(), p.kind)).collect();
    assert_eq!(
        problems,
        [
            ("backup.db", ProblemKind::Skipped),
            ("numary_broken.db", ProblemKind::Corrupt),
            ("numary_empty.db", ProblemKind::Empty),
            ("numary_foreign.db", ProblemKind::Foreign),
            ("numary_link.db", ProblemKind::NotAFile),
            ("other_shop.db", ProblemKind::Skipped),
        ]
    );
    assert_eq!(found.ledgers, []);
}

#[test]
fn a_db_name_with_an_underscore_makes_scan_skip_everything_and_we_say_so() {
    let folder = tempfile::tempdir().unwrap();
    support::sample(&folder.path().join("my_db_shop.db"));
    let place = SqlitePlace::find(folder.path(), "my_db").unwrap();
    let found = place.inventory(folder.path()).unwrap();
    assert_eq!(found.problems[0].kind, ProblemKind::Skipped);
    assert!(found.problems[0].reason.contains("underscore"), "{}", found.problems[0].reason);
}

#[test]
fn one_directory_spelt_in_two_ways_is_one_storage() {
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("link");
    let data = folder.path().join("data");
    std::fs::create_dir(&data).unwrap();
    std::os::unix::fs::symlink(&data, &link).unwrap();
    let one = place(&data).identity("m").unwrap();
    assert_eq!(one, place(&link.join("../data/.")).identity("m").unwrap());
    assert!(matches!(one, StorageIdentity::Sqlite { .. }));
}

#[test]
fn a_survey_tells_losses_bad_rows_and_contradictions() {
    let folder = tempfile::tempdir().unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let ledger = support::sample(&folder.path().join("numary_old.db"));
    support::transaction(&ledger, 3, Some("a\"b"), &[("world", "bank", "USD/2", 1)]);
    support::metadata(&ledger, 9, "account", "bank", "k\"y", "1");
    let new = support::sample(&folder.path().join("numary_new.db"));
    support::migrate(&new);
    new.pragma_update(None, "journal_mode", "DELETE").unwrap();
    new.execute("UPDATE volumes SET input = 5 WHERE account = 'fees'", []).unwrap();
    let place = place(folder.path());
    let (surveys, problems) = place.survey(&place.inventory(scratch.path()).unwrap(), scratch.path()).unwrap();
    assert_eq!(problems, []);
    assert_eq!(
        surveys[0].inconsistencies,
        ["account fees asset USD/2: volumes say input 5 output 0, the postings add up to input 3 output 0"]
    );
    assert_eq!(surveys[1].losses.count, 2);
    let bad: Vec<_> = surveys[1].bad_rows.iter().map(|row| (row.what.as_str(), row.text.as_str())).collect();
    assert_eq!(bad, [("reference of transaction 3", "a\"b"), ("metadata key of account bank", "k\"y")]);
    assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0, "nothing is left behind");
}

/// Waits for a condition: what another test begins has a copy of our descriptors until it is the program that it will be.
fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = clock::since_boot().plus(Elapsed::from_secs(20));
    while !holds() {
        assert!(clock::since_boot() < deadline, "waited 20 s for {what}");
        std::thread::yield_now();
    }
}

/// Waits until these are all that have a file of a storage open, but for whom the caller knows.
fn opened(place: &SqlitePlace, own: &[u32], wanted: &[(u32, &str)]) {
    let mut saw = Vec::new();
    let what = format!("the openers to be {wanted:?}");
    wait_until(&what, || {
        saw = place.quiet(own).unwrap().openers;
        saw.iter().map(|opener| (opener.pid, opener.file.as_str())).eq(wanted.iter().copied())
    });
}

/// A child that has a file open and says so.
fn holding(file: &Path) -> Child {
    let mut child = Command::new("sh")
        .arg("-c")
        .arg("exec 3<\"$0\"; echo open; read _")
        .arg(file)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "open\n");
    child
}

#[test]
fn a_process_that_has_a_file_open_is_named_until_it_is_dead() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("numary_a.db");
    drop(support::sample(&file));
    std::fs::write(folder.path().join("numary_a.db-journal"), b"").unwrap();
    let place = place(folder.path());
    opened(&place, &[], &[]);

    let mut child = holding(&folder.path().join("numary_a.db-journal"));
    opened(&place, &[], &[(child.id(), "numary_a.db-journal")]);
    opened(&place, &[child.id()], &[]);

    // Killed and not reaped: a zombie.
    child.kill().unwrap();
    let stat = format!("/proc/{}/stat", child.id());
    wait_until("the child to die", || std::fs::read_to_string(&stat).unwrap().contains(") Z "));
    opened(&place, &[], &[]);
    child.wait().unwrap();
}

#[test]
fn a_process_that_holds_a_deleted_database_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("numary_a.db");
    drop(support::sample(&file));
    let mut child = holding(&file);
    std::fs::remove_file(&file).unwrap();
    opened(&place(folder.path()), &[], &[(child.id(), "numary_a.db (deleted)")]);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn an_open_connection_of_our_own_is_seen_too() {
    let folder = tempfile::tempdir().unwrap();
    let _open = support::sample(&folder.path().join("numary_a.db"));
    let openers = place(folder.path()).quiet(&[]).unwrap().openers;
    assert!(
        openers.iter().any(|opener| opener.pid == std::process::id() && opener.file == "numary_a.db-wal"),
        "{openers:?}"
    );
}

#[test]
fn a_second_runner_is_told_who_holds_the_lock() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("storage.lock");
    let Locking::Ours(first) = StorageLock::acquire(&path, "agent a, upgrade u1").unwrap() else { panic!("not ours") };
    match StorageLock::acquire(&path, "agent b").unwrap() {
        Locking::Held { by } => assert_eq!(by.as_deref(), Some("agent a, upgrade u1")),
        Locking::Ours(_) => panic!("two holders"),
    }
    drop(first);
    wait_until("the lock to go", || matches!(StorageLock::acquire(&path, "agent b").unwrap(), Locking::Ours(_)));
}

#[test]
fn a_lock_file_that_scan_would_take_for_a_ledger_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    assert!(StorageLock::acquire(&folder.path().join("numary_lock.db"), "x").is_err());
}

#[test]
fn a_lock_file_that_leads_elsewhere_is_refused_and_what_it_leads_to_is_untouched() {
    let folder = tempfile::tempdir().unwrap();
    let (path, precious) = (folder.path().join("storage.lock"), folder.path().join("precious"));
    let refusal = || match StorageLock::acquire(&path, "agent b") {
        Err(error @ cutover_storage::StorageError::Refused { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    };
    std::fs::write(&precious, "keep this").unwrap();
    std::os::unix::fs::symlink(&precious, &path).unwrap();
    assert!(refusal().contains("this is a symbolic link"), "{}", refusal());
    std::fs::remove_file(&path).unwrap();
    std::fs::hard_link(&precious, &path).unwrap();
    assert!(refusal().contains("a file with a second name"), "{}", refusal());
    assert_eq!(std::fs::read_to_string(&precious).unwrap(), "keep this");
    std::fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink(folder.path().join("not there yet"), &path).unwrap();
    assert!(refusal().contains("this is a symbolic link"), "{}", refusal());
    assert!(!folder.path().join("not there yet").exists());
    std::fs::remove_file(&path).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
    assert!(refusal().contains("no regular file"), "{}", refusal());
}

/// Not a test of its own: what an ordinary user sees.
#[test]
#[ignore = "run by the test below as another user"]
fn look_as_another_user() {
    let folder = tempfile::tempdir().unwrap();
    drop(support::sample(&folder.path().join("numary_a.db")));
    let quiet = place(folder.path()).quiet(&[]).unwrap();
    println!("proved {} not visible {:?}", quiet.is_proved(), quiet.not_visible);
}

#[test]
fn an_ordinary_user_who_cannot_see_others_files_gets_no_proof_of_quiet() {
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::process::CommandExt as _;
    // A copy where everybody may enter: the target folder of a build often lies where only its owner may.
    let open = tempfile::tempdir_in("/tmp").unwrap();
    let copy = open.path().join("look");
    std::fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
    for path in [open.path(), &copy] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let mut command = Command::new(&copy);
    command.args(["look_as_another_user", "--exact", "--ignored", "--nocapture"]).env("TMPDIR", "/tmp");
    command.uid(65_534).gid(65_534);
    let mut output = command.output();
    wait_until("the copy to be closed for writing", || {
        let busy = matches!(&output, Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy);
        if busy {
            output = command.output();
        }
        !busy
    });
    let Ok(output) = output else {
        assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "CI must run as root");
        support::skipped("an_ordinary_user_who_cannot_see_others_files_gets_no_proof_of_quiet: needs root");
        return;
    };
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("proved false"), "{said}");
    assert!(said.contains("uid: 0,") && said.contains("could_reach: true"), "{said}");
}
