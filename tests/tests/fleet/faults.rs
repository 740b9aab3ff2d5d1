//! One ledger of three fails: only what committed is restored, and the old version runs again.

use crate::{check_completed, check_went_back, decide, held};
use cutover_tests::checks::until_phase;
use cutover_tests::fleet::{DATABASE, Fleet, PASSWORD, Plan};
use cutover_vocabulary::Phase;
use cutover_vocabulary::fact::Fact;
use cutover_vocabulary::hold::{Choice, HoldReason};
use cutover_vocabulary::outcome::Evidence;
use cutover_vocabulary::status::State;
use cutover_vocabulary::storage::LedgerDigest;
use std::collections::BTreeMap;

/// What each ledger held before, by its recovery point, and after, by its restore or as it was left.
fn digests(fleet: &Fleet, upgrade: &str) -> (BTreeMap<String, LedgerDigest>, BTreeMap<String, LedgerDigest>) {
    let (mut before, mut after) = (BTreeMap::new(), BTreeMap::new());
    for fact in fleet.voice.facts(upgrade).unwrap() {
        let Fact::StepSucceeded { order, evidence } = &fact.fact else { continue };
        let subject = order.step.subject.to_string();
        match evidence {
            Evidence::Secured(point) => before.extend(point.digest.clone().map(|digest| (subject, digest))),
            Evidence::Restored(restored) => after.extend(restored.digest.clone().map(|digest| (subject, digest))),
            _ => {}
        }
    }
    (before, after)
}

#[test]
fn a_ledger_that_fails_panics_is_killed_or_hangs_rolls_back_and_only_what_committed_is_restored() {
    for fault in ["FAIL_MIGRATION", "PANIC_MIGRATION", "KILL_MIGRATION"] {
        let Some(fleet) = Fleet::new(Plan::default()) else { return };
        let writer = fleet.writer();
        let upgrade = fleet.begin();
        let last = fleet.hold_in_the_middle(&upgrade);
        fleet.no_faults();
        fleet.fault(&format!("1.4.6:NUMARY_SIM_{fault}={last}"));
        // The command that waits is killed, which is tried again by itself, and then fails.
        fleet.kill_command(&format!("storage upgrade {last}"));
        let status = held(&fleet, &upgrade);
        assert!(matches!(&status.holds[0].reason, HoldReason::StepFailed { .. }), "{fault}: {:?}", status.holds);
        decide(&fleet, &upgrade, &status, Choice::Rollback);
        fleet.until_state(&upgrade, State::RolledBack);
        check_went_back(&fleet, &upgrade, &writer.end());
        let (before, after) = digests(&fleet, &upgrade);
        assert_eq!(before.len(), 3, "{fault}");
        assert!(after.len() >= 2, "{fault}: the two that had committed were restored: {after:?}");
        for (ledger, digest) in &after {
            assert_eq!(before.get(ledger), Some(digest), "{fault}: {ledger} is what it was");
        }
        let moved = fleet.sql(&format!("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'cutover_moved%{last}%'"));
        assert_eq!(moved, "0", "{fault}: what had not committed was left alone");
    }
}

#[test]
fn a_ledger_that_failed_is_tried_again_when_a_person_says_so() {
    let Some(fleet) = Fleet::new(Plan::default()) else { return };
    let writer = fleet.writer();
    let upgrade = fleet.begin();
    assert!(until_phase(&fleet.voice, &upgrade, Phase::Drain));
    fleet.fault("1.4.6:NUMARY_SIM_FAIL_MIGRATION=shop");
    let status = held(&fleet, &upgrade);
    fleet.no_faults();
    decide(&fleet, &upgrade, &status, Choice::Retry);
    let status = fleet.until_state(&upgrade, State::Completed);
    check_completed(&fleet, &upgrade, &status, &writer.end());
}

/// Disaster 3: on PostgreSQL too a bad row is found before the night.
#[test]
fn disaster_3_a_bad_row_blocks_the_plan() {
    let Some(fleet) = Fleet::new(Plan::default()) else { return };
    let body =
        r#"{"postings":[{"source":"world","destination":"bank","amount":1,"asset":"USD/2"}],"reference":"a\"b"}"#;
    let answer = cutover_tests::clients::request(fleet.host(1).address, "POST", "/shop/transactions", body);
    assert_eq!(answer.unwrap().0, 200);
    let plan = fleet.voice.plan_when_ready("prod", "1.4.6");
    let codes: Vec<String> = plan.binding.findings.iter().map(|finding| finding.code.to_string()).collect();
    assert!(codes.contains(&"bad-rows".to_owned()), "{codes:?}");
}

/// The password of the ledger's role appears in no log, fact, argument, or file that is not its own.
#[test]
fn the_roles_password_appears_nowhere() {
    let Some(fleet) = Fleet::new(Plan::default()) else { return };
    let upgrade = fleet.begin();
    let mut seen = Vec::new();
    let status = cutover_tests::until("the upgrade ends", std::time::Duration::from_secs(180), || {
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let words = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let words = String::from_utf8_lossy(&words).into_owned();
            if words.contains(PASSWORD) && !words.contains("CREATE ROLE") {
                seen.push(words);
            }
        }
        let status = fleet.voice.status(&upgrade).ok()?;
        (status.state.ended() || status.state == State::Held).then_some(status)
    });
    assert_eq!(status.state, State::Completed, "{}", fleet.logs());
    assert!(seen.is_empty(), "{seen:?}");
    assert!(!serde_json::to_string(&fleet.voice.facts(&upgrade).unwrap()).unwrap().contains(PASSWORD), "a fact");
    let (mut open, mut files) = (vec![fleet.dir().to_owned()], Vec::new());
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            match entry.file_type().unwrap() {
                kind if kind.is_dir() && entry.file_name() != "postgres" => open.push(entry.path()),
                kind if kind.is_file() => files.push(entry.path()),
                _ => {}
            }
        }
    }
    assert!(files.len() > 40, "the search looked at something");
    let own = ["agent.toml", "numary.yaml"];
    let leaks: Vec<_> = files
        .iter()
        .filter(|path| !own.iter().any(|name| path.ends_with(name)))
        .filter(|path| {
            let bytes = std::fs::read(path).unwrap_or_default();
            bytes.windows(PASSWORD.len()).any(|window| window == PASSWORD.as_bytes())
        })
        .collect();
    assert!(leaks.is_empty(), "{leaks:?} of database {DATABASE}");
}
