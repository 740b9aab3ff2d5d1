//! The commands of deploy/README.md, typed as a reader would type them.

use crate::node;
use crate::packages;
use cutover_test_hosts::{Host, Lab};
use cutover_tests::clients::version;
use cutover_tests::until;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

const PAGE: &str = include_str!("../../../deploy/README.md");

/// The commands of the blocks that are marked with a host's name, a line each.
fn commands(host: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut inside = false;
    let mut begun = String::new();
    for line in PAGE.lines() {
        match line.strip_prefix("```") {
            Some(mark) => inside = mark == format!("sh {host}"),
            None if inside => {
                begun.push_str(line);
                if begun.ends_with('\\') {
                    begun.push('\n');
                } else {
                    all.push(std::mem::take(&mut begun));
                }
            }
            None => {}
        }
    }
    all
}

/// Types a command; `noted` is what a reader copies from one answer into the next command.
fn type_in(host: &Host, command: &str, noted: &mut Vec<(&str, String)>) {
    let mut typed = command.to_owned();
    for (word, value) in noted.iter() {
        typed = typed.replace(word, value);
    }
    let output = host.exec(&["env", "EDITOR=true", "sh", "-c", &format!("cd /root && {typed}")]);
    let (said, wrong) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    // 3: the plan needs approval.
    let well = output.status.success() || (typed.starts_with("cutover plan") && output.status.code() == Some(3));
    assert!(well, "`{typed}` ended with {}: {said}\n{wrong}", output.status);
    for (word, before) in [("PLAN", "Plan "), ("UPGRADE", "Upgrade ")] {
        if let Some((_, rest)) = said.split_once(before) {
            let name = rest.split(|c: char| c != '-' && !c.is_ascii_alphanumeric()).next().unwrap_or_default();
            noted.push((word, name.to_owned()));
        }
    }
}

#[test]
fn a_stranger_who_types_what_the_page_says_upgrades_a_ledger() {
    Lab::run(|lab| {
        let host = node::ledger(lab, "1.3.1", "1.4.6", "");
        packages::carry(&host, &packages::build(lab.folder()));
        let commands = commands("host-a");
        assert!(commands.len() >= 12, "{commands:?}");
        let mut noted = Vec::new();
        for command in &commands {
            type_in(&host, command, &mut noted);
            if command == "systemctl start cutover-agent" {
                until("the agent is in the fleet", Duration::from_secs(30), || {
                    let fleet = host.exec(&["cutover", "fleet"]);
                    String::from_utf8_lossy(&fleet.stdout).contains("ledger-a").then_some(())
                });
            }
        }
        let address = SocketAddr::new(IpAddr::V4(host.address()), 3068);
        until("the target serves", Duration::from_secs(60), || (version(address)? == "1.4.6").then_some(()));
    });
}
