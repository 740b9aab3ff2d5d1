//! What following the manual by hand leads to, and does not here. The others of the thirteen stand beside what they are about,
//! named `disaster_N` too.

use cutover_tests::clients::{check_exactly_once, request};
use cutover_tests::fleet::{Fleet, LEDGERS, Plan};
use cutover_tests::house::releases;
use cutover_vocabulary::finding::Level;
use cutover_vocabulary::status::State;

/// Every transaction's id and time, as an instance tells them.
fn times(fleet: &Fleet, ledger: &str) -> Vec<(u64, String)> {
    let (status, body) = request(fleet.host(1).address, "GET", &format!("/{ledger}/transactions"), "").unwrap();
    assert_eq!(status, 200, "{body}");
    let page: serde_json::Value = serde_json::from_str(&body).unwrap();
    let rows = page["cursor"]["data"].as_array().unwrap();
    let told = rows.iter().map(|row| (row["txid"].as_u64().unwrap(), row["timestamp"].as_str().unwrap().to_owned()));
    told.collect()
}

fn codes_that_block(fleet: &Fleet, to: &str) -> Vec<(String, String)> {
    let plan = fleet.voice.plan_when_ready("prod", to);
    plan.findings(Level::Block).map(|finding| (finding.code.0.clone(), finding.evidence.clone())).collect()
}

#[test]
fn disaster_2_exactly_the_approved_metadata_is_lost_and_every_row_of_it_was_listed() {
    let Some(fleet) = Fleet::new(Plan::default()) else { return };
    let plan = fleet.voice.plan_when_ready("prod", "1.4.6");
    let rows = |losses: &cutover_vocabulary::storage::Losses, ledger: &str| -> Vec<String> {
        losses.rows.iter().map(|row| format!("{ledger}: {} {}", row.target, row.key)).collect()
    };
    let mut listed: Vec<String> =
        plan.observed.ledgers.iter().flat_map(|ledger| rows(&ledger.losses, ledger.name.as_str())).collect();
    let mut expected = fleet.lost.clone();
    listed.sort();
    expected.sort();
    assert!(!expected.is_empty());
    assert_eq!(listed, expected, "the plan lists what the migration loses, row by row");
    assert!(fleet.voice.start(&plan).is_err(), "it does not start without approval");
    let upgrade = fleet.begin();
    let status = fleet.until_state(&upgrade, State::Completed);
    let mut lost: Vec<String> =
        status.ledgers.iter().flat_map(|ledger| rows(&ledger.lost, ledger.name.as_str())).collect();
    lost.sort();
    assert_eq!(lost, expected);
}

#[test]
fn disaster_9_no_transactions_time_is_shifted_by_the_databases_time_zone() {
    let before = "ALTER DATABASE ledger SET timezone TO 'Asia/Tokyo'".to_owned();
    let Some(fleet) = Fleet::new(Plan { from: "1.4.6", to: "1.8.3", before, ..Plan::default() }) else { return };
    let seen: Vec<_> = LEDGERS.iter().map(|ledger| times(&fleet, ledger)).collect();
    let writer = fleet.writer();
    let upgrade = fleet.begin();
    fleet.until_state(&upgrade, State::Completed);
    let told = writer.end();
    fleet.until_serves("1.8.3");
    check_exactly_once(fleet.host(1).address, LEDGERS, &told);
    for (ledger, before) in LEDGERS.iter().zip(seen) {
        // The newest come first, so what was there may stand on a later page; the database tells it whole.
        for (txid, told) in before {
            let sql = format!(
                "SET timezone TO 'UTC'; SELECT to_char(timestamp, 'YYYY-MM-DD\"T\"HH24:MI:SS') FROM {ledger}.transactions WHERE id = {txid}"
            );
            let now = fleet.sql(&sql);
            let now = now.lines().last().unwrap_or_default();
            assert!(told.starts_with(now) && !now.is_empty(), "{ledger} {txid}: {told}, now {now}");
        }
    }
}

#[test]
fn disaster_11_a_release_that_destroys_balances_is_never_a_target() {
    let Some(fleet) = Fleet::new(Plan { from: "1.4.6", to: "1.10.6", ..Plan::default() }) else { return };
    for to in ["1.10.6", "1.10.7"] {
        releases(to);
        let blocks = codes_that_block(&fleet, to);
        assert!(
            blocks.iter().any(|(code, why)| code == "bad-release" && why.contains("balances count from zero")),
            "{to}: {blocks:?}"
        );
    }
}

#[test]
fn disaster_12_a_storage_with_the_renumbered_migration_is_not_taken_where_it_breaks_and_the_way_around_is_named() {
    let Some(fleet) = Fleet::new(Plan { from: "1.7.8", to: "1.8.1", ..Plan::default() }) else { return };
    let plan = fleet.voice.plan_when_ready("prod", "1.8.1");
    let broken = plan.findings(Level::Block).find(|finding| finding.code.0 == "broken-upgrade");
    let broken = broken.unwrap_or_else(|| panic!("{:?}", plan.observed.findings));
    assert!(broken.evidence.contains("42P07"), "{broken:?}");
    assert!(broken.remedy.contains("1.8.2"), "{broken:?}");
}
