//! What only the simulator has: packing, seeding, switches for faults.
#![expect(clippy::unwrap_used, reason = "a test: what fails, fails it, and what is skipped is printed")]

use cutover_ledger_simulator::{faults::Faults, pack, seed, trailer, wire};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_numary");

/// A host with both releases installed and a data folder.
struct Host {
    dir: TempDir,
}

impl Host {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for version in ["1.3.1", "1.4.6"] {
            pack::install(Path::new(PROGRAM), version, &dir.path().join(version)).unwrap();
        }
        std::fs::create_dir(dir.path().join("data")).unwrap();
        Self { dir }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join("data").join(name)
    }

    fn command(&self, version: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.dir.path().join(version));
        command.env_clear().env("HOME", self.dir.path()).env("NUMARY_STORAGE_DIR", self.dir.path().join("data"));
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn upgrade(&self, ledger: &str) -> Output {
        self.command("1.4.6", &["storage", "upgrade", ledger]).output().unwrap()
    }

    fn switch(&self, lines: &str) {
        std::fs::write(self.file(".numary-sim.env"), lines).unwrap();
    }

    fn serve(&self, version: &str) -> Server {
        let address = cutover_trial_postgres::free_address().unwrap().to_string();
        let bind = format!("--server.http.bind_address={address}");
        let mut command = self.command(version, &["server", "start", &bind]);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        wait_until("the server answers", || wire::request(&address, "GET", "/_info", None).is_ok());
        Server { child, address }
    }

    fn seed_old(&self, transactions: u64) -> seed::Seeded {
        let server = self.serve("1.3.1");
        let seeded = seed::over_http(&server.address, "shop", transactions).unwrap();
        server.terminate();
        seeded
    }

    fn value(&self, sql: &str) -> String {
        let file = rusqlite::Connection::open(self.file("numary_shop.db")).unwrap();
        file.query_row(sql, [], |row| row.get::<_, rusqlite::types::Value>(0))
            .map(|value| format!("{value:?}"))
            .unwrap()
    }
}

struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    fn terminate(mut self) {
        self.signal(rustix::process::Signal::TERM);
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..3000 {
        if holds() {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("not within 15 s: {what}");
}

#[test]
fn each_release_has_a_digest_of_its_own_and_packing_twice_gives_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let old = pack::pack(Path::new(PROGRAM), "1.3.1", dir.path()).unwrap();
    let new = pack::pack(Path::new(PROGRAM), "1.4.6", dir.path()).unwrap();
    assert_ne!(old.binary_digest, new.binary_digest);
    assert_eq!(pack::pack(Path::new(PROGRAM), "1.3.1", dir.path()).unwrap(), old);
    let checksums = std::fs::read_to_string(&new.checksums).unwrap();
    assert_eq!(checksums, format!("{}  numary_1.4.6_Linux-64bit.tar.gz\n", new.archive_digest));
    assert!(pack::pack(Path::new(PROGRAM), "9.9.9", dir.path()).is_err());
}

#[test]
fn a_packed_binary_can_be_packed_again_as_another_release() {
    let host = Host::new();
    let again = host.dir.path().join("again");
    pack::install(&host.dir.path().join("1.3.1"), "1.4.6", &again).unwrap();
    assert_eq!(trailer::version_of(&again).unwrap().as_deref(), Some("1.4.6"));
    assert_eq!(std::fs::read(again).unwrap(), std::fs::read(host.dir.path().join("1.4.6")).unwrap());
}

#[test]
fn without_a_trailer_it_is_a_development_build() {
    assert_eq!(trailer::version_of(Path::new(PROGRAM)).unwrap(), None);
    let host = Host::new();
    let output = Command::new(PROGRAM).arg("version").env_clear().env("HOME", host.dir.path()).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("Version: develop \n"));
}

#[test]
fn seeding_names_exactly_the_rows_that_migrating_loses() {
    let host = Host::new();
    let seeded = host.seed_old(400);
    assert_eq!(seeded.lost_by_migrating.len(), 4);
    assert_eq!(seeded.references.len(), 134);
    assert!(host.upgrade("shop").status.success());
    let lost = "SELECT group_concat(name, ',') FROM (
        SELECT m.meta_target_type || ' ' || m.meta_target_id || ' ' || m.meta_key AS name FROM metadata m
        WHERE NOT EXISTS (SELECT 1 FROM transactions t, json_each(t.metadata) j
                          WHERE m.meta_target_type = 'transaction' AND t.id = CAST(m.meta_target_id AS INTEGER) AND j.key = m.meta_key)
          AND NOT EXISTS (SELECT 1 FROM accounts a, json_each(a.metadata) j
                          WHERE m.meta_target_type = 'account' AND a.address = m.meta_target_id AND j.key = m.meta_key)
        ORDER BY 1)";
    assert_eq!(host.value(lost), format!("Text({:?})", seeded.lost_by_migrating.join(",")));
}

#[test]
fn seeding_counts_on_from_what_is_there() {
    let host = Host::new();
    host.seed_old(100);
    assert!(!host.seed_old(50).lost_by_migrating.contains(&"transaction 0 order".to_owned()));
    assert_eq!(host.value("SELECT count(*) FROM transactions"), "Integer(150)");
}

#[test]
fn a_storage_seeded_directly_is_one_that_the_release_reads_and_migrates() {
    let host = Host::new();
    let shape = seed::Shape { transactions: 1000, accounts: 70, metadata_every: 10 };
    seed::direct(&host.file("numary_shop.db"), shape).unwrap();
    let server = host.serve("1.3.1");
    let stats = wire::request(&server.address, "GET", "/shop/stats", None).unwrap();
    assert_eq!(stats.body, "{\"data\":{\"transactions\":1000,\"accounts\":71}}");
    server.terminate();
    let output = host.upgrade("shop");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(host.value("SELECT count(*) FROM log"), "Integer(1100)");
}

#[test]
fn a_held_migration_commits_when_its_file_appears() {
    let host = Host::new();
    host.seed_old(20);
    let go = host.dir.path().join("go");
    host.switch(&format!("NUMARY_SIM_HOLD_MIGRATION={}\n", go.display()));
    let mut child = host.command("1.4.6", &["storage", "upgrade", "shop"]).spawn().unwrap();
    let wal = host.file("numary_shop.db-wal");
    wait_until("the migration holds its lock", || {
        child.try_wait().unwrap().is_none() && wal.exists() && {
            let other = rusqlite::Connection::open(host.file("numary_shop.db")).unwrap();
            other.busy_timeout(Duration::ZERO).unwrap();
            other.execute_batch("BEGIN IMMEDIATE").is_err()
        }
    });
    assert_eq!(host.value("SELECT count(*) FROM sqlite_master WHERE name = 'log'"), "Integer(0)");
    std::fs::write(go, "").unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(host.value("SELECT count(*) FROM sqlite_master WHERE name = 'log'"), "Integer(1)");
}

#[test]
fn a_failed_panicked_or_killed_migration_leaves_the_ledger_as_it_was() {
    let host = Host::new();
    host.seed_old(20);
    for (switch, status) in [("FAIL", Some(1)), ("PANIC", Some(2)), ("KILL", None)] {
        host.switch(&format!("1.4.6:NUMARY_SIM_{switch}_MIGRATION=shop\n"));
        assert_eq!(host.upgrade("shop").status.code(), status, "{switch}");
        assert_eq!(host.value("SELECT count(*) FROM sqlite_master WHERE name = 'log'"), "Integer(0)");
    }
    host.switch("");
    assert!(host.upgrade("shop").status.success());
}

#[test]
fn a_third_kind_of_loss_can_be_asked_for() {
    let host = Host::new();
    host.seed_old(20);
    host.switch("NUMARY_SIM_DROP_METADATA=shop\nNUMARY_SIM_CHANGE_AMOUNT=shop\n");
    assert!(host.upgrade("shop").status.success());
    let keys = "SELECT count(*) FROM transactions t, json_each(t.metadata) WHERE t.id = 16";
    assert_eq!(host.value(keys), "Integer(2)", "three keys were written");
    assert_eq!(
        host.value(
            "SELECT sum(json_extract(t.postings, '$[0].amount')) - sum(amount) FROM transactions t
         JOIN postings p ON p.txid = t.id AND p.source = json_extract(t.postings, '$[0].source')
          AND p.destination = json_extract(t.postings, '$[0].destination')"
        ),
        "Integer(1)"
    );
}

#[test]
fn a_server_can_ignore_sigterm_die_at_start_or_never_listen() {
    let host = Host::new();
    host.switch("1.3.1:NUMARY_SIM_IGNORE_SIGTERM=1\n1.4.6:NUMARY_SIM_DIE_AT_START=3\n");
    let server = host.serve("1.3.1");
    server.signal(rustix::process::Signal::TERM);
    assert_eq!(wire::request(&server.address, "GET", "/_info", None).unwrap().status, 200);
    let died = host.command("1.4.6", &["server", "start"]).output().unwrap();
    assert_eq!(died.status.code(), Some(3));
}

#[test]
fn a_storage_command_can_hang_or_fail() {
    let host = Host::new();
    host.switch("NUMARY_SIM_HANG_COMMAND=list\nNUMARY_SIM_FAIL_COMMAND=scan\n");
    let mut child = host.command("1.4.6", &["storage", "list"]).spawn().unwrap();
    assert_eq!(host.command("1.4.6", &["storage", "scan"]).output().unwrap().status.code(), Some(1));
    assert_eq!(child.try_wait().unwrap(), None);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn switches_for_another_release_are_not_read() {
    let host = Host::new();
    host.switch("1.3.1:NUMARY_SIM_IGNORE_SIGTERM=1\n");
    assert!(!Faults::read("1.4.6", &host.dir.path().join("data")).ignores_sigterm());
    assert!(Faults::read("1.3.1", &host.dir.path().join("data")).ignores_sigterm());
}

#[test]
fn a_full_disk_behind_its_output_does_not_end_it() {
    let host = Host::new();
    let full = || std::fs::File::create("/dev/full").unwrap();
    let status = host.command("1.4.6", &["version"]).stdout(full()).stderr(full()).status().unwrap();
    assert_eq!(status.code(), Some(0));
}
