//! What voids a drain of a real unit is seen, named, and holds.

use crate::node::{Node, UNIT};
use cutover_test_hosts::{Host, Lab};
use cutover_tests::checks::until_phase;
use cutover_tests::clients::{check_exactly_once, version};
use cutover_tests::house::LEDGERS;
use cutover_tests::until;
use cutover_vocabulary::Phase;
use cutover_vocabulary::finding::Level;
use cutover_vocabulary::hold::Choice;
use cutover_vocabulary::status::{State, Status};
use std::io::Write as _;
use std::time::Duration;

/// A ledger that the ledger's user starts by hand, away from its unit: on another port, on the same storage. Its process id.
fn by_hand(node: &Node, program: &str) -> String {
    let start = format!(
        "setsid runuser -u ledger -- env NUMARY_STORAGE_DIR=/var/lib/numary NUMARY_SERVER_HTTP_BIND_ADDRESS=0.0.0.0:4068 \
         {program} server start >/dev/null 2>&1 & "
    );
    node.host.run(&["sh", "-c", &start]);
    let mut elsewhere = node.address;
    elsewhere.set_port(4068);
    until("the ledger by hand serves", Duration::from_secs(30), || version(elsewhere));
    node.host.run(&["sh", "-c", &format!("pgrep -f '^{program} server start$' | tail -1")])
}

/// What systemd says in a unit's journal of a start that its guard refused.
fn refused(said: &str) -> bool {
    said.contains("Assertion failed") || said.contains("asserts failed")
}

fn reason(status: &Status) -> String {
    format!("{:?}", status.holds[0].reason)
}

/// Ends what held it, tries again, and sees it complete.
fn completes_after(node: &Node, upgrade: &str, held: &Status, pid: &str) {
    node.host.run(&["kill", pid]);
    node.voice.decide(upgrade, held.holds[0].id.0, Choice::Retry).unwrap();
    until("it goes on", Duration::from_secs(30), || {
        let status = node.voice.status(upgrade).ok()?;
        status.holds.iter().all(|hold| hold.id != held.holds[0].id).then_some(())
    });
    node.until_state(upgrade, State::Completed);
}

#[test]
fn a_ledger_that_left_its_unit_holds_the_drain_and_is_named() {
    Lab::run(|lab| {
        let node = Node::new(lab, "1.3.1", "1.4.6");
        let pid = by_hand(&node, "/usr/local/bin/numary");
        let group = node.host.run(&["cat", &format!("/proc/{pid}/cgroup")]);
        assert!(!group.contains(UNIT), "{group}");
        let upgrade = node.begin();
        let held = node.until_state(&upgrade, State::Held);
        let why = reason(&held);
        assert!(why.contains(&format!("process {pid} (/usr/local/bin/numary) uses the same storage")), "{why}");
        completes_after(&node, &upgrade, &held, &pid);
    });
}

#[test]
fn a_copy_from_another_path_on_another_port_holds_the_drain_and_is_named() {
    Lab::run(|lab| {
        let node = Node::new(lab, "1.3.1", "1.4.6");
        node.host.run(&["sh", "-c", "mkdir -p /opt/copy && cp /usr/local/bin/numary /opt/copy/ledger-copy"]);
        let pid = by_hand(&node, "/opt/copy/ledger-copy");
        let upgrade = node.begin();
        let held = node.until_state(&upgrade, State::Held);
        let why = reason(&held);
        assert!(why.contains(&format!("process {pid} (/opt/copy/ledger-copy) uses the same storage")), "{why}");
        completes_after(&node, &upgrade, &held, &pid);
    });
}

#[test]
fn a_timer_that_starts_the_unit_is_in_the_plan_and_refused_while_it_is_fenced() {
    Lab::run(|lab| {
        let node = Node::new(lab, "1.3.1", "1.4.6");
        let timer = format!("[Timer]\nOnCalendar=*:*:*\nAccuracySec=100ms\nUnit={UNIT}\n");
        node.host.put("/etc/systemd/system/nightly.timer", timer, 0o644);
        node.host.run(&["systemctl", "daemon-reload"]);
        node.host.run(&["systemctl", "start", "nightly.timer"]);
        let plan = node.voice.plan_when_ready("prod", "1.4.6");
        let finding = plan.findings(Level::Info).find(|it| it.code.0 == "started-by-others");
        let finding = finding.unwrap_or_else(|| panic!("{plan:#?}"));
        assert!(finding.evidence.contains("nightly.timer"), "{finding:?}");

        node.hold_migrations();
        let writer = node.writer();
        let upgrade = node.begin();
        assert!(until_phase(&node.voice, &upgrade, Phase::Migrate));
        until("the timer fires and is refused", Duration::from_secs(30), || {
            let said = node.host.run(&["journalctl", "--no-pager", "--output=cat", "-u", UNIT]);
            refused(&said).then_some(())
        });
        assert_eq!(version(node.address), None);
        node.go_on();
        node.until_state(&upgrade, State::Completed);
        let told = writer.end();
        check_exactly_once(node.address, LEDGERS, &told);
    });
}

/// A node whose unit is started anew however it ended. The unit's own lines end with another word on that.
fn always_restarts(lab: &Lab, after: &str, settings: &str) -> Node {
    let node = Node::with(lab, "1.3.1", "1.4.6", "", settings);
    let always = format!("[Service]\nRestart=always\nRestartSec={after}\n");
    node.host.put("/etc/systemd/system/numary.service.d/always.conf", always, 0o644);
    node.host.run(&["systemctl", "daemon-reload"]);
    node
}

#[test]
fn a_unit_that_always_restarts_does_not_come_back_while_it_is_fenced() {
    Lab::run(|lab| {
        let node = always_restarts(lab, "100ms", "");
        let upgrade = node.begin();
        node.until_state(&upgrade, State::Completed);
        let host = &node.host;
        let pid = || host.run(&["systemctl", "show", "--value", "--property=MainPID", UNIT]);
        let said = || host.run(&["journalctl", "--no-pager", "--output=cat", "-u", UNIT]);
        assert!(!refused(&said()), "the stop of the upgrade was no reason to start it: {}", said());
        // It dies behind a fence, as by the kernel for lack of memory.
        host.run(&["cutover-agent", "local", "fence", "ledger"]);
        host.run(&["kill", "-KILL", &pid()]);
        until("its restart is refused", Duration::from_secs(30), || (refused(&said()) && pid() == "0").then_some(()));
        assert_eq!(version(node.address), None);
    });
}

#[test]
fn a_unit_that_waits_for_its_next_automatic_start_is_drained_as_one_that_is_down() {
    Lab::run(|lab| {
        let node = always_restarts(lab, "3600", "drain_seconds = 1");
        let upgrade = node.begin();
        assert!(until_phase(&node.voice, &upgrade, Phase::Rehearse));
        node.voice.pause(&upgrade, true).unwrap();
        let host = &node.host;
        host.run(&["systemctl", "kill", "--signal=KILL", UNIT]);
        let state = || host.run(&["systemctl", "show", "--value", "--property=SubState", UNIT]);
        until("it waits", Duration::from_secs(30), || (state() == "auto-restart").then_some(()));
        node.voice.pause(&upgrade, false).unwrap();
        // How it had ended before is nothing that the drain did.
        node.until_state(&upgrade, State::Completed);
        assert_eq!(version(node.address).as_deref(), Some("1.4.6"));
    });
}

/// The agent notes since when the ledger is out of rotation directly before it looks at connections for the first time.
fn until_clients_are_waited_for(host: &Host) {
    until("its clients are waited for", Duration::from_secs(60), || {
        let note = host.exec(&["cat", "/var/lib/cutover-agent/instances/ledger/out-of-rotation"]);
        String::from_utf8_lossy(&note.stdout).contains("uptime").then_some(())
    });
}

/// Ended well, by somebody, and its manager is about to start it again: its client was cut all the same.
#[test]
fn a_ledger_that_somebody_ends_while_its_clients_are_waited_for_does_not_pass_as_drained() {
    Lab::run(|lab| {
        let node = always_restarts(lab, "3600", "drain_seconds = 60");
        let mut client = std::net::TcpStream::connect(node.address).unwrap();
        client.write_all(b"GET /_info HTTP/1.1\r\n").unwrap();
        let upgrade = node.begin();
        let host = &node.host;
        until_clients_are_waited_for(host);
        host.run(&["systemctl", "kill", "--signal=TERM", UNIT]);
        drop(client);
        let held = node.until_state(&upgrade, State::Held);
        let why = reason(&held);
        assert!(why.contains("1 connections to ledger were open"), "{why}");
    });
}

#[test]
fn a_ledger_that_dies_while_its_clients_are_waited_for_does_not_pass_as_drained() {
    Lab::run(|lab| {
        let node = Node::with(lab, "1.3.1", "1.4.6", "", "drain_seconds = 60");
        // Half a request keeps the drain waiting.
        let mut client = std::net::TcpStream::connect(node.address).unwrap();
        client.write_all(b"GET /_info HTTP/1.1\r\n").unwrap();
        let upgrade = node.begin();
        let host = &node.host;
        until_clients_are_waited_for(host);
        host.run(&["systemctl", "kill", "--signal=KILL", UNIT]);
        let held = node.until_state(&upgrade, State::Held);
        let why = reason(&held);
        assert!(why.contains("signal: 9") || why.contains("1 connections to ledger were open"), "{why}");
        drop(client);
    });
}
