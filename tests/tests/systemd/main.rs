//! Upgrades of real units: hosts with a systemd of their own each, where the ledger was installed before anybody thought of
//! Cutover.

mod adopt;
mod asking;
mod boot;
mod drain;
mod drift;
mod node;
mod packages;
mod readme;
mod unfit;

use cutover_test_hosts::Lab;
use cutover_tests::checks::{check_facts, until_phase};
use cutover_tests::clients::{check_exactly_once, version};
use cutover_tests::house::LEDGERS;
use cutover_tests::until;
use cutover_vocabulary::Phase;
use cutover_vocabulary::hold::Choice;
use cutover_vocabulary::status::State;
use node::{Node, UNIT};
use std::time::Duration;

#[test]
fn a_unit_is_upgraded_where_it_lies_and_every_write_is_there_once() {
    Lab::run(|lab| {
        let node = Node::new(lab, "1.3.1", "1.4.6");
        // As `systemctl edit` leaves it.
        let edited = "[Service]\nExecStart=\nExecStart=/usr/local/bin/numary server start\n";
        node.host.put("/etc/systemd/system/numary.service.d/override.conf", edited, 0o644);
        node.host.run(&["systemctl", "daemon-reload"]);
        let writer = node.writer();
        let upgrade = node.begin();
        node.until_state(&upgrade, State::Completed);
        let told = writer.end();
        check_exactly_once(node.address, LEDGERS, &told);
        check_facts(&node.voice.facts(&upgrade).unwrap());
        assert_eq!(version(node.address).as_deref(), Some("1.4.6"));

        let host = &node.host;
        let shown = host.run(&["systemctl", "show", "--property=ExecStart,User", UNIT]);
        assert!(shown.contains("/opt/cutover/releases/1.4.6/numary") && shown.contains("User=ledger"), "{shown}");
        assert!(host.read("/usr/local/bin/numary").len() > 1_000, "the former binary is left where it was");
        let owners = host.run(&["sh", "-c", "stat -c %U /var/lib/numary/* | sort -u"]);
        assert_eq!(owners, "ledger", "no file of the storage is another user's");
        let left = host.run(&["sh", "-c", "ls /run/systemd/system | grep cutover-closed || true"]);
        assert_eq!(left, "", "no closed copy is left");
    });
}

#[test]
fn a_fenced_unit_is_started_by_nobody_and_not_by_a_reboot() {
    Lab::run(|lab| {
        let node = Node::new(lab, "1.3.1", "1.4.6");
        node.hold_migrations();
        let upgrade = node.begin();
        assert!(until_phase(&node.voice, &upgrade, Phase::Migrate));
        let host = &node.host;
        let refused = host.exec(&["systemctl", "start", UNIT]);
        assert!(!refused.status.success(), "a person's start fails visibly");
        // With our daemons down, without a network, after a reboot.
        host.run(&["systemctl", "disable", "--quiet", "--now", "cutover-agent", "cutover-coordinator"]);
        host.reboot();
        host.wait_running();
        let state = host.exec(&["systemctl", "is-active", UNIT]);
        assert_eq!(String::from_utf8_lossy(&state.stdout).trim(), "inactive");
        assert!(!host.exec(&["systemctl", "start", UNIT]).status.success());
        assert_eq!(version(node.address), None);

        host.run(&["systemctl", "enable", "--quiet", "--now", "cutover-coordinator", "cutover-agent"]);
        node.go_on();
        node.until_state(&upgrade, State::Completed);
        assert_eq!(version(node.address).as_deref(), Some("1.4.6"));
    });
}

#[test]
fn a_unit_that_systemd_kills_at_its_stop_does_not_pass_as_drained_not_even_later() {
    Lab::run(|lab| {
        let node = Node::with(lab, "1.3.1", "1.4.6", "TimeoutStopSec=4", "drain_seconds = 1");
        node.will_not_stop();
        let upgrade = node.begin();
        let held = node.until_state(&upgrade, State::Held);
        assert!(format!("{:?}", held.holds[0].reason).contains("will not stop"), "{:#?}", held.holds);
        // Nobody waits any more when systemd loses its patience.
        let host = &node.host;
        until("systemd kills it", Duration::from_secs(30), || {
            let state = host.exec(&["systemctl", "is-failed", UNIT]);
            state.status.success().then_some(())
        });
        node.voice.decide(&upgrade, held.holds[0].id.0, Choice::Retry).unwrap();
        let again = until("it holds once more", Duration::from_secs(30), || {
            let status = node.voice.status(&upgrade).ok()?;
            (status.state == State::Held && status.holds[0].id != held.holds[0].id).then_some(status)
        });
        assert!(format!("{:?}", again.holds[0].reason).contains("systemd killed it"), "{:#?}", again.holds);
    });
}

#[test]
fn another_binary_in_the_units_place_is_not_started() {
    Lab::run(|lab| {
        let node = Node::new(lab, "1.3.1", "1.4.6");
        let upgrade = node.begin();
        node.until_state(&upgrade, State::Completed);
        let host = &node.host;
        // Or the coordinator hears of it and has it fenced: a start is refused then before the guard is asked.
        host.run(&["systemctl", "stop", "cutover-agent"]);
        host.run(&["cp", "/usr/local/bin/numary", "/opt/cutover/releases/1.4.6/numary.new"]);
        host.run(&["mv", "/opt/cutover/releases/1.4.6/numary.new", "/opt/cutover/releases/1.4.6/numary"]);
        assert!(!host.exec(&["systemctl", "restart", UNIT]).status.success(), "the guard refuses it");
        // The journal has it a moment later.
        let until_said = |words: &str| {
            until(words, Duration::from_secs(20), || {
                let said = host.run(&["journalctl", "--no-pager", "--output=cat", "-u", UNIT]);
                said.contains(words).then_some(())
            });
        };
        until_said("was replaced since Cutover last switched it");

        // And not the former one in its own place, whoever takes our drop-in away.
        host.run(&["rm", "/etc/systemd/system/numary.service.d/zzz-cutover-release.conf"]);
        host.run(&["systemctl", "daemon-reload"]);
        // systemd has started it again by itself: it may refuse one more start, and then the guard is not asked.
        host.run(&["systemctl", "reset-failed", UNIT]);
        assert!(!host.exec(&["systemctl", "restart", UNIT]).status.success(), "the guard refuses it");
        until_said("it would start /usr/local/bin/numary");
    });
}

#[test]
fn the_agent_finds_the_system_bus_again_when_that_was_started_anew() {
    Lab::run(|lab| {
        let node = Node::new(lab, "1.3.1", "1.4.6");
        node.voice.plan_when_ready("prod", "1.4.6");
        let process = || node.host.run(&["systemctl", "show", "--property=MainPID", "--value", "cutover-agent"]);
        let before = process();
        node.host.run(&["systemctl", "restart", "dbus.service"]);
        let upgrade = node.begin();
        node.until_state(&upgrade, State::Completed);
        assert_eq!(process(), before, "it is the same agent");
    });
}
