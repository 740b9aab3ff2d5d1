//! The simulator is every release that there is: each starts, says its version, and records the migrations that it was measured to
//! know.
#![expect(clippy::unwrap_used, reason = "a test: what fails, fails it, and what is skipped is printed")]

mod cluster;

use cutover_ledger_simulator::release::{RELEASES, Release};
use cutover_ledger_simulator::storage::postgres::Looker;
use cutover_ledger_simulator::{seed, wire};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use toml::Table;

const PROGRAM: &str = env!("CARGO_BIN_EXE_numary");

/// The facts that the coordinator goes by, which nobody made from the simulator's data.
fn facts() -> Vec<Table> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../coordinator/core/src/catalogue/releases.toml");
    let facts: Table = toml::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    facts["release"].as_array().unwrap().iter().map(|release| release.as_table().unwrap().clone()).collect()
}

fn highest(facts: &Table, driver: &str) -> Option<i64> {
    facts.get(driver).and_then(toml::Value::as_integer)
}

fn command(release: &Release, home: &Path, url: Option<&str>) -> Command {
    let mut command = Command::new(PROGRAM);
    command.env_clear().env("HOME", home).env("NUMARY_SIM_RELEASE", &release.version).env("NUMARY_SIM_NO_SLEEP", "1");
    if let Some(url) = url {
        command.env("NUMARY_STORAGE_DRIVER", "postgres").env("NUMARY_STORAGE_POSTGRES_CONN_STRING", url);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

struct Server(Child, String);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn serve(release: &Release, home: &Path, url: Option<&str>) -> Server {
    let address = cutover_trial_postgres::free_address().unwrap().to_string();
    let mut command = command(release, home, url);
    command.args(["server", "start", &format!("--server.http.bind_address={address}")]).stdout(Stdio::null());
    let server = Server(command.spawn().unwrap(), address);
    for _ in 0..2000 {
        if wire::request(&server.1, "GET", "/_info", None).is_ok() {
            return server;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("{} does not answer within 10 s", release.version);
}

/// Starts a release, writes and reads, and returns nothing: what it left is looked at by the caller.
fn writes(release: &Release, home: &Path, url: Option<&str>, ledger: &str) {
    std::fs::create_dir_all(home.join(".numary")).unwrap();
    let said = command(release, home, url).arg("version").output().unwrap();
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.contains(&format!("Version: {} \n", release.version)), "{said}");
    let server = serve(release, home, url);
    let post = |path: &str, body: &str| {
        let reply = wire::request(&server.1, "POST", &format!("/{ledger}/{path}"), Some(body)).unwrap();
        assert!(reply.status < 300, "{} {path}: {} {}", release.version, reply.status, reply.body);
    };
    post("transactions", r#"{"postings":[{"source":"world","destination":"bank","amount":100,"asset":"USD/2"}]}"#);
    post("transactions", r#"{"postings":[{"source":"bank","destination":"users:1","amount":30,"asset":"USD/2"}]}"#);
    post("transactions/0/metadata", r#"{"a":1}"#);
    post("accounts/bank/metadata", r#"{"tier":"gold"}"#);
    let get = |path: &str| wire::request(&server.1, "GET", &format!("/{ledger}/{path}"), None).unwrap();
    let stats = get("stats").json();
    assert_eq!(stats["data"], serde_json::json!({ "transactions": 2, "accounts": 3 }), "{}", release.version);
    let bank = get("accounts/bank").json();
    assert_eq!(bank["data"]["balances"]["USD/2"], 70, "{} {bank}", release.version);
    assert_eq!(bank["data"]["metadata"]["tier"], "gold", "{} {bank}", release.version);
    let first = get("transactions/0").json();
    assert_eq!(first["data"]["metadata"]["a"], 1, "{} {first}", release.version);
    let info = wire::request(&server.1, "GET", "/_info", None).unwrap().json();
    assert_eq!(info["data"]["version"], release.version.as_str());
}

/// The numbers from 0 to the highest, as text; without any, the release keeps no such table.
fn numbers(highest: Option<i64>) -> Option<String> {
    highest.map(|highest| (0..=highest).map(|number| number.to_string()).collect::<Vec<_>>().join(","))
}

/// All releases, a few at once.
fn each(look: impl Fn(&Release, &Table) + Sync) {
    let (next, facts) = (AtomicUsize::new(0), facts());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some(facts) = facts.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let version = facts["version"].as_str().unwrap();
                    look(Release::find(version).unwrap_or_else(|| panic!("no release {version}")), facts);
                }
            });
        }
    });
}

#[test]
fn every_release_of_the_catalogue_is_there_with_its_day_and_its_migrations() {
    assert_eq!(facts().len(), RELEASES.len());
    for facts in facts() {
        let release = Release::find(facts["version"].as_str().unwrap()).unwrap();
        assert_eq!(release.date, facts["date"].as_str().unwrap());
        for (driver, known) in [("sqlite", &release.sqlite.migrations), ("postgres", &release.postgres.migrations)] {
            let highest = release.records_migrations.then(|| i64::try_from(known.len()).unwrap() - 1);
            assert_eq!(highest, self::highest(&facts, driver), "{} {driver}", release.version);
        }
    }
}

#[test]
fn every_release_starts_and_writes_on_sqlite_and_records_its_migrations() {
    let dir = tempfile::tempdir().unwrap();
    each(|release, facts| {
        let home = dir.path().join(&release.version);
        writes(release, &home, None, "shop");
        let file = rusqlite::Connection::open(home.join(".numary/data/numary_shop.db")).unwrap();
        let recorded = file
            .query_row(
                "SELECT group_concat(version) FROM (SELECT version FROM migrations ORDER BY CAST(version AS INTEGER))",
                [],
                |row| row.get::<_, String>(0),
            )
            .ok();
        assert_eq!(recorded, numbers(highest(facts, "sqlite")), "{}", release.version);
    });
}

#[test]
fn every_release_starts_and_writes_on_postgresql_and_records_its_migrations() {
    let Some(trial) = cluster::trial() else { return };
    let dir = tempfile::tempdir().unwrap();
    // A database each: ledgers of 1.4.x that are made at once collide in `public`.
    each(|release, facts| {
        let database = format!("r{}", release.version.replace('.', "_"));
        let mut superuser = Looker::connect(&trial.cluster.superuser_url("postgres")).unwrap();
        superuser.run(&format!("CREATE DATABASE {database}")).unwrap();
        let url = trial.cluster.superuser_url(&database);
        writes(release, &dir.path().join(&release.version), Some(&url), "shop");
        let sql = "SELECT string_agg(version, ',' ORDER BY version::int) FROM shop.migrations";
        let recorded = Looker::connect(&url).unwrap().value(sql).ok();
        assert_eq!(recorded, numbers(highest(facts, "postgres")), "{}", release.version);
    });
}

/// The database's lock stands in for redis.
#[test]
fn from_1_10_11_the_redis_lock_lets_two_instances_write() {
    let Some(trial) = cluster::trial() else { return };
    for (version, works) in [("1.10.10", false), ("1.10.11", true), ("1.12.0", true)] {
        let dir = tempfile::tempdir().unwrap();
        let database = format!("redis{}", version.replace('.', "_"));
        let mut superuser = Looker::connect(&trial.cluster.superuser_url("postgres")).unwrap();
        superuser.run(&format!("CREATE DATABASE {database}")).unwrap();
        let url = trial.cluster.superuser_url(&database);
        let release = Release::find(version).unwrap();
        std::fs::create_dir(dir.path().join(".numary")).unwrap();
        std::fs::write(dir.path().join(".numary/numary.yaml"), "lock-strategy: redis\n").unwrap();
        let both = [serve(release, dir.path(), Some(&url)), serve(release, dir.path(), Some(&url))];
        let body = r#"{"postings":[{"source":"world","destination":"bank","amount":1,"asset":"USD/2"}]}"#;
        let post = |server: &Server| wire::request(&server.1, "POST", "/shop/transactions", Some(body)).unwrap().status;
        let statuses: Vec<u16> = (0..4).flat_map(|_| both.iter().map(post)).collect();
        assert_eq!(statuses.iter().all(|status| *status == 200), works, "{version} {statuses:?}");
    }
}

#[test]
fn a_storage_can_be_seeded_as_any_release_would_have_written_it() {
    let Some(trial) = cluster::trial() else { return };
    let url = trial.cluster.superuser_url("postgres");
    let shape = seed::Shape { transactions: 700, accounts: 70, metadata_every: 10 };
    for version in ["1.2.1", "1.4.0", "1.4.6", "1.7.3", "1.9.6"] {
        let release = Release::find(version).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join(".numary/data");
        std::fs::create_dir_all(&data).unwrap();
        seed::direct_as(version, &data.join("numary_shop.db"), shape).unwrap();
        let ledger = format!("r{}", version.replace('.', "_"));
        seed::direct_postgres_as(version, &url, &ledger, shape).unwrap();
        for (url, ledger) in [(None, "shop"), (Some(url.as_str()), ledger.as_str())] {
            let server = serve(release, dir.path(), url);
            let stats = wire::request(&server.1, "GET", &format!("/{ledger}/stats"), None).unwrap().json();
            assert_eq!(stats["data"], serde_json::json!({ "transactions": 700, "accounts": 71 }), "{version}");
            let last = wire::request(&server.1, "GET", &format!("/{ledger}/transactions/690"), None).unwrap().json();
            assert_eq!(last["data"]["metadata"]["order"], "o690", "{version} {last}");
            assert_eq!(last["data"]["timestamp"], "2022-01-01T00:11:30Z", "{version} {last}");
        }
    }
    assert!(seed::direct_as("9.9.9", Path::new("numary_shop.db"), shape).is_err());
}
