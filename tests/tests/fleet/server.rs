//! What can be wrong with the server: it is away, lets nobody in, has no room, or goes on with what nobody waits for.

use crate::{check_completed, check_went_back, decide, held, tried_on, try_again};
use cutover_tests::checks::until_phase;
use cutover_tests::fleet::{Fleet, PASSWORD, Plan};
use cutover_tests::house::{program, skipped};
use cutover_tests::voice::Voice;
use cutover_trial_postgres::Stop;
use cutover_vocabulary::Phase;
use cutover_vocabulary::fact::Fact;
use cutover_vocabulary::hold::{Choice, HoldReason};
use cutover_vocabulary::status::State;
use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Something that keeps the ledger's role from the database, and its end.
#[derive(Debug, Clone, Copy)]
enum Trouble {
    /// The server is down.
    Away,
    /// The role has another password.
    OtherPassword,
    /// The role has no connection left.
    NoConnections,
}

impl Trouble {
    fn begin(self, fleet: &Fleet) {
        match self {
            Self::Away => fleet.cluster.stop(Stop::Immediate).unwrap(),
            Self::OtherPassword => _ = elsewhere(fleet, "ALTER ROLE ledger PASSWORD 'somebody changed it'"),
            Self::NoConnections => _ = elsewhere(fleet, "ALTER ROLE ledger CONNECTION LIMIT 0"),
        }
    }
    fn end(self, fleet: &Fleet) {
        match self {
            Self::Away => fleet.cluster.start().unwrap(),
            Self::OtherPassword => _ = elsewhere(fleet, &format!("ALTER ROLE ledger PASSWORD '{PASSWORD}'")),
            Self::NoConnections => _ = elsewhere(fleet, "ALTER ROLE ledger CONNECTION LIMIT -1"),
        }
    }
}

/// SQL of the superuser that is no stranger's session on the ledgers' database.
fn elsewhere(fleet: &Fleet, sql: &str) -> String {
    fleet.cluster.sql("postgres", sql).unwrap()
}

/// What a ledger answers that cannot use its database; its log has the cause.
const ANSWERS: &str = "was answered with 503 Service Unavailable";

/// Waits until a phase is entered; whatever holds meanwhile is tried again, for lanes meet a trouble one after another.
fn on_to(fleet: &Fleet, upgrade: &str, phase: Phase) {
    cutover_tests::until(&format!("phase {phase}"), Duration::from_secs(120), || {
        let status = fleet.voice.status(upgrade).ok()?;
        assert!(!status.state.ended(), "it ended before {phase}: {:?}\n{}", status.turned_back, fleet.logs());
        if status.state == State::Held {
            try_again(fleet, upgrade, &status);
        }
        let facts = fleet.voice.facts(upgrade).ok()?;
        let entered = |fact: &Fact| matches!(fact, Fact::StageEntered { stage, .. } if stage.phase == phase);
        facts.iter().any(|recorded| entered(&recorded.fact)).then_some(())
    });
}

/// Before the migration is authorised it goes back by itself, as soon as the old version can serve again.
fn goes_back_from_secure(trouble: Trouble) {
    let Some(fleet) = Fleet::new(Plan::default()) else { return };
    let writer = fleet.writer();
    let upgrade = fleet.begin();
    assert!(until_phase(&fleet.voice, &upgrade, Phase::Drain));
    trouble.begin(&fleet);
    cutover_tests::until("it turns back or holds", Duration::from_secs(120), || {
        let status = fleet.voice.status(&upgrade).ok()?;
        assert!(!status.state.ended(), "{trouble:?}: it ended without having met it");
        (status.turned_back.is_some() || status.state == State::Held).then_some(())
    });
    trouble.end(&fleet);
    // The old version may have met it too, when it was let in again.
    let status = tried_on(&fleet, &upgrade);
    assert_eq!(status.state, State::Aborted, "{trouble:?}: {:#?}\n{}", status.holds, fleet.logs());
    check_went_back(&fleet, &upgrade, &writer.end());
}

/// From then on each phase that meets it holds, names it, and goes on when it is over.
fn holds_and_goes_on(trouble: Trouble, says: &[&str]) {
    let Some(fleet) = Fleet::new(Plan::default()) else { return };
    let writer = fleet.writer();
    let upgrade = fleet.begin();
    let mut met = BTreeSet::new();
    for phase in [Phase::Migrate, Phase::Prove, Phase::StartClosed] {
        on_to(&fleet, &upgrade, phase);
        trouble.begin(&fleet);
        let status = held(&fleet, &upgrade);
        trouble.end(&fleet);
        met.extend(status.holds.iter().map(|hold| hold.phase));
        let text = format!("{:?}", status.holds);
        let mut says = says.iter().chain(&[ANSWERS]);
        assert!(says.any(|words| text.contains(words)), "{trouble:?} at {phase}: {text}");
        try_again(&fleet, &upgrade, &status);
    }
    assert!(met.len() > 1, "{trouble:?} was met in {met:?} only");
    let status = tried_on(&fleet, &upgrade);
    assert_eq!(status.state, State::Completed, "{trouble:?}: {:#?}\n{}", status.holds, fleet.logs());
    check_completed(&fleet, &upgrade, &status, &writer.end());
}

#[test]
fn a_server_that_is_away_before_the_migration_turns_it_back_and_after_it_holds_until_it_is_there() {
    goes_back_from_secure(Trouble::Away);
    let refused = ["onnection refused", "the database system is ", "terminating connection"];
    // The last is how the driver reads an end where one byte was to come.
    let broke_off = [
        "onnection reset",
        "roken pipe",
        "unexpected EOF",
        "bytes at EOF",
        "unexpected response from SSLRequest: 0x00",
    ];
    holds_and_goes_on(Trouble::Away, &[&refused[..], &broke_off].concat());
}

#[test]
fn a_password_that_was_changed_before_the_migration_turns_it_back_and_after_it_holds_until_it_is_right() {
    goes_back_from_secure(Trouble::OtherPassword);
    holds_and_goes_on(Trouble::OtherPassword, &["password authentication failed"]);
}

#[test]
fn a_role_without_connections_before_the_migration_turns_it_back_and_after_it_holds_until_there_are_some() {
    goes_back_from_secure(Trouble::NoConnections);
    holds_and_goes_on(Trouble::NoConnections, &["too many connections"]);
}

/// A small file system, where a database's new tables go.
struct Small(PathBuf);
impl Small {
    fn mount(at: &Path) -> Option<Self> {
        std::fs::create_dir_all(at).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=8m,mode=0777", "tmpfs"]).arg(at).status();
        mounted.is_ok_and(|status| status.success()).then(|| Self(at.to_owned()))
    }
    fn fill(&self) {
        // As much as there is room for.
        let _ = std::fs::write(self.0.join("filler"), vec![0_u8; 16 << 20]);
    }
    fn empty(&self) {
        std::fs::remove_file(self.0.join("filler")).unwrap();
    }
}
impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_server_without_room_rolls_the_ledger_back_and_goes_on_when_there_is_some() {
    let outside = tempfile::Builder::new().prefix("cutover-small-").tempdir().unwrap();
    std::fs::set_permissions(outside.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let Some(small) = Small::mount(&outside.path().join("disk")) else {
        skipped("a file system of a few megabytes cannot be mounted here; it takes root");
        return;
    };
    let Some(fleet) = Fleet::new(Plan::default()) else { return };
    let place = small.0.join("tables");
    std::fs::create_dir(&place).unwrap();
    std::fs::set_permissions(&place, std::fs::Permissions::from_mode(0o777)).unwrap();
    let owner = Command::new("chown").args(["-R", "postgres"]).arg(&place).status();
    assert!(owner.unwrap().success());
    fleet.cluster.sql("postgres", &format!("CREATE TABLESPACE small LOCATION '{}'", place.display())).unwrap();
    fleet.cluster.sql("postgres", "GRANT CREATE ON TABLESPACE small TO ledger").unwrap();
    let writer = fleet.writer();
    let upgrade = fleet.begin();
    assert!(until_phase(&fleet.voice, &upgrade, Phase::Drain));
    fleet.cluster.sql("postgres", "ALTER DATABASE ledger SET default_tablespace = small").unwrap();
    small.fill();
    let status = held(&fleet, &upgrade);
    let HoldReason::StepFailed { failure, .. } = &status.holds[0].reason else { panic!("{:?}", status.holds) };
    assert!(failure.message.contains("No space left on device"), "{failure:?}");
    assert_eq!(fleet.sql("SELECT count(*) FROM pg_tables WHERE tablename = 'volumes'"), "0", "each was rolled back");
    small.empty();
    try_again(&fleet, &upgrade, &status);
    let status = tried_on(&fleet, &upgrade);
    assert_eq!(status.state, State::Completed, "{:#?}\n{}", status.holds, fleet.logs());
    check_completed(&fleet, &upgrade, &status, &writer.end());
    drop(fleet);
}

#[test]
fn a_ledger_command_that_hangs_is_overdue_and_can_be_rolled_back() {
    let limits = "drain_seconds = 5\nmigration_seconds = 4\nstep_seconds = 60\nagent_lost_seconds = 60".to_owned();
    let Some(fleet) = Fleet::new(Plan { limits, ..Plan::default() }) else { return };
    let writer = fleet.writer();
    let upgrade = fleet.begin();
    assert!(until_phase(&fleet.voice, &upgrade, Phase::Drain));
    fleet.fault("1.4.6:NUMARY_SIM_HANG_COMMAND=upgrade");
    let status = held(&fleet, &upgrade);
    assert!(matches!(&status.holds[0].reason, HoldReason::Overdue { .. }), "{:?}", status.holds);
    decide(&fleet, &upgrade, &status, Choice::Rollback);
    fleet.until_state(&upgrade, State::RolledBack);
    check_went_back(&fleet, &upgrade, &writer.end());
}

/// The server runs a statement to its end, whatever becomes of whoever sent it.
#[test]
fn a_migration_that_goes_on_in_the_server_after_its_host_was_killed_is_waited_for() {
    let Some(mut fleet) = Fleet::new(Plan::default()) else { return };
    let writer = fleet.writer();
    let upgrade = fleet.begin();
    assert!(until_phase(&fleet.voice, &upgrade, Phase::Drain));
    fleet.fault("1.4.6:NUMARY_SIM_MIGRATION_MILLIS=8000");
    let works = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'ledger' AND state = 'active' AND query LIKE '%pg_sleep%' \
        AND application_name LIKE 'cutover:%migrate%'";
    // Before that a session of the superuser would be a stranger's.
    assert!(until_phase(&fleet.voice, &upgrade, Phase::Migrate));
    cutover_tests::until("a migration is in its long statement", Duration::from_secs(120), || {
        (fleet.sql(works) != "0").then_some(())
    });
    fleet.kill_host(1);
    assert_ne!(fleet.sql(works), "0", "the server goes on without its client");
    fleet.no_faults();
    fleet.start_agent(1);
    let status = fleet.until_state(&upgrade, State::Completed);
    check_completed(&fleet, &upgrade, &status, &writer.end());
}

#[test]
fn disaster_8_lanes_that_collide_are_tried_again_by_themselves() {
    let Some(fleet) = Fleet::new(Plan { lanes: 3, ..Plan::default() }) else { return };
    let writer = fleet.writer();
    let upgrade = fleet.begin();
    assert!(until_phase(&fleet.voice, &upgrade, Phase::Drain));
    // Whoever comes to the function that they share first keeps it until another one waits for it.
    let go_on = fleet.dir().join("go-on");
    fleet.fault(&format!("1.4.6:NUMARY_SIM_HOLD_MIGRATION={}", go_on.display()));
    // Before that a session of the superuser would be a stranger's.
    assert!(until_phase(&fleet.voice, &upgrade, Phase::Migrate));
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'ledger' AND wait_event_type = 'Lock' \
        AND application_name LIKE 'cutover:%migrate%'";
    cutover_tests::until("a lane waits for another", Duration::from_secs(120), || {
        let status = fleet.voice.status(&upgrade).ok()?;
        assert_eq!(status.state, State::Running, "{:?}: {:#?}\n{}", status.turned_back, status.holds, fleet.logs());
        (fleet.sql(waits) != "0").then_some(())
    });
    std::fs::write(go_on, "").unwrap();
    let status = fleet.until_state(&upgrade, State::Completed);
    let facts = fleet.voice.facts(&upgrade).unwrap();
    let collided = facts.iter().filter(|recorded| {
        matches!(&recorded.fact, Fact::StepFailed { failure, .. } if [
            "concurrently updated", "pg_proc_proname_args_nsp_index"
        ].iter().any(|words| failure.message.contains(words)))
    });
    assert!(collided.count() > 0, "no two lanes met, so nothing was shown");
    check_completed(&fleet, &upgrade, &status, &writer.end());
}

#[test]
fn a_role_whose_statements_are_cut_short_is_migrated_all_the_same() {
    let before = "ALTER ROLE ledger SET statement_timeout = '700ms'; ALTER ROLE ledger SET idle_in_transaction_session_timeout = '900ms'";
    let Some(fleet) = Fleet::new(Plan { before: before.to_owned(), ..Plan::default() }) else { return };
    let upgrade = fleet.begin();
    assert!(until_phase(&fleet.voice, &upgrade, Phase::Drain));
    fleet.fault("1.4.6:NUMARY_SIM_MIGRATION_MILLIS=2000");
    let status = fleet.until_state(&upgrade, State::Completed);
    check_completed(&fleet, &upgrade, &status, &Default::default());
}

#[test]
fn a_second_coordinator_on_the_same_store_refuses_and_names_the_first_which_is_not_disturbed() {
    let Some(fleet) = Fleet::new(Plan::default()) else { return };
    let upgrade = fleet.begin();
    let settings = std::fs::read_to_string(fleet.dir().join("coordinator.toml")).unwrap();
    let first = settings.lines().find(|line| line.starts_with("listen")).unwrap();
    let address = cutover_tests::free_address();
    let second = fleet.dir().join("second.toml");
    let listen = format!("listen = \"http://{address}\"");
    std::fs::write(&second, settings.replace(first, &listen).replace("\"c1\"", "\"c2\"")).unwrap();
    let mut child = Command::new(program("cutover-coordinator"))
        .args(["--settings".as_ref(), second.as_os_str()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let voice = Voice::to(&format!("http://{address}"));
    let said = cutover_tests::until("the second refuses", Duration::from_secs(30), || {
        voice.go_back(&upgrade, false).err().filter(|error| error.contains("c1"))
    });
    assert!(said.contains("lead"), "it says that another one leads: {said}");
    let status = fleet.until_state(&upgrade, State::Completed);
    check_completed(&fleet, &upgrade, &status, &Default::default());
    assert!(voice.go_back(&upgrade, false).unwrap_err().contains("c1"), "the first leads still");
    child.kill().unwrap();
    child.wait().unwrap();
}
