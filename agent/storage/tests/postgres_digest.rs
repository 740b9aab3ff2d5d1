//! Promises of digest v1, on a real PostgreSQL: the same ledger has the same digest on every driver and in every layout.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, reason = "tests")]

#[path = "support/postgres.rs"]
mod support;

use cutover_storage::digest::{self, Inconsistency, RowSource as _, consistency};
use cutover_storage::postgres::{Layout, Ledger};
use cutover_trial_postgres::{Cluster, Stop};
use cutover_vocabulary::LedgerName;
use cutover_vocabulary::storage::{LedgerDigest, LossClass, MetadataTarget, Migrations, Section};
use std::collections::BTreeSet;
use support::{MIGRATE, MIGRATE_FURTHER, run};

fn open(cluster: &Cluster, database: &str, ledger: &str) -> Ledger {
    support::open(cluster, database).ledger(&LedgerName::new(ledger).unwrap()).unwrap()
}

fn read(cluster: &Cluster, database: &str) -> digest::Reading {
    digest::read(&open(cluster, database, "shop"), &mut |_| Ok(())).unwrap()
}

fn golden(part: &str) -> Vec<String> {
    let text = include_str!("golden/digest-v1.txt");
    let head = format!("[{part}]");
    let lines = text.lines().skip_while(|line| *line != head).skip(1).take_while(|line| !line.starts_with('['));
    lines.map(str::to_owned).collect()
}

fn lines(of: &LedgerDigest, sections: &[Section]) -> Vec<String> {
    let line = |section: &Section| {
        let name = serde_json::to_string(section).unwrap();
        let one = of.sections[section];
        format!("{} {} {}", name.trim_matches('"'), one.rows, one.sha256)
    };
    sections.iter().map(line).collect()
}

#[test]
fn the_canonical_form_is_the_one_that_the_golden_vectors_define() {
    let Some(cluster) = support::cluster() else { return };
    let database = support::sample(cluster, "shop");
    let reading = read(cluster, &database);
    assert_eq!(lines(&reading.digest, &digest::canonical::SECTIONS), golden("before"));
    run(cluster, &database, "empty", support::SPLIT);
    let empty = digest::digest(&open(cluster, &database, "empty")).unwrap();
    assert_eq!(lines(&empty, &digest::canonical::SECTIONS), golden("empty"));
}

#[test]
fn the_digest_expected_after_a_migration_is_the_one_that_every_later_layout_has() {
    let Some(cluster) = support::cluster() else { return };
    let database = support::sample(cluster, "shop");
    let before = read(cluster, &database);
    assert_ne!(before.digest, before.expected);
    assert_eq!(open(cluster, &database, "shop").layout(), Layout::Split);
    for migration in [MIGRATE, MIGRATE_FURTHER] {
        run(cluster, &database, "shop", migration);
        let ledger = open(cluster, &database, "shop");
        assert_eq!(ledger.layout(), Layout::Documents, "the later table `postings` is no sign of the old layout");
        let after = digest::read(&ledger, &mut |_| Ok(())).unwrap();
        assert_eq!(after.digest, before.expected);
        assert_eq!(after.digest, after.expected, "a second migration loses nothing more");
        assert_eq!(consistency::check(&ledger, 10).unwrap().listed, []);
    }
    assert_eq!(open(cluster, &database, "shop").migrations().unwrap(), Migrations(Some(vec![0, 1])));
}

#[test]
fn the_loss_on_postgres_is_metadata_of_accounts_without_postings_and_not_the_first_entry() {
    let Some(cluster) = support::cluster() else { return };
    let losses = read(cluster, &support::sample(cluster, "shop")).losses;
    let rows: Vec<_> =
        losses.rows.iter().map(|row| (row.class, row.target.clone(), row.key.as_str(), row.value.as_str())).collect();
    let nobody = MetadataTarget::Account("nobody".into());
    assert_eq!(rows, [(LossClass::AccountMetadataWithoutPosting, nobody, "kyc", "\"none\"")]);
}

#[test]
fn rows_come_by_bytes_and_numbers_whatever_the_databases_collation() {
    let Some(cluster) = support::cluster() else { return };
    // In English B comes behind b.
    let database = support::database(cluster);
    cluster.sql("postgres", &format!("DROP DATABASE {database}")).unwrap();
    let english = "ENCODING 'UTF8' LOCALE_PROVIDER icu ICU_LOCALE 'en-US' TEMPLATE template0";
    cluster.sql("postgres", &format!("CREATE DATABASE {database} OWNER {} {english}", support::ROLE)).unwrap();
    run(cluster, &database, "shop", support::SPLIT);
    run(cluster, &database, "shop", support::SAMPLE);
    run(
        cluster,
        &database,
        "shop",
        r#"INSERT INTO {L}.transactions VALUES (10, '2026-11-23T14:12:58.5+09:00', '', 'h');
           INSERT INTO {L}.postings(txid, id, source, destination, asset, amount) VALUES
             (10, 0, 'b', 'z', 'X', 5), (10, 1, 'B', 'z', 'X', 5), (10, 2, 'b', 'Z', 'X', 9), (10, 3, 'b', 'Z', 'X', 10), (10, 4, 'é', '', 'X', NULL);
           INSERT INTO {L}.metadata SELECT 100 + row_number() OVER (), 'transaction', t, 'k', '1', 'now' FROM unnest(ARRAY['10', '9', '010', '-3', 'x', '9223372036854775808', '9223372036854775807']) t;
           INSERT INTO {L}.metadata VALUES (200, 'other', '1', 'k', '1', 'now'), (201, 'account', 'b', 'Key', '1', 'now'), (202, 'account', 'b', 'key', '[1', 'now');"#,
    );
    let ledger = open(cluster, &database, "shop");
    let mut postings = Vec::new();
    let mut targets = Vec::new();
    let mut keys = Vec::new();
    let mut balances = Vec::new();
    let mut instant = None;
    ledger
        .postings(&mut |rows| {
            rows.advance()?;
            while let Some(row) = rows.current() {
                if row.txid == 10 {
                    postings.push((row.index, row.source.clone(), row.destination.clone(), row.amount.to_string()));
                }
                rows.advance()?;
            }
            Ok(())
        })
        .unwrap();
    let at = |i, source: &str, destination: &str, amount: &str| (i, source.into(), destination.into(), amount.into());
    assert_eq!(
        postings,
        [
            at(0, "B", "z", "5"),
            at(1, "b", "Z", "9"),
            at(2, "b", "Z", "10"),
            at(3, "b", "z", "5"),
            at(4, "é", "", "null")
        ]
    );
    let mut collect = |rows: &mut dyn digest::rows::RowStream<digest::rows::MetadataRow>| {
        rows.advance()?;
        while let Some(row) = rows.current() {
            targets.push(row.target.to_string());
            keys.push(row.key.clone());
            rows.advance()?;
        }
        Ok(())
    };
    ledger.transaction_metadata(&mut collect).unwrap();
    ledger.account_metadata(&mut collect).unwrap();
    assert_eq!(
        targets[..10],
        ["-3", "0", "0", "2", "9", "10", "9223372036854775807", "010", "9223372036854775808", "other:1"]
            .map(|id| format!("transaction {id}"))
    );
    assert_eq!(targets[10], "transaction x");
    assert_eq!(keys[11..], ["Key", "key", "kyc", "kyc"].map(String::from));
    ledger
        .balances(&mut |rows| {
            rows.advance()?;
            while let Some(row) = rows.current() {
                balances.push((row.account.clone(), row.input.to_string(), row.output.to_string()));
                rows.advance()?;
            }
            Ok(())
        })
        .unwrap();
    assert!(balances.contains(&("é".into(), "0".into(), "unreadable".into())), "{balances:?}");
    assert!(balances.contains(&("b".into(), "0".into(), "24".into())), "{balances:?}");
    assert!(balances.is_sorted_by(|a, b| a.0 <= b.0), "{balances:?}");
    ledger
        .transactions(&mut |rows| {
            rows.advance()?;
            while let Some(row) = rows.current() {
                instant = Some((row.id, row.instant.to_string(), row.reference.clone()));
                rows.advance()?;
            }
            Ok(())
        })
        .unwrap();
    assert_eq!(instant, Some((10, "2026-11-23T05:12:58.5Z".into(), None)));
}

#[test]
fn a_storage_that_contradicts_itself_is_seen() {
    let Some(cluster) = support::cluster() else { return };
    let database = support::sample(cluster, "shop");
    run(
        cluster,
        &database,
        "shop",
        "INSERT INTO {L}.postings(txid, id, source, destination, asset, amount) VALUES (77, 0, 'a', 'b', 'X', 1)",
    );
    let check = |database: &str| consistency::check(&open(cluster, database, "shop"), 10).unwrap().listed;
    assert_eq!(check(&database), [Inconsistency::Orphan { row: "transaction 77 posting 0".into() }]);
    run(cluster, &database, "shop", "DELETE FROM {L}.postings WHERE txid = 77");
    run(cluster, &database, "shop", MIGRATE);
    run(
        cluster,
        &database,
        "shop",
        r#"UPDATE {L}.volumes SET input = input + 1 WHERE account = 'fees';
           UPDATE {L}.transactions SET reference = 'other' WHERE id = 2;
           UPDATE {L}.transactions SET postings = NULL WHERE id = 1;
           INSERT INTO {L}.log VALUES (9, 'NEW_TRANSACTION', 'x', now(), '{"txid": 9}');"#,
    );
    let kinds: BTreeSet<String> = check(&database)
        .iter()
        .map(|found| match found {
            Inconsistency::Volumes { row, .. } => format!("volumes {row}"),
            Inconsistency::Log { row, .. } => format!("log {row}"),
            Inconsistency::Orphan { row } => format!("orphan {row}"),
            Inconsistency::PostingsUnreadable { row } => format!("unreadable {row}"),
            Inconsistency::TimeUnreadable { row, .. } => format!("time {row}"),
        })
        .collect();
    let wanted = [
        "log transaction 1",
        "log transaction 2",
        "log transaction 9",
        "unreadable transaction 1",
        "volumes account bank asset USD/2",
        "volumes account fees asset USD/2",
        "volumes account users:é asset USD/2",
    ];
    assert_eq!(kinds, wanted.map(String::from).into());
}

#[test]
fn amounts_beyond_64_bits_keep_every_digit() {
    let Some(cluster) = support::cluster() else { return };
    let database = support::sample(cluster, "shop");
    run(cluster, &database, "shop", MIGRATE);
    run(cluster, &database, "shop", MIGRATE_FURTHER);
    run(
        cluster,
        &database,
        "shop",
        r#"INSERT INTO {L}.transactions(id, timestamp, postings) VALUES (3, '2026-11-23T14:12:58Z', '[{"amount": 170141183460469231731687303715884105727, "asset": "A", "source": "w", "destination": "v"}]');
           INSERT INTO {L}.volumes VALUES ('v', 'A', 170141183460469231731687303715884105727, 0), ('w', 'A', 0, 170141183460469231731687303715884105727);"#,
    );
    let ledger = open(cluster, &database, "shop");
    let mut largest = None;
    let mut note = |rows: &mut dyn digest::rows::RowStream<digest::rows::BalanceRow>| {
        rows.advance()?;
        while let Some(row) = rows.current() {
            if row.account == "v" {
                largest = Some(row.input.clone());
            }
            rows.advance()?;
        }
        Ok(())
    };
    ledger.balances_of_postings(&mut note).unwrap();
    assert_eq!(largest, Some(digest::rows::Amount::Whole(i128::MAX)));
    run(
        cluster,
        &database,
        "shop",
        r#"UPDATE {L}.volumes SET input = input + 1 WHERE account = 'v'; INSERT INTO {L}.transactions(id, timestamp, postings) VALUES (4, '2026-11-23T14:12:58Z', '[{"amount": 1, "asset": "A", "source": "w", "destination": "v"}]');"#,
    );
    let error = consistency::check(&open(cluster, &database, "shop"), 10).unwrap_err().to_string();
    assert!(error.contains("more than 127 bits"), "{error}");
}

#[test]
fn every_row_that_jsonb_would_refuse_is_found_beforehand() {
    let Some(cluster) = support::cluster() else { return };
    let database = support::sample(cluster, "shop");
    run(
        cluster,
        &database,
        "shop",
        r#"UPDATE {L}.transactions SET reference = 'say "hi"' WHERE id = 0;
           UPDATE {L}.transactions SET reference = E'a\nb' WHERE id = 1;
           UPDATE {L}.transactions SET reference = 'fine \\ one' WHERE id = 2;
           INSERT INTO {L}.metadata VALUES (6, 'account', 'bank', 'a\q', '1', 'now'), (7, 'account', 'bank', 'zero', '"\u0000"', 'now'), (8, 'account', 'bank', 'no zero', '"\\u0000"', 'now');"#,
    );
    let ledger = open(cluster, &database, "shop");
    let all: Vec<String> = ledger.bad_rows(200).unwrap().into_iter().map(|bad| bad.what).collect();
    assert_eq!(
        all,
        [
            "reference of transaction 0",
            "reference of transaction 1",
            "metadata key of account bank",
            "metadata value of account bank key zero"
        ]
    );
    assert_eq!(ledger.bad_rows(2).unwrap().len(), 2);
}

#[test]
fn a_ledger_of_any_name_is_read() {
    let Some(cluster) = support::cluster() else { return };
    let name = "we\"ird %s $1 {0} 漢'; --";
    let database = support::sample(cluster, name);
    let digest = digest::digest(&open(cluster, &database, name)).unwrap();
    assert_eq!(lines(&digest, &digest::canonical::SECTIONS), golden("before"));
}

#[test]
fn a_schema_that_is_no_ledgers_says_what_it_lacks() {
    let Some(cluster) = support::cluster() else { return };
    let database = support::database(cluster);
    run(cluster, &database, "shop", "CREATE SCHEMA {L}; CREATE TABLE {L}.transactions(id bigint, note text)");
    let storage = support::open(cluster, &database);
    let error = |name: &str| storage.ledger(&LedgerName::new(name).unwrap()).err().unwrap().to_string();
    assert_eq!(error("shop"), "schema shop holds no ledger: it lacks transactions.timestamp, transactions.reference");
    assert!(error("nothing").contains("it lacks transactions.id"), "{}", error("nothing"));
    run(
        cluster,
        &database,
        "shop",
        "DROP TABLE {L}.transactions; CREATE TABLE {L}.transactions(id uuid, timestamp text, reference text)",
    );
    assert!(error("shop").contains("its transactions.id is uuid"), "{}", error("shop"));
}

#[test]
fn a_reader_sees_one_moment_and_another_session_can_see_the_same() {
    let Some(cluster) = support::cluster() else { return };
    let database = support::sample(cluster, "shop");
    let ledger = open(cluster, &database, "shop");
    let before = digest::digest(&ledger).unwrap();
    run(cluster, &database, "shop", "DELETE FROM {L}.postings; DELETE FROM {L}.transactions WHERE id = 1");
    assert_eq!(digest::digest(&ledger).unwrap(), before);
    let snapshot = ledger.export_snapshot().unwrap();
    let seen = cluster.sql(
        &database,
        &format!("BEGIN ISOLATION LEVEL REPEATABLE READ; SET TRANSACTION SNAPSHOT '{snapshot}'; SELECT count(*) FROM shop.transactions"),
    );
    assert_eq!(seen.unwrap(), "3");
    assert_eq!(ledger.count().unwrap(), 3);
    drop(ledger);
    assert_ne!(read(cluster, &database).digest, before);
}

#[test]
fn a_lock_that_somebody_holds_ends_a_look_and_says_that_waiting_helps() {
    let Some(cluster) = support::cluster() else { return };
    let database = support::sample(cluster, "shop");
    let mut holder = support::Session::begin(cluster, &database, "LOCK TABLE shop.postings IN ACCESS EXCLUSIVE MODE");
    let error = digest::digest(&open(cluster, &database, "shop")).unwrap_err();
    assert!(
        matches!(&error, cutover_storage::StorageError::Postgres { message, transient: true, .. } if message.contains("55P03")),
        "{error}"
    );
    holder.end();
    digest::digest(&open(cluster, &database, "shop")).unwrap();
}

#[test]
fn a_server_that_ends_in_the_middle_of_a_cursor_is_a_transient_error() {
    let Some(cluster) = support::create("") else { return };
    cluster.sql("postgres", &format!("CREATE ROLE {} LOGIN PASSWORD '{}'", support::ROLE, support::PASSWORD)).unwrap();
    let database = support::sample(&cluster, "shop");
    run(
        &cluster,
        &database,
        "shop",
        "INSERT INTO {L}.transactions SELECT n, '2026-11-23T14:12:58Z', NULL, 'h' FROM generate_series(10, 20000) n",
    );
    let ledger = open(&cluster, &database, "shop");
    let mut seen = 0;
    let error = ledger
        .transactions(&mut |rows| {
            loop {
                rows.advance()?;
                let Some(_) = rows.current() else { return Ok(()) };
                seen += 1;
                if seen == 1 {
                    cluster.stop(Stop::Immediate).unwrap();
                }
            }
        })
        .unwrap_err();
    assert!(
        matches!(&error, cutover_storage::StorageError::Postgres { transient: true, remedy, .. } if remedy.contains("server")),
        "{error}"
    );
    assert!(seen < 20_000);
    drop(ledger);
    cluster.start().unwrap();
    assert_eq!(open(&cluster, &database, "shop").count().unwrap(), 19_994);
    std::fs::remove_dir_all(cluster.data().parent().unwrap().parent().unwrap()).unwrap();
}

/// A child of this very test reads, so that nothing else that this process did counts.
#[test]
fn memory_does_not_grow_with_the_ledger() {
    if let Ok(url) = std::env::var("CUTOVER_TEST_READ") {
        let ledger = support::open_url(&url).unwrap().ledger(&LedgerName::new("big").unwrap()).unwrap();
        digest::digest(&ledger).unwrap();
        assert_eq!(consistency::check(&ledger, 10).unwrap().count, 0);
        println!("peak {} KiB", support::peak_kib());
        return;
    }
    let Some(cluster) = support::cluster() else { return };
    let peak = |count: u32, migrated: bool| -> u64 {
        let database = support::database(cluster);
        run(cluster, &database, "big", support::SPLIT);
        run(cluster, &database, "big", &support::BIG.replace("{N}", &count.to_string()));
        if migrated {
            run(cluster, &database, "big", support::BIG_MIGRATED);
        }
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "memory_does_not_grow_with_the_ledger", "--nocapture"])
            .env("CUTOVER_TEST_READ", cluster.url(support::ROLE, support::PASSWORD, &database))
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let peak = text.lines().find_map(|line| line.split_once("peak ")?.1.strip_suffix(" KiB")?.parse().ok());
        peak.unwrap_or_else(|| panic!("{text}"))
    };
    for migrated in [false, true] {
        let (small, large) = (peak(2_000, migrated), peak(40_000, migrated));
        assert!(large < small + 4 * 1024, "{small} KiB for 2,000 transactions, {large} KiB for 40,000");
        assert!(large < 64 * 1024, "{large} KiB");
    }
}
