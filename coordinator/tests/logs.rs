//! What the program itself logs, as JSON, while it leads a whole upgrade.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests may panic")]

mod support;

use cutover_vocabulary::status::State;
use cutover_vocabulary::{OrderId, Phase};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command};
use support::host::Seen;
use support::{FakeAgent, Manners, Site, until};

/// The program, until it is dropped.
struct Program {
    child: Child,
    log: PathBuf,
}
impl Program {
    fn start(site: &Site, filter: &str) -> Self {
        let (settings, log) = (site.dir.path().join("c.toml"), site.dir.path().join("log"));
        let store = site.dir.path().join("c.db").display().to_string();
        std::fs::write(
            &settings,
            format!("name = \"c-1\"\nlisten = \"{}\"\nstore = \"sqlite:{store}\"\n", site.endpoint),
        )
        .unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_cutover-coordinator"))
            .args(["--log-format", "json", "--log", filter, "--settings"])
            .arg(settings)
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Self { child, log }
    }
    /// Every whole line of its log, each one JSON object.
    fn lines(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(&self.log).unwrap();
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"))).collect()
    }
}
impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A field of a line, or of what the line is about.
fn field<'a>(line: &'a Value, name: &str) -> Option<&'a Value> {
    line.get(name).or_else(|| line.get("span")?.get(name))
}

/// Whether a line speaks of an upgrade: by where it comes from, by a field, or in its words.
fn concerns(line: &Value, upgrade: &str) -> bool {
    let target = line["target"].as_str().unwrap();
    let machine = ["cutover_coordinator::upgrade_loop", "cutover_coordinator::hook"];
    machine.iter().any(|module| target.starts_with(module))
        || field(line, "upgrade").is_some()
        || field(line, "order").is_some()
        || line.to_string().contains(upgrade)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_line_about_an_upgrade_is_json_with_upgrade_and_epoch_and_its_order_where_it_has_one() {
    let site = Site::sqlite();
    let program = Program::start(&site, "cutover_coordinator=debug");
    // Answers that come twice bring lines that a smooth upgrade lacks.
    let manners = Manners { twice: true, ..Manners::default() };
    let _agent = FakeAgent::start(&site.endpoint, Seen::default(), manners);
    let client = site.client();
    let upgrade = client.begin().await;
    let status = client.reaches(&upgrade, State::Completed).await;
    let epoch = status.epoch.0;
    let wanted: BTreeSet<OrderId> = site.orders(&upgrade).await.into_keys().collect();
    let ended = |line: &Value| line["kind"] == "ended";
    let lines =
        until("the last line", || async { Some(program.lines()).filter(|lines| lines.iter().any(ended)) }).await;
    let mut named = BTreeSet::new();
    for line in lines.iter().filter(|line| concerns(line, &upgrade)) {
        assert_eq!(field(line, "upgrade").and_then(Value::as_str), Some(upgrade.as_str()), "{line}");
        assert_eq!(field(line, "epoch").and_then(Value::as_u64), Some(epoch), "{line}");
        if let Some(order) = field(line, "order") {
            named.insert(order.as_str().unwrap().to_owned());
        }
        // An order is never only in the words.
        let words = line["message"].as_str().unwrap();
        assert!(!words.contains(&format!("{upgrade}/")) || field(line, "order").is_some(), "{line}");
    }
    assert_eq!(named, wanted.iter().map(ToString::to_string).collect());
    // From its first fact to its last.
    let kinds: Vec<&str> = lines.iter().filter_map(|line| line["kind"].as_str()).collect();
    assert_eq!((kinds.first(), kinds.last()), (Some(&"started"), Some(&"ended")));
    for words in ["sends an order", "heard an outcome"] {
        assert!(lines.iter().any(|line| line["message"] == words), "{words}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_of_warnings_alone_still_says_which_upgrade_and_epoch() {
    let site = Site::sqlite();
    let program = Program::start(&site, "warn");
    let manners = Manners { refuses_once: true, ..Manners::default() };
    let agent = FakeAgent::start(&site.endpoint, Seen::default(), manners);
    let client = site.client();
    let upgrade = client.begin().await;
    until("a refusal", || async { (!agent.journal.lock().unwrap().refused.is_empty()).then_some(()) }).await;
    let line = until("its warning", || async {
        program.lines().into_iter().find(|line| line["message"] == "an agent refused an order")
    })
    .await;
    let line = &line;
    assert_eq!(field(line, "upgrade").and_then(Value::as_str), Some(upgrade.as_str()));
    assert!(field(line, "epoch").and_then(Value::as_u64).is_some() && field(line, "order").is_some(), "{line}");
    assert!(field(line, "order").unwrap().as_str().unwrap().contains(Phase::Preflight.word()));
}

#[test]
fn what_keeps_it_from_starting_is_a_line_of_json_too() {
    let output = Command::new(env!("CARGO_BIN_EXE_cutover-coordinator"))
        .args(["--log-format", "json", "--settings", "/nowhere/c.toml"])
        .output()
        .unwrap();
    assert!(!output.status.success());
    let line: Value = serde_json::from_slice(&output.stderr).unwrap();
    assert!(line["level"] == "ERROR" && line["message"].as_str().unwrap().contains("/nowhere/c.toml"), "{line}");
}
