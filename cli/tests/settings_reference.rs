//! The reference of the settings says what the code says, and its examples are settings.
#![cfg(feature = "all-in-one")]
#![allow(clippy::unwrap_used, reason = "a test, which fails by panicking")]

use cutover::args::ProgramWord;
use cutover::explain::key::Key;
use cutover::explain::{markdown, reference};
use std::path::{Path, PathBuf};

fn keys(program: ProgramWord) -> Vec<Key> {
    reference(program).into_iter().flat_map(|table| table.keys).collect()
}

/// A file that has every key but these, each as its example shows it.
fn file_of_examples(program: ProgramWord, but: &[&str]) -> String {
    let mut text = String::new();
    for table in reference(program) {
        text += &format!("{}\n", table.heading);
        for key in table.keys.iter().filter(|key| !but.contains(&key.path.as_str())) {
            text += &format!("{}\n", key.example);
        }
    }
    text
}

/// What an instance may not say that a unit says.
const OF_UNITS: &[&str] = &[
    "instance.command",
    "instance.args",
    "instance.env",
    "instance.env_file",
    "instance.home",
    "instance.working_directory",
    "instance.user",
];

#[test]
fn the_page_of_the_settings_says_what_the_code_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/settings.md");
    if std::env::var_os("CUTOVER_WRITE_PAGES").is_some() {
        std::fs::write(&path, markdown::markdown()).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    let again = "run this with CUTOVER_WRITE_PAGES=1, and look at what changed";
    assert!(found == markdown::markdown(), "docs/settings.md is stale: {again}");
}

#[test]
fn a_file_of_all_the_examples_is_settings() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| -> PathBuf { folder.path().join(name) };
    // Who may be named as the user of a process is a matter of who runs this.
    let process = file_of_examples(ProgramWord::Agent, &["instance.user", "instance.unit"])
        .replace("manager = \"systemd\"", "manager = \"process\"");
    for agent in [file_of_examples(ProgramWord::Agent, OF_UNITS), process] {
        let settings = cutover_agent::settings::Settings::parse(&agent, &at("agent.toml"));
        settings.unwrap_or_else(|error| panic!("{error}\n{agent}"));
    }
    std::fs::write(at("company.toml"), "[[bad_release]]\nversions = \"=1.12.0\"\nreason = \"audit\"\n").unwrap();
    // The table for etcd goes with that store alone.
    let sqlite = "store = \"sqlite:/var/lib/cutover/store.db\"";
    let coordinator = file_of_examples(ProgramWord::Coordinator, &[]);
    assert!(coordinator.contains(sqlite));
    let coordinator = coordinator.replace(sqlite, "store = \"etcd\"");
    let settings = cutover_coordinator::Settings::parse(&coordinator, &at("coordinator.toml"));
    settings.unwrap_or_else(|error| panic!("{error}\n{coordinator}"));
}

#[test]
fn every_key_says_what_it_does_what_it_takes_and_what_holds_without_it() {
    for program in ProgramWord::ALL {
        for key in keys(program) {
            assert!(key.what.ends_with('.') && key.what.len() > 10, "{}: {:?}", key.path, key.what);
            assert!(key.example.starts_with(&format!("{} = ", key.name)), "{}: {:?}", key.path, key.example);
            assert!(!["value", "null", "object", "array"].contains(&key.kind.as_str()), "{}: {}", key.path, key.kind);
            assert!(!key.required || key.default.is_none(), "{} is required and has a default", key.path);
            let number = key.kind == "number" && !key.required;
            assert!(!number || key.default.is_some(), "{}: what number holds without it?", key.path);
        }
    }
}

#[test]
fn defaults_units_and_what_is_required_are_those_of_the_code() {
    let agent = keys(ProgramWord::Agent);
    let facts = |path: &str| agent.iter().find(|key| key.path == path).unwrap().facts();
    for (path, expected) in [
        ("name", "text; required"),
        ("state", "absolute path; required"),
        ("recovery", "absolute path; default `recovery` in `state`"),
        ("unseen_users", "list of numbers; no default"),
        ("releases.place", "absolute path or address; default `\"/srv/numary-releases\"`"),
        ("releases.max_binary_bytes", "number of bytes; default `268435456`"),
        ("instance.args", "list of texts; default `[\"server\", \"start\"]`"),
        ("instance.env", "table of texts; no default"),
        ("instance.start", "`true` or `false`; default `true`"),
        ("instance.start_seconds", "number of seconds; default `30`"),
    ] {
        assert_eq!(facts(path), expected, "{path}");
    }
    let coordinator = keys(ProgramWord::Coordinator);
    let limit = coordinator.iter().find(|key| key.path == "limits.migration_seconds").unwrap();
    assert_eq!(limit.facts(), "number of seconds; default `86400`");
}
