//! What can go wrong on one node, each as a test: the ledger's commands, the service, the disk, the data.

use crate::{check_completed, check_went_back, close, until_phase};
use cutover_tests::clients::{request, version};
use cutover_tests::disk::Disk;
use cutover_tests::house::{House, Plan};
use cutover_vocabulary::Phase;
use cutover_vocabulary::finding::Level;
use cutover_vocabulary::hold::{Choice, HoldReason};
use cutover_vocabulary::status::{State, Status};

/// Decides the oldest hold.
fn decide(house: &House, upgrade: &str, status: &Status, choice: Choice) {
    let hold = status.holds.first().unwrap();
    house.voice.decide(upgrade, hold.id.0, choice).unwrap();
}

/// Waits for a hold and returns where it stands.
fn held(house: &House, upgrade: &str) -> Status {
    let status = house.until_rests(upgrade);
    assert_eq!(status.state, State::Held, "{:?}\n{}", status.turned_back, house.logs());
    status
}

#[test]
fn a_third_kind_of_loss_is_found_on_the_copy_before_any_downtime() {
    let house = House::new(Plan::default());
    house.fault_in_target("NUMARY_SIM_CHANGE_AMOUNT=shop");
    let writer = house.writer();
    let upgrade = house.begin();
    let status = held(&house, &upgrade);
    assert!(
        matches!(&status.holds[0].reason, HoldReason::UnexplainedDifferences { ledger, .. } if ledger.as_str() == "shop")
    );
    assert_eq!(status.holds[0].phase, Phase::Rehearse);
    decide(&house, &upgrade, &status, Choice::Abort);
    house.until_state(&upgrade, State::Aborted);
    let told = writer.end();
    assert!(told.unanswered.is_empty(), "the service was never stopped: {:?}", told.unanswered);
    check_went_back(&house, &upgrade, &told);
}

#[test]
fn a_third_kind_of_loss_in_the_real_migration_holds_and_rolls_back() {
    for fault in ["CHANGE_AMOUNT", "DROP_METADATA"] {
        let house = House::new(Plan::default());
        let writer = house.writer();
        let upgrade = house.begin();
        until_phase(&house, &upgrade, Phase::Drain);
        house.fault(&format!("1.4.6:NUMARY_SIM_{fault}=shop"));
        let status = held(&house, &upgrade);
        assert!(matches!(&status.holds[0].reason, HoldReason::UnexplainedDifferences { .. }), "{:?}", status.holds);
        assert_eq!(status.holds[0].phase, Phase::Prove, "{fault}");
        decide(&house, &upgrade, &status, Choice::Rollback);
        house.until_state(&upgrade, State::RolledBack);
        let told = writer.end();
        check_went_back(&house, &upgrade, &told);
    }
}

#[test]
fn a_ledger_command_that_fails_panics_or_is_killed_holds_and_rolls_back() {
    for fault in ["FAIL_MIGRATION", "PANIC_MIGRATION", "KILL_MIGRATION"] {
        let house = House::new(Plan::default());
        let upgrade = house.begin();
        until_phase(&house, &upgrade, Phase::Drain);
        house.fault(&format!("1.4.6:NUMARY_SIM_{fault}=shop"));
        let status = held(&house, &upgrade);
        assert!(matches!(&status.holds[0].reason, HoldReason::StepFailed { .. }), "{:?}", status.holds);
        decide(&house, &upgrade, &status, Choice::Rollback);
        house.until_state(&upgrade, State::RolledBack);
        check_went_back(&house, &upgrade, &Default::default());
    }
}

#[test]
fn a_ledger_command_that_failed_is_tried_again_when_a_person_says_so() {
    let house = House::new(Plan::default());
    let writer = house.writer();
    let upgrade = house.begin();
    until_phase(&house, &upgrade, Phase::Drain);
    house.fault("1.4.6:NUMARY_SIM_FAIL_MIGRATION=shop");
    let status = held(&house, &upgrade);
    house.no_faults();
    decide(&house, &upgrade, &status, Choice::Retry);
    let status = house.until_state(&upgrade, State::Completed);
    check_completed(&house, &upgrade, &status, &writer.end());
}

#[test]
fn a_ledger_command_that_hangs_is_overdue_and_can_be_rolled_back() {
    let plan = Plan { limits: "migration_seconds = 4\nstep_seconds = 30".to_owned(), ..Plan::default() };
    let house = House::new(plan);
    let upgrade = house.begin();
    until_phase(&house, &upgrade, Phase::Drain);
    house.fault("1.4.6:NUMARY_SIM_HANG_COMMAND=upgrade");
    let status = held(&house, &upgrade);
    assert!(matches!(&status.holds[0].reason, HoldReason::Overdue { .. }), "{:?}", status.holds);
    decide(&house, &upgrade, &status, Choice::Rollback);
    house.until_state(&upgrade, State::RolledBack);
    check_went_back(&house, &upgrade, &Default::default());
}

#[test]
fn an_instance_that_will_not_stop_holds_and_is_let_in_again() {
    let house = House::new(Plan {
        faults: "1.3.1:NUMARY_SIM_IGNORE_SIGTERM=1".to_owned(),
        limits: "drain_seconds = 1".to_owned(),
        ..Plan::default()
    });
    let writer = house.writer();
    let upgrade = house.begin();
    let status = held(&house, &upgrade);
    assert!(matches!(&status.holds[0].reason, HoldReason::UncleanStop { .. }), "{:?}", status.holds);
    decide(&house, &upgrade, &status, Choice::Abort);
    house.until_state(&upgrade, State::Aborted);
    check_went_back(&house, &upgrade, &writer.end());
}

#[test]
fn a_target_that_dies_at_start_is_found_on_the_copy() {
    let house = House::new(Plan::default());
    house.fault_in_target("NUMARY_SIM_DIE_AT_START=1");
    let writer = house.writer();
    let upgrade = house.begin();
    let status = house.until_state(&upgrade, State::Aborted);
    assert!(status.turned_back.as_deref().unwrap_or_default().contains("rehearse"), "{:?}", status.turned_back);
    let told = writer.end();
    assert!(told.unanswered.is_empty(), "the service was never stopped");
    check_went_back(&house, &upgrade, &told);
}

#[test]
fn an_instance_that_dies_at_its_closed_start_rolls_back() {
    let house = House::new(Plan::default());
    let writer = house.writer();
    let upgrade = house.begin();
    until_phase(&house, &upgrade, Phase::Drain);
    house.fault("1.4.6:NUMARY_SIM_DIE_AT_START=1");
    let status = held(&house, &upgrade);
    assert_eq!(status.holds[0].phase, Phase::StartClosed);
    decide(&house, &upgrade, &status, Choice::Rollback);
    house.until_state(&upgrade, State::RolledBack);
    check_went_back(&house, &upgrade, &writer.end());
}

/// Disaster 7: the new binary does not know a flag of the old unit.
#[test]
fn disaster_7_a_unit_argument_that_the_target_does_not_know_is_found_before_any_downtime() {
    let house = House::new(Plan { args: vec!["--persist-config=false".to_owned()], ..Plan::default() });
    let writer = house.writer();
    let plan = house.voice.plan_when_ready("prod", "1.4.6");
    let found = plan.findings(Level::Block).find(|finding| finding.code.0 == "argument-unknown").unwrap();
    assert!(found.evidence.contains("unknown flag: --persist-config"), "{found:?}");
    assert!(house.voice.start(&plan).unwrap_err().starts_with("BLOCKED"));
    assert!(writer.end().unanswered.is_empty(), "the service was never stopped");
    assert_eq!(version(house.address).as_deref(), Some("1.3.1"));
}

/// Disaster 3: one bad row stops one ledger and leaves the fleet half migrated.
#[test]
fn disaster_3_a_bad_row_blocks_the_plan() {
    let house = House::new(Plan::default());
    let body =
        r#"{"postings":[{"source":"world","destination":"bank","amount":1,"asset":"USD/2"}],"reference":"a\"b"}"#;
    assert_eq!(request(house.address, "POST", "/shop/transactions", body).unwrap().0, 200);
    let plan = house.voice.plan_when_ready("prod", "1.4.6");
    let codes: Vec<String> = plan.binding.findings.iter().map(|finding| finding.code.to_string()).collect();
    assert!(codes.contains(&"bad-rows".to_owned()), "{codes:?}");
    assert!(house.voice.approve(&plan).unwrap_err().starts_with("BLOCKED"));
    assert!(house.voice.start(&plan).unwrap_err().starts_with("BLOCKED"));
}

#[test]
fn a_stranger_that_opens_the_storage_in_the_window_holds_and_retry_goes_on() {
    let house = House::new(Plan::default());
    let writer = house.writer();
    let upgrade = house.begin();
    until_phase(&house, &upgrade, Phase::Drain);
    let stranger = std::fs::File::open(house.data().join("numary_shop.db")).unwrap();
    let status = house.until_rests(&upgrade);
    assert_eq!(status.state, State::Held, "{}", house.logs());
    let HoldReason::Strangers { openers, .. } = &status.holds[0].reason else { panic!("{:?}", status.holds) };
    assert!(openers.iter().any(|opener| opener.pid == std::process::id()), "{openers:?}");
    close(stranger);
    decide(&house, &upgrade, &status, Choice::Retry);
    let status = house.until_state(&upgrade, State::Completed);
    check_completed(&house, &upgrade, &status, &writer.end());
}

#[test]
fn a_full_disk_at_the_recovery_point_goes_back_by_itself() {
    let outside = tempfile::tempdir().unwrap();
    let Some(disk) = Disk::mount(&outside.path().join("disk"), 20_000 << 10) else {
        return cutover_tests::house::skipped("a full disk: a small file system cannot be mounted here; it takes root");
    };
    let house = House::new(Plan { recovery: Some(disk.path().join("recovery")), ..Plan::default() });
    let writer = house.writer();
    let upgrade = house.begin();
    until_phase(&house, &upgrade, Phase::Rehearse);
    disk.fill();
    let status = house.until_state(&upgrade, State::Aborted);
    let why = status.turned_back.unwrap_or_default();
    assert!(why.contains("secure") && why.to_lowercase().contains("space"), "{why}");
    check_went_back(&house, &upgrade, &writer.end());
}

/// A secret in the settings appears in no log, fact, order, error, argument list, or file that is not its own.
#[test]
fn a_planted_secret_appears_nowhere() {
    const SECRET: &str = "s3cr3t-planted-in-settings";
    let connection = format!("postgresql://ledger:{SECRET}@db/ledger");
    let house = House::new(Plan {
        env: vec![
            ("NUMARY_STORAGE_POSTGRES_CONN_STRING".to_owned(), connection),
            ("NUMARY_AUTH_BASIC_CREDENTIALS_UNUSED".to_owned(), SECRET.to_owned()),
        ],
        ..Plan::default()
    });
    let upgrade = house.begin();
    let mut seen_in_arguments = Vec::new();
    let status = cutover_tests::until("the upgrade ends", std::time::Duration::from_secs(90), || {
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let words = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            if String::from_utf8_lossy(&words).contains(SECRET) {
                seen_in_arguments.push(String::from_utf8_lossy(&words).into_owned());
            }
        }
        let status = house.voice.status(&upgrade).ok()?;
        (status.state.ended() || status.state == State::Held).then_some(status)
    });
    assert_eq!(status.state, State::Completed, "{}", house.logs());
    assert!(seen_in_arguments.is_empty(), "{seen_in_arguments:?}");
    let facts = serde_json::to_string(&house.voice.facts(&upgrade).unwrap()).unwrap();
    assert!(!facts.contains(SECRET), "a fact carries it");
    let mut files = Vec::new();
    let mut open = vec![house.dir().to_owned(), house.state()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            match entry.file_type().unwrap() {
                kind if kind.is_dir() => open.push(path),
                kind if kind.is_file() => files.push(path),
                _ => {}
            }
        }
    }
    assert!(files.len() > 20, "the search looked at something");
    // Its own: the settings file, and the ledger's own configuration file that 1.3.1 writes.
    let own = ["agent.toml", "numary.yaml"];
    let leaks: Vec<_> = files
        .iter()
        .filter(|path| !own.iter().any(|name| path.ends_with(name)))
        .filter(|path| {
            let bytes = std::fs::read(path).unwrap_or_default();
            bytes.windows(SECRET.len()).any(|window| window == SECRET.as_bytes())
        })
        .collect();
    assert!(leaks.is_empty(), "{leaks:?}");
}
