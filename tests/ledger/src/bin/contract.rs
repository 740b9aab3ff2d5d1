//! `contract --bin PATH --version V [--from-bin PATH --from-version V] [--beside-bin PATH --beside-version V] [--driver sqlite|postgres [--url URL]] [--only TEXT]`: asserts
//! the measured behaviours of the ledger against a binary, one line each. With PostgreSQL each check makes a database (and roles) at
//! the server of URL, as the superuser it names, and removes them; without a URL a server of its own is started and ended. The URL
//! may hold a password: `CONTRACT_POSTGRES_URL` in the environment says it as well. Exit status 1 if one differs, 2 for wrong
//! arguments.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command that talks to the person who ran it")]

use cutover_ledger_simulator::contract::{self, Bench, Place, Server, Subject};
use cutover_ledger_simulator::storage::Driver;
use cutover_trial_postgres::Cluster;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

const USAGE: &str = "usage: contract --bin PATH --version V [--from-bin PATH [--from-version V]] \
                     [--beside-bin PATH [--beside-version V]] \
                     [--driver sqlite|postgres [--url URL]] [--only TEXT]";

fn main() -> ExitCode {
    let mut given: BTreeMap<String, String> = BTreeMap::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let known = [
            "--bin",
            "--version",
            "--from-bin",
            "--from-version",
            "--beside-bin",
            "--beside-version",
            "--driver",
            "--url",
            "--only",
        ]
        .contains(&name.as_str());
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
    let place = place(given.get("--driver").map(String::as_str), given.get("--url").cloned());
    let (place, _cluster) = match place {
        Ok(place) => place,
        Err(message) => {
            eprintln!("contract: {message}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let bench = given.get("--bin").ok_or_else(|| "--bin is missing".to_owned()).and_then(|binary| {
        let other = |bin: &str, version: &str| {
            given.get(bin).map(|binary| subject(binary, given.get(version).cloned())).transpose()
        };
        let from = other("--from-bin", "--from-version")?;
        let beside = other("--beside-bin", "--beside-version")?;
        Ok(Bench { subject: subject(binary, given.get("--version").cloned())?, from, beside, place })
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

/// A server that this program started, and the folder it is in; both gone at the end.
type Own = Option<(Cluster, tempfile::TempDir)>;

fn place(driver: Option<&str>, url: Option<String>) -> Result<(Place, Own), String> {
    let driver = driver.unwrap_or(Driver::Sqlite.name());
    match Driver::find(driver).ok_or_else(|| format!("{driver} is no driver"))? {
        Driver::Sqlite => Ok((Place::Sqlite, None)),
        Driver::Postgres => match url.or_else(|| std::env::var("CONTRACT_POSTGRES_URL").ok()) {
            Some(url) => Ok((Place::Postgres(server(&url)?), None)),
            None => {
                let (cluster, dir) = start()?;
                Ok((Place::Postgres(server(&cluster.superuser_url("postgres"))?), Some((cluster, dir))))
            }
        },
    }
}

fn server(url: &str) -> Result<Server, String> {
    Server::parse(url).ok_or_else(|| "--url is not like postgresql://USER:PASSWORD@HOST:PORT/DATABASE".to_owned())
}

fn start() -> Result<(Cluster, tempfile::TempDir), String> {
    use std::os::unix::fs::PermissionsExt;
    let cannot = |what: &str, why: String| format!("cannot {what}: {why}; name a server with --url");
    let dir = tempfile::tempdir().map_err(|error| cannot("make a folder", error.to_string()))?;
    // The server runs as another user, who must be able to enter.
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o711))
        .map_err(|error| cannot("open up a folder", error.to_string()))?;
    let cluster = Cluster::create(&dir.path().join("cluster"), "")
        .map_err(|error| cannot("start PostgreSQL", error.to_string()))?;
    Ok((cluster, dir))
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
