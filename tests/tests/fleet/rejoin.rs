//! A host that was off while its deployment was upgraded comes back, and `cutover rejoin` brings its instance to what the others run.

use super::held;
use cutover_tests::checks::{check_facts, until_phase};
use cutover_tests::clients::{Writer, check_exactly_once, version};
use cutover_tests::fleet::{Fleet, LEDGERS, Plan};
use cutover_tests::house::program;
use cutover_tests::until;
use cutover_vocabulary::Phase;
use cutover_vocabulary::fact::Fact;
use cutover_vocabulary::hold::Choice;
use cutover_vocabulary::status::State;
use std::process::Command;
use std::time::Duration;

/// A command of an operator, with its status and everything that it printed.
fn cutover(fleet: &Fleet, args: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(program("cutover"));
    // A runbook is left in the present folder.
    command.args(args).args(["--coordinator", &fleet.coordinator(), "--operator", "tester"]).current_dir(fleet.dir());
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    // As one line, however it was wrapped.
    (output.status.code(), text.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// A command of whoever is on a host.
fn local(fleet: &Fleet, number: usize, args: &[&str]) -> String {
    let mut command = Command::new(program("cutover-agent"));
    command.arg("local").args(args).args(["--settings", "agent.toml"]).current_dir(&fleet.host(number).dir);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Until clients have written so many more times.
fn writes(writer: &Writer, more: usize) {
    let before = writer.acknowledged();
    until("clients go on writing", Duration::from_secs(30), || (writer.acknowledged() > before + more).then_some(()));
}

/// A fleet of which host 3 was off, and was excused, while the others were upgraded; it is back, its ledger down and fenced. Where
/// no guard of a unit does so, its fence is set by hand before the agent starts.
fn away(writing: bool) -> Option<(Fleet, Option<Writer>)> {
    let limits = "drain_seconds = 15\nagent_lost_seconds = 60\nbake_seconds = 2".to_owned();
    let mut fleet = Fleet::new(Plan { limits, ..Plan::default() })?;
    fleet.voice.plan_when_ready("prod", "1.4.6");
    let writer = writing.then(|| fleet.writer());
    fleet.kill_host(3);
    let excuse =
        ["member", "excuse", "prod", "ledger-3", "--reason", "its host is off", "--evidence", "no session of it"];
    let (mut status, mut said) = (None, String::new());
    until("host 3 is seen to be gone and is excused", Duration::from_secs(60), || {
        (status, said) = cutover(&fleet, &excuse);
        (status == Some(0)).then_some(())
    });
    let upgrade = fleet.begin();
    let done = fleet.until_state(&upgrade, State::Completed);
    assert_eq!(done.instances.len(), 2, "{:?}", done.instances);
    local(&fleet, 3, &["fence", "ledger-3"]);
    fleet.start_agent(3);
    until("the agent of host 3 is back and says what it would start", Duration::from_secs(60), || {
        let (_, said) = cutover(&fleet, &["fleet"]);
        said.contains("it would start 1.3.1, the deployment's allowed release is 1.4.6; `cutover rejoin ledger-3`")
            .then_some(())
    });
    Some((fleet, writer))
}

#[test]
fn a_host_that_was_off_is_brought_to_what_the_others_run_and_every_acknowledged_write_exists_once() {
    let Some((fleet, writer)) = away(true) else { return };
    let writer = writer.unwrap();
    assert_eq!(version(fleet.host(3).address), None, "it stays down until it is brought in");
    writes(&writer, 20);

    let (status, said) = cutover(&fleet, &["rejoin", "ledger-3"]);
    assert_eq!(status, Some(0), "{said}\n{}", fleet.logs());
    assert!(said.contains("Beside instances ledger-1, ledger-2, not touched"), "{said}");
    assert_eq!(version(fleet.host(3).address).as_deref(), Some("1.4.6"));
    writes(&writer, 60);
    let told = writer.end();

    let words: Vec<&str> = said.split(' ').collect();
    let upgrade = words.windows(4).find(|words| words[0] == "Upgrade" && words[2..] == ["was", "started."]).unwrap()[1];
    let status = fleet.voice.status(upgrade).unwrap();
    assert_eq!(status.state, State::Completed);
    check_facts(&fleet.voice.facts(upgrade).unwrap());
    for recorded in fleet.voice.facts(upgrade).unwrap() {
        if let Fact::AttemptOpened { order } = recorded.fact {
            assert_eq!(order.agent.as_str(), "agent-3", "{:?}: nobody else is asked anything", order.id);
        }
    }
    fleet.until_serves("1.4.6");
    // Through each instance: what it serves is what all acknowledged.
    for host in &fleet.hosts {
        check_exactly_once(host.address, LEDGERS, &told);
    }
    // By its next report.
    until("the fleet says no more of it", Duration::from_secs(30), || {
        let (_, said) = cutover(&fleet, &["fleet"]);
        (!said.contains("DRIFT") && !said.contains("fenced")).then_some(())
    });
    let (status, said) = cutover(&fleet, &["rejoin", "ledger-3"]);
    assert!(status == Some(4) && said.contains("it runs 1.4.6 already, and is not fenced"), "{status:?} {said}");
}

#[test]
fn a_rejoin_that_does_not_serve_leaves_the_rotation_and_its_way_back_leaves_it_down_with_nothing_old_started() {
    let Some((fleet, writer)) = away(true) else { return };
    let writer = writer.unwrap();
    let broken = fleet.dir().join("reads-fail");
    std::fs::write(
        fleet.host(3).dir.join("data/.numary-sim.env"),
        format!("1.4.6:NUMARY_SIM_FAIL_READS={}\n", broken.display()),
    )
    .unwrap();
    let plan = fleet.voice.plan_as(cutover_proto::v1::Strategy::Rejoin, "prod", "1.4.6").unwrap();
    assert_eq!(plan.binding.members.keys().map(|name| name.as_str()).collect::<Vec<_>>(), ["ledger-3"]);
    let upgrade = fleet.voice.start(&plan).unwrap();
    assert!(until_phase(&fleet.voice, &upgrade, Phase::Bake), "it ended without a bake");
    std::fs::write(&broken, "").unwrap();
    let status = held(&fleet, &upgrade);
    let text = format!("{:?}", status.holds);
    assert!(text.contains("does not serve as it must") && text.contains("out of rotation"), "{text}");
    let (_, page) = cutover(&fleet, &["runbook", &upgrade]);
    assert!(page.contains("NEVER start what these instances had before"), "{page}");
    let printed = local(&fleet, 3, &["status", &upgrade]);
    assert!(printed.contains("NEVER start that again") && !printed.contains("unfence"), "{printed}");
    writes(&writer, 20);
    fleet.voice.decide(&upgrade, status.holds[0].id.0, Choice::Rollback).unwrap();
    fleet.until_state(&upgrade, State::RolledBack);
    assert_eq!(version(fleet.host(3).address), None, "it is down");
    writes(&writer, 20);
    // What it must run is still known, and once mended it comes in.
    let _ = std::fs::remove_file(&broken);
    let (status, said) = cutover(&fleet, &["rejoin", "--host", "agent-3"]);
    assert_eq!(status, Some(0), "{said}\n{}", fleet.logs());
    fleet.until_serves("1.4.6");
    check_exactly_once(fleet.host(3).address, LEDGERS, &writer.end());
}

#[test]
fn a_coordinator_and_an_agent_that_are_killed_in_every_phase_of_a_rejoin_go_on() {
    let Some((mut fleet, writer)) = away(true) else { return };
    let writer = writer.unwrap();
    let plan = fleet.voice.plan_as(cutover_proto::v1::Strategy::Rejoin, "prod", "1.4.6").unwrap();
    let upgrade = fleet.voice.start(&plan).unwrap();
    for phase in [
        Phase::Stage,
        Phase::Drain,
        Phase::ConfirmDrained,
        Phase::Switch,
        Phase::StartClosed,
        Phase::Verify,
        Phase::Open,
        Phase::Bake,
    ] {
        assert!(until_phase(&fleet.voice, &upgrade, phase), "{phase} was never entered");
        fleet.kill_coordinator();
        fleet.kill_agent(3);
        fleet.start_agent(3);
        fleet.start_coordinator();
    }
    fleet.until_state(&upgrade, State::Completed);
    fleet.until_serves("1.4.6");
    check_exactly_once(fleet.host(3).address, LEDGERS, &writer.end());
    check_facts(&fleet.voice.facts(&upgrade).unwrap());
}
