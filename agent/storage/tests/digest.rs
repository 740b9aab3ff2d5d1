//! Promises of digest v1, on real SQLite files.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod support;

use cutover_storage::digest::{self, Inconsistency, consistency};
use cutover_storage::sqlite::{Layout, Ledger};
use cutover_vocabulary::storage::{LossClass, MetadataTarget, Section};
use std::path::Path;

fn open(path: &Path) -> Ledger {
    Ledger::open(path, path.parent().unwrap()).unwrap()
}

fn read(path: &Path) -> digest::Reading {
    digest::read(&open(path), &mut |_| Ok(())).unwrap()
}

fn golden(part: &str) -> Vec<String> {
    let text = include_str!("golden/digest-v1.txt");
    let head = format!("[{part}]");
    text.lines()
        .skip_while(|line| *line != head)
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .map(str::to_owned)
        .collect()
}

fn lines(of: &cutover_vocabulary::storage::LedgerDigest, sections: &[Section]) -> Vec<String> {
    sections
        .iter()
        .map(|section| {
            let name = serde_json::to_string(section).unwrap();
            let one = of.sections[section];
            format!("{} {} {}", name.trim_matches('"'), one.rows, one.sha256)
        })
        .collect()
}

#[test]
fn the_canonical_form_is_the_one_that_the_golden_vectors_define() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("numary_sample.db");
    support::sample(&path);
    let reading = read(&path);
    assert_eq!(lines(&reading.digest, &digest::canonical::SECTIONS), golden("before"));
    let metadata = [Section::TransactionMetadata, Section::AccountMetadata];
    assert_eq!(lines(&reading.expected, &metadata), golden("expected"));

    let empty = folder.path().join("numary_empty.db");
    support::create_split(&empty);
    assert_eq!(lines(&read(&empty).digest, &digest::canonical::SECTIONS), golden("empty"));
}

#[test]
fn the_digest_expected_after_a_migration_is_the_one_that_the_migrated_ledger_has() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("numary_sample.db");
    let ledger = support::sample(&path);
    let before = read(&path);
    assert_ne!(before.digest, before.expected);
    support::migrate(&ledger);
    assert_eq!(open(&path).layout(), Layout::Documents);
    let after = read(&path);
    assert_eq!(after.digest, before.expected);
    assert_eq!(after.digest, after.expected, "a second migration loses nothing more");
    assert_eq!(after.losses.count, 0);
}

#[test]
fn every_row_that_the_migration_will_lose_is_named_beforehand_with_its_class_and_value() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("numary_sample.db");
    support::sample(&path);
    let losses = read(&path).losses;
    let rows: Vec<_> =
        losses.rows.iter().map(|row| (row.class, row.target.clone(), row.key.as_str(), row.value.as_str())).collect();
    assert_eq!(
        rows,
        [
            (LossClass::SqliteFirstMetadata, MetadataTarget::Transaction("0".into()), "order", "\"o0\""),
            (LossClass::AccountMetadataWithoutPosting, MetadataTarget::Account("nobody".into()), "kyc", "\"none\""),
        ]
    );
    assert_eq!(losses.count, 2);
    assert!(losses.sha256.is_some());
}

#[test]
fn a_first_entry_that_a_later_one_overrides_is_no_loss() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("numary_over.db");
    let ledger = support::create_split(&path);
    support::transaction(&ledger, 0, None, &[("world", "bank", "USD", 1)]);
    support::metadata(&ledger, 0, "account", "bank", "kyc", "1");
    support::metadata(&ledger, 7, "account", "bank", "kyc", "2");
    let before = read(&path);
    assert_eq!(before.losses.count, 0);
    support::migrate(&ledger);
    assert_eq!(read(&path).digest, before.digest);
}

#[test]
fn a_comparison_lists_known_losses_apart_from_what_nothing_explains() {
    let folder = tempfile::tempdir().unwrap();
    let (before, after) = (folder.path().join("numary_a.db"), folder.path().join("numary_b.db"));
    support::sample(&before);
    let ledger = support::sample(&after);
    support::migrate(&ledger);
    let clean = digest::compare(&open(&before), &open(&after)).unwrap();
    assert_eq!(clean.unexplained, 0, "{:?}", clean.unexplained_rows);
    assert_eq!(clean.known.values().sum::<u64>(), 2);

    ledger.execute("UPDATE transactions SET reference = 'other' WHERE id = 0", []).unwrap();
    ledger.execute("UPDATE volumes SET input = input + 1 WHERE account = 'fees'", []).unwrap();
    ledger.execute("UPDATE transactions SET metadata = json_remove(metadata, '$.note') WHERE id = 0", []).unwrap();
    ledger.execute("INSERT INTO accounts VALUES ('new', '{\"k\":1}')", []).unwrap();
    ledger.execute("DELETE FROM transactions WHERE id = 2", []).unwrap();
    let dirty = digest::compare(&open(&before), &open(&after)).unwrap();
    let rows: Vec<_> = dirty
        .unexplained_rows
        .iter()
        .map(|d| (d.section, d.row.as_str(), d.before.is_some(), d.after.is_some()))
        .collect();
    assert_eq!(
        rows,
        [
            (Section::Transactions, "transaction 0", true, true),
            (Section::Transactions, "transaction 2", true, false),
            (Section::Postings, "transaction 2 posting 0", true, false),
            (Section::Balances, "account fees asset USD/2", true, true),
            (Section::TransactionMetadata, "transaction 0 key note", true, false),
            (Section::TransactionMetadata, "transaction 2 key rate", true, false),
            (Section::AccountMetadata, "account new key k", false, true),
        ]
    );
    assert_eq!(dirty.unexplained, 7);
}

#[test]
fn a_list_of_differences_is_capped_and_its_count_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let (before, after) = (folder.path().join("numary_a.db"), folder.path().join("numary_b.db"));
    support::create_split(&before);
    let ledger = support::create_split(&after);
    for id in 0..500 {
        support::transaction(&ledger, id, None, &[]);
    }
    let found = digest::compare(&open(&before), &open(&after)).unwrap();
    assert_eq!((found.unexplained, found.unexplained_rows.len()), (500, cutover_vocabulary::storage::LISTED_ROWS));
}

#[test]
fn a_sum_beyond_64_bits_is_added_up_and_not_wrapped() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("numary_big.db");
    let ledger = support::create_split(&path);
    for id in 0..4 {
        support::transaction(&ledger, id, None, &[("world", "bank", "WEI", i64::MAX)]);
    }
    let small = read(&path).digest;
    support::transaction(&ledger, 4, None, &[("world", "bank", "WEI", 0)]);
    let same_sum = read(&path).digest;
    assert_eq!(small.sections[&Section::Balances], same_sum.sections[&Section::Balances]);
    assert_ne!(small, same_sum);
}

#[test]
fn a_metadata_target_that_only_looks_like_a_transaction_is_not_taken_for_transaction_0() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("numary_odd.db");
    let ledger = support::create_split(&path);
    support::transaction(&ledger, 0, None, &[("world", "bank", "USD", 1)]);
    for (meta_id, target) in [(1, "abc"), (2, "007"), (3, "0"), (4, "99999999999999999999")] {
        support::metadata(&ledger, meta_id, "transaction", target, "k", "1");
    }
    support::metadata(&ledger, 5, "mapping", "x", "k", "1");
    assert_eq!(read(&path).digest.rows(Section::TransactionMetadata), 5);
}

#[test]
fn a_ledger_whose_volumes_or_log_disagree_with_its_transactions_says_where() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("numary_sample.db");
    let ledger = support::sample(&path);
    support::migrate(&ledger);
    assert_eq!(consistency::check(&open(&path), 10).unwrap().listed, []);
    ledger.execute("UPDATE volumes SET output = 0 WHERE account = 'bank' AND asset = 'USD/2'", []).unwrap();
    ledger.execute("UPDATE transactions SET timestamp = '2026-11-23T05:12:58Z' WHERE id = 1", []).unwrap();
    ledger.execute("UPDATE transactions SET postings = NULL WHERE id = 2", []).unwrap();
    ledger.execute("INSERT INTO log SELECT 99, type, hash, date, data FROM log WHERE id = 0", []).unwrap();
    let found = consistency::check(&open(&path), 100).unwrap();
    let mut seen: Vec<String> = found
        .listed
        .iter()
        .map(|one| match one {
            Inconsistency::Volumes { row, .. } => format!("volumes {row}"),
            Inconsistency::Log { row, .. } => format!("log {row}"),
            Inconsistency::Orphan { row } => format!("orphan {row}"),
            Inconsistency::PostingsUnreadable { row } => format!("postings {row}"),
            Inconsistency::TimeUnreadable { row, .. } => format!("time {row}"),
        })
        .collect();
    seen.sort();
    assert_eq!(
        seen,
        [
            "log transaction 0", // twice in the log
            "log transaction 1",
            "log transaction 2",
            "postings transaction 2",
            "volumes account bank asset JPY",
            "volumes account bank asset USD/2",
            "volumes account world asset JPY",
        ]
    );
    assert_eq!(found.count, 7);
}

#[test]
fn what_is_no_ledger_or_no_database_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let foreign = folder.path().join("numary_foreign.db");
    rusqlite::Connection::open(&foreign).unwrap().execute_batch("CREATE TABLE transactions(id, note)").unwrap();
    let error = Ledger::open(&foreign, folder.path()).err().unwrap().to_string();
    assert!(error.contains("holds no ledger: it lacks transactions.timestamp"), "{error}");

    let broken = folder.path().join("numary_broken.db");
    std::fs::write(&broken, vec![7; 9000]).unwrap();
    let error = Ledger::open(&broken, folder.path()).err().unwrap().to_string();
    assert!(error.contains("is damaged or no SQLite database"), "{error}");

    let missing = folder.path().join("numary_missing.db");
    let error = Ledger::open(&missing, folder.path()).err().unwrap().to_string();
    assert!(error.contains("does not exist"), "{error}");
    assert!(!missing.exists());
}

#[test]
fn a_reader_sees_what_a_killed_writer_left_in_its_write_ahead_log() {
    let folder = tempfile::tempdir().unwrap();
    let (path, killed) = (folder.path().join("numary_live.db"), folder.path().join("numary_killed.db"));
    let _writer = support::sample(&path);
    // The writer still runs and has checkpointed nothing: these two files are what a kill would leave.
    std::fs::copy(&path, &killed).unwrap();
    std::fs::copy(folder.path().join("numary_live.db-wal"), folder.path().join("numary_killed.db-wal")).unwrap();
    assert_eq!(read(&killed).digest.rows(Section::Transactions), 3);
}

#[test]
fn what_belongs_to_no_transaction_is_a_contradiction_because_a_migration_drops_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("numary_sample.db");
    let ledger = support::sample(&path);
    assert_eq!(consistency::check(&open(&path), 10).unwrap().listed, []);
    ledger.execute(support::POSTING, rusqlite::params![7, 0, "world", "bank", "USD/2", 1]).unwrap();
    support::metadata(&ledger, 20, "transaction", "9", "k", "1");
    support::metadata(&ledger, 21, "transaction", "x1", "k", "1");
    let found: Vec<_> = consistency::check(&open(&path), 10).unwrap().listed.iter().map(ToString::to_string).collect();
    assert_eq!(
        found,
        [
            "transaction 7 posting 0: there is no such transaction",
            "transaction 9 key k: there is no such transaction",
            "transaction x1 key k: there is no such transaction",
        ]
    );
}

#[test]
fn the_layout_from_1_8_on_has_the_digest_of_the_one_before() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("numary_sample.db");
    let ledger = support::sample(&path);
    support::migrate(&ledger);
    let before = read(&path).digest;
    ledger
        .execute_batch(
            "CREATE TABLE t (id integer, timestamp date, reference varchar, postings varchar, metadata varchar, \
                             pre_commit_volumes varchar, post_commit_volumes varchar, sources text, destinations text); \
             INSERT INTO t SELECT id, '2026-11-23 14:12:58+00:00', reference, postings, metadata, '', '', '', '' FROM transactions; \
             DROP TABLE transactions; ALTER TABLE t RENAME TO transactions;",
        )
        .unwrap();
    assert_eq!(open(&path).layout(), Layout::Dated);
    assert_eq!(read(&path).digest, before);
}

#[test]
fn one_instant_spelt_in_several_ways_is_one_instant() {
    use cutover_storage::digest::rows::Instant;
    let one = Instant::parse("2026-11-23T14:12:58.5Z");
    assert!(matches!(one, Instant::At(_)));
    for text in [
        "2026-11-23 14:12:58.5+00:00",
        "2026-11-23T15:12:58.500+01:00",
        "2026-11-23T14:12:58.500000000Z",
        "2026-11-23 14:12:58.5Z",
    ] {
        assert_eq!(Instant::parse(text), one, "{text}");
    }
    assert_eq!(Instant::parse("yesterday"), Instant::Other("yesterday".into()));
}

#[test]
fn a_hot_journal_of_a_killed_writer_is_rolled_back_before_anything_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let (live, killed) = (folder.path().join("numary_live.db"), folder.path().join("numary_killed.db"));
    let ledger = support::sample(&live);
    support::migrate(&ledger);
    ledger.pragma_update(None, "journal_mode", "DELETE").unwrap();
    let before = read(&live).digest;
    ledger.pragma_update(None, "cache_size", 10).unwrap();
    ledger.execute_batch("BEGIN IMMEDIATE").unwrap();
    for id in 100..5_000 {
        support::transaction(&ledger, id, None, &[("world", "bank", "USD/2", 1)]);
    }
    // Part of the transaction has spilt into the database by now; its journal says how to undo it.
    std::fs::copy(&live, &killed).unwrap();
    std::fs::copy(folder.path().join("numary_live.db-journal"), folder.path().join("numary_killed.db-journal"))
        .unwrap();
    assert!(std::fs::metadata(&killed).unwrap().len() > 200_000, "nothing has spilt");
    assert_eq!(read(&killed).digest, before);
}
