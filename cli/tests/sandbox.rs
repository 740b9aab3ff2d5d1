//! The sandbox as a person runs it: real processes, real sockets, the simulator beside the program under test.
#![cfg(feature = "all-in-one")]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests, which fail by panicking")]

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

const PROGRAM: &str = env!("CARGO_BIN_EXE_cutover");
/// Longer than any wait here may take on a busy machine.
const DEADLINE: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(20);

/// Whether the simulator lies beside the program: it does in a build of the workspace. Where it does not, the test is
/// skipped, and with `CI=true` it fails instead.
fn simulator() -> bool {
    let there = ["numary", "pack-release"].iter().all(|name| Path::new(PROGRAM).with_file_name(name).is_file());
    if !there {
        let hint = "build it first: cargo build -p cutover-ledger-simulator";
        assert!(std::env::var("CI").as_deref() != Ok("true"), "the simulator is not built; {hint}");
        let _ = std::io::Write::write_fmt(
            &mut std::io::stderr(),
            format_args!("SKIPPED the simulator is not built; {hint}\n"),
        );
    }
    there
}

fn sandbox(args: &[&str], temp: &Path) -> Output {
    let mut command = Command::new(PROGRAM);
    command.arg("sandbox").args(args).env("TMPDIR", temp).env("USER", "tester").env("NO_COLOR", "1");
    command.stdin(Stdio::null()).output().unwrap()
}

fn json(output: &Output) -> Value {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let mut lines = text.lines().filter(|line| !line.starts_with("{\"event\""));
    let value = serde_json::from_str(lines.next().unwrap()).unwrap();
    assert_eq!(lines.next(), None, "one answer, and nothing else");
    value
}

/// Processes whose program or last argument lies below a folder.
fn processes_below(dir: &Path) -> Vec<PathBuf> {
    let dir = dir.canonicalize().unwrap();
    let below = |entry: std::fs::DirEntry| {
        let program = std::fs::read_link(entry.path().join("exe")).ok()?;
        let line = std::fs::read_to_string(entry.path().join("cmdline")).ok()?;
        let last = line.split('\0').rfind(|part| !part.is_empty()).unwrap_or_default();
        // A server's postmaster names its data directory last.
        (program.starts_with(&dir) || Path::new(last).starts_with(&dir)).then(|| entry.path())
    };
    std::fs::read_dir("/proc").unwrap().flatten().filter_map(below).collect()
}

fn nothing_is_left(temp: &Path) {
    let left: Vec<_> = std::fs::read_dir(temp).unwrap().flatten().map(|entry| entry.path()).collect();
    assert_eq!(left, Vec::<PathBuf>::new(), "a folder was left");
    assert_eq!(processes_below(temp), Vec::<PathBuf>::new(), "a process was left");
}

#[test]
fn an_approved_upgrade_ends_done_with_every_acknowledged_write_there_exactly_once() {
    if !simulator() {
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    let output = sandbox(&["--yes", "--json", "--transactions", "60"], temp.path());
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
    let summary = json(&output);
    assert_eq!(summary["version_before"], "1.3.1");
    assert_eq!(summary["version_after"], "1.4.6");
    assert_eq!(summary["simulated"], true);
    assert!(summary["downtime"].as_u64().unwrap() > 0);
    assert!(summary["writes"]["acknowledged"].as_u64().unwrap() >= 20);
    assert_eq!(summary["writes"]["missing"], serde_json::json!([]));
    assert_eq!(summary["writes"]["doubled"], serde_json::json!([]));
    assert_eq!(summary["approval"]["by"], "tester");
    for ledger in summary["status"]["ledgers"].as_array().unwrap() {
        assert_eq!(ledger["lost"]["count"], 3, "both known classes, and nothing else: {ledger}");
    }
    for ledger in summary["ledgers"].as_array().unwrap() {
        assert_eq!(ledger["after"], ledger["expected"]);
    }
    nothing_is_left(temp.path());
}

#[test]
fn without_approval_nothing_is_touched_and_nothing_is_left() {
    if !simulator() {
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    let output = sandbox(&["--transactions", "9"], temp.path());
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert!(text.starts_with("SIMULATED 1.4.6 "), "{text}");
    assert!(text.contains("The migration would lose 9 rows"), "{text}");
    assert!(text.ends_with(&format!("    {PROGRAM} sandbox --transactions 9 --yes\n")), "{text}");
    nothing_is_left(temp.path());
}

#[test]
fn several_instances_on_sqlite_are_blocked() {
    if !simulator() {
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    let output = sandbox(&["--instances", "2", "--yes", "--transactions", "9"], temp.path());
    assert_eq!(output.status.code(), Some(4), "{}", String::from_utf8_lossy(&output.stdout));
    nothing_is_left(temp.path());
}

#[test]
fn three_coordinators_on_one_etcd_lead_an_upgrade_to_its_end_and_nothing_of_them_is_left() {
    if !simulator() {
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("box");
    let args = ["--coordinators", "3", "--yes", "--json", "--transactions", "60", "--dir", dir.to_str().unwrap()];
    let output = sandbox(&args, temp.path());
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
    let summary = json(&output);
    assert_eq!(summary["version_after"], "1.4.6");
    assert_eq!(summary["writes"]["missing"], serde_json::json!([]));
    let log = std::fs::read_to_string(dir.join("cutover.log")).unwrap();
    // With the one that leads too, where it came before the election was over.
    assert!(log.matches("an agent stands by").count() >= 2, "the agent is linked to both who follow:\n{log}");
    assert_eq!(processes_below(temp.path()), Vec::<PathBuf>::new(), "a process was left");
    // It is gone on with on the same facts, led by whoever is first.
    let args = ["resume", "--json", "--dir", dir.to_str().unwrap()];
    let again = json(&sandbox(&args, temp.path()));
    assert_eq!(again["status"]["id"], summary["status"]["id"]);
    assert!(again["status"]["id"].is_string(), "{again}");
    assert_eq!(processes_below(temp.path()), Vec::<PathBuf>::new(), "a process was left");
}

#[test]
fn several_coordinators_without_an_etcd_are_refused_with_how_to_get_one() {
    let temp = tempfile::tempdir().unwrap();
    let mut command = Command::new(PROGRAM);
    command.args(["sandbox", "--coordinators", "3"]).env("TMPDIR", temp.path()).env("USER", "tester");
    let output = command.env("PATH", temp.path()).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("etcd is not in PATH") && said.contains("etcd-server"), "{said}");
    nothing_is_left(temp.path());
}

/// Whether PostgreSQL is installed; skipped and failed as above.
fn postgres() -> bool {
    let Err(missing) = cutover_trial_postgres::Programs::find() else { return true };
    assert!(std::env::var("CI").as_deref() != Ok("true"), "a test cannot run in CI: {missing}");
    let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("SKIPPED {missing}\n"));
    false
}

/// A folder that the user `postgres` may pass through.
fn enterable() -> tempfile::TempDir {
    let temp = tempfile::tempdir().unwrap();
    std::fs::set_permissions(temp.path(), std::os::unix::fs::PermissionsExt::from_mode(0o711)).unwrap();
    temp
}

#[test]
fn three_hosts_on_one_postgres_are_upgraded_under_clients_that_lose_nothing() {
    if !simulator() || !postgres() {
        return;
    }
    let temp = enterable();
    let args = ["--storage", "postgres", "--instances", "3", "--yes", "--json", "--transactions", "60"];
    let output = sandbox(&args, temp.path());
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{}{said}", String::from_utf8_lossy(&output.stdout));
    let summary = json(&output);
    let instances = summary["instances"].as_array().unwrap();
    assert_eq!(instances.len(), 3);
    for instance in instances {
        assert_eq!((&instance["before"], &instance["after"]), (&"1.3.1".into(), &"1.4.6".into()), "{instance}");
    }
    assert!(summary["storage"].as_str().unwrap().starts_with("PostgreSQL at 127.0.0.1:"));
    assert_eq!(summary["writes"]["missing"], serde_json::json!([]));
    assert_eq!(summary["writes"]["doubled"], serde_json::json!([]));
    assert!(summary["writes"]["acknowledged"].as_u64().unwrap() >= 20);
    assert!(summary["downtime"].as_u64().unwrap() > 0);
    nothing_is_left(temp.path());
}

#[test]
fn a_killed_sandbox_on_postgres_is_found_gone_on_with_and_cleaned() {
    if !simulator() || !postgres() {
        return;
    }
    let temp = enterable();
    let dir = temp.path().join("box");
    let log = temp.path().join("output");
    let mut child = Command::new(PROGRAM)
        .args(["sandbox", "--storage", "postgres", "--instances", "2", "--yes", "--transactions", "60", "--dir"])
        .arg(&dir)
        .env("USER", "tester")
        .stdin(Stdio::null())
        .stdout(std::fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    wait_until("the upgrade drains", || std::fs::read_to_string(&log).unwrap().contains("drain: "));
    child.kill().unwrap();
    child.wait().unwrap();

    let output = sandbox(&["resume", "--json", "--dir", dir.to_str().unwrap()], temp.path());
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{}{said}", String::from_utf8_lossy(&output.stdout));
    let summary = json(&output);
    assert_eq!(summary["version_after"], "1.4.6");
    assert_eq!(summary["writes"]["missing"], serde_json::json!([]));

    let server = dir.join("postgres/data/postmaster.pid");
    assert!(!server.exists(), "the server was left");
    let mut child = Command::new(PROGRAM)
        .args(["sandbox", "resume", "--dir", dir.to_str().unwrap()])
        .env("USER", "tester")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    wait_until("the server runs again", || server.exists());
    child.kill().unwrap();
    child.wait().unwrap();
    let cleaned = sandbox(&["clean", "--dir", dir.to_str().unwrap()], temp.path());
    assert_eq!(cleaned.status.code(), Some(0), "{}", String::from_utf8_lossy(&cleaned.stderr));
    assert!(!dir.exists());
    assert_eq!(processes_below(temp.path()), Vec::<PathBuf>::new(), "a process was left");
}

#[test]
fn ctrl_c_stops_at_a_safe_point_and_resume_goes_on_to_the_end() {
    if !simulator() {
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("box");
    let log = temp.path().join("output");
    let mut child = Command::new(PROGRAM)
        .args(["sandbox", "--yes", "--transactions", "600", "--dir"])
        .arg(&dir)
        .env("USER", "tester")
        .stdin(Stdio::null())
        .stdout(std::fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    wait_until("the upgrade drains", || std::fs::read_to_string(&log).unwrap().contains("drain: "));
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(5), "{}", std::fs::read_to_string(&log).unwrap());
    let said = std::fs::read_to_string(&log).unwrap();
    assert!(said.contains("/cutover sandbox resume --dir "), "{said}");

    let output = sandbox(&["resume", "--json", "--dir", dir.to_str().unwrap()], temp.path());
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
    let summary = json(&output);
    assert_eq!(summary["version_after"], "1.4.6");
    assert_eq!(summary["writes"]["missing"], serde_json::json!([]));
    assert_eq!(processes_below(&dir), Vec::<PathBuf>::new(), "a process was left");

    let cleaned = sandbox(&["clean", "--dir", dir.to_str().unwrap()], temp.path());
    assert_eq!(cleaned.status.code(), Some(0));
    assert!(!dir.exists());
}

fn wait_until(what: &str, reached: impl Fn() -> bool) {
    for _ in 0..(DEADLINE.as_millis() / LOOK.as_millis()) {
        if reached() {
            return;
        }
        std::thread::sleep(LOOK);
    }
    panic!("waited {} s until {what}", DEADLINE.as_secs());
}
