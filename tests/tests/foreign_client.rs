//! Internal tooling in another language: a Python client that has nothing but the .proto files (`tests/python`) plans, approves,
//! starts, watches and decides, against the real coordinator, agent, workers and simulator of the ledger.

use cutover_tests::checks::check_facts;
use cutover_tests::house::{House, Plan, skipped};
use cutover_tests::until;
use cutover_vocabulary::Recorded;
use cutover_vocabulary::fact::Fact;
use cutover_vocabulary::hold::Choice;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// A Python that can speak gRPC: Debian's packages belong to its own, which need not be the first on the path. Or what is missing.
fn python() -> Result<&'static str, String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    for program in ["protoc", "grpc_python_plugin"] {
        if !std::env::split_paths(&path).any(|folder| folder.join(program).exists()) {
            return Err(format!("no {program}, which makes the client's stubs: deploy/setup installs it"));
        }
    }
    let speaks = |python: &&str| {
        let tried = Command::new(python).args(["-c", "import grpc, google.protobuf"]).stderr(Stdio::null()).status();
        tried.is_ok_and(|status| status.success())
    };
    let found = ["python3", "/usr/bin/python3"].into_iter().find(speaks);
    found.ok_or_else(|| "no python3 that can import grpc: deploy/setup installs it".to_owned())
}

/// What the client saw.
struct Seen {
    upgrade: String,
    facts: Vec<Recorded>,
}

/// Runs a scenario of `tests/python/scenarios.py` to its end.
fn client(python: &str, scenario: &str, house: &House) -> Seen {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/scenarios.py");
    let stubs = house.dir().join("stubs");
    std::fs::create_dir(&stubs).unwrap();
    let log = |name: &str| house.dir().join(format!("python.{name}"));
    let create = |path: PathBuf| Stdio::from(File::create(path).unwrap());
    let mut child = Command::new(python)
        // No caches beside the scripts.
        .arg("-B")
        .arg(script)
        .arg(scenario)
        .arg(house.voice.endpoint().to_string())
        .arg(stubs)
        .stdin(Stdio::null())
        .stdout(create(log("out")))
        .stderr(create(log("err")))
        .spawn()
        .unwrap();
    let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        until("the client ends", Duration::from_secs(180), || child.try_wait().unwrap())
    }));
    let _ = child.kill();
    let said = std::fs::read_to_string(log("err")).unwrap();
    assert!(ended.is_ok_and(|status| status.success()), "{said}\n{}", house.logs());
    let seen: serde_json::Value = serde_json::from_slice(&std::fs::read(log("out")).unwrap()).unwrap();
    let facts = serde_json::from_value(seen["facts"].clone()).unwrap();
    Seen { upgrade: seen["upgrade"].as_str().unwrap().to_owned(), facts }
}

/// That it saw every fact as it is stored.
fn saw_everything(house: &House, seen: &Seen) {
    let facts = house.voice.facts(&seen.upgrade).unwrap();
    check_facts(&facts);
    assert_eq!(seen.facts, facts);
}

#[test]
fn a_client_made_from_the_proto_files_plans_approves_starts_and_watches_to_the_end() {
    let python = match python() {
        Ok(python) => python,
        Err(why) => return skipped(&why),
    };
    // A path with losses to agree to and a question to answer.
    let house = House::new(Plan { from: "1.2.1", ..Plan::default() });
    let seen = client(python, "whole-upgrade", &house);
    saw_everything(&house, &seen);
    house.until_serves("1.4.6");
}

#[test]
fn a_client_made_from_the_proto_files_decides_holds() {
    let python = match python() {
        Ok(python) => python,
        Err(why) => return skipped(&why),
    };
    let house = House::new(Plan {
        faults: "1.3.1:NUMARY_SIM_IGNORE_SIGTERM=1".to_owned(),
        limits: "drain_seconds = 1".to_owned(),
        ..Plan::default()
    });
    let seen = client(python, "decided-holds", &house);
    saw_everything(&house, &seen);
    let decided = seen.facts.iter().filter_map(|recorded| match &recorded.fact {
        Fact::HoldDecided { choice, .. } => Some(*choice),
        _ => None,
    });
    assert_eq!(decided.collect::<Vec<_>>(), [Choice::Retry, Choice::Abort], "what was said twice is stored once");
    house.until_serves("1.3.1");
}
