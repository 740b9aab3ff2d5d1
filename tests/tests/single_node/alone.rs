//! `cutover single`: the same without any daemon, one command after the other.

use cutover_tests::clients::version;
use cutover_tests::house::{House, LEDGERS, Plan, program};

/// What a command answered.
struct Answer {
    status: i32,
    text: String,
}

/// A house whose daemons are gone, so that `single` is all there is; the ledger serves on.
fn alone() -> House {
    let mut house = House::new(Plan::default());
    house.kill_coordinator();
    house.kill_agent();
    house
}

fn single(house: &House, words: &[&str]) -> Answer {
    let output = std::process::Command::new(program("cutover"))
        .args(["--operator", "ada", "single", "--settings"])
        .arg(house.dir().join("agent.toml"))
        .args(["--to", "1.4.6"])
        .args(words)
        .output()
        .unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Answer { status: output.status.code().unwrap(), text }
}

/// The command of a page that ends so, without its reason.
fn offered<'a>(answer: &'a Answer, end: &str) -> &'a str {
    let line = answer.text.lines().map(str::trim).find(|line| line.contains(" single ") && line.contains(end));
    line.unwrap_or_else(|| panic!("no command with {end:?} is offered:\n{}", answer.text))
}

#[test]
fn single_goes_the_whole_way_without_a_daemon() {
    let house = alone();
    let looked = single(&house, &["--plan"]);
    assert_eq!(looked.status, 3, "{}", looked.text);
    assert!(offered(&looked, "--yes").contains("--operator ada"), "{}", looked.text);
    assert_eq!(version(house.address).as_deref(), Some("1.3.1"), "nothing was started");
    let done = single(&house, &["--yes"]);
    assert_eq!(done.status, 0, "{}", done.text);
    assert_eq!(version(house.address).as_deref(), Some("1.4.6"));
    let status = single(&house, &["--status"]);
    assert_eq!(status.status, 0, "{}", status.text);
    let closed = single(&house, &["--close"]);
    assert_eq!(closed.status, 0, "{}", closed.text);
}

#[test]
fn a_decision_of_single_is_for_the_hold_it_names_and_typed_twice_it_starts_nothing() {
    let house = alone();
    house.fault(&format!("1.4.6:NUMARY_SIM_FAIL_MIGRATION={}", LEDGERS[1]));
    // The rehearsal's copy lies elsewhere, so that it fails where it counts.
    let held = single(&house, &["--yes"]);
    assert_eq!(held.status, 5, "{}", held.text);
    let rollback = offered(&held, ":rollback");
    let choice = rollback.split_whitespace().find(|word| word.ends_with(":rollback")).unwrap();
    let other = single(&house, &["--decide", "77:rollback", "--reason", "no"]);
    assert_ne!(other.status, 0, "{}", other.text);
    assert!(other.text.contains("77"), "{}", other.text);
    let resumed = single(&house, &["--resume"]);
    assert_eq!(resumed.status, 5, "nothing was decided: {}", resumed.text);
    house.no_faults();
    let decide = ["--decide", choice, "--reason", "it fails"];
    let back = single(&house, &decide);
    assert_eq!(back.status, 6, "{}", back.text);
    assert!(offered(&back, "--status") != offered(&back, "--plan"), "{}", back.text);
    assert_eq!(version(house.address).as_deref(), Some("1.3.1"));
    for words in [&decide[..], &["--resume"]] {
        let again = single(&house, words);
        assert_eq!(again.status, 2, "{}", again.text);
        assert!(again.text.contains("none was started"), "{}", again.text);
        assert_eq!(version(house.address).as_deref(), Some("1.3.1"), "nobody asked for another downtime");
    }
    let status = single(&house, &["--status"]);
    assert_eq!(status.status, 6, "{}", status.text);
}
