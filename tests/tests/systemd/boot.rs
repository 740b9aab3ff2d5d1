//! A host that boots knows nothing of what happened while it was off: its unit waits for a coordinator's word.

use crate::node::{Node, UNIT};
use cutover_test_hosts::Lab;
use cutover_tests::clients::version;
use cutover_tests::until;
use cutover_vocabulary::status::State;
use std::time::Duration;

/// A unit whose guard waits two seconds, and that is tried once: `Restart=` is set behind these lines.
const BRIEF: &str = "TimeoutStartSec=4";

/// A node whose guard is in its place, which its coordinator will not be heard on any more.
fn without_a_coordinator(lab: &Lab) -> Node {
    let node = Node::with(lab, "1.3.1", "1.4.6", BRIEF, "");
    let guard = node.host.root().join("etc/systemd/system/numary.service.d/50-cutover-guard.conf");
    until("the guard is there", Duration::from_secs(30), || guard.exists().then_some(()));
    node.host.put("/etc/systemd/system/numary.service.d/once.conf", "[Service]\nRestart=no\n", 0o644);
    node.host.run(&["systemctl", "daemon-reload"]);
    node.host.run(&["systemctl", "disable", "--quiet", "--now", "cutover-coordinator"]);
    node
}

fn reboot(node: &Node) {
    node.host.power_cut();
    node.host.boot();
    node.host.wait_up();
}

fn said(node: &Node) -> String {
    node.host.run(&["journalctl", "--no-pager", "--output=cat", "--boot", "-u", UNIT])
}

fn until_refused(node: &Node) {
    until("the start is refused", Duration::from_secs(30), || {
        said(node).contains("no coordinator has said since this host booted").then_some(())
    });
    assert_eq!(version(node.address), None);
}

fn until_serves(node: &Node) {
    until("it serves", Duration::from_secs(30), || (version(node.address).as_deref() == Some("1.3.1")).then_some(()));
}

#[test]
fn a_unit_starts_after_a_boot_once_a_coordinator_has_said_that_its_release_is_right() {
    Lab::run(|lab| {
        let node = without_a_coordinator(lab);
        // Within the boot it goes on without any.
        node.host.run(&["systemctl", "restart", UNIT]);
        until_serves(&node);
        reboot(&node);
        until_refused(&node);
        assert!(!node.host.exec(&["systemctl", "start", UNIT]).status.success(), "nor by hand");
        node.host.run(&["systemctl", "start", "cutover-coordinator"]);
        until_serves(&node);
        node.host.run(&["systemctl", "stop", "cutover-coordinator", "cutover-agent"]);
        node.host.run(&["systemctl", "restart", UNIT]);
        until_serves(&node);
    });
}

#[test]
fn without_a_coordinator_a_person_starts_it_and_settings_may_say_so_before() {
    Lab::run(|lab| {
        let node = without_a_coordinator(lab);
        reboot(&node);
        until_refused(&node);
        node.host.run(&["cutover-agent", "local", "start", "ledger"]);
        until_serves(&node);

        // What the settings say is in the guard once a coordinator was heard.
        let settings = node.host.run(&["cat", "/etc/cutover/agent.toml"]);
        node.host.put("/etc/cutover/agent.toml", format!("{settings}\nat_boot = \"wait\"\n"), 0o600);
        node.host.run(&["systemctl", "start", "cutover-coordinator"]);
        node.host.run(&["systemctl", "restart", "cutover-agent"]);
        let guard = || node.host.run(&["systemctl", "cat", UNIT]);
        until("the guard has it", Duration::from_secs(30), || guard().contains("--at-boot=wait").then_some(()));
        node.host.run(&["systemctl", "stop", "cutover-coordinator"]);
        reboot(&node);
        until_serves(&node);
    });
}

/// systemd refuses it before the guard could note it.
#[test]
fn a_start_that_the_coordinators_fence_refused_is_made_up_for_once_its_release_is_right() {
    Lab::run(|lab| {
        let node = Node::new(lab, "1.3.1", "1.4.6");
        let upgrade = node.begin();
        node.until_state(&upgrade, State::Completed);
        let host = &node.host;
        let release = "/opt/cutover/releases/1.4.6/numary";
        host.run(&["systemctl", "stop", UNIT]);
        host.run(&["mv", release, "/opt/cutover/kept"]);
        host.run(&["cp", "/usr/local/bin/numary", release]);
        let fence = host.root().join("var/lib/cutover-agent/instances/ledger/fenced");
        until("it is to stay down", Duration::from_secs(60), || fence.exists().then_some(()));
        assert!(!host.exec(&["systemctl", "start", UNIT]).status.success(), "{}", said(&node));
        host.run(&["mv", "/opt/cutover/kept", release]);
        until("it serves", Duration::from_secs(60), || (version(node.address)? == "1.4.6").then_some(()));
        assert!(!fence.exists());
    });
}
