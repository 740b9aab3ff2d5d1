//! What following the manual by hand leads to, and does not here. The others of the thirteen stand beside what they are about,
//! named `disaster_N` too.

use cutover_ledger_simulator::seed::{Shape, direct};
use cutover_tests::checks::{check_facts, until_phase};
use cutover_tests::clients::{check_exactly_once, request};
use cutover_tests::fleet::{Fleet, LEDGERS, Plan};
use cutover_tests::house::releases;
use cutover_tests::until;
use cutover_vocabulary::fact::Fact;
use cutover_vocabulary::finding::Level;
use cutover_vocabulary::phase::Phase;
use cutover_vocabulary::status::State;
use cutover_vocabulary::{Evidence, Work};
use std::time::Duration;

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

/// How long the target's migration of each ledger takes, at least.
const LONG: Duration = Duration::from_millis(1500);

#[test]
fn disaster_4_how_long_each_ledger_takes_is_measured_beforehand_while_clients_are_served() {
    let Some(fleet) = Fleet::new(Plan::default()) else { return };
    fleet.fault_in_target(&format!("NUMARY_SIM_MIGRATION_MILLIS={}", LONG.as_millis()));
    let writer = fleet.writer();
    let upgrade = fleet.begin();
    assert!(until_phase(&fleet.voice, &upgrade, Phase::Rehearse));
    let before = writer.acknowledged();
    assert!(until_phase(&fleet.voice, &upgrade, Phase::Drain));
    assert!(writer.acknowledged() > before + 20, "clients were served while it was rehearsed");
    let status = fleet.until_state(&upgrade, State::Completed);
    for ledger in &status.ledgers {
        let took = ledger.rehearsed.unwrap_or_else(|| panic!("{} was not rehearsed", ledger.name));
        assert!(took.as_millis() >= LONG.as_millis() as u64, "{}: {took}", ledger.name);
    }
    let told = writer.end();
    super::check_completed(&fleet, &upgrade, &status, &told);
}

#[test]
fn disaster_5_what_a_settings_file_names_is_told_and_never_migrated_in_place_of_what_the_service_uses() {
    let Some(fleet) = Fleet::new(Plan::default()) else { return };
    // As 1.3.1 leaves it behind: the service has moved to PostgreSQL since, by its environment.
    let stale = fleet.dir().join("stale");
    std::fs::create_dir(&stale).unwrap();
    let file = stale.join("numary_main.db");
    direct(&file, Shape { transactions: 10, accounts: 5, metadata_every: 2 }).unwrap();
    let kept = std::fs::read(&file).unwrap();
    for host in &fleet.hosts {
        let folder = host.dir.join("home/.numary");
        std::fs::create_dir_all(&folder).unwrap();
        let text = format!("storage:\n  driver: sqlite\n  dir: {}\n  sqlite:\n    db_name: numary\n", stale.display());
        std::fs::write(folder.join("numary.yaml"), text).unwrap();
    }
    let plan = fleet.voice.plan_when_ready("prod", "1.4.6");
    let named = plan.observed.findings.iter().filter(|finding| finding.code.0 == "settings-file-differs").count();
    assert_eq!(named, 3, "{:#?}", plan.observed.findings);
    let upgrade = fleet.begin();
    let status = fleet.until_state(&upgrade, State::Completed);
    let writer = fleet.writer();
    until("clients write", Duration::from_secs(30), || (writer.acknowledged() > 5).then_some(()));
    super::check_completed(&fleet, &upgrade, &status, &writer.end());
    assert!(std::fs::read(&file).unwrap() == kept, "the storage that the file names was touched");
    let names: Vec<_> = std::fs::read_dir(&stale).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["numary_main.db"], "nothing was made beside it");
}

#[test]
fn disaster_13_clients_in_a_hurry_neither_begin_nor_cancel_a_migration() {
    // In one lane nothing else makes a migration fail: two of 1.4.x can collide.
    let Some(fleet) = Fleet::new(Plan { lanes: 1, ..Plan::default() }) else { return };
    fleet.fault_in_target(&format!("NUMARY_SIM_MIGRATION_MILLIS={}", LONG.as_millis()));
    let end = std::sync::atomic::AtomicBool::new(false);
    let ended = || end.load(std::sync::atomic::Ordering::Relaxed);
    let (upgrade, status) = std::thread::scope(|scope| {
        for host in &fleet.hosts {
            // They know the instance's own port, and hang up before any migration could be done.
            scope.spawn(|| {
                while !ended() {
                    for ledger in LEDGERS {
                        hang_up_soon(host.address, ledger);
                    }
                    std::thread::sleep(Duration::from_millis(20));
                }
            });
        }
        // Whatever comes of it, the threads must end.
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let upgrade = fleet.begin();
            let status = fleet.until_state(&upgrade, State::Completed);
            (upgrade, status)
        }));
        end.store(true, std::sync::atomic::Ordering::Relaxed);
        done.unwrap()
    });
    assert_eq!(status.ledgers.len(), LEDGERS.len());
    let facts = fleet.voice.facts(&upgrade).unwrap();
    for ledger in LEDGERS {
        let migrations = facts.iter().filter(|recorded| match &recorded.fact {
            Fact::AttemptOpened { order } => {
                matches!(order.work, Work::Migrate { .. })
                    && order.id.step.subject.to_string() == format!("ledger {ledger}")
            }
            _ => false,
        });
        assert_eq!(migrations.count(), 1, "{ledger} was migrated once, at the first try");
        let by_command = facts.iter().any(|recorded| match &recorded.fact {
            Fact::StepSucceeded { order, evidence: Evidence::Migrated(migrated) } => {
                migrated.changed && order.step.subject.to_string() == format!("ledger {ledger}")
            }
            _ => false,
        });
        assert!(by_command, "{ledger} was migrated by the command, not by a client's request");
    }
    check_facts(&facts);
}

/// A request whose client waits for 50 ms only.
fn hang_up_soon(address: std::net::SocketAddr, ledger: &str) {
    use std::io::{Read as _, Write as _};
    let patience = Duration::from_millis(50);
    let Ok(mut stream) = std::net::TcpStream::connect_timeout(&address, patience) else { return };
    let _ = stream.set_read_timeout(Some(patience));
    let _ =
        stream.write_all(format!("GET /{ledger}/stats HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes());
    let _ = stream.read(&mut [0; 512]);
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
