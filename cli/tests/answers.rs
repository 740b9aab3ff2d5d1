//! The command line against a coordinator that says anything: exit statuses, and what reaches the terminal.
#![allow(clippy::unwrap_used, reason = "helpers of tests, which fail by panicking")]

mod answering;

use answering::{Answering, hostile};
use cutover_proto::Code;
use cutover_vocabulary::name::is_plain;
use std::process::Output;

/// Every command that names something, with `NAME` where it does.
const COMMANDS: &[&[&str]] = &[
    &["plan", "NAME", "--to", "1.4.6"],
    &["rehearse", "NAME", "--to", "1.4.6"],
    &["upgrade", "NAME", "--to", "1.4.6", "--yes"],
    &["rejoin", "a", "--deployment", "NAME", "--yes"],
    &["approve", "NAME", "--reason", "x"],
    &["start", "NAME"],
    &["status", "NAME"],
    &["watch", "NAME"],
    &["facts", "NAME"],
    &["--json", "facts", "NAME"],
    &["decide", "NAME", "1", "retry", "--reason", "x"],
    &["abort", "NAME"],
    &["abort", "NAME", "--what-if"],
    &["rollback", "NAME"],
    &["rollback", "NAME", "--what-if"],
    &["pause", "NAME"],
    &["resume", "NAME"],
    &["close", "NAME", "--reason", "x"],
    &["deployment", "show", "NAME"],
    &["deployment", "create", "NAME", "--instance", "a"],
    &["member", "excuse", "NAME", "a", "--reason", "x", "--evidence", "y"],
];

/// What `cutover --help` says: each refusal with its exit status, the same for every command.
const EXITS: &[(&str, i32)] = &[
    ("INVALID_ARGUMENT", 2),
    ("NEEDS_APPROVAL", 3),
    ("BLOCKED", 4),
    ("PLAN_STALE", 4),
    ("AGENT_NOT_SEEN", 4),
    ("AGENT_CONNECTED", 4),
    ("DEPLOYMENT_BUSY", 4),
    ("HOLD_OUTDATED", 4),
    ("CHOICE_NOT_OFFERED", 4),
    ("UPGRADE_ENDED", 4),
    ("UPGRADE_ACTIVE", 4),
    ("TOO_LATE", 4),
    ("WOULD_LOSE_WRITES", 4),
    ("NO_SUCH_PLAN", 1),
    ("NO_SUCH_DEPLOYMENT", 1),
    ("NO_SUCH_UPGRADE", 1),
    ("NO_SUCH_HOLD", 1),
    ("REQUEST_REUSED", 1),
    ("AGENT_NAME_TAKEN", 1),
    ("NOT_CERTIFIED", 1),
    ("NOT_PERMITTED", 1),
    ("NOT_ITS_OWN", 1),
    ("QUARANTINED", 1),
    ("INTERNAL", 1),
];

/// Codes after which a command that follows asks again for a while; elsewhere they are errors like any other.
const ASKED_AGAIN: &[&str] = &["NOT_LEADER", "STORE_UNAVAILABLE"];

fn with<'a>(command: &[&'a str], name: &'a str) -> Vec<&'a str> {
    command.iter().map(|word| if *word == "NAME" { name } else { word }).collect()
}

#[track_caller]
fn clean(args: &[&str], output: &Output) {
    for bytes in [&output.stdout, &output.stderr] {
        let text = std::str::from_utf8(bytes).unwrap();
        let dirt = text.chars().find(|c| *c != '\n' && !is_plain(*c));
        assert_eq!(dirt, None, "{args:?} prints {text:?}");
    }
}

#[test]
fn every_command_exits_with_what_is_documented_for_every_refusal() {
    let known: Vec<&str> = Code::ALL.iter().map(Code::word).collect();
    let mut listed: Vec<&str> = EXITS.iter().map(|(word, _)| *word).chain(ASKED_AGAIN.iter().copied()).collect();
    assert_eq!(listed.len(), known.len());
    listed.retain(|word| !known.contains(word));
    assert!(listed.is_empty(), "{listed:?}");
    let coordinator = Answering::new();
    for command in COMMANDS {
        for (word, exit) in EXITS {
            let name = format!("code-{word}");
            let args = with(command, &name);
            let output = coordinator.cutover(&args);
            assert_eq!(output.status.code(), Some(*exit), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
            clean(&args, &output);
        }
    }
}

#[test]
fn a_way_back_that_is_not_possible_is_told_by_the_exit_status_whether_asked_for_or_about() {
    let coordinator = Answering::new();
    for command in [["abort", "NAME", "--what-if"], ["rollback", "NAME", "--what-if"]] {
        assert_eq!(coordinator.cutover(&with(&command, "possible-1")).status.code(), Some(0), "{command:?}");
        assert_eq!(coordinator.cutover(&with(&command, "impossible-1")).status.code(), Some(4), "{command:?}");
        assert_eq!(coordinator.cutover(&with(&command[..2], "impossible-1")).status.code(), Some(4), "{command:?}");
    }
}

#[test]
fn nothing_that_a_coordinator_says_moves_the_cursor() {
    let coordinator = Answering::new();
    let unnamed: &[&[&str]] = &[&["fleet"], &["status"], &["watch"], &["facts"]];
    for command in COMMANDS.iter().chain(unnamed) {
        for json in [false, true] {
            let mut args = with(command, "u-1");
            if json && args[0] != "--json" {
                args.insert(0, "--json");
            }
            let output = coordinator.cutover(&args);
            clean(&args, &output);
            assert!(output.stdout.len() + output.stderr.len() > 20, "{args:?} says something");
        }
    }
}

#[test]
fn nothing_that_was_typed_is_printed_as_it_is() {
    let coordinator = Answering::new();
    // No program is started with a nul in its arguments.
    let hostile = hostile();
    for command in COMMANDS {
        let args = with(command, &hostile);
        clean(&args, &coordinator.cutover(&args));
    }
    for args in [
        vec!["plan", "prod", "--to", &hostile],
        vec!["decide", "u-1", &hostile, "retry", "--reason", "x"],
        vec!["decide", "u-1", "1", &hostile, "--reason", "x"],
        vec!["--coordinator", &hostile, "status"],
        vec!["--operator", &hostile, "status"],
        vec![&hostile],
        vec!["status", "u-1", &hostile],
        vec!["status", "--unknown", &hostile],
    ] {
        let output = coordinator.cutover(&args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        clean(&args, &output);
    }
    let socket = format!("unix:/nowhere/{hostile}");
    let args = ["--coordinator", &socket, "status"];
    clean(&args, &coordinator.cutover(&args));
}
