//! What only the simulator has, on PostgreSQL: seeding and switches for faults.
#![expect(clippy::unwrap_used, reason = "a test: what fails, fails it, and what is skipped is printed")]

mod cluster;

use cluster::{Trial, trial};
use cutover_ledger_simulator::storage::postgres::Looker;
use cutover_ledger_simulator::{pack, seed, wire};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_numary");

/// A host with both releases installed, and a server.
struct Host {
    trial: Trial,
    dir: TempDir,
}

impl Host {
    fn new() -> Option<Self> {
        let trial = trial()?;
        let dir = tempfile::tempdir().unwrap();
        for version in ["1.3.1", "1.4.6"] {
            pack::install(Path::new(PROGRAM), version, &dir.path().join(version)).unwrap();
        }
        std::fs::create_dir(dir.path().join("data")).unwrap();
        Some(Self { trial, dir })
    }

    fn url(&self) -> String {
        self.trial.cluster.superuser_url("postgres")
    }

    fn seed(&self, ledger: &str, transactions: u64, metadata_every: u64) {
        let shape = seed::Shape { transactions, accounts: 70, metadata_every };
        seed::direct_postgres(&self.url(), ledger, shape).unwrap();
    }

    fn command(&self, version: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.dir.path().join(version));
        command.env_clear().env("HOME", self.dir.path()).env("NUMARY_STORAGE_DIR", self.dir.path().join("data"));
        command.env("NUMARY_STORAGE_DRIVER", "postgres").env("NUMARY_STORAGE_POSTGRES_CONN_STRING", self.url());
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn upgrade(&self, ledger: &str) -> Output {
        self.command("1.4.6", &["storage", "upgrade", ledger]).output().unwrap()
    }

    fn switch(&self, lines: &str) {
        std::fs::write(self.dir.path().join("data/.numary-sim.env"), lines).unwrap();
    }

    fn value(&self, sql: &str) -> String {
        Looker::connect(&self.url()).unwrap().value(sql).unwrap()
    }

    fn has_log(&self, ledger: &str) -> bool {
        self.value(&format!("SELECT to_regclass('{ledger}.log') IS NOT NULL")) == "t"
    }

    /// Sessions of commands that do something, `condition` being part of the question.
    fn busy(&self, condition: &str) -> bool {
        let others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
        let sessions = format!("SELECT count(*) {others} AND backend_type = 'client backend' AND {condition}");
        self.value(&sessions) != "0"
    }

    fn serve(&self, version: &str) -> Server {
        let address = cutover_trial_postgres::free_address().unwrap().to_string();
        let bind = format!("--server.http.bind_address={address}");
        let mut command = self.command(version, &["server", "start", &bind]);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        wait_until("the server answers", || wire::request(&address, "GET", "/_info", None).is_ok());
        Server { child, address }
    }
}

struct Server {
    child: Child,
    address: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    for _ in 0..2000 {
        if condition() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("{what}: not within 20 s");
}

#[test]
fn a_schema_seeded_directly_is_one_that_the_release_reads_and_migrates() {
    let Some(host) = Host::new() else { return };
    host.seed("shop", 1000, 10);
    let server = host.serve("1.3.1");
    let stats = wire::request(&server.address, "GET", "/shop/stats", None).unwrap();
    assert_eq!(stats.body, "{\"data\":{\"transactions\":1000,\"accounts\":71}}");
    let output = host.upgrade("shop");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(host.value("SELECT count(*) FROM shop.log"), "1100");
}

#[test]
fn the_same_shape_gives_the_same_rows_in_a_file_and_in_a_schema() {
    let Some(host) = Host::new() else { return };
    host.seed("shop", 50, 2);
    let file = host.dir.path().join("shop.db");
    seed::direct(&file, seed::Shape { transactions: 50, accounts: 70, metadata_every: 2 }).unwrap();
    let file = rusqlite::Connection::open(file).unwrap();
    let row = "id || timestamp || coalesce(reference, '') || hash";
    let here = format!("SELECT group_concat({row}) FROM transactions");
    let here: String = file.query_row(&here, [], |row| row.get(0)).unwrap();
    assert_eq!(here, host.value(&format!("SELECT string_agg({row}, ',' ORDER BY id) FROM shop.transactions")));
    assert_eq!(host.value("SELECT count(*) FROM shop.metadata"), "25");
}

#[tokio::test]
async fn seeding_works_from_asynchronous_code() {
    let Some(trial) = trial() else { return };
    let shape = seed::Shape { transactions: 3, accounts: 1, metadata_every: 0 };
    seed::direct_postgres(&trial.cluster.superuser_url("postgres"), "shop", shape).unwrap();
    assert_eq!(trial.cluster.sql("postgres", "SELECT count(*) FROM shop.metadata").unwrap(), "0");
}

#[test]
fn seeding_over_http_knows_what_migrating_loses_on_postgresql() {
    let Some(host) = Host::new() else { return };
    let server = host.serve("1.3.1");
    let seeded = seed::over_http(&server.address, "shop", 60).unwrap();
    assert_eq!(seeded.lost_by_migrating.len(), 3);
    assert!(host.upgrade("shop").status.success());
    let lost = "SELECT string_agg(name, ',' ORDER BY name) FROM (
        SELECT lower(data ->> 'targetType') || ' ' || (data ->> 'targetId') || ' ' || key AS name
        FROM shop.log, jsonb_object_keys(data -> 'metadata') key WHERE type = 'SET_METADATA'
        EXCEPT
        SELECT 'transaction ' || id || ' ' || key FROM shop.transactions, jsonb_object_keys(metadata) key
        EXCEPT
        SELECT 'account ' || address || ' ' || key FROM shop.accounts, jsonb_object_keys(metadata) key) lost";
    assert_eq!(host.value(lost), seeded.lost_by_migrating.join(","));
}

#[test]
fn a_held_migration_commits_when_its_file_appears() {
    let Some(host) = Host::new() else { return };
    host.seed("shop", 20, 2);
    let go = host.dir.path().join("go");
    host.switch(&format!("NUMARY_SIM_HOLD_MIGRATION={}\n", go.display()));
    let mut child = host.command("1.4.6", &["storage", "upgrade", "shop"]).spawn().unwrap();
    wait_until("the migration waits in its transaction", || host.busy("state = 'idle in transaction'"));
    assert!(!host.has_log("shop"));
    std::fs::write(go, "").unwrap();
    assert!(child.wait().unwrap().success());
    assert!(host.has_log("shop"));
}

#[test]
fn a_failed_panicked_or_killed_migration_leaves_the_ledger_as_it_was() {
    let Some(host) = Host::new() else { return };
    host.seed("shop", 20, 2);
    for (switch, status) in [("FAIL", Some(1)), ("PANIC", Some(2)), ("KILL", None)] {
        host.switch(&format!("1.4.6:NUMARY_SIM_{switch}_MIGRATION=shop\n"));
        assert_eq!(host.upgrade("shop").status.code(), status, "{switch}");
        assert!(!host.has_log("shop"), "{switch}");
    }
    host.switch("");
    wait_until("the server to forget the killed command", || !host.busy("state <> 'idle'"));
    assert!(host.upgrade("shop").status.success());
}

#[test]
fn a_third_kind_of_loss_can_be_asked_for() {
    let Some(host) = Host::new() else { return };
    host.seed("shop", 20, 2);
    host.switch("NUMARY_SIM_DROP_METADATA=shop\nNUMARY_SIM_CHANGE_AMOUNT=shop\n");
    assert!(host.upgrade("shop").status.success());
    assert_eq!(host.value("SELECT metadata FROM shop.transactions WHERE id = 18"), "{}");
    assert_eq!(host.value("SELECT metadata FROM shop.transactions WHERE id = 16"), "{\"order\": \"o16\"}");
    let difference = "SELECT (t.postings #>> '{0,amount}')::bigint - (l.data #>> '{postings,0,amount}')::bigint
        FROM shop.transactions t, shop.log l WHERE t.id = 0 AND l.id = 0";
    assert_eq!(host.value(difference), "1");
}

/// What lanes are tested with: the time is spent in one statement of the transaction, which outlives its command.
#[test]
fn a_longer_migration_goes_on_in_the_server_when_its_command_is_killed_and_is_rolled_back() {
    let Some(host) = Host::new() else { return };
    host.seed("shop", 20, 2);
    host.switch("NUMARY_SIM_MIGRATION_MILLIS=6000\n");
    let mut child = host.command("1.4.6", &["storage", "upgrade", "shop"]).spawn().unwrap();
    wait_until("the migration takes its time", || host.busy("wait_event = 'PgSleep'"));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(host.busy("wait_event = 'PgSleep'"), "the server goes on");
    wait_until("the server ends its statement", || !host.busy("state <> 'idle'"));
    assert!(!host.has_log("shop"));
    host.switch("");
    assert!(host.upgrade("shop").status.success());
}

/// The window in which they meet is the last twentieth of the time, in which the first one stays here until the second has come.
#[test]
fn ledgers_that_take_long_and_begin_together_collide_in_the_function_they_share() {
    let Some(host) = Host::new() else { return };
    assert!(host.upgrade("before").status.success());
    for ledger in ["shop", "wallets"] {
        host.seed(ledger, 20, 2);
    }
    let go = host.dir.path().join("go");
    let hold = format!("NUMARY_SIM_HOLD_LEDGER=shop\nNUMARY_SIM_HOLD_MIGRATION={}\n", go.display());
    host.switch(&format!("NUMARY_SIM_MIGRATION_MILLIS=400\n{hold}"));
    let begin = |ledger| host.command("1.4.6", &["storage", "upgrade", ledger]).spawn().unwrap();
    let first = begin("shop");
    // It does nothing between two statements too, but for a moment.
    wait_until("the first one to stay", || host.busy("state = 'idle in transaction' AND now() - state_change > '1 s'"));
    let second = begin("wallets");
    wait_until("the second one to wait", || host.busy("wait_event_type = 'Lock'"));
    std::fs::write(go, "").unwrap();
    let both = [first, second].map(|child| child.wait_with_output().unwrap());
    let lost: Vec<&Output> = both.iter().filter(|output| output.status.code() == Some(1)).collect();
    assert_eq!(lost.len(), 1);
    let said = String::from_utf8_lossy(&lost[0].stderr);
    assert!(said.contains("tuple concurrently updated (SQLSTATE XX000)"), "{said}");
}

#[test]
fn a_storage_command_can_hang_without_a_session_or_fail() {
    let Some(host) = Host::new() else { return };
    host.switch("NUMARY_SIM_HANG_COMMAND=list\nNUMARY_SIM_FAIL_COMMAND=scan\n");
    let mut child = host.command("1.4.6", &["storage", "list"]).spawn().unwrap();
    assert_eq!(host.command("1.4.6", &["storage", "scan"]).output().unwrap().status.code(), Some(1));
    assert_eq!(child.try_wait().unwrap(), None);
    wait_until("the looks at the storage to end", || !host.busy("true"));
    child.kill().unwrap();
    child.wait().unwrap();
}
