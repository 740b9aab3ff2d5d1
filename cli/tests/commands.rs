//! The command line as scripts use it: exit statuses and what errors say.
#![allow(clippy::unwrap_used, reason = "helpers of tests, which fail by panicking")]

use std::process::{Command, Output};

fn cutover(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cutover"));
    command.args(args).env_remove("CUTOVER_COORDINATOR").env("USER", "tester").output().unwrap()
}

#[test]
fn no_coordinator_is_an_error_that_says_where_why_and_what_to_do() {
    let output = cutover(&["--coordinator", "unix:/nowhere/c.sock", "status"]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    for part in ["unix:/nowhere/c.sock", "--coordinator", "CUTOVER_COORDINATOR"] {
        assert!(text.contains(part), "{part:?} in {text}");
    }
}

#[test]
fn an_error_for_tools_is_one_json_object() {
    let output = cutover(&["--json", "--coordinator", "unix:/nowhere/c.sock", "fleet"]);
    let value: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
    assert!(value["error"]["what"].as_str().unwrap().contains("/nowhere/c.sock"));
    assert!(!value["error"]["why"].as_array().unwrap().is_empty());
}

#[test]
fn what_makes_no_sense_is_usage() {
    for args in [
        &["plan", "prod", "--to", "latest"][..],
        &["decide", "u-1", "1", "ignore", "--reason", "x"],
        &["decide", "u-1", "1", "retry"],
        &["--coordinator", "http://10.0.0.1:7080", "status"],
        &["plan", "a/b", "--to", "1.4.6"],
        &[],
    ] {
        assert_eq!(cutover(args).status.code(), Some(2), "{args:?}");
    }
}
