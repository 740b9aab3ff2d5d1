//! The doctor as scripts use it.
#![cfg(feature = "all-in-one")]
#![allow(clippy::unwrap_used, reason = "helpers of tests, which fail by panicking")]

use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

fn doctor(args: &[&str], settings: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cutover"));
    let command = command.args(args).arg("doctor").arg("--settings").arg(settings);
    command.env_remove("CUTOVER_COORDINATOR").env("USER", "tester").output().unwrap()
}

/// Settings of an agent without instances, whose state directory is not there yet, with releases where it says.
fn write(folder: &Path) -> std::path::PathBuf {
    let (file, root) = (folder.join("agent.toml"), folder.display());
    let text = format!(
        "name = \"a\"\ncoordinator = \"unix:{root}/c.sock\"\nstate = \"{root}/state\"\nreleases.place = \"{root}/releases\"\n"
    );
    std::fs::write(&file, text).unwrap();
    file
}

#[test]
fn nothing_needed_is_missing_is_0_and_something_needed_is_missing_is_1_and_nothing_was_made() {
    let folder = tempfile::tempdir().unwrap();
    let settings = write(folder.path());
    let output = doctor(&[], &settings);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("missing  releases: ") && text.contains("1 thing is missing"), "{text}");
    std::fs::create_dir(folder.path().join("releases")).unwrap();
    let output = doctor(&[], &settings);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("Nothing that is needed is missing"), "{text}");
    assert!(!folder.path().join("state").exists());
}

#[test]
fn tools_get_one_object_a_check_and_the_settings_own_coordinator_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let output = doctor(&["--json"], &write(folder.path()));
    let lines: Vec<Value> =
        String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.len() > 10, "{lines:?}");
    for line in &lines {
        let state = line["state"].as_str().unwrap();
        assert!(["ok", "missing", "warning"].contains(&state), "{line}");
        assert_eq!(line["remedy"].is_string(), state != "ok", "{line}");
        assert!(["group", "check", "found", "why"].iter().all(|key| line[key].is_string()), "{line}");
    }
    let coordinator = lines.iter().find(|line| line["check"] == "coordinator").unwrap();
    assert_eq!(coordinator["state"], "warning");
    assert!(coordinator["found"].as_str().unwrap().contains(&format!("{}/c.sock", folder.path().display())));
}
