//! The runbook of a real upgrade: what it names is there, and what it tells to type leads back.

use crate::{LEDGERS, held};
use cutover_tests::checks::until_phase;
use cutover_tests::clients::check_exactly_once;
use cutover_tests::fleet::{DATABASE, Fleet, PASSWORD, Plan};
use cutover_tests::house::program;
use cutover_tests::until;
use cutover_vocabulary::Phase;
use cutover_vocabulary::status::State;
use std::process::Command;
use std::time::Duration;

/// `cutover ARGS` as an operator types it, in the fleet's folder; what it prints.
fn cutover(fleet: &Fleet, args: &[&str]) -> String {
    let mut command = Command::new(program("cutover"));
    command.args(["--coordinator", &fleet.coordinator(), "--operator", "tester"]).args(args).current_dir(fleet.dir());
    let output = command.output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// Every name in it is one of this upgrade, every path of a recovery point is there with the digest that is printed, and no line
/// is wider than paper but one with a path or a command.
fn check_page(fleet: &Fleet, upgrade: &str, page: &str, wanted: &[&str]) {
    for part in wanted.iter().chain(&[upgrade]) {
        assert!(page.contains(part), "{part:?} in\n{page}");
    }
    for host in &fleet.hosts {
        let number = host.number;
        assert!(page.contains(&format!("host of agent agent-{number}")), "{page}");
        assert!(page.contains(&format!("instance ledger-{number}: ")), "{page}");
    }
    for line in page.lines().filter(|line| !line.contains('/') && !line.starts_with("    ")) {
        assert!(line.chars().count() <= 80, "{line:?}");
    }
    assert!(!page.contains('\u{1b}') && !page.contains(PASSWORD), "plain text without secrets");
    let named = |key: &str| -> Vec<String> {
        page.lines().filter_map(|line| Some(line.trim().strip_prefix(key)?.trim().to_owned())).collect()
    };
    for folder in named("Folder ") {
        assert!(std::path::Path::new(&folder).is_dir(), "{folder}");
    }
    let (files, digests) = (named("File "), named("sha256 "));
    assert_eq!(files.len(), digests.len());
    for (file, digest) in files.iter().zip(digests) {
        let output = Command::new("sha256sum").arg(file).output().unwrap();
        assert!(String::from_utf8_lossy(&output.stdout).starts_with(&digest), "{file} is not {digest}");
    }
}

/// The steps of part 4: the host's number and what is to be typed there.
fn steps(page: &str) -> Vec<(usize, String)> {
    let part = page.split("\n4. ").nth(1).unwrap().split("\n5. ").next().unwrap();
    let step = |text: &str| {
        let (head, rest) = text.split_once(":\n")?;
        let number = head.rsplit("agent-").next()?.parse().ok()?;
        let commands: Vec<&str> = rest.lines().take_while(|line| line.starts_with("    ")).map(str::trim).collect();
        Some((number, commands.join("\n")))
    };
    part.split("\n  Step ").skip(1).filter_map(step).collect()
}

/// Types them on a host, in a folder of somebody's there, with the words in capitals replaced as a person would.
fn typed(fleet: &Fleet, number: usize, commands: &str) {
    let desk = fleet.host(number).dir.join("desk");
    std::fs::create_dir_all(&desk).unwrap();
    let commands = commands
        .replace("PGHOST=HOST", "PGHOST=127.0.0.1")
        .replace("PGPORT=PORT", &format!("PGPORT={}", fleet.cluster.port()))
        .replace("PGUSER=ROLE", &format!("PGUSER={DATABASE}"))
        .replace("PGPASSWORD=…", &format!("PGPASSWORD={PASSWORD}"));
    let programs = program("cutover-agent");
    let path = format!("{}:{}", programs.parent().unwrap().display(), std::env::var("PATH").unwrap());
    let mut command = Command::new("sh");
    command.args(["-e", "-c", &commands]).current_dir(&desk).env("PATH", path);
    let output = command.env("CUTOVER_AGENT_SETTINGS", fleet.host(number).dir.join("agent.toml")).output().unwrap();
    assert!(output.status.success(), "host {number}:\n{commands}\n{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn what_the_runbook_tells_to_type_on_each_host_restores_every_ledger_without_a_coordinator() {
    let Some(mut fleet) = Fleet::new(Plan::default()) else { return };
    let broken = fleet.dir().join("reads-fail");
    fleet.fault(&format!("1.4.6:NUMARY_SIM_FAIL_READS={}", broken.display()));
    let hold = fleet.dir().join("rehearsed");
    fleet.fault_in_target(&format!("NUMARY_SIM_HOLD_MIGRATION={}\n", hold.display()));
    let writer = fleet.writer();
    let upgrade = fleet.begin();

    assert!(until_phase(&fleet.voice, &upgrade, Phase::Rehearse));
    let page = cutover(&fleet, &["runbook", &upgrade]);
    check_page(
        &fleet,
        &upgrade,
        &page,
        &["None yet", "No instance had been stopped", "abort: no instance was stopped", "1.3.1"],
    );
    assert_eq!(steps(&page), []);
    std::fs::write(&hold, "").unwrap();

    assert!(until_phase(&fleet.voice, &upgrade, Phase::Migrate), "it never migrated");
    std::fs::write(&broken, "").unwrap();
    held(&fleet, &upgrade);
    let file = fleet.dir().join("runbook.txt");
    cutover(&fleet, &["runbook", &upgrade, "--out", "runbook.txt"]);
    let page = std::fs::read_to_string(&file).unwrap();
    let rollback = format!("rollback {upgrade} --reason 'WHY'");
    check_page(&fleet, &upgrade, &page, &["rollback: stop everything", &rollback, "FENCED, stopped", "in Verify"]);
    assert_eq!(page.matches("File ").count(), LEDGERS.len(), "1.3.1 has no system store:\n{page}");

    fleet.kill_coordinator();
    let steps = steps(&page);
    assert_eq!(steps.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [2, 3, 1, 2, 3], "{page}");
    for (number, commands) in &steps {
        typed(&fleet, *number, commands);
    }
    fleet.until_serves("1.3.1");
    for host in &fleet.hosts {
        let _ = std::fs::remove_file(host.dir.join("out-of-rotation"));
    }
    let before = writer.acknowledged();
    until("clients are served", Duration::from_secs(20), || (writer.acknowledged() > before + 5).then_some(()));
    check_exactly_once(fleet.host(1).address, LEDGERS, &writer.end());

    // As its last line says: a person took it over, and closes it.
    fleet.start_coordinator();
    let close = ["close", &upgrade, "--reason", "restored by hand"];
    until("it is taken over", Duration::from_secs(60), || {
        cutover(&fleet, &close);
        (fleet.voice.status(&upgrade).ok()?.state == State::TakenOver).then_some(())
    });
    let page = cutover(&fleet, &["runbook", &upgrade]);
    check_page(&fleet, &upgrade, &page, &["The upgrade has ended"]);
}

#[test]
fn a_start_leaves_the_runbook_in_the_present_folder_and_writes_it_anew_where_it_waits_for_a_person() {
    let Some(fleet) = Fleet::new(Plan { instances: 1, ..Plan::default() }) else { return };
    fleet.voice.plan_when_ready("prod", "1.4.6");
    let left = || {
        let names = std::fs::read_dir(fleet.dir()).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter_map(|name| name.into_string().ok()).find(|name| name.starts_with("runbook-prod-1-"))
    };
    let (said, upgrade) = std::thread::scope(|scope| {
        let following = scope.spawn(|| cutover(&fleet, &["upgrade", "prod", "--to", "1.4.6", "--yes"]));
        let file = until("the runbook of the start", Duration::from_secs(60), left);
        let upgrade = file.strip_prefix("runbook-").and_then(|rest| rest.strip_suffix(".txt")).unwrap().to_owned();
        // Not before: the rehearsal would fail.
        assert!(until_phase(&fleet.voice, &upgrade, Phase::Drain));
        fleet.fault("1.4.6:NUMARY_SIM_FAIL_MIGRATION=vault");
        (following.join().unwrap(), upgrade)
    });
    let file = left().unwrap();
    assert_eq!(said.matches(&file).count(), 2, "at the start, and where it holds:\n{said}");
    let page = std::fs::read_to_string(fleet.dir().join(file)).unwrap();
    check_page(&fleet, &upgrade, &page, &["held, in Migrate", "way-back.sh"]);
}
