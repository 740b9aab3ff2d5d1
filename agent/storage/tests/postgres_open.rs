//! Promises about reaching a PostgreSQL storage, on a real server.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, reason = "tests")]

#[path = "support/postgres.rs"]
mod support;

use cutover_storage::{Storage as _, StorageError};
use cutover_vocabulary::storage::StorageIdentity;
use secrecy::ExposeSecret as _;
use support::{PASSWORD, ROLE};

fn refusal(url: &str) -> (String, bool) {
    let error = support::open_url(url).unwrap_err();
    let StorageError::Postgres { transient, .. } = &error else { panic!("{error}") };
    (error.to_string(), *transient)
}

#[test]
fn a_storage_is_told_by_its_cluster_and_database_whatever_the_string_looks_like() {
    let Some(cluster) = support::cluster() else { return };
    let (one, other) = (support::database(cluster), support::database(cluster));
    let storage = support::open(cluster, &one);
    let keywords = format!("host=127.0.0.1 port={} dbname={one} user={ROLE} password='{PASSWORD}'", cluster.port());
    assert_eq!(storage.identity(), support::open_url(&keywords).unwrap().identity());
    assert_ne!(storage.identity(), support::open(cluster, &other).identity());
    let wanted = cluster.sql("postgres", "SELECT system_identifier FROM pg_control_system()").unwrap();
    assert_eq!(
        *storage.identity(),
        StorageIdentity::Postgres { system_identifier: wanted, timeline: 1, database: one }
    );
}

#[test]
fn a_refused_connection_says_what_to_do_and_whether_waiting_helps_and_never_the_password() {
    let Some(cluster) = support::cluster() else { return };
    let database = support::database(cluster);
    let wrong = refusal(&cluster.url(ROLE, "not-the-secret", &database));
    assert!(wrong.0.contains("28P01") && wrong.0.contains("check user and password") && !wrong.1, "{wrong:?}");
    assert!(!wrong.0.contains("not-the-secret"), "{wrong:?}");
    let missing = refusal(&cluster.url(ROLE, PASSWORD, "nosuch"));
    assert!(missing.0.contains("3D000") && missing.0.contains("check its name") && !missing.1, "{missing:?}");
    let closed = refusal(&format!("postgres://{ROLE}:{PASSWORD}@127.0.0.1:1/{database}"));
    assert!(closed.0.contains("can be reached from this host") && closed.1, "{closed:?}");
    for (text, _) in [wrong, missing, closed] {
        assert!(text.contains(ROLE) && !text.contains(PASSWORD), "{text}");
    }
}

#[test]
fn a_full_connection_table_is_transient() {
    let Some(cluster) = support::cluster() else { return };
    let database = support::database(cluster);
    cluster.sql("postgres", "CREATE ROLE narrow LOGIN PASSWORD 'n' CONNECTION LIMIT 0").unwrap();
    let full = refusal(&cluster.url("narrow", "n", &database));
    assert!(full.0.contains("53300") && full.0.contains("wait until some end") && full.1, "{full:?}");
}

#[test]
fn a_right_that_somebody_took_away_is_named_with_the_command_that_gives_it() {
    let Some(cluster) = support::cluster() else { return };
    let database = support::database(cluster);
    cluster.sql(&database, "REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC").unwrap();
    let denied = refusal(&cluster.url(ROLE, PASSWORD, &database));
    assert!(denied.0.contains("GRANT EXECUTE ON FUNCTION pg_control_system TO \"led\""), "{denied:?}");
}

#[test]
fn ledger_commands_get_the_database_explicitly_recognisable_and_without_time_limits() {
    let Some(cluster) = support::cluster() else { return };
    let database = support::database(cluster);
    let environment = support::open(cluster, &database).environment("order/7").unwrap();
    let get = |name: &str| {
        let found = environment.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.expose_secret().to_owned()).unwrap()
    };
    assert_eq!(get("NUMARY_STORAGE_DRIVER"), "postgres");
    let url = get("NUMARY_STORAGE_POSTGRES_CONN_STRING");
    cluster
        .sql("postgres", &format!("ALTER ROLE {ROLE} IN DATABASE {database} SET statement_timeout = '1ms'"))
        .unwrap();
    // The driver of the ledger's releases takes settings of the session as parameters of the string; libpq takes them as options.
    let settings = "statement_timeout=0&lock_timeout=0&idle_in_transaction_session_timeout=0&timezone=UTC";
    let plain = url.strip_suffix(settings).unwrap();
    let options: Vec<String> = settings.split('&').map(|setting| format!("-c {setting}")).collect();
    let said = std::process::Command::new("psql")
        .args(["-XqAt", plain])
        .args(["-c", "SELECT current_setting('application_name'), current_database() FROM pg_sleep(0.02)"])
        .env("PGOPTIONS", options.join(" "))
        .output()
        .unwrap();
    let (text, error) = (String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
    assert_eq!(text.trim(), format!("cutover:order/7|{database}"), "{error}");
}

#[test]
fn a_storage_may_be_dropped_inside_a_runtime() {
    let Some(cluster) = support::cluster() else { return };
    let storage = support::open(cluster, &support::database(cluster));
    let lock = storage.lock(None, "cutover:test").unwrap();
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async move {
        drop(lock);
        drop(storage);
    });
}
