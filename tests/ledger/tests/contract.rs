//! The simulator keeps the contract that the real ledger was measured to keep, packed and unpacked as its releases are.
#![expect(clippy::unwrap_used, reason = "a test: what fails, fails it, and what is skipped is printed")]

mod cluster;

use cutover_ledger_simulator::contract::{self, Bench, Place, Server, Subject};
use cutover_ledger_simulator::pack;
use std::path::{Path, PathBuf};

fn released(dir: &Path, version: &str) -> Subject {
    pack::pack(Path::new(env!("CARGO_BIN_EXE_numary")), version, dir).unwrap();
    let archive = dir.join(format!("v{version}/numary_{version}_Linux-64bit.tar.gz"));
    let folder: PathBuf = dir.join(version);
    let file = std::fs::File::open(archive).unwrap();
    tar::Archive::new(flate2::read::GzDecoder::new(file)).unpack(&folder).unwrap();
    let binary = folder.join("numary");
    pack::settle(&binary).unwrap();
    Subject::new(binary, version).unwrap()
}

fn keeps_the_contract(version: &str, from: Option<&str>, place: Place) {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench {
        subject: released(dir.path(), version),
        from: from.map(|from| released(dir.path(), from)),
        beside: None,
        place,
    };
    let mut lines = Vec::new();
    let tally = contract::run(&bench, "", |line| lines.push(line.to_owned()));
    let failed: Vec<&String> = lines.iter().filter(|line| line.starts_with("FAILED")).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    assert!(tally.passed > 40, "only {} checks ran", tally.passed);
    for line in lines.iter().filter(|line| line.starts_with("SKIPPED")) {
        let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("{line}\n"));
        assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "with CI=true nothing may be skipped: {line}");
    }
}

fn keeps_the_contract_on_postgresql(version: &str, from: Option<&str>) {
    let Some(trial) = cluster::trial() else { return };
    let server = Server::parse(&trial.cluster.superuser_url("postgres")).unwrap();
    keeps_the_contract(version, from, Place::Postgres(server));
}

#[test]
fn release_1_3_1_keeps_the_contract() {
    keeps_the_contract("1.3.1", None, Place::Sqlite);
}

#[test]
fn release_1_4_6_keeps_the_contract() {
    keeps_the_contract("1.4.6", Some("1.3.1"), Place::Sqlite);
}

#[test]
fn release_1_3_1_keeps_the_contract_on_postgresql() {
    keeps_the_contract_on_postgresql("1.3.1", None);
}

#[test]
fn release_1_3_3_keeps_the_contract_on_postgresql() {
    keeps_the_contract_on_postgresql("1.3.3", Some("1.3.1"));
}

#[test]
fn release_1_4_6_keeps_the_contract_on_postgresql() {
    keeps_the_contract_on_postgresql("1.4.6", Some("1.3.1"));
}

fn breaks_the_contract(place: &Place, names: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    let mut subject = released(dir.path(), "1.4.6");
    subject.version = "1.3.1".to_owned();
    subject.number = contract::Number(1, 3, 1);
    let bench = Bench { subject, from: None, beside: None, place: place.clone() };
    for name in names {
        let tally = contract::run(&bench, name, |_| {});
        assert_eq!((tally.passed, tally.failed), (0, 1), "{name}");
    }
}

#[test]
fn a_binary_of_another_release_breaks_the_contract() {
    breaks_the_contract(
        &Place::Sqlite,
        &["version_is_three_lines", "an_unknown_account", "a_fresh_file_has_the_journal", "an_idle_server"],
    );
}

#[test]
fn a_binary_of_another_release_breaks_the_contract_on_postgresql() {
    let Some(trial) = cluster::trial() else { return };
    let server = Server::parse(&trial.cluster.superuser_url("postgres")).unwrap();
    let names = ["init_panics", "a_server_starts_without_its_database", "a_fresh_schema_has", "an_idle_server_holds"];
    breaks_the_contract(&Place::Postgres(server), &names);
}
