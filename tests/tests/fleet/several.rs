//! Two deployments upgraded at once by one coordinator, one host in both: its agent is the runner of both.

use cutover_tests::checks::check_facts;
use cutover_tests::house::{Process, program};
use cutover_tests::neighbours::{BOOKS, Neighbours, PROD, SHARED, Side};
use cutover_tests::{free_address, until};
use cutover_vocabulary::Phase;
use cutover_vocabulary::fact::{Fact, Recorded};
use cutover_vocabulary::hold::{Choice, HoldReason};
use cutover_vocabulary::status::State;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// The facts of both, each one chain, and that both were under way at one moment.
fn check_side_by_side(all: &Neighbours, upgrades: &[String; 2]) -> [Vec<Recorded>; 2] {
    let facts = upgrades.each_ref().map(|upgrade| all.voice.facts(upgrade).unwrap());
    facts.iter().for_each(|facts| check_facts(facts));
    let span = |facts: &[Recorded]| (facts[0].at, facts[facts.len() - 1].at);
    let ((one, one_end), (other, other_end)) = (span(&facts[0]), span(&facts[1]));
    assert!(one < other_end && other < one_end, "they were not side by side");
    facts
}

/// No database of ours is left in the cluster.
fn check_tidy(all: &Neighbours) {
    until("no database of ours is left", Duration::from_secs(30), || {
        let left =
            all.cluster.sql("postgres", "SELECT datname FROM pg_database WHERE datname LIKE 'cutover%'").unwrap();
        left.is_empty().then_some(())
    });
}

/// What the pages of an operator and the scrape of a monitor say while both are under way.
fn check_pages(all: &Neighbours, upgrades: &[String; 2], metrics: std::net::SocketAddr) {
    let pages = all.said("cutover", all.dir(), &["fleet"]);
    let status = Command::new(program("cutover"))
        .args(["--coordinator", &all.coordinator(), "--operator", "tester", "status"])
        .output()
        .unwrap();
    let status = String::from_utf8(status.stdout).unwrap();
    let (_, scrape) = cutover_tests::clients::request(metrics, "GET", "/metrics", "").unwrap();
    for (upgrade, deployment) in upgrades.iter().zip(&all.deployments) {
        let name = deployment.side.name;
        let heading = format!("Upgrade {upgrade} of {name} from {} to {}", deployment.side.from, deployment.side.to);
        assert!(status.contains(&heading), "{heading} in\n{status}");
        let block = pages.split("Deployment ").find(|block| block.starts_with(name)).unwrap_or_default();
        let other = upgrades.iter().find(|other| *other != upgrade).unwrap();
        assert!(block.contains(upgrade.as_str()) && !block.contains(other.as_str()), "{pages}");
        let labels = format!("cutover_upgrade_facts_total{{deployment=\"{name}\",upgrade=\"{upgrade}\"}}");
        assert!(scrape.contains(&labels), "{labels} in\n{scrape}");
    }
}

fn side_by_side(books: Side) {
    let metrics = free_address();
    let told = tempfile::NamedTempFile::new().unwrap();
    let extra = format!(
        "metrics = \"{metrics}\"\nhook = [\"/bin/sh\", \"-c\", \"echo $CUTOVER_EVENT $CUTOVER_DEPLOYMENT $CUTOVER_UPGRADE >> {}\"]\n",
        told.path().display()
    );
    let Some(all) = Neighbours::new([PROD, books], &extra) else { return };
    let writers = all.deployments.each_ref().map(|deployment| deployment.writer());
    let upgrades = all.begin_both();
    check_pages(&all, &upgrades, metrics);
    for upgrade in &upgrades {
        all.until_state(upgrade, State::Completed);
    }
    let before = writers.each_ref().map(|writer| writer.acknowledged());
    until("clients of both are served again", Duration::from_secs(20), || {
        writers.iter().zip(before).all(|(writer, before)| writer.acknowledged() > before + 5).then_some(())
    });
    for (writer, deployment) in writers.into_iter().zip(&all.deployments) {
        deployment.check(deployment.side.to, &writer.end());
    }
    check_side_by_side(&all, &upgrades);
    check_tidy(&all);
    until("the hook was told of both ends", Duration::from_secs(20), || {
        let text = std::fs::read_to_string(told.path()).unwrap();
        let all_told = upgrades.iter().zip(&all.deployments).all(|(upgrade, deployment)| {
            let line = format!("ended {} {upgrade}", deployment.side.name);
            text.lines().filter(|told| **told == line).count() == 1
        });
        all_told.then_some(())
    });
}

#[test]
fn two_deployments_on_one_cluster_are_upgraded_side_by_side_by_one_agent() {
    side_by_side(BOOKS);
}

#[test]
fn a_deployment_on_sqlite_is_upgraded_beside_one_on_postgres_by_one_agent() {
    side_by_side(Side { hosts: &[SHARED], ..BOOKS });
}

#[test]
fn two_deployments_are_upgraded_to_two_versions_side_by_side_by_one_agent() {
    side_by_side(Side { from: "1.4.6", to: "1.8.3", ..BOOKS });
}

#[test]
fn one_that_holds_is_rolled_back_while_its_neighbour_completes() {
    let Some(all) = Neighbours::new([PROD, BOOKS], "") else { return };
    let [prod, books] = &all.deployments;
    let writers = all.deployments.each_ref().map(|deployment| deployment.writer());
    let upgrades = all.begin_both();
    // Not before: the rehearsal would fail.
    all.until_phase(&upgrades[1], Phase::Drain);
    books.fault("1.4.6:NUMARY_SIM_FAIL_MIGRATION=vault");
    let held = all.until_state(&upgrades[1], State::Held);
    assert!(matches!(held.holds[0].reason, HoldReason::StepFailed { .. }), "{:?}", held.holds);
    all.until_state(&upgrades[0], State::Completed);
    let [on_prod, on_books] = writers;
    prod.check("1.4.6", &on_prod.end());
    assert_eq!(all.voice.status(&upgrades[1]).unwrap().state, State::Held, "nobody decided it");
    all.voice.decide(&upgrades[1], held.holds[0].id.0, Choice::Rollback).unwrap();
    all.until_state(&upgrades[1], State::RolledBack);
    let before = on_books.acknowledged();
    let served = || (on_books.acknowledged() > before + 5).then_some(());
    until("clients of books are served again", Duration::from_secs(20), served);
    books.check("1.3.1", &on_books.end());
    check_side_by_side(&all, &upgrades);
    check_tidy(&all);
}

/// Both complete though somebody is killed when the second is in this phase.
fn killed_in(phase: Phase, kill: impl Fn(&mut Neighbours)) {
    let Some(mut all) = Neighbours::new([PROD, BOOKS], "") else { return };
    let writers = all.deployments.each_ref().map(|deployment| deployment.writer());
    let upgrades = all.begin_both();
    all.until_phase(&upgrades[1], phase);
    kill(&mut all);
    for upgrade in &upgrades {
        all.until_state(upgrade, State::Completed);
    }
    for (writer, deployment) in writers.into_iter().zip(&all.deployments) {
        deployment.check("1.4.6", &writer.end());
    }
    let facts = check_side_by_side(&all, &upgrades);
    for facts in facts {
        let held = facts.iter().any(|recorded| matches!(recorded.fact, Fact::Held { .. }));
        assert!(!held, "somebody had to be asked");
    }
    check_tidy(&all);
}

/// Where both have work of their own in one agent. Every other phase is the fault tier's, on one deployment.
const KILLS: [Phase; 2] = [Phase::Secure, Phase::Migrate];

#[test]
fn a_shared_agent_that_is_killed_while_it_works_for_both_goes_on_with_both() {
    for phase in KILLS {
        killed_in(phase, |all| {
            all.kill_agent(SHARED);
            all.start_agent(SHARED);
        });
    }
}

#[test]
fn a_coordinator_that_is_killed_while_it_leads_both_goes_on_with_both() {
    for phase in KILLS {
        killed_in(phase, |all| {
            all.kill_coordinator();
            all.start_coordinator();
        });
    }
}

/// What is printed of one upgrade on a host.
fn local_status(all: &Neighbours, host: usize, upgrade: &str) -> String {
    all.said("cutover-agent", &all.host(host), &["local", "status", upgrade, "--settings", "agent.toml"])
}

/// The commands behind a line that holds these words, up to the next line that is none.
fn commands(status: &str, words: &str) -> String {
    let behind = status.lines().skip_while(|line| !line.contains(words)).skip(1);
    behind.take_while(|line| line.starts_with("  ")).collect::<Vec<_>>().join("\n")
}

/// Runs them on a host as one script, as somebody who has exported how the ledgers of a deployment connect.
fn run(all: &Neighbours, host: &Path, script: &str, database: &str) {
    assert!(!script.is_empty());
    let programs = program("cutover-agent");
    let path = format!("{}:{}", programs.parent().unwrap().display(), std::env::var("PATH").unwrap());
    let mut command = Command::new("sh");
    command.args(["-e", "-c", script]).current_dir(host).env("PATH", path);
    command.env("PGHOST", "127.0.0.1").env("PGPORT", all.cluster.port().to_string()).env("PGDATABASE", database);
    command.env("PGUSER", database).env("PGPASSWORD", cutover_tests::fleet::PASSWORD);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{script}\n{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_way_back_by_hand_from_one_is_printed_after_the_other_began_and_leaves_the_other_alone() {
    let Some(mut all) = Neighbours::new([PROD, BOOKS], "") else { return };
    let broken = all.dir().join("reads-fail");
    all.deployments[1].fault(&format!("1.4.6:NUMARY_SIM_FAIL_READS={}", broken.display()));
    let writers = all.deployments.each_ref().map(|deployment| deployment.writer());
    let upgrades = all.begin_both();
    all.until_phase(&upgrades[1], Phase::Migrate);
    std::fs::write(&broken, "").unwrap();
    all.until_state(&upgrades[1], State::Held);
    all.until_state(&upgrades[0], State::Completed);
    all.kill_coordinator();

    let shared = all.host(SHARED);
    let serves = all.deployments[0].on(SHARED).unwrap().pid(&shared).unwrap();
    let whole = all.said("cutover-agent", &shared, &["local", "status", "--settings", "agent.toml"]);
    assert!(!whole.contains("came after it here"), "neither deployment had a second upgrade:\n{whole}");
    assert_eq!(whole.matches("(or run all of it with `sh -e`)").count(), 2, "one way back for each:\n{whole}");

    let on_shared = local_status(&all, SHARED, &upgrades[1]);
    let script = commands(&on_shared, "(or run all of it with `sh -e`)");
    for own in [upgrades[0].as_str(), "prod-1"] {
        assert!(!on_shared.contains(own), "{own} is none of it:\n{on_shared}");
    }
    let elsewhere = local_status(&all, 3, &upgrades[1]);
    run(&all, &all.host(3), &commands(&elsewhere, "First, here:"), "books");
    run(&all, &shared, &script, "books");
    run(&all, &all.host(3), &commands(&elsewhere, "Only after that, here:"), "books");

    let [on_prod, on_books] = writers;
    all.deployments[1].check("1.3.1", &on_books.end());
    let lives = Process::of(&shared).iter().any(|process| u64::try_from(process.pid).is_ok_and(|pid| pid == serves));
    assert!(lives, "the neighbour's instance was ended");
    assert_eq!(all.deployments[0].on(SHARED).unwrap().pid(&shared), Some(serves), "and started anew");
    all.deployments[0].check("1.4.6", &on_prod.end());
}
