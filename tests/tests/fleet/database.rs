//! What can be wrong with the database, its role, and others on it.

use crate::{check_completed, check_went_back, decide, held, tried_on};
use cutover_tests::checks::until_phase;
use cutover_tests::fleet::{DATABASE, Fleet, Plan};
use cutover_trial_postgres::Stop;
use cutover_vocabulary::Phase;
use cutover_vocabulary::hold::{Choice, HoldReason};
use cutover_vocabulary::status::State;
use std::io::Write as _;
use std::process::{Child, Command, Stdio};

fn codes(fleet: &Fleet) -> Vec<String> {
    let plan = fleet.voice.plan_when_ready("prod", "1.4.6");
    plan.binding.findings.iter().map(|finding| finding.code.to_string()).collect()
}

/// A session of the superuser, open until it is dropped.
struct Stranger(Child);
impl Stranger {
    fn on(fleet: &Fleet, sql: &str) -> Self {
        let mut child = Command::new("psql")
            .args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", &fleet.cluster.superuser_url(DATABASE)])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        writeln!(child.stdin.as_mut().unwrap(), "SET application_name = 'a-stranger'; {sql}").unwrap();
        cutover_tests::until("the stranger is there", std::time::Duration::from_secs(10), || {
            let there = fleet.sql("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'a-stranger'");
            (there == "1").then_some(())
        });
        Self(child)
    }
}
impl Drop for Stranger {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_strangers_session_in_the_window_holds_and_retry_goes_on() {
    let Some(fleet) = Fleet::new(Plan::default()) else { return };
    let writer = fleet.writer();
    let upgrade = fleet.begin();
    assert!(until_phase(&fleet.voice, &upgrade, Phase::Drain));
    let stranger = Stranger::on(&fleet, "SELECT 1;");
    let status = held(&fleet, &upgrade);
    let HoldReason::Strangers { sessions, .. } = &status.holds[0].reason else { panic!("{:?}", status.holds) };
    assert!(sessions.iter().any(|session| session.application == "a-stranger"), "{sessions:?}");
    drop(stranger);
    cutover_tests::until("the stranger is gone", std::time::Duration::from_secs(10), || {
        let there = fleet.sql("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'a-stranger'");
        (there == "0").then_some(())
    });
    decide(&fleet, &upgrade, &status, Choice::Retry);
    let status = fleet.until_state(&upgrade, State::Completed);
    check_completed(&fleet, &upgrade, &status, &writer.end());
}

#[test]
fn a_session_that_the_server_ends_a_moment_late_holds_nothing() {
    let Some(fleet) = Fleet::new(Plan::default()) else { return };
    let upgrade = fleet.begin();
    assert!(until_phase(&fleet.voice, &upgrade, Phase::Drain));
    let url = fleet.cluster.superuser_url(DATABASE);
    let mut late = Command::new("psql").args(["-XqAt", "-c", "SELECT pg_sleep(2)", "-d", &url]).spawn().unwrap();
    fleet.until_state(&upgrade, State::Completed);
    assert!(late.wait().unwrap().success());
}

#[test]
fn a_stranger_that_writes_between_the_recovery_point_and_the_migration_loses_nothing() {
    let Some(fleet) = Fleet::new(Plan::default()) else { return };
    let upgrade = fleet.begin();
    assert!(until_phase(&fleet.voice, &upgrade, Phase::Drain));
    // The lock keeps the recovery points from being taken until the stranger has written: no, it must write after. The
    // command that lists ledgers hangs, so that the migration waits while somebody writes.
    fleet.fault("1.4.6:NUMARY_SIM_HANG_COMMAND=list");
    assert!(until_phase(&fleet.voice, &upgrade, Phase::Migrate));
    let write = "INSERT INTO shop.transactions(id, timestamp, reference, hash) SELECT max(id) + 1, '2026-11-27T00:00:00Z', 'a-strangers', 'h' FROM shop.transactions; \
        INSERT INTO shop.postings(id, txid, source, destination, amount, asset) SELECT 0, max(id), 'world', 'bank', 5, 'USD/2' FROM shop.transactions";
    fleet.sql(write);
    fleet.no_faults();
    // The command that hangs is ended by hand, as a person would; then the listing is tried again.
    cutover_tests::house::kill_all_of(&fleet.host(1).dir.join("state/releases"));
    let status = fleet.until_rests(&upgrade);
    assert_eq!(status.state, State::Held, "{:?}\n{}", status.turned_back, fleet.logs());
    let mut status = status;
    for _ in 0..6 {
        let HoldReason::StepFailed { failure, .. } = &status.holds[0].reason else { panic!("{:?}", status.holds) };
        if failure.message.contains("written to since") {
            break;
        }
        decide(&fleet, &upgrade, &status, Choice::Retry);
        status = held(&fleet, &upgrade);
    }
    let HoldReason::StepFailed { failure, .. } = &status.holds[0].reason else { panic!("{:?}", status.holds) };
    assert!(failure.message.contains("written to since"), "{failure:?}");
    decide(&fleet, &upgrade, &status, Choice::Rollback);
    fleet.until_state(&upgrade, State::RolledBack);
    fleet.until_serves("1.3.1");
    assert_eq!(fleet.sql("SELECT count(*) FROM shop.transactions WHERE reference = 'a-strangers'"), "1");
}

#[test]
fn a_database_that_is_restarted_in_the_window_goes_on_or_holds_and_loses_nothing() {
    for phase in [Phase::Secure, Phase::Migrate, Phase::Prove, Phase::Open] {
        let Some(fleet) = Fleet::new(Plan::default()) else { return };
        let writer = fleet.writer();
        let upgrade = fleet.begin();
        assert!(until_phase(&fleet.voice, &upgrade, phase));
        fleet.cluster.stop(Stop::Immediate).unwrap();
        fleet.cluster.start().unwrap();
        let status = tried_on(&fleet, &upgrade);
        match status.state {
            State::Completed => check_completed(&fleet, &upgrade, &status, &writer.end()),
            State::Aborted => check_went_back(&fleet, &upgrade, &writer.end()),
            other => panic!("{phase}: {other} {:?}\n{}", status.holds, fleet.logs()),
        }
    }
}

#[test]
fn a_role_that_lacks_a_right_blocks_the_plan_and_the_grant_is_named() {
    let Some(fleet) = Fleet::new(Plan::default()) else { return };
    // The owner of a database owns its schema public too, unless somebody took it.
    fleet.sql("ALTER SCHEMA public OWNER TO postgres; REVOKE CREATE ON SCHEMA public FROM ledger, PUBLIC; ALTER ROLE ledger NOCREATEDB; REVOKE pg_read_all_stats FROM ledger");
    let plan = fleet.voice.plan_when_ready("prod", "1.4.6");
    let missing: Vec<_> = plan.observed.findings.iter().filter(|finding| finding.code.0 == "missing-grant").collect();
    for remedy in ["CREATE ON SCHEMA public", "CREATEDB", "pg_read_all_stats"] {
        assert!(missing.iter().any(|finding| finding.remedy.contains(remedy)), "{remedy}: {missing:#?}");
    }
}

/// Disaster 6: a reporting view on `postings` vanishes with a NOTICE; on `metadata` it stops the migration.
#[test]
fn disaster_6_a_view_on_postings_needs_approval_and_one_on_metadata_blocks() {
    let Some(fleet) = Fleet::new(Plan::default()) else { return };
    fleet.sql("CREATE SCHEMA reports; CREATE VIEW reports.sums AS SELECT asset, sum(amount) FROM main.postings GROUP BY asset");
    let found = codes(&fleet);
    assert!(found.contains(&"dependents-dropped".to_owned()), "{found:?}");
    fleet.sql("CREATE VIEW reports.kyc AS SELECT * FROM main.metadata");
    let found = codes(&fleet);
    assert!(found.contains(&"dependents-stop-the-migration".to_owned()), "{found:?}");
}

#[test]
fn a_view_that_the_migration_dropped_is_there_again_after_a_rollback() {
    let Some(fleet) = Fleet::new(Plan::default()) else { return };
    fleet.sql("CREATE SCHEMA reports; CREATE VIEW reports.sums AS SELECT asset, sum(amount) AS total FROM main.postings GROUP BY asset; \
        CREATE VIEW reports.ids AS SELECT id FROM main.transactions; GRANT USAGE, CREATE ON SCHEMA reports TO ledger; \
        ALTER VIEW reports.sums OWNER TO ledger; ALTER VIEW reports.ids OWNER TO ledger");
    let before = fleet.sql("SELECT * FROM reports.sums ORDER BY asset");
    let upgrade = fleet.begin();
    // Main would be held itself where it comes last, and its views would still be there.
    if fleet.hold_in_the_middle(&upgrade) != "main" {
        assert_eq!(fleet.sql("SELECT count(*) FROM pg_views WHERE viewname = 'sums'"), "0", "it vanished with CASCADE");
    }
    fleet.voice.go_back(&upgrade, true).unwrap();
    fleet.until_state(&upgrade, State::RolledBack);
    assert_eq!(fleet.sql("SELECT * FROM reports.sums ORDER BY asset"), before);
    let looks_at = "SELECT DISTINCT n.nspname FROM pg_depend d JOIN pg_rewrite r ON r.oid = d.objid JOIN pg_class v ON v.oid = r.ev_class \
        JOIN pg_class t ON t.oid = d.refobjid JOIN pg_namespace n ON n.oid = t.relnamespace WHERE v.relname = 'ids' AND t.relname = 'transactions'";
    assert_eq!(fleet.sql(looks_at), "main", "a view that was left looks at the restored table");
}

#[test]
fn a_table_that_scan_would_take_for_a_ledger_blocks_the_plan() {
    let Some(fleet) = Fleet::new(Plan::default()) else { return };
    fleet.sql("CREATE SCHEMA orders; CREATE TABLE orders.transactions (id int, note text)");
    let plan = fleet.voice.plan_when_ready("prod", "1.4.6");
    let named = plan.observed.findings.iter().any(|finding| finding.evidence.contains("orders"));
    assert!(named, "{:#?}", plan.observed.findings);
    assert!(fleet.voice.start(&plan).unwrap_err().starts_with("BLOCKED"));
}

#[test]
fn a_database_that_became_read_only_in_the_window_goes_back_and_loses_nothing() {
    let Some(fleet) = Fleet::new(Plan::default()) else { return };
    let writer = fleet.writer();
    let upgrade = fleet.begin();
    assert!(until_phase(&fleet.voice, &upgrade, Phase::Drain));
    fleet.cluster.sql("postgres", "ALTER DATABASE ledger SET default_transaction_read_only = on").unwrap();
    let mut status = fleet.until_rests(&upgrade);
    fleet.cluster.sql("postgres", "ALTER DATABASE ledger RESET default_transaction_read_only").unwrap();
    // By itself before the migration was authorised; by a person's word after it.
    if status.state == State::Held {
        let back = if status.holds[0].offers(Choice::Rollback) { Choice::Rollback } else { Choice::Abort };
        decide(&fleet, &upgrade, &status, back);
        status = fleet.until_rests(&upgrade);
    }
    assert!(
        matches!(status.state, State::Aborted | State::RolledBack),
        "{}: {:#?}\n{}",
        status.state,
        status.holds,
        fleet.logs()
    );
    // A session that began meanwhile stays read-only; the ledger opens others once these are ended.
    fleet.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'ledger'");
    for host in &fleet.hosts {
        cutover_tests::until("it serves again", std::time::Duration::from_secs(30), || {
            fleet.get(host.number, "/main/transactions").is_some_and(|(status, _)| status == 200).then_some(())
        });
    }
    check_went_back(&fleet, &upgrade, &writer.end());
}
