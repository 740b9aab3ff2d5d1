//! The commands of deploy/README.md, typed as a reader would type them.

use crate::node;
use crate::packages;
use cutover_test_hosts::{Host, Lab};
use cutover_tests::clients::version;
use cutover_tests::until;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

const PAGE: &str = include_str!("../../../deploy/README.md");

/// What a reader does, in the page's order.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    /// Types this on that host.
    Type(String, String),
    /// Puts these lines into that file of that host.
    Write(String, String, String),
}

/// The steps of blocks that are marked with one of these: `host-a`, `host-a tls`, `host-b`.
fn steps(marks: &[&str]) -> Vec<Step> {
    let mut all = Vec::new();
    let mut blocks = PAGE.split("\n```");
    blocks.next();
    while let (Some(block), _behind) = (blocks.next(), blocks.next()) {
        let (mark, text) = block.split_once('\n').unwrap_or((block, ""));
        if let Some(mark) = mark.strip_prefix("sh ").filter(|mark| marks.contains(mark)) {
            let host = mark.split(' ').next().unwrap_or_default();
            let typed = text.replace("\\\n", "\u{0}");
            all.extend(typed.lines().map(|line| Step::Type(host.to_owned(), line.replace('\u{0}', "\\\n"))));
        } else if let Some((host, file)) = mark.strip_prefix("toml ").and_then(|mark| mark.split_once(' '))
            && marks.len() > 1
        {
            all.push(Step::Write(host.to_owned(), file.to_owned(), text.to_owned()));
        }
    }
    all
}

/// As an editor would: a new file has these lines; in another a key that is there gets the new value, and the rest is put at the end.
fn write(host: &Host, file: &str, lines: &str) {
    let path = format!("/etc/cutover/{file}");
    if !host.root().join(path.trim_start_matches('/')).exists() {
        return host.put(&path, lines, 0o644);
    }
    let keys: Vec<&str> = lines.lines().take_while(|line| !line.starts_with('[')).collect();
    let tables = lines.lines().skip(keys.len()).collect::<Vec<_>>().join("\n");
    let mut text = host.read(&path);
    for line in keys.into_iter().filter(|line| !line.is_empty()) {
        let key = line.split('=').next().unwrap_or_default();
        let former = text.lines().find(|there| there.starts_with(key)).unwrap_or_else(|| panic!("{path} has no {key}"));
        text = text.replacen(former, line, 1);
    }
    host.put("/root/edited", format!("{text}\n{tables}\n"), 0o600);
    // Whoever edits a file leaves its owner and mode.
    host.run(&["sh", "-c", &format!("cat /root/edited > {path}")]);
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

fn until_in_the_fleet(host: &Host, instance: &str) {
    until("the instance is in the fleet", Duration::from_secs(30), || {
        let fleet = host.exec(&["cutover", "fleet"]);
        String::from_utf8_lossy(&fleet.stdout).contains(instance).then_some(())
    });
}

fn until_serves(host: &Host, wanted: &str) {
    let address = SocketAddr::new(IpAddr::V4(host.address()), 3068);
    until("the target serves", Duration::from_secs(60), || (version(address)? == wanted).then_some(()));
}

#[test]
fn a_stranger_who_types_what_the_page_says_upgrades_a_ledger() {
    Lab::run(|lab| {
        let host = node::ledger(lab, "1.3.1", "1.4.6", "");
        packages::carry(&host, &packages::build(lab.folder()));
        let steps = steps(&["host-a"]);
        assert!(steps.len() >= 12, "{steps:?}");
        let mut noted = Vec::new();
        for step in &steps {
            let Step::Type(_, command) = step else { panic!("{step:?}") };
            type_in(&host, command, &mut noted);
            if command == "systemctl start cutover-agent" {
                until_in_the_fleet(&host, "ledger-a");
            }
        }
        until_serves(&host, "1.4.6");
    });
}

#[test]
fn a_stranger_with_two_hosts_certificates_and_adoption_upgrades_both() {
    Lab::run(|lab| {
        let server = node::database(lab);
        let hosts = ["host-a", "host-b"].map(|name| node::ledger_on(lab, name, &server, "1.3.1", "1.4.6"));
        let packages = packages::build(lab.folder());
        hosts.iter().for_each(|host| packages::carry(host, &packages));
        let steps = steps(&["host-a", "host-a tls", "host-b"]);
        let mut noted = Vec::new();
        let called = |name: &str| hosts.iter().find(|host| host.name() == name).unwrap();
        for step in &steps {
            match step {
                Step::Write(host, file, lines) => write(called(host), file, lines),
                Step::Type(host, command) => {
                    type_in(called(host), command, &mut noted);
                    if command == "systemctl start cutover-agent" {
                        until_in_the_fleet(&hosts[0], if host == "host-a" { "ledger-a" } else { "host-b-numary" });
                    }
                    // As the page has it done with scp.
                    if command.starts_with("for name in") {
                        for file in ["authority.pem", "host-b.pem", "host-b.key"] {
                            hosts[1].put(&format!("/root/{file}"), hosts[0].read(&format!("/root/{file}")), 0o600);
                        }
                    }
                }
            }
        }
        assert!(steps.iter().filter(|step| matches!(step, Step::Write(..))).count() == 2, "{steps:?}");
        hosts.iter().for_each(|host| until_serves(host, "1.4.6"));
    });
}
