//! One instance on SQLite, 1.3.1 to 1.4.6, with the real coordinator, the real agent, its real workers and the
//! simulator of the ledger; a client writes all the time.

mod alone;
mod bad_input;
mod faults;
mod first_start;
mod followed;
mod kills;
mod lost_journal;
mod paths;
mod retries;

use cutover_tests::checks::check_facts;
use cutover_tests::clients::{Told, check_exactly_once, version};
use cutover_tests::house::{House, LEDGERS, Plan};
use cutover_vocabulary::fact::{Fact, Recorded};
use cutover_vocabulary::status::{State, Status};
use cutover_vocabulary::{Evidence, Phase};
use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::time::Duration;

/// What must hold at the end of a completed upgrade, whatever happened on the way.
fn check_completed(house: &House, upgrade: &str, status: &Status, told: &Told) {
    assert_eq!(version(house.address).as_deref(), Some("1.4.6"));
    check_exactly_once(house.address, LEDGERS, told);
    check_facts(&house.voice.facts(upgrade).unwrap());
    let mut lost: Vec<String> = Vec::new();
    for ledger in &status.ledgers {
        assert!(ledger.point.is_some() && ledger.after.is_some(), "{} has no recovery point or proof", ledger.name);
        lost.extend(ledger.lost.rows.iter().map(|row| format!("{}: {} {}", ledger.name, row.target, row.key)));
    }
    lost.sort();
    let mut expected = house.lost.clone();
    expected.sort();
    assert_eq!(lost, expected, "exactly the known rows are lost");
}

/// What must hold after a way back.
fn check_went_back(house: &House, upgrade: &str, told: &Told) {
    assert_eq!(version(house.address).as_deref(), Some("1.3.1"));
    check_exactly_once(house.address, LEDGERS, told);
    check_facts(&house.voice.facts(upgrade).unwrap());
}

#[test]
fn one_instance_is_upgraded_while_a_client_writes() {
    let house = House::new(Plan::default());
    let writer = house.writer();
    let upgrade = house.begin();
    let status = house.until_state(&upgrade, State::Completed);
    let before = writer.acknowledged();
    cutover_tests::until("clients are served again", std::time::Duration::from_secs(10), || {
        (writer.acknowledged() > before + 5).then_some(())
    });
    let told = writer.end();
    println!("downtime as the client saw it: {:?}; refused: {:?}", told.longest_gap, told.refused);
    check_completed(&house, &upgrade, &status, &told);
}

#[test]
fn an_upgrade_that_was_not_approved_does_not_start() {
    let house = House::new(Plan::default());
    let plan = house.voice.plan_when_ready("prod", "1.4.6");
    let refused = house.voice.start(&plan).unwrap_err();
    assert!(refused.starts_with("NEEDS_APPROVAL"), "{refused}");
    assert_eq!(version(house.address).as_deref(), Some("1.3.1"));
}

/// Waits until a fact of this phase is stored.
fn until_phase(house: &House, upgrade: &str, phase: Phase) -> bool {
    cutover_tests::checks::until_phase(&house.voice, upgrade, phase)
}

/// Closes a file that this process holds open. A child that another test forked just before has it until it becomes another program:
/// waits for that, too.
fn close(file: File) {
    let descriptor = format!("/proc/self/fd/{}", file.as_raw_fd());
    let path = std::fs::read_link(descriptor).unwrap();
    drop(file);
    let own = std::fs::read_link("/proc/self/exe").unwrap();
    cutover_tests::until(&format!("no child holds {} open", path.display()), Duration::from_secs(20), || {
        let processes = std::fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
        let children = processes.filter(|process| std::fs::read_link(process.join("exe")).is_ok_and(|exe| exe == own));
        let mut open = children.flat_map(|child| std::fs::read_dir(child.join("fd")).into_iter().flatten().flatten());
        let held = open.any(|one| std::fs::read_link(one.path()).is_ok_and(|file| file == path));
        (!held).then_some(())
    });
}

/// Starts an upgrade whose migration waits in its last ledger while the other is migrated already, and asks for the way back.
fn go_back_from_the_migration(house: &House) -> String {
    let upgrade = house.begin();
    let last = cutover_tests::checks::last_in_turn(&house.voice, &upgrade, LEDGERS.len());
    let never = house.dir().join("never");
    house.fault(&format!("1.4.6:NUMARY_SIM_HOLD_MIGRATION={}\n1.4.6:NUMARY_SIM_HOLD_LEDGER={last}", never.display()));
    let migrated = |r: &Recorded| matches!(&r.fact, Fact::StepSucceeded { evidence: Evidence::Migrated(_), .. });
    cutover_tests::until("one ledger is migrated", std::time::Duration::from_secs(60), || {
        house.voice.facts(&upgrade).ok()?.iter().any(migrated).then_some(())
    });
    house.voice.go_back(&upgrade, true).unwrap();
    upgrade
}

#[test]
fn an_approval_is_for_one_upgrade_and_a_deployment_is_planned_for_one_at_a_time() {
    let house = House::new(Plan::default());
    let plan = house.voice.plan_when_ready("prod", "1.4.6");
    house.voice.approve(&plan).unwrap();
    let upgrade = house.voice.start(&plan).unwrap();
    let busy = house.voice.plan("prod", "1.4.6").unwrap_err();
    assert!(busy.starts_with("DEPLOYMENT_BUSY"), "{busy}");
    house.voice.go_back(&upgrade, false).unwrap();
    house.until_state(&upgrade, State::Aborted);
    let refused = house.voice.start(&plan).unwrap_err();
    assert!(refused.starts_with("NEEDS_APPROVAL"), "{refused}");
    // Agreed to once more, it may start.
    house.voice.approve(&plan).unwrap();
    let again = house.voice.start(&plan).unwrap();
    house.until_state(&again, State::Completed);
}

#[test]
fn break_glass_takes_over_only_what_is_known_here_and_shows_no_way_back_where_none_leads() {
    let house = House::new(Plan::default());
    let local = |args: &[&str]| {
        let mut command = std::process::Command::new(cutover_tests::house::program("cutover-agent"));
        let output = command.arg("local").args(args).arg("--settings").arg(house.dir().join("agent.toml")).output();
        let output = output.unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.success(), text(&output.stdout) + &text(&output.stderr))
    };
    let upgrade = go_back_from_the_migration(&house);
    house.until_state(&upgrade, State::RolledBack);
    let (done, said) = local(&["takeover", "prod-7", "--note", "x"]);
    assert!(!done && said.contains("nothing of upgrade prod-7") && said.contains(&upgrade), "{said}");
    let (done, said) = local(&["status"]);
    assert!(done && said.contains("it went back already") && !said.contains("to go back by hand"), "{said}");
}
