//! Rolling: clients write through the whole of it and none is refused for it.

use super::held;
use cutover_proto::v1::Strategy;
use cutover_tests::checks::{check_facts, until_phase};
use cutover_tests::clients::{Told, check_exactly_once, references, version};
use cutover_tests::fleet::{Fleet, LEDGERS, Plan};
use cutover_tests::house::program;
use cutover_tests::until;
use cutover_vocabulary::hold::Choice;
use cutover_vocabulary::phase::Phase;
use cutover_vocabulary::status::State;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

fn rolling(from: &'static str, to: &'static str) -> Option<Fleet> {
    let limits = "drain_seconds = 10\nagent_lost_seconds = 60\nbake_seconds = 2".to_owned();
    Fleet::new(Plan { from, to, strategy: Strategy::Rolling, limits, ..Plan::default() })
}

/// No client was turned away; conflicts between instances with the default lock are there without an upgrade too.
fn check_never_refused(told: &Told) {
    assert!(told.refused.is_empty(), "refused: {:?}", told.refused);
    assert!(told.unanswered.is_empty(), "unanswered: {:?}", told.unanswered);
    assert!(told.acknowledged.len() > 100, "{} writes", told.acknowledged.len());
}

/// Until clients have written so many more times.
fn writes(writer: &cutover_tests::clients::Writer, more: usize) {
    let before = writer.acknowledged();
    until("clients go on writing", Duration::from_secs(30), || (writer.acknowledged() > before + more).then_some(()));
}

/// Each acknowledged write is in `log` once, and the accounts hold what the writes that exist add up to: a release beside another
/// has been seen to answer 200 and to write one of the three only.
fn check_log_and_volumes(fleet: &Fleet, told: &Told) {
    let rows = |sql: &str| -> BTreeMap<String, u64> {
        let all = fleet.sql(sql);
        let row = |line: &str| line.split_once('|').map(|(key, number)| (key.to_owned(), number.parse().unwrap()));
        all.lines().filter_map(row).collect()
    };
    for ledger in LEDGERS {
        let logged = rows(&format!(
            "SELECT data->>'reference', count(*) FROM {ledger}.log WHERE type = 'NEW_TRANSACTION' AND data->>'reference' LIKE 'client-%' GROUP BY 1"
        ));
        let mine = told.acknowledged.iter().filter_map(|name| name.strip_prefix(&format!("{ledger}/")));
        for reference in mine {
            assert_eq!(logged.get(reference), Some(&1), "{reference} in the log of {ledger}");
        }
        let there = references(fleet.host(1).address, ledger);
        let written: BTreeSet<&String> = there.keys().filter(|name| name.starts_with("client-")).collect();
        assert_eq!(logged.keys().collect::<BTreeSet<_>>(), written, "log and transactions of {ledger}");
        let mut wanted: BTreeMap<String, u64> = BTreeMap::new();
        for reference in written {
            let n: u64 = reference.rsplit('-').next().unwrap().parse().unwrap();
            *wanted.entry(format!("clients:{}", n % 50)).or_default() += 7;
        }
        let sums = rows(&format!(
            "SELECT account, sum(input - output) FROM {ledger}.volumes WHERE account LIKE 'clients:%' GROUP BY 1"
        ));
        assert_eq!(sums, wanted, "volumes of {ledger}");
    }
}

fn rolls_without_a_failed_request(from: &'static str, to: &'static str) {
    let Some(fleet) = rolling(from, to) else { return };
    let writer = fleet.writers(3);
    writes(&writer, 20);
    let upgrade = fleet.begin();
    fleet.until_state(&upgrade, State::Completed);
    writes(&writer, 20);
    let told = writer.end();
    println!("{} writes, {} collided, longest gap {:?}", told.acknowledged.len(), told.collided, told.longest_gap);
    check_never_refused(&told);
    fleet.until_serves(to);
    check_exactly_once(fleet.host(1).address, LEDGERS, &told);
    check_log_and_volumes(&fleet, &told);
    check_facts(&fleet.voice.facts(&upgrade).unwrap());
    super::check_tidy(&fleet);
}

#[test]
fn three_instances_roll_from_1_4_0_to_1_4_6_without_a_failed_request() {
    rolls_without_a_failed_request("1.4.0", "1.4.6");
}

#[test]
fn three_instances_roll_from_1_4_6_to_1_7_3_migrated_first_without_a_failed_request() {
    rolls_without_a_failed_request("1.4.6", "1.7.3");
}

#[test]
fn a_canary_that_fails_health_leaves_the_others_untouched_and_the_deployment_serving() {
    let Some(fleet) = rolling("1.4.0", "1.4.6") else { return };
    let broken = fleet.dir().join("reads-fail");
    fleet.fault(&format!("1.4.6:NUMARY_SIM_FAIL_READS={}", broken.display()));
    let writer = fleet.writer();
    let upgrade = fleet.begin();
    assert!(until_phase(&fleet.voice, &upgrade, Phase::Bake), "it ended without a bake");
    std::fs::write(&broken, "").unwrap();
    let status = held(&fleet, &upgrade);
    let text = format!("{:?}", status.holds);
    assert!(text.contains("does not serve as it must") && text.contains("out of rotation"), "{text}");
    assert!(status.holds[0].offers(Choice::Rollback), "{text}");
    writes(&writer, 20);
    for number in 1..=3 {
        let runs = if number == 1 { "1.4.6" } else { "1.4.0" };
        assert_eq!(version(fleet.host(number).address).as_deref(), Some(runs), "host {number}");
    }
    super::decide(&fleet, &upgrade, &status, Choice::Rollback);
    fleet.until_state(&upgrade, State::RolledBack);
    fleet.until_serves("1.4.0");
    writes(&writer, 20);
    let told = writer.end();
    check_never_refused(&told);
    check_exactly_once(fleet.host(1).address, LEDGERS, &told);
    check_facts(&fleet.voice.facts(&upgrade).unwrap());
}

#[test]
fn a_canary_that_fails_its_clients_more_often_than_before_is_held_though_it_answers_every_look() {
    let Some(fleet) = rolling("1.4.0", "1.4.6") else { return };
    let broken = fleet.dir().join("writes-fail");
    fleet.fault(&format!("1.4.6:NUMARY_SIM_FAIL_WRITES={}", broken.display()));
    let writer = fleet.writer();
    let upgrade = fleet.begin();
    assert!(until_phase(&fleet.voice, &upgrade, Phase::Bake), "it ended without a bake");
    std::fs::write(&broken, "").unwrap();
    let status = held(&fleet, &upgrade);
    let text = format!("{:?}", status.holds);
    assert!(
        text.contains("requests with a status of 500 or above while it was watched; before the upgrade 0 of"),
        "{text}"
    );
    assert!(text.contains("out of rotation"), "{text}");
    writes(&writer, 20);
    super::decide(&fleet, &upgrade, &status, Choice::Rollback);
    fleet.until_state(&upgrade, State::RolledBack);
    fleet.until_serves("1.4.0");
    writes(&writer, 20);
    check_exactly_once(fleet.host(1).address, LEDGERS, &writer.end());
    check_facts(&fleet.voice.facts(&upgrade).unwrap());
}

#[test]
fn a_coordinator_that_is_killed_in_every_phase_of_a_wave_goes_on_and_no_request_fails() {
    let Some(mut fleet) = rolling("1.4.0", "1.4.6") else { return };
    let writer = fleet.writer();
    let upgrade = fleet.begin();
    for phase in [
        Phase::Drain,
        Phase::ConfirmDrained,
        Phase::Switch,
        Phase::StartClosed,
        Phase::Verify,
        Phase::Open,
        Phase::Bake,
    ] {
        assert!(until_phase(&fleet.voice, &upgrade, phase), "{phase} was never entered");
        fleet.kill_coordinator();
        fleet.start_coordinator();
    }
    fleet.until_state(&upgrade, State::Completed);
    let told = writer.end();
    check_never_refused(&told);
    fleet.until_serves("1.4.6");
    check_exactly_once(fleet.host(1).address, LEDGERS, &told);
    check_facts(&fleet.voice.facts(&upgrade).unwrap());
}

#[test]
fn how_many_move_together_and_how_long_they_are_watched_is_asked_for_with_the_plan_and_bound_by_it() {
    let Some(fleet) = rolling("1.4.0", "1.4.6") else { return };
    fleet.voice.plan_when_ready("prod", "1.4.6");
    let coordinator = fleet.coordinator();
    let cutover = |args: &[&str]| {
        let mut command = std::process::Command::new(program("cutover"));
        // A runbook is left in the present folder.
        command
            .args(args)
            .args(["--json", "--coordinator", &coordinator])
            .env("USER", "tester")
            .current_dir(fleet.dir());
        let output = command.output();
        let output = output.unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let last = text.lines().last().and_then(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        (output.status.code(), last.unwrap_or_else(|| panic!("{text}{}", String::from_utf8_lossy(&output.stderr))))
    };
    let (status, said) =
        cutover(&["plan", "prod", "--to", "1.4.6", "--strategy", "rolling", "--wave", "2", "--bake", "1"]);
    assert_eq!(status, Some(0), "{said}");
    let binding = &said["plan"]["binding"];
    let sizes: Vec<usize> = binding["waves"].as_array().unwrap().iter().map(|w| w.as_array().unwrap().len()).collect();
    assert_eq!((sizes, &binding["limits"]["bake"]), (vec![1, 2], &serde_json::json!(1000)), "{binding}");
    // It is started as it was asked for: the plan that is made anew at the start is the same.
    let digest = said["digest"].as_str().unwrap().to_owned();
    let (_, started) = cutover(&["start", &digest, "--detach"]);
    let upgrade = started["upgrade"].as_str().unwrap_or_else(|| panic!("{started}")).to_owned();
    fleet.until_state(&upgrade, State::Completed);
    fleet.until_serves("1.4.6");
}

/// What `cutover plan` says to an operator who asks for a roll.
fn asked_to_roll(fleet: &Fleet, to: &str) -> (Option<i32>, String) {
    fleet.voice.plan_when_ready("prod", to);
    let output = std::process::Command::new(program("cutover"))
        .args(["plan", "prod", "--to", to, "--strategy", "rolling", "--coordinator", &fleet.coordinator()])
        .env("USER", "tester")
        .output()
        .unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

fn is_refused_and_passes_with_downtime(from: &'static str, to: &'static str, fact: &str) {
    let Some(fleet) = Fleet::new(Plan { from, to, ..Plan::default() }) else { return };
    let (status, said) = asked_to_roll(&fleet, to);
    assert_eq!(status, Some(4), "{said}");
    let words: Vec<&str> = said.split_whitespace().collect();
    let said = words.join(" ");
    assert!(said.contains("rolling-refused") && said.contains(fact), "{fact:?} in {said}");
    assert!(said.contains("--strategy downtime"), "{said}");
    let writer = fleet.writer();
    let upgrade = fleet.begin();
    let status = fleet.until_state(&upgrade, State::Completed);
    assert_eq!(status.strategy, cutover_vocabulary::plan::Strategy::Downtime);
    writes(&writer, 20);
    let told = writer.end();
    fleet.until_serves(to);
    check_exactly_once(fleet.host(1).address, LEDGERS, &told);
    check_facts(&fleet.voice.facts(&upgrade).unwrap());
}

#[test]
fn disaster_1_a_roll_from_1_3_1_to_1_3_3_is_refused_for_what_was_measured_and_passes_with_downtime() {
    is_refused_and_passes_with_downtime("1.3.1", "1.3.3", "503");
}

#[test]
fn disaster_10_a_roll_from_1_4_6_to_1_9_6_is_refused_for_what_was_measured_and_passes_with_downtime() {
    is_refused_and_passes_with_downtime("1.4.6", "1.9.6", "log");
}
