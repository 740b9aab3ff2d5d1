//! What is not as Cutover last left it shows, for ever.

use crate::node::{Node, SOCKET, UNIT};
use cutover_test_hosts::Lab;
use cutover_tests::clients::version;
use cutover_tests::until;
use cutover_vocabulary::finding::Level;
use cutover_vocabulary::status::State;
use std::time::Duration;

/// What `cutover fleet` says of the host.
fn fleet(node: &Node) -> String {
    let coordinator = format!("unix:{SOCKET}");
    let output = node.host.exec(&["/usr/bin/cutover", "--coordinator", &coordinator, "fleet"]);
    let said = String::from_utf8_lossy(&output.stdout).split_whitespace().collect::<Vec<_>>().join(" ");
    if said.is_empty() { String::from_utf8_lossy(&output.stderr).into_owned() } else { said }
}

fn until_fleet(node: &Node, words: &str) {
    let mut last = String::new();
    let seen = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        until(words, Duration::from_secs(30), || {
            last = fleet(node);
            last.contains(words).then_some(())
        });
    }));
    assert!(seen.is_ok(), "not seen: {words}\n{last}");
}

#[test]
fn a_binary_that_was_overwritten_shows_in_the_fleet_in_metrics_and_in_every_plan_until_it_is_put_right() {
    Lab::run(|lab| {
        let node = Node::new(lab, "1.3.1", "1.4.6");
        let metrics = "metrics = \"127.0.0.1:9464\"\n";
        let settings = node.host.run(&["cat", "/etc/cutover/coordinator.toml"]);
        node.host.put("/etc/cutover/coordinator.toml", format!("{metrics}{settings}\n"), 0o644);
        node.host.run(&["systemctl", "restart", "cutover-coordinator"]);
        let upgrade = node.begin();
        node.until_state(&upgrade, State::Completed);
        let drifted = || node.host.run(&["curl", "-s", "http://127.0.0.1:9464/metrics"]);
        let metric =
            |kind: &str| format!("cutover_instance_drift{{deployment=\"prod\",instance=\"ledger\",kind=\"{kind}\"}}");
        until("no drift at first", Duration::from_secs(30), || {
            drifted().contains(&format!("{} 0", metric("disk"))).then_some(())
        });
        assert!(!fleet(&node).contains("DRIFT"), "{}", fleet(&node));

        // As a package that is put back.
        let release = "/opt/cutover/releases/1.4.6/numary";
        node.host.run(&["cp", release, "/root/kept"]);
        node.host.run(&["sh", "-c", &format!("cp /usr/local/bin/numary {release}.new && mv {release}.new {release}")]);
        until_fleet(&node, "DRIFT: on disk lies 1.3.1 with SHA-256");
        assert!(drifted().contains(&format!("{} 1", metric("disk"))), "{}", drifted());
        assert!(drifted().contains(&format!("{} 0", metric("running"))), "what runs is the allowed one still");
        let plan = node.voice.plan_when_ready("prod", "1.4.6");
        let finding =
            plan.findings(Level::Approve).find(|it| it.code.0 == "drift").unwrap_or_else(|| panic!("{plan:#?}"));
        assert!(finding.evidence.contains("on disk lies 1.3.1"), "{finding:?}");
        assert!(!node.host.exec(&["systemctl", "restart", UNIT]).status.success(), "and it is not started");

        node.host.run(&["sh", "-c", &format!("cp /root/kept {release}.new && mv {release}.new {release}")]);
        // systemd's own tries can come between, and be as many as it makes. And the coordinator may have heard of the other binary
        // while it was down: then it is fenced until the coordinator hears of the right one.
        until("it starts again", Duration::from_secs(30), || {
            let told = |word: &str| node.host.exec(&["systemctl", word, UNIT]).status.success();
            (told("stop") && told("reset-failed") && told("start")).then_some(())
        });
        until("it is gone from the fleet", Duration::from_secs(30), || (!fleet(&node).contains("DRIFT")).then_some(()));
        assert!(drifted().contains(&format!("{} 0", metric("disk"))), "{}", drifted());
    });
}

#[test]
fn a_unit_that_was_pointed_elsewhere_blocks_the_next_plan() {
    Lab::run(|lab| {
        let node = Node::new(lab, "1.3.1", "1.4.6");
        let upgrade = node.begin();
        node.until_state(&upgrade, State::Completed);
        node.host.run(&["rm", "/etc/systemd/system/numary.service.d/zzz-cutover-release.conf"]);
        node.host.run(&["systemctl", "daemon-reload"]);
        until_fleet(
            &node,
            "DRIFT: it would start /usr/local/bin/numary, allowed is /opt/cutover/releases/1.4.6/numary",
        );
        let plan = node.voice.plan_when_ready("prod", "1.4.6");
        let finding =
            plan.findings(Level::Block).find(|it| it.code.0 == "drift").unwrap_or_else(|| panic!("{plan:#?}"));
        assert!(finding.evidence.contains("/usr/local/bin/numary"), "{finding:?}");
    });
}

#[test]
fn a_unit_whose_guard_is_gone_shows_it_and_a_fence_holds_all_the_same() {
    Lab::run(|lab| {
        let node = Node::new(lab, "1.3.1", "1.4.6");
        let upgrade = node.begin();
        node.until_state(&upgrade, State::Completed);
        // As `systemctl revert` does it, or whoever keeps a host's files in order.
        let ours = "/etc/systemd/system/numary.service.d";
        let guard = format!("{ours}/50-cutover-guard.conf");
        until("it shows", Duration::from_secs(60), || {
            // A word that the coordinator had on its way puts it back.
            if node.host.exec(&["test", "-e", &guard]).status.success() {
                node.host.run(&["rm", "-r", ours]);
                node.host.run(&["systemctl", "daemon-reload"]);
            }
            fleet(&node).contains(&format!("DRIFT: its guard {guard} is gone")).then_some(())
        });

        // The former release would start now, on migrated storage.
        let said = node.host.run(&["cutover-agent", "local", "fence", "ledger"]);
        assert!(said.contains("ledger is fenced"), "{said}");
        assert!(!node.host.exec(&["systemctl", "restart", UNIT]).status.success(), "a fence holds");
        node.host.run(&["cutover-agent", "local", "unfence", "ledger"]);
        assert!(!node.host.exec(&["systemctl", "start", UNIT]).status.success(), "and so does the guard");
        assert!(version(node.address).is_none());
        until_fleet(&node, "DRIFT: it would start /usr/local/bin/numary");
        until("its guard is there again", Duration::from_secs(30), || {
            (!fleet(&node).contains("its guard")).then_some(())
        });
    });
}

#[test]
fn a_host_that_comes_back_with_the_former_release_is_told_apart_from_the_others() {
    Lab::run(|lab| {
        let node = Node::new(lab, "1.3.1", "1.4.6");
        let upgrade = node.begin();
        node.until_state(&upgrade, State::Completed);
        // As a host whose disk is from before: its unit starts the former binary, and no guard keeps it from that.
        node.host.run(&["systemctl", "stop", "cutover-agent", UNIT]);
        node.host.run(&["rm", "-r", "/etc/systemd/system/numary.service.d", "/var/lib/cutover-agent/instances"]);
        node.host.run(&["systemctl", "daemon-reload"]);
        node.host.run(&["systemctl", "start", UNIT, "cutover-agent"]);
        until_fleet(&node, "DRIFT: it runs 1.3.1, the deployment's allowed release is 1.4.6");
        // A leader that comes later knows it by the facts.
        node.host.run(&["systemctl", "restart", "cutover-coordinator"]);
        until_fleet(&node, "DRIFT: it runs 1.3.1, the deployment's allowed release is 1.4.6");
        let plan = node.voice.plan_when_ready("prod", "1.4.6");
        let finding = plan.findings(Level::Approve).find(|it| it.code.0 == "other-release-than-allowed");
        let finding = finding.unwrap_or_else(|| panic!("{plan:#?}"));
        assert!(finding.evidence.contains("runs 1.3.1"), "{finding:?}");
    });
}
