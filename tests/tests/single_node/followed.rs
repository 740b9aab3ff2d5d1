//! Who follows an upgrade goes on following it over a coordinator that is away for a while.

use cutover_tests::house::{House, LEDGERS, Plan, program};
use cutover_tests::until;
use std::process::{Command, Stdio};
use std::time::Duration;

const WITHIN: Duration = Duration::from_secs(60);

#[test]
fn a_follow_goes_on_when_the_coordinator_is_back_and_says_that_it_was_gone() {
    let mut house = House::new(Plan::default());
    let go_on = house.dir().join("go-on");
    house.fault(&format!(
        "1.4.6:NUMARY_SIM_HOLD_MIGRATION={}\n1.4.6:NUMARY_SIM_HOLD_LEDGER={}",
        go_on.display(),
        LEDGERS[0]
    ));
    let upgrade = house.begin();
    let out = house.dir().join("followed");
    let file = std::fs::File::create(&out).unwrap();
    let mut follow = Command::new(program("cutover"))
        .args(["--operator", "ada", "--coordinator"])
        .arg(format!("unix:{}", house.dir().join("c.sock").display()))
        .args(["watch", &upgrade])
        .stdin(Stdio::null())
        .stdout(file.try_clone().unwrap())
        .stderr(file)
        .spawn()
        .unwrap();
    let text = || std::fs::read_to_string(&out).unwrap();
    until("the migration is under way", WITHIN, || text().contains("migrate").then_some(()));
    house.kill_coordinator();
    until("it says that the coordinator is gone", WITHIN, || text().contains("Lost the coordinator").then_some(()));
    house.start_coordinator();
    std::fs::write(&go_on, "").unwrap();
    let status = until("the following ends", WITHIN, || follow.try_wait().unwrap());
    assert_eq!(status.code(), Some(0), "{}", text());
    assert!(text().contains("completed"), "{}", text());
}
