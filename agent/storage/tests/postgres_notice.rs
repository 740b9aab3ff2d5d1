//! Promises about what a survey of a PostgreSQL storage notices beside its ledgers: what sessions begin with, and damage that
//! was done before. On a real server.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, reason = "tests")]

#[path = "support/postgres.rs"]
mod support;

use cutover_storage::Storage as _;
use cutover_storage::storage::Look;
use cutover_trial_postgres::Cluster;
use cutover_vocabulary::storage::DamageKind;
use cutover_vocabulary::survey::StorageSurvey;
use std::path::Path;
use support::{MIGRATE, MIGRATE_FURTHER, ROLE, SAMPLE, SPLIT, run};

fn survey(url: &str) -> StorageSurvey {
    let folder = Path::new("/tmp");
    let look = Look { own: &[], unseen_users: &[], exceptions: &[], recovery: folder, scratch: folder };
    support::open_url(url).unwrap().survey(&look).unwrap()
}

/// A role of this database's own that may do what the ledger's may.
fn role(cluster: &Cluster, database: &str, name: &str, more: &str) -> String {
    let role = format!("{database}_{name}");
    let sql = format!("CREATE ROLE {role} LOGIN PASSWORD '{role}'; GRANT {ROLE} TO {role}; {more}");
    cluster.sql(database, &sql.replace("{R}", &role).replace("{D}", database)).unwrap();
    role
}

/// Name, value and source of what sessions begin with, by this connection string.
fn settings(url: &str) -> Vec<(String, String, String)> {
    let settings = survey(url).session_settings.into_iter();
    settings.map(|setting| (setting.name, setting.value, setting.source)).collect()
}

fn is(found: &[(String, String, String)], name: &str, value: &str, source: &str) -> bool {
    found.iter().any(|(n, v, s)| (n.as_str(), v.as_str(), s.as_str()) == (name, value, source))
}

#[test]
fn what_a_role_and_a_database_set_for_a_session_is_told_with_who_set_it() {
    let Some(cluster) = support::cluster() else { return };
    let database = support::sample(cluster, "shop");
    let plain = role(cluster, &database, "plain", "");
    let found = settings(&cluster.url(&plain, &plain, &database));
    let [(name, _, source)] = found.as_slice() else { panic!("no limit is set: {found:?}") };
    assert_eq!(
        (name.as_str(), source.as_str()),
        ("TimeZone", "configuration file"),
        "initdb wrote the host's own zone"
    );

    let limited = role(
        cluster,
        &database,
        "limited",
        "ALTER ROLE {R} SET statement_timeout = '1ms'; ALTER ROLE {R} SET lock_timeout = '9s'; \
         ALTER ROLE {R} IN DATABASE {D} SET lock_timeout = '2s'; ALTER DATABASE {D} SET lock_timeout = '3s'; \
         ALTER DATABASE {D} SET idle_in_transaction_session_timeout = '4s'; ALTER DATABASE {D} SET timezone = 'Asia/Tokyo'",
    );
    let url = cluster.url(&limited, &limited, &database);
    let found = settings(&url);
    assert!(is(&found, "TimeZone", "Asia/Tokyo", "database"), "{found:?}");
    assert!(is(&found, "statement_timeout", "1 ms", "user"), "{found:?}");
    assert!(is(&found, "lock_timeout", "2000 ms", "database user"), "{found:?}");
    assert!(is(&found, "idle_in_transaction_session_timeout", "4000 ms", "database"), "{found:?}");
    assert_eq!(found.len(), 4, "{found:?}");

    let asking = settings(&format!("{url}?timezone=Europe/Paris&lock_timeout=0"));
    assert!(is(&asking, "TimeZone", "Europe/Paris", "client"), "the connection string is stronger: {asking:?}");
    assert!(!asking.iter().any(|(name, _, _)| name == "lock_timeout"), "{asking:?}");
}

/// A ledger in the new layout, migrated in a session of this time zone, and then changed by this.
fn migrated(cluster: &Cluster, zone: &str, change: &str) -> String {
    let database = support::database(cluster);
    for sql in [SPLIT, SAMPLE, MIGRATE] {
        run(cluster, &database, "shop", sql);
    }
    run(cluster, &database, "shop", &format!("SET timezone = '{zone}'; {}", without_zones(MIGRATE_FURTHER)));
    run(cluster, &database, "shop", change);
    database
}

/// The ledger's releases write times with a `Z`; its migration reads them as local times all the same, which a cast of such a
/// text does not.
fn without_zones(sql: &str) -> String {
    sql.replace("USING timestamp::timestamptz", "USING replace(timestamp, 'Z', '')::timestamp::timestamptz")
}

fn damage(cluster: &Cluster, database: &str) -> Vec<(DamageKind, u64, String)> {
    let survey = survey(&cluster.url(ROLE, support::PASSWORD, database));
    let [ledger] = survey.ledgers.as_slice() else { panic!("{:?}", survey.ledgers) };
    ledger.damage.iter().map(|(kind, damage)| (*kind, damage.count, damage.some[0].clone())).collect()
}

/// Disaster 9.
#[test]
fn a_storage_whose_times_shifted_shows_it_row_by_row() {
    let Some(cluster) = support::cluster() else { return };
    assert_eq!(damage(cluster, &migrated(cluster, "UTC", "SELECT 1")), []);
    let found = damage(cluster, &migrated(cluster, "Asia/Tokyo", "SELECT 1"));
    let [(DamageKind::Times, 3, first)] = found.as_slice() else { panic!("{found:?}") };
    assert!(
        first.contains("log says 2026-11-23T14:12:58Z") && first.contains("transactions say 2026-11-23T05:12:58Z"),
        "{first}"
    );
}

/// Disaster 10: acknowledged again and again under one id, and nothing but `log` has it.
#[test]
fn transactions_that_only_the_log_has_are_counted() {
    let Some(cluster) = support::cluster() else { return };
    let entry = "INSERT INTO {L}.log SELECT 100 + n, 'NEW_TRANSACTION', 'x', now(), jsonb_build_object('txid', 3, 'postings', \
                 '[{\"amount\": 5, \"asset\": \"USD/2\", \"source\": \"world\", \"destination\": \"bank\"}]'::jsonb, 'reference', '', \
                 'timestamp', '2026-11-23T15:01:33Z', 'metadata', '{}'::jsonb) FROM generate_series(1, 10) n";
    let found = damage(cluster, &migrated(cluster, "UTC", entry));
    let [(DamageKind::OnlyInLog, 10, first)] = found.as_slice() else { panic!("{found:?}") };
    assert!(first.starts_with("transaction 3: log says") && first.ends_with("transactions say nothing"), "{first}");
}

/// Disaster 11; and one damaged balance does not hide behind many shifted times.
#[test]
fn damage_of_two_kinds_is_told_apart() {
    let Some(cluster) = support::cluster() else { return };
    let change = "UPDATE {L}.volumes SET input = 1 WHERE account = 'bank' AND asset = 'USD/2'";
    let found = damage(cluster, &migrated(cluster, "Asia/Tokyo", change));
    let kinds: Vec<_> = found.iter().map(|(kind, count, _)| (*kind, *count)).collect();
    assert_eq!(kinds, [(DamageKind::Times, 3), (DamageKind::Balances, 1)]);
    assert!(found[1].2.contains("bank") && found[1].2.contains("postings add up to"), "{found:?}");
}
