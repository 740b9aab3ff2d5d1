//! `contract --bin PATH --version V [--from-bin PATH --from-version V] [--only TEXT]`: asserts the measured behaviours of the ledger
//! against a binary, one line each. Exit status 1 if one differs, 2 for wrong arguments.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command that talks to the person who ran it")]

use cutover_ledger_simulator::contract::{self, Bench, Subject};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

const USAGE: &str = "usage: contract --bin PATH --version V [--from-bin PATH [--from-version V]] [--only TEXT]";

fn main() -> ExitCode {
    let mut given: BTreeMap<String, String> = BTreeMap::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let known = ["--bin", "--version", "--from-bin", "--from-version", "--only"].contains(&name.as_str());
        let (true, Some(value)) = (known, arguments.next()) else {
            eprintln!("contract: cannot read {name}\n{USAGE}");
            return ExitCode::from(2);
        };
        given.insert(name, value);
    }
    let subject = |binary: &str, version: Option<String>| {
        let path = PathBuf::from(binary).canonicalize().map_err(|error| format!("cannot find {binary}: {error}"))?;
        let version = match version {
            Some(version) => version,
            None => asked(&path)?,
        };
        Subject::new(path, version.trim_start_matches('v')).ok_or_else(|| format!("{version} is no version like 1.4.6"))
    };
    let bench = given.get("--bin").ok_or_else(|| "--bin is missing".to_owned()).and_then(|binary| {
        let from =
            given.get("--from-bin").map(|binary| subject(binary, given.get("--from-version").cloned())).transpose()?;
        Ok(Bench { subject: subject(binary, given.get("--version").cloned())?, from })
    });
    let bench = match bench {
        Ok(bench) => bench,
        Err(message) => {
            eprintln!("contract: {message}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let only = given.get("--only").map(String::as_str).unwrap_or_default();
    let tally = contract::run(&bench, only, |line| println!("{line}"));
    let skipped = if tally.skipped > 0 { format!(", {} skipped", tally.skipped) } else { String::new() };
    println!("{} passed, {} failed{skipped}", tally.passed, tally.failed);
    if tally.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What the binary says it is.
fn asked(binary: &PathBuf) -> Result<String, String> {
    let output =
        Command::new(binary).arg("version").output().map_err(|error| format!("cannot run {binary:?}: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = text.lines().find_map(|line| line.strip_prefix("Version: "));
    version
        .map(|version| version.trim().to_owned())
        .ok_or_else(|| format!("{binary:?} does not say its version: {text:?}"))
}
