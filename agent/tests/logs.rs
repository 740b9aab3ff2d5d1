//! What the program itself logs, as JSON, about orders that a coordinator gives it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot be set up has failed")]
#![allow(dead_code, reason = "a part of the link's test house is enough here")]

#[path = "link/coordinator.rs"]
mod coordinator;
#[path = "link/host.rs"]
mod host;

use coordinator::Coordinator;
use cutover_vocabulary::link::{AgentMessage, Say};
use cutover_vocabulary::{Order, Outcome, Phase, Version, Work};
use host::order;
use serde_json::Value;
use std::fs::File;
use std::path::Path;
use std::process::{Child, Command};

/// The program, until it is dropped.
struct Program(Child);
impl Program {
    fn start(folder: &Path, coordinator: &Coordinator, level: &str) -> Self {
        let settings = folder.join("agent.toml");
        let text = format!(
            "name = \"agent-1\"\ncoordinator = \"{}\"\nstate = \"{}\"\nreleases = {{ place = \"{}\" }}\n\
             [[instance]]\nname = \"quick\"\ndeployment = \"prod\"\nmanager = \"process\"\ncommand = \"/nowhere/numary\"\n\
             start = false\nhome = \"{}\"\n",
            coordinator.endpoint,
            folder.join("state").display(),
            folder.display(),
            folder.display()
        );
        std::fs::write(&settings, text).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_cutover-agent"))
            .args(["run", "--log-format", "json", "--settings"])
            .arg(settings)
            .env("RUST_LOG", level)
            .stderr(File::create(folder.join("log")).unwrap())
            .spawn()
            .unwrap();
        Self(child)
    }
}
impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn lines(folder: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(folder.join("log")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"))).collect()
}

fn field<'a>(line: &'a Value, name: &str) -> Option<&'a Value> {
    line.get(name).or_else(|| line.get("span")?.get(name))
}

/// The lines about an order, each with its upgrade and the epoch under which it was given.
fn about(lines: &[Value], order: &Order, epoch: u64) -> Vec<String> {
    let id = order.id.to_string();
    let mine = lines.iter().filter(|line| line.to_string().contains(&id));
    let checked = mine.map(|line| {
        assert_eq!(field(line, "order").and_then(Value::as_str), Some(id.as_str()), "{line}");
        assert_eq!(field(line, "upgrade").and_then(Value::as_str), Some(order.id.upgrade.as_str()), "{line}");
        assert_eq!(field(line, "epoch").and_then(Value::as_u64), Some(epoch), "{line}");
        line["message"].as_str().unwrap().to_owned()
    });
    checked.collect()
}

async fn speaks_of_orders(level: &str) -> (Vec<String>, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let mut coordinator = Coordinator::start(&folder.path().join("c.sock")).await;
    let _program = Program::start(folder.path(), &coordinator, level);
    let mut linked = coordinator.next_link().await;
    let AgentMessage::Hello(_) = linked.first().await else { panic!("the first message is a hello") };
    linked.say(7, Say::Welcome).await;
    let (mut failing, strange) = (order("prod-1", 1, "quick"), order("prod-1", 2, "elsewhere"));
    // No closed copy of it runs that could be looked at.
    failing.id.phase = Phase::Verify;
    failing.work = Work::Verify { version: Version::new(1, 4, 6), ledgers: Vec::new() };
    linked.say(7, Say::Do(Box::new(failing.clone()))).await;
    let said = linked.next().await;
    assert!(matches!(&said, AgentMessage::Outcome { outcome: Outcome::Failed(_), .. }), "{said:?}");
    linked.say(7, Say::Acknowledge(failing.id.clone())).await;
    linked.say(7, Say::Do(Box::new(strange.clone()))).await;
    while !matches!(linked.next().await, AgentMessage::Refused { .. }) {}
    let lines = lines(folder.path());
    (about(&lines, &failing, 7), about(&lines, &strange, 7))
}

#[tokio::test]
async fn every_line_about_an_order_is_json_with_upgrade_order_and_epoch() {
    let (failing, strange) = speaks_of_orders("info").await;
    assert_eq!(failing[0], "order is begun");
    assert!(failing.iter().any(|line| line.starts_with("order failed: ")), "{failing:?}");
    assert!(strange[0].starts_with("order refused: "), "{strange:?}");
}

#[tokio::test]
async fn a_log_of_warnings_alone_still_says_which_upgrade_order_and_epoch() {
    let (failing, strange) = speaks_of_orders("warn").await;
    assert!(failing[0].starts_with("order failed: ") && strange[0].starts_with("order refused: "), "{failing:?}");
}

#[test]
fn what_keeps_it_from_starting_is_a_line_of_json_too() {
    let output = Command::new(env!("CARGO_BIN_EXE_cutover-agent"))
        .args(["run", "--log-format", "json", "--settings", "/nowhere/agent.toml"])
        .output()
        .unwrap();
    assert!(!output.status.success());
    let line: Value = serde_json::from_slice(&output.stderr).unwrap();
    assert!(line["level"] == "ERROR" && line["message"].as_str().unwrap().contains("/nowhere/agent.toml"), "{line}");
}
