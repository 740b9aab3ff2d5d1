//! What the journal promises, on real files.

use super::*;
use cutover_vocabulary::Epoch;
use std::fs;

fn upgrade(name: &str) -> UpgradeId {
    name.parse().unwrap()
}

fn taken_over(name: &str) -> Entry {
    Entry::TakenOver { upgrade: upgrade(name), note: "by hand".to_owned() }
}

fn at(folder: &tempfile::TempDir) -> PathBuf {
    folder.path().join(FILE)
}

#[tokio::test]
async fn what_was_written_is_read_after_a_restart_under_the_same_incarnation() {
    let folder = tempfile::tempdir().unwrap();
    let (mut journal, entries) = Journal::open(&at(&folder)).await.unwrap();
    assert_eq!(entries, []);
    let incarnation = journal.incarnation().to_owned();
    let written = [Entry::Epoch(Epoch(3)), taken_over("u1")];
    assert_eq!(journal.append(&written).await.unwrap(), Appended::Durable);
    drop(journal);
    let (journal, entries) = Journal::open(&at(&folder)).await.unwrap();
    assert_eq!(entries, written);
    assert_eq!(journal.incarnation(), incarnation);
}

#[tokio::test]
async fn a_journal_of_an_agent_that_was_killed_has_everything_that_was_durable() {
    let (killed, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (mut journal, _) = Journal::open(&at(&killed)).await.unwrap();
    assert_eq!(journal.append(&[taken_over("u1")]).await.unwrap(), Appended::Durable);
    // As the files lie there while the agent still has them open.
    for file in [FILE.to_owned(), format!("{FILE}-wal")] {
        fs::copy(killed.path().join(&file), copy.path().join(&file)).unwrap();
    }
    let (_, entries) = Journal::open(&at(&copy)).await.unwrap();
    assert_eq!(entries, [taken_over("u1")]);
}

#[tokio::test]
async fn another_journal_is_another_incarnation() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (one, _) = Journal::open(&at(&one)).await.unwrap();
    let (other, _) = Journal::open(&at(&other)).await.unwrap();
    assert_ne!(one.incarnation(), other.incarnation());
}

#[tokio::test]
async fn two_agents_never_share_a_journal() {
    let folder = tempfile::tempdir().unwrap();
    let _held = Journal::open(&at(&folder)).await.unwrap();
    let error = Journal::open(&at(&folder)).await.unwrap_err();
    assert!(matches!(error, JournalError::InUse { .. }), "{error}");
    assert!(error.to_string().contains("journal.db"), "{error}");
}

#[tokio::test]
async fn a_lock_that_a_starting_process_still_shares_for_a_moment_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(&at(&folder)).await.unwrap();
    // As a child does between fork and exec: another descriptor of the same open file.
    let shared = journal._lock.as_ref().unwrap().try_clone().unwrap();
    drop(journal);
    let path = at(&folder);
    let opening = tokio::spawn(async move { Journal::open(&path).await.map(drop) });
    tokio::task::yield_now().await;
    drop(shared);
    opening.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_takeover_from_beside_overtakes_what_the_agent_was_about_to_write() {
    let folder = tempfile::tempdir().unwrap();
    let (mut agents, _) = Journal::open(&at(&folder)).await.unwrap();
    assert_eq!(agents.append(&[Entry::Epoch(Epoch(1))]).await.unwrap(), Appended::Durable);
    let (mut persons, entries) = Journal::beside(&at(&folder)).await.unwrap();
    assert_eq!(entries, [Entry::Epoch(Epoch(1))]);
    persons.take_over(upgrade("u1"), "by hand".to_owned()).await.unwrap();

    let next = [Entry::Epoch(Epoch(2))];
    assert_eq!(agents.append(&next).await.unwrap(), Appended::Overtaken(vec![taken_over("u1")]));
    assert_eq!(agents.append(&next).await.unwrap(), Appended::Durable, "once it is known it is in nobody's way");
    persons.take_over(upgrade("u2"), "by hand".to_owned()).await.unwrap();
    assert_eq!(agents.found().await.unwrap(), [taken_over("u2")]);
    assert_eq!(agents.found().await.unwrap(), []);
}

#[tokio::test]
async fn a_look_beside_finds_no_journal_and_makes_none() {
    let folder = tempfile::tempdir().unwrap();
    let error = Journal::beside(&at(&folder)).await.unwrap_err();
    assert!(matches!(error, JournalError::Missing { .. }), "{error}");
    assert!(!at(&folder).exists());
}

#[tokio::test]
async fn a_foreign_file_is_named_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(at(&folder), "a text that somebody put here, long enough to hold a header of SQLite in its place.....")
        .unwrap();
    let before = fs::read(at(&folder)).unwrap();
    let error = Journal::open(&at(&folder)).await.unwrap_err();
    assert!(matches!(error, JournalError::Foreign { .. }), "{error}");
    assert_eq!(fs::read(at(&folder)).unwrap(), before);

    fs::remove_file(at(&folder)).unwrap();
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(at(&folder)).create_if_missing(true);
    let mut database = SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::query("CREATE TABLE transactions (id INTEGER)").execute(&mut database).await.unwrap();
    database.close().await.unwrap();
    let error = Journal::open(&at(&folder)).await.unwrap_err();
    assert!(matches!(&error, JournalError::Foreign { why, .. } if why.contains("application id")), "{error}");
}

#[tokio::test]
async fn a_torn_or_emptied_file_is_damaged_and_never_replaced_by_a_new_one() {
    let folder = tempfile::tempdir().unwrap();
    let (mut journal, _) = Journal::open(&at(&folder)).await.unwrap();
    for n in 0..400 {
        let _ = journal.append(&[taken_over(&format!("u{n}"))]).await.unwrap();
    }
    drop(journal);
    // The connection's thread moves the write-ahead log into the file when it ends.
    wait_until(|| !folder.path().join("journal.db-wal").exists());
    let whole = fs::metadata(at(&folder)).unwrap().len();
    File::options().write(true).open(at(&folder)).unwrap().set_len(whole / 2).unwrap();
    let error = Journal::open(&at(&folder)).await.unwrap_err();
    assert!(matches!(error, JournalError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("move the file"), "it says what to do: {error}");

    fs::write(at(&folder), "").unwrap();
    let error = Journal::open(&at(&folder)).await.unwrap_err();
    assert!(matches!(error, JournalError::Damaged { .. }), "{error}");
}

fn wait_until(condition: impl Fn() -> bool) {
    for _ in 0..2000 {
        if condition() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("not within 20 s");
}

#[tokio::test]
async fn what_a_newer_agent_wrote_is_not_overlooked() {
    let folder = tempfile::tempdir().unwrap();
    let (mut journal, _) = Journal::open(&at(&folder)).await.unwrap();
    sqlx::query("INSERT INTO entries (kind, entry) VALUES ('adopted', '{\"adopted\":1}')")
        .execute(&mut journal.connection)
        .await
        .unwrap();
    drop(journal);
    let error = Journal::open(&at(&folder)).await.unwrap_err();
    assert!(matches!(error, JournalError::Newer { .. }), "{error}");
}

#[tokio::test]
async fn a_full_disk_loses_nothing_that_was_written_and_writes_nothing_by_halves() {
    let folder = tempfile::tempdir().unwrap();
    let (mut journal, _) = Journal::open(&at(&folder)).await.unwrap();
    assert_eq!(journal.append(&[Entry::Epoch(Epoch(1))]).await.unwrap(), Appended::Durable);
    journal.pretend_full(true).await;
    let many: Vec<Entry> = (0..200).map(|n| taken_over(&format!("u{n}"))).collect();
    let error = journal.append(&many).await.unwrap_err();
    assert!(matches!(error, JournalError::Full { .. }), "{error}");
    journal.pretend_full(false).await;
    assert_eq!(journal.append(&[taken_over("u1")]).await.unwrap(), Appended::Durable);
    drop(journal);
    let (_, entries) = Journal::open(&at(&folder)).await.unwrap();
    assert_eq!(entries, [Entry::Epoch(Epoch(1)), taken_over("u1")]);
}

#[tokio::test]
async fn old_epochs_and_forgotten_upgrades_leave_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let (mut journal, _) = Journal::open(&at(&folder)).await.unwrap();
    for entry in [
        Entry::Epoch(Epoch(1)),
        taken_over("u1"),
        taken_over("u2"),
        Entry::Epoch(Epoch(2)),
        Entry::Forgotten(upgrade("u1")),
    ] {
        assert_eq!(journal.append(&[entry]).await.unwrap(), Appended::Durable);
    }
    drop(journal);
    let (_, entries) = Journal::open(&at(&folder)).await.unwrap();
    assert_eq!(entries, [taken_over("u2"), Entry::Epoch(Epoch(2)), Entry::Forgotten(upgrade("u1"))]);
}
