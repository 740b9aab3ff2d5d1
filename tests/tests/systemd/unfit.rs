//! What Cutover does not upgrade, or leaves as it is, because others would pay for it.

use crate::node::{Node, UNIT};
use cutover_test_hosts::Lab;
use cutover_tests::clients::version;
use cutover_tests::until;
use cutover_vocabulary::finding::Level;
use cutover_vocabulary::status::State;
use std::time::Duration;

/// Waits until a plan is blocked, or cannot be made, in these words.
fn until_blocked(node: &Node, words: &str) {
    let mut last = Vec::new();
    let seen = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        until(words, Duration::from_secs(60), || {
            last = match node.voice.plan("prod", "1.4.6") {
                Ok(plan) => plan.findings(Level::Block).map(|it| it.evidence.clone()).collect(),
                // Nothing to bind a plan to: the refusal says the same.
                Err(why) => vec![why],
            };
            last.iter().any(|said| said.contains(words)).then_some(())
        });
    }));
    assert!(seen.is_ok(), "not seen: {words}\n{last:#?}");
}

fn until_nothing_blocks(node: &Node) {
    until("nothing blocks", Duration::from_secs(60), || {
        (node.voice.plan("prod", "1.4.6").ok()?.level() != Some(Level::Block)).then_some(())
    });
}

/// Lines for the unit's `[Service]`, or none of ours; it serves again.
fn with(node: &Node, lines: &str) {
    let drop_in = format!("/etc/systemd/system/{UNIT}.d/90-test.conf");
    match lines {
        "" => node.host.run(&["rm", "-f", &drop_in]),
        lines => {
            node.host.put(&drop_in, format!("[Service]\n{lines}\n"), 0o644);
            String::new()
        }
    };
    node.host.run(&["systemctl", "daemon-reload"]);
    node.host.run(&["systemctl", "restart", UNIT]);
    until("it serves", Duration::from_secs(30), || version(node.address));
}

#[test]
fn a_process_that_uses_another_storage_than_its_unit_says_by_now_blocks_the_plan() {
    Lab::run(|lab| {
        let node = Node::new(lab, "1.3.1", "1.4.6");
        until_nothing_blocks(&node);
        node.host.run(&["install", "-d", "-o", "ledger", "/srv/other"]);
        let settings = node.host.run(&["cat", "/etc/numary/numary.env"]);
        node.host.put("/etc/numary/numary.env", format!("{settings}\nNUMARY_STORAGE_DIR=/srv/other\n"), 0o600);
        until_blocked(&node, "its settings lead to sqlite /srv/other");
        node.host.put("/etc/numary/numary.env", format!("{settings}\n"), 0o600);
        until_nothing_blocks(&node);

        with(&node, "BindPaths=/srv/other:/var/lib/numary");
        until_blocked(&node, "does not see at /var/lib/numary what the host has there");
        with(&node, "");
        node.host.run(&["install", "-d", "/root/.numary"]);
        with(&node, "Environment=HOME=/root\nInaccessiblePaths=/root");
        node.host.put("/root/.numary/numary.yaml", "storage:\n  sqlite:\n    db_name: other\n", 0o600);
        until_blocked(&node, "does not see at /root/.numary/numary.yaml what the host has there");
        with(&node, "");
        until_nothing_blocks(&node);
    });
}

#[test]
fn a_unit_that_runs_the_ledger_beside_its_command_and_one_by_another_name_are_not_upgraded() {
    Lab::run(|lab| {
        let node = Node::new(lab, "1.3.1", "1.4.6");
        until_nothing_blocks(&node);
        with(&node, "ExecStartPre=/bin/sh -c '/usr/local/bin/numary storage scan || true'");
        until_blocked(&node, "its ExecStartPre= runs the ledger");
        with(&node, "");
        until_nothing_blocks(&node);

        let settings = node.host.run(&["cat", "/etc/cutover/agent.toml"]);
        node.host.run(&["ln", "-s", "numary.service", "/etc/systemd/system/ledger-alias.service"]);
        node.host.run(&["systemctl", "daemon-reload"]);
        let by_alias = settings.replace("\"numary.service\"", "\"ledger-alias.service\"");
        node.host.put("/etc/cutover/agent.toml", format!("{by_alias}\n"), 0o644);
        node.host.run(&["systemctl", "restart", "cutover-agent"]);
        until_blocked(&node, "ledger-alias.service is only another name of numary.service");
    });
}

#[test]
fn a_link_that_another_unit_is_started_over_stays_and_the_unit_gets_its_release_alone() {
    Lab::run(|lab| {
        let node = Node::new(lab, "1.3.1", "1.4.6");
        // Nobody has adopted it, and it is not even up.
        node.host.run(&["install", "-D", "/usr/local/bin/numary", "/srv/releases/1.3.1/numary"]);
        node.host.run(&["ln", "-sfT", "/srv/releases/1.3.1/numary", "/usr/local/bin/numary"]);
        node.host.run(&["ln", "-s", "numary", "/usr/local/bin/ledger-staging"]);
        let staging = "[Service]\nUser=ledger\nExecStart=/usr/local/bin/ledger-staging server start\n";
        node.host.put("/etc/systemd/system/staging.service", staging, 0o644);
        node.host.run(&["systemctl", "daemon-reload"]);
        node.host.run(&["systemctl", "restart", UNIT]);
        until("it serves", Duration::from_secs(30), || version(node.address));
        let upgrade = node.begin();
        node.until_state(&upgrade, State::Completed);
        let link = node.host.run(&["readlink", "/usr/local/bin/numary"]);
        assert_eq!(link.trim(), "/srv/releases/1.3.1/numary", "what the other unit starts is as it was");
        assert_eq!(version(node.address).as_deref(), Some("1.4.6"));
    });
}
