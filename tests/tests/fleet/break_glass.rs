//! Going back by hand on PostgreSQL, with the commands that `local status` prints on each host and no coordinator.

use crate::{LEDGERS, held};
use cutover_tests::checks::until_phase;
use cutover_tests::clients::check_exactly_once;
use cutover_tests::fleet::{DATABASE, Fleet, PASSWORD, Plan};
use cutover_tests::house::program;
use cutover_vocabulary::Phase;
use std::process::Command;
use std::time::Duration;

/// What `local status` prints on a host.
fn status(fleet: &Fleet, number: usize) -> String {
    let mut command = Command::new(program("cutover-agent"));
    command.args(["local", "status", "--settings", "agent.toml"]).current_dir(&fleet.host(number).dir);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The commands behind a line that holds these words, up to the next line that is none.
fn commands(status: &str, words: &str) -> String {
    let behind = status.lines().skip_while(|line| !line.contains(words)).skip(1);
    behind.take_while(|line| line.starts_with("  ")).collect::<Vec<_>>().join("\n")
}

/// Runs them as one script on a host, as somebody would who has exported how the ledger connects.
fn run(fleet: &Fleet, number: usize, script: &str, connected: bool) -> Result<(), String> {
    assert!(!script.is_empty());
    let programs = program("cutover-agent");
    let path = format!("{}:{}", programs.parent().unwrap().display(), std::env::var("PATH").unwrap());
    let mut command = Command::new("sh");
    command.args(["-e", "-c", script]).current_dir(&fleet.host(number).dir).env("PATH", path);
    if connected {
        let port = fleet.cluster.port().to_string();
        command.env("PGHOST", "127.0.0.1").env("PGPORT", port).env("PGDATABASE", DATABASE);
        command.env("PGUSER", DATABASE).env("PGPASSWORD", PASSWORD);
    }
    let output = command.output().unwrap();
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

/// A session of a role of which the ledger's may see nothing but that it is there.
struct Stranger(std::process::Child);
impl Stranger {
    fn connect(fleet: &Fleet) -> Self {
        fleet.sql("REVOKE pg_read_all_stats FROM ledger; CREATE ROLE stranger LOGIN SUPERUSER PASSWORD 'x'");
        let url = fleet.cluster.url("stranger", "x", DATABASE);
        let mut command = Command::new("psql");
        command.args(["-X", "-c", "SELECT pg_sleep(120)", &url]).stdout(std::process::Stdio::null());
        let session = Self(command.spawn().unwrap());
        let there = "SELECT 1 FROM pg_stat_activity WHERE usename = 'stranger'";
        let appears = || (fleet.sql(there).trim() == "1").then_some(());
        cutover_tests::until("the stranger is connected", Duration::from_secs(20), appears);
        session
    }
}
impl Drop for Stranger {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn the_commands_that_each_host_prints_restore_every_ledger_and_start_the_former_release() {
    let Some(mut fleet) = Fleet::new(Plan::default()) else { return };
    let broken = fleet.dir().join("reads-fail");
    fleet.fault(&format!("1.4.6:NUMARY_SIM_FAIL_READS={}", broken.display()));
    let writer = fleet.writer();
    let upgrade = fleet.begin();
    assert!(until_phase(&fleet.voice, &upgrade, Phase::Migrate), "it never migrated");
    std::fs::write(&broken, "").unwrap();
    held(&fleet, &upgrade);
    fleet.kill_coordinator();

    let printed: Vec<String> = (1..=3).map(|number| status(&fleet, number)).collect();
    let keeps = |number: &usize| printed[number - 1].contains("(or run all of it with `sh -e`)");
    let (runner, others): (Vec<usize>, Vec<usize>) = (1..=3).partition(keeps);
    assert_eq!((runner.len(), others.len()), (1, 2), "{printed:#?}");
    for number in &others {
        run(&fleet, *number, &commands(&printed[number - 1], "First, here:"), false).unwrap();
    }
    let script = commands(&printed[runner[0] - 1], "(or run all of it with `sh -e`)");
    assert!(run(&fleet, runner[0], &script, false).unwrap_err().contains("first export PGHOST"));
    let migrated = fleet.sql("SELECT count(*) FROM main.migrations");
    let stranger = Stranger::connect(&fleet);
    assert!(run(&fleet, runner[0], &script, true).is_err(), "it goes on beside somebody else");
    assert_eq!(fleet.sql("SELECT count(*) FROM main.migrations"), migrated);
    drop(stranger);
    fleet.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'stranger'");
    run(&fleet, runner[0], &script, true).unwrap_or_else(|error| panic!("{script}\n{error}"));
    assert_ne!(fleet.sql("SELECT count(*) FROM main.migrations"), migrated, "what was migrated was moved aside");
    for number in &others {
        run(&fleet, *number, &commands(&printed[number - 1], "Only after that, here:"), false).unwrap();
    }

    fleet.until_serves("1.3.1");
    check_exactly_once(fleet.host(1).address, LEDGERS, &writer.end());
    let ledgers = "SELECT table_schema FROM information_schema.tables WHERE table_name = 'transactions' ORDER BY 1";
    assert_eq!(fleet.sql(ledgers).lines().collect::<Vec<_>>(), LEDGERS, "what scan takes for ledgers");
}
