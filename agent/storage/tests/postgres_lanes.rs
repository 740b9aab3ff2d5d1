//! Promises about working on a PostgreSQL storage side by side, on a real server.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, reason = "tests")]

#[path = "support/postgres.rs"]
mod support;

use cutover_storage::storage::Secure;
use cutover_storage::{Storage as _, StorageError};
use cutover_trial_postgres::Cluster;
use cutover_vocabulary::storage::RecoveryItem;
use cutover_vocabulary::{Digest, LedgerName, UpgradeId};
use std::time::Duration;
use support::{PASSWORD, ROLE, Session};

fn ledger(name: &str) -> RecoveryItem {
    RecoveryItem::Ledger(LedgerName::new(name).unwrap())
}

/// A session of the ledger's role under an application's name.
fn ours(cluster: &Cluster, database: &str, application: &str, sql: &str) -> Session {
    Session::start(&format!("{}?application_name={application}", cluster.url(ROLE, PASSWORD, database)), sql)
}

/// The database in which recovery points of this one are proved.
fn proving(cluster: &Cluster, database: &str) -> String {
    let named = format!("cutover_proof_{}", Digest::of(database.as_bytes()).short());
    let sql = format!("SELECT datname FROM pg_database WHERE datname LIKE '{named}%'");
    cluster.sql("postgres", &sql).unwrap().trim().to_owned()
}

#[test]
fn another_database_is_another_storage_to_lock() {
    let Some(cluster) = support::cluster() else { return };
    let here = support::open(cluster, &support::sample(cluster, "shop"));
    let elsewhere = support::open(cluster, &support::sample(cluster, "shop"));
    let whole = here.lock(None, "order-1").unwrap();
    assert!(elsewhere.lock(None, "order-2").is_ok());
    drop(whole);
}

#[test]
fn a_lock_whose_session_was_ended_is_not_held() {
    let Some(cluster) = support::cluster() else { return };
    let database = support::sample(cluster, "shop");
    let storage = support::open(cluster, &database);
    let lock = storage.lock(None, "order-1").unwrap();
    assert!(lock.is_held());
    cluster
        .sql(&database, "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'cutover:order-1' AND datname = current_database()")
        .unwrap();
    assert!(!lock.is_held());
    assert!(storage.lock(None, "order-2").is_ok());
}

#[test]
fn a_storage_is_quiet_with_our_own_sessions_on_it_and_with_readers() {
    let Some(cluster) = support::cluster() else { return };
    let database = support::sample(cluster, "shop");
    let storage = support::open(cluster, &database);
    let lock = storage.lock(None, "order-1").unwrap();
    let reading = storage.ledger(&LedgerName::new("shop").unwrap()).unwrap();
    cutover_storage::digest::digest(&reading).unwrap();
    let look = ours(cluster, &database, "cutover:look", "BEGIN; SELECT count(*) FROM shop.postings;");
    let idle = ours(cluster, &database, "cutover:order-9", "SELECT 1;");
    for item in [None, Some(ledger("shop")), Some(RecoveryItem::System)] {
        storage.quiet(item.as_ref()).unwrap();
    }
    drop((lock, look, idle));
}

#[test]
fn an_instance_anywhere_and_a_lock_on_the_item_are_named() {
    let Some(cluster) = support::cluster() else { return };
    let database = support::sample(cluster, "shop");
    support::run(cluster, &database, "till", support::SPLIT);
    let storage = support::open(cluster, &database);
    let refused = |item: Option<&RecoveryItem>| match storage.quiet(item) {
        Err(error @ StorageError::NotQuiet { .. }) => Some(error.to_string()),
        Err(error) => panic!("{error}"),
        Ok(()) => None,
    };
    let holder = Session::begin(cluster, &database, "SELECT count(*) FROM shop.postings");
    let said = refused(Some(&ledger("shop"))).unwrap();
    assert!(said.contains("role postgres") && said.contains("holds a lock") && said.contains("ledger shop"), "{said}");
    assert_eq!(refused(Some(&ledger("till"))), None, "another ledger's lane goes on");
    assert!(refused(None).is_some());
    drop(holder);
    let instance = ours(cluster, &database, "", "SELECT 1;");
    let said = refused(Some(&ledger("till"))).unwrap();
    assert!(said.contains("role led") && said.contains("the ledger's role"), "{said}");
    drop(instance);
    assert_eq!(refused(None), None);
}

#[test]
fn a_command_of_ours_that_its_worker_left_behind_is_waited_for() {
    let Some(cluster) = support::cluster() else { return };
    let database = support::sample(cluster, "shop");
    let storage = support::open(cluster, &database);
    let mut left = ours(cluster, &database, "cutover:order-1", "BEGIN; LOCK TABLE shop.transactions;");
    let (told, done) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            storage.quiet(Some(&ledger("shop"))).unwrap();
            told.send(()).unwrap();
        });
        assert!(done.recv_timeout(Duration::from_secs(1)).is_err(), "it works on the ledger");
        left.end();
        done.recv_timeout(Duration::from_secs(20)).unwrap();
    });
}

#[test]
fn two_lanes_begin_a_tenth_of_a_second_apart_whoever_asks_first() {
    let Some(cluster) = support::cluster() else { return };
    let database = support::sample(cluster, "shop");
    let (one, other) = (support::open(cluster, &database), support::open(cluster, &database));
    let begun = cutover_storage::clock::since_boot();
    one.stagger().unwrap();
    other.stagger().unwrap();
    let apart = cutover_storage::clock::since_boot().since(begun).as_millis();
    assert!(apart >= 90, "the first had not begun yet: {apart} ms");
    // The first lane's command begins late, when no lock covers it; the next lane waits for its first moment all the same.
    let mut server = Session::start(&cluster.superuser_url("postgres"), "SELECT 1;");
    let lanes = format!("FROM pg_stat_activity WHERE datname = '{database}' AND application_name =");
    let beginning = format!("SELECT count(*) {lanes} 'cutover:stagger';");
    support::wait_until("the lanes' locks to go", || server.ask(&beginning) == "0");
    let _command = ours(cluster, &database, "cutover:order-1", "BEGIN; SELECT 1;");
    one.stagger().unwrap();
    let age = server.ask(&format!("SELECT clock_timestamp() - xact_start >= '100 ms' {lanes} 'cutover:order-1';"));
    assert_eq!(age, "t", "a command that had just begun was not seen");
}

/// Autovacuum is such a session: it cleans the scratch database too, and a role that is no superuser may not end it.
#[test]
fn a_proof_leaves_sessions_of_other_roles_alone_and_says_that_waiting_helps() {
    let Some(cluster) = support::cluster() else { return };
    let database = support::sample(cluster, "shop");
    let (storage, upgrade) = (support::open(cluster, &database), UpgradeId::new("u1").unwrap());
    storage.prepare(&upgrade).unwrap();
    let there = proving(cluster, &database);
    let body =
        format!("CREATE SCHEMA shop AUTHORIZATION {ROLE}; SET ROLE {ROLE}; CREATE TABLE shop.left_there (id int)");
    cluster.sql(&there, &body).unwrap();
    let (item, identity, folder) = (ledger("shop"), storage.identity().clone(), tempfile::tempdir().unwrap());
    let (upgrade, folder) = (&upgrade, folder.path());
    let ask = Secure { item: &item, storage: &identity, upgrade, folder, lossy: true, serving: false };
    let mut other = Session::begin(cluster, &there, "SELECT count(*) FROM shop.left_there");
    let waits = storage.secure(&ask).unwrap_err();
    assert!(matches!(waits, StorageError::Postgres { transient: true, .. }), "{waits}");
    let alive = format!("SELECT count(*) FROM pg_stat_activity WHERE datname = '{there}' AND state LIKE 'idle in%'");
    assert_eq!(cluster.sql("postgres", &alive).unwrap(), "1", "it was ended");
    other.end();
    assert_eq!(storage.secure(&ask).unwrap().item, item);
    storage.tidy(upgrade).unwrap();
}

/// What was made for an earlier upgrade is dropped before the next one, whoever looks at it: whoever is of our role is ended, and
/// others are waited for.
#[test]
fn a_database_of_ours_is_dropped_once_nobody_else_is_on_it_and_until_then_waiting_helps() {
    let Some(cluster) = support::cluster() else { return };
    let database = support::sample(cluster, "shop");
    let (storage, upgrade) = (support::open(cluster, &database), UpgradeId::new("u1").unwrap());
    storage.prepare(&upgrade).unwrap();
    let there = proving(cluster, &database);
    let _left = ours(cluster, &there, "cutover:prove-1", "BEGIN; SELECT 1;");
    let mut other = Session::start(&cluster.superuser_url(&there), "SELECT 1;");
    let waits = storage.tidy(&upgrade).unwrap_err();
    assert!(matches!(waits, StorageError::Postgres { transient: true, .. }), "{waits}");
    assert_eq!(other.ask("SELECT 1;"), "1", "it was ended");
    std::thread::scope(|scope| {
        let dropped = scope.spawn(|| storage.tidy(&upgrade));
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'DROP DATABASE%' AND pid <> pg_backend_pid()";
        support::wait_until("the server to look who is there", || cluster.sql(&database, waiting).unwrap() == "1");
        other.end();
        dropped.join().unwrap().unwrap();
    });
    assert_eq!(proving(cluster, &database), "");
}

#[test]
fn a_database_of_ours_is_dropped_whatever_autovacuum_does_there() {
    // It begins at once, and takes hours for a table of a megabyte.
    let slow = "autovacuum_naptime = 1s\nautovacuum_vacuum_cost_limit = 1\nautovacuum_vacuum_cost_delay = 100ms";
    let Some(cluster) = support::create(slow) else { return };
    cluster.sql("postgres", &format!("CREATE ROLE {ROLE} LOGIN CREATEDB PASSWORD '{PASSWORD}'")).unwrap();
    let database = support::sample(&cluster, "shop");
    let (storage, upgrade) = (support::open(&cluster, &database), UpgradeId::new("u1").unwrap());
    storage.prepare(&upgrade).unwrap();
    let there = proving(&cluster, &database);
    let rows = "CREATE TABLE vast AS SELECT n, repeat('x', 1000) FROM generate_series(1, 1000) n; DELETE FROM vast";
    cluster.sql(&there, rows).unwrap();
    let cleans = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = '{there}' AND backend_type = 'autovacuum worker' AND query LIKE '%vast%'"
    );
    support::wait_until("autovacuum to begin", || cluster.sql("postgres", &cleans).unwrap() == "1");
    storage.tidy(&upgrade).unwrap();
    assert_eq!(proving(&cluster, &database), "");
    drop(storage);
    let folder = cluster.data().parent().unwrap().parent().unwrap().to_owned();
    drop(cluster);
    std::fs::remove_dir_all(folder).unwrap();
}

/// A session whose host went down lives on in the server, and what it had begun to restore is not seen by others.
#[test]
fn a_proof_does_not_wait_for_what_an_earlier_try_left_in_the_server() {
    let Some(cluster) = support::cluster() else { return };
    let database = support::sample(cluster, "shop");
    let (storage, upgrade) = (support::open(cluster, &database), UpgradeId::new("u1").unwrap());
    storage.prepare(&upgrade).unwrap();
    let there = proving(cluster, &database);
    let task = format!("cutover:prove-{}", Digest::of(b"shop").short());
    let _left = ours(cluster, &there, &task, "BEGIN; CREATE SCHEMA shop;");
    let folder = tempfile::tempdir().unwrap();
    let (told, done) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let (item, identity) = (ledger("shop"), storage.identity().clone());
        let (upgrade, folder) = (&upgrade, folder.path());
        let ask = Secure { item: &item, storage: &identity, upgrade, folder, lossy: true, serving: false };
        told.send(storage.secure(&ask).map(|point| point.item)).unwrap();
        storage.tidy(upgrade).unwrap();
    });
    let secured = done.recv_timeout(Duration::from_secs(20)).expect("it waited for a session that nobody will end");
    assert_eq!(secured.unwrap(), ledger("shop"));
}
