//! The Debian packages, installed, upgraded, removed and purged on a real host.

use crate::node::{self, Node, SOCKET, UNIT};
use cutover_test_hosts::{Host, Lab};
use cutover_tests::checks::{check_facts, until_phase};
use cutover_tests::clients::{check_exactly_once, version};
use cutover_tests::house::{LEDGERS, program};
use cutover_tests::until;
use cutover_vocabulary::Phase;
use cutover_vocabulary::status::State;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The process of the migration that is held: another ledger's may run for a moment before it.
const HELD: &str = "for process in /proc/[0-9]*; do tr '\\0' ' ' < $process/cmdline | grep -q 'numary storage [u]pgrade main' && \
                    echo $process; done; true";

/// The three packages, of the programs as built beside this test.
pub fn build(folder: &Path) -> Vec<PathBuf> {
    let programs = folder.join("programs");
    std::fs::create_dir_all(&programs).unwrap();
    for name in ["cutover", "cutover-agent", "cutover-coordinator"] {
        // Without what is for debuggers, which takes longer to compress than all else takes.
        run(Command::new("strip").arg("-o").args([programs.join(name), program(name)]));
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/deb/build");
    let out = folder.join("packages");
    run(Command::new(script)
        .args([programs.as_path(), Path::new("1.0.0"), &out])
        .env("SOURCE_DATE_EPOCH", "1700000000"));
    let mut files: Vec<PathBuf> = std::fs::read_dir(out).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Copies packages to a host's `/root`. A machine that is a container forbids packages to start and stop services; a host does not.
pub fn carry(host: &Host, packages: &[PathBuf]) {
    host.run(&["rm", "-f", "/usr/sbin/policy-rc.d"]);
    for file in packages {
        host.copy_in(file, &format!("/root/{}", file.file_name().unwrap().to_string_lossy()));
    }
}

fn install(host: &Host, packages: &str) {
    host.run(&["sh", "-c", &format!("dpkg --install /root/{packages}_1.0.0_*.deb")]);
}

fn show(host: &Host, unit: &str, property: &str) -> String {
    host.run(&["systemctl", "show", "--value", "--property", property, unit])
}

/// A host with a ledger, and Cutover installed from its packages and configured.
fn installed(lab: &Lab) -> Node {
    let host = node::ledger(lab, "1.3.1", "1.4.6", "");
    carry(&host, &build(lab.folder()));
    install(&host, "cutover*");
    for unit in ["cutover-agent", "cutover-coordinator"] {
        let state = [show(&host, unit, "UnitFileState"), show(&host, unit, "ActiveState"), show(&host, unit, "Result")];
        assert_eq!(state, ["enabled", "inactive", "success"], "{unit} has no settings yet");
    }
    node::configure(&host, "", node::INSTANCE);
    host.run(&["systemctl", "start", "cutover-coordinator", "cutover-agent"]);
    Node::of(host, "1.4.6")
}

#[test]
fn installed_programs_wait_for_their_settings_and_an_upgrade_of_the_package_does_not_disturb_a_migration() {
    Lab::run(|lab| {
        let node = installed(lab);
        let host = &node.host;
        assert_eq!(host.run(&["dpkg", "--verify", "cutover", "cutover-agent", "cutover-coordinator"]), "");
        let owners = host.run(&["stat", "-c", "%U", "/var/lib/cutover-coordinator/store.db", SOCKET]);
        assert_eq!(owners, "cutover-coordinator\ncutover-coordinator");
        host.run(&["test", "-s", "/usr/share/man/man1/cutover-plan.1.gz"]);
        host.run(&["bash", "-n", "/usr/share/bash-completion/completions/cutover"]);

        let writer = node.writer();
        node.hold_migrations();
        let upgrade = node.begin();
        assert!(until_phase(&node.voice, &upgrade, Phase::Migrate));
        let held = || Some(host.run(&["sh", "-c", HELD])).filter(|process| !process.is_empty());
        let migrates = until("the migration is held", Duration::from_secs(30), held);
        let agent = show(host, "cutover-agent", "MainPID");
        install(host, "cutover-agent");
        install(host, "cutover-coordinator");
        assert_ne!(show(host, "cutover-agent", "MainPID"), agent, "the new one runs");
        assert_eq!(held(), Some(migrates), "the migration goes on in the process that began it");
        node.go_on();
        node.until_state(&upgrade, State::Completed);
        check_exactly_once(node.address, LEDGERS, &writer.end());
        check_facts(&node.voice.facts(&upgrade).unwrap());

        // What was done for it is found in the journal by its name, of both daemons.
        let field = format!("CUTOVER_UPGRADE={upgrade}");
        let found = host.run(&["journalctl", "--no-pager", "--output=verbose", &field]);
        for wanted in
            ["_SYSTEMD_UNIT=cutover-agent.service", "_SYSTEMD_UNIT=cutover-coordinator.service", "CUTOVER_EPOCH=1"]
        {
            assert!(found.contains(wanted), "{wanted}: {found}");
        }
    });
}

#[test]
fn a_package_that_is_removed_leaves_a_ledger_that_starts_and_is_not_removed_from_under_an_upgrade() {
    Lab::run(|lab| {
        let node = installed(lab);
        let host = &node.host;
        node.hold_migrations();
        let upgrade = node.begin();
        assert!(until_phase(&node.voice, &upgrade, Phase::Migrate));
        // Where policy forbids packages to stop and to start services it is no other.
        host.put("/usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n", 0o755);
        let refused = host.exec(&["dpkg", "--remove", "cutover-agent"]);
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(!refused.status.success() && said.contains("keeps numary.service down"), "{said}");
        assert!(!host.exec(&["systemctl", "start", UNIT]).status.success(), "the guard stands");
        assert_eq!(show(host, "cutover-agent", "ActiveState"), "active", "it is there for the upgrade");
        node.go_on();
        node.until_state(&upgrade, State::Completed);

        let serves = show(host, UNIT, "MainPID");
        // What tidies up after the upgrade may run still, and is not removed under either.
        until("the package is removed", Duration::from_secs(60), || {
            host.exec(&["dpkg", "--remove", "cutover-agent"]).status.success().then_some(())
        });
        assert!(
            !host.exec(&["pgrep", "-x", "cutover-agent"]).status.success(),
            "it was stopped before its program went"
        );
        host.run(&["rm", "/usr/sbin/policy-rc.d"]);
        assert!(!host.exec(&["test", "-e", "/usr/bin/cutover-agent"]).status.success());
        assert_eq!(show(host, UNIT, "MainPID"), serves, "the ledger is left alone");
        host.run(&["systemctl", "restart", UNIT]);
        host.reboot();
        host.wait_running();
        until("the ledger serves after a reboot", Duration::from_secs(30), || version(node.address));
        assert_eq!(version(node.address).as_deref(), Some("1.4.6"));

        // Back again, with its settings and its journal.
        install(host, "cutover-agent");
        until("the agent runs", Duration::from_secs(30), || {
            (show(host, "cutover-agent", "ActiveState") == "active").then_some(())
        });
        node.voice.plan_when_ready("prod", "1.4.6");

        let purged = host.exec(&["dpkg", "--purge", "cutover-agent", "cutover-coordinator"]);
        let said = String::from_utf8_lossy(&purged.stderr);
        assert!(purged.status.success() && said.contains("recovery points of ledgers"), "{said}");
        assert!(said.contains("record of every upgrade") && said.contains("/opt/cutover/releases is kept"), "{said}");
        host.run(&["sh", "-c", "test -n \"$(ls /var/lib/cutover-agent/recovery)\" && test ! -e /etc/cutover"]);
        assert!(version(node.address).is_some());
    });
}

#[test]
fn a_purge_removes_the_state_of_an_agent_that_never_secured_anything() {
    Lab::run(|lab| {
        let host = lab.host("h1");
        host.boot();
        host.wait_running();
        carry(&host, &build(lab.folder()));
        install(&host, "cutover-agent");
        let settings =
            "name = \"h1\"\ncoordinator = \"unix:/run/cutover/coordinator.sock\"\nstate = \"/var/lib/cutover-agent\"\n";
        host.put("/etc/cutover/agent.toml", settings, 0o600);
        host.run(&["systemctl", "start", "cutover-agent"]);
        host.run(&["test", "-e", "/var/lib/cutover-agent/work"]);
        host.run(&["dpkg", "--purge", "cutover-agent"]);
        host.run(&["sh", "-c", "test ! -e /var/lib/cutover-agent && test ! -e /etc/cutover"]);
    });
}

#[test]
fn folders_that_the_settings_name_are_looked_into_before_anything_is_removed() {
    Lab::run(|lab| {
        let host = lab.host("h1");
        host.boot();
        host.wait_running();
        carry(&host, &build(lab.folder()));
        let configured = |state: &str, more: &str| {
            install(&host, "cutover-agent");
            let settings = format!(
                "name = \"h1\"\ncoordinator = \"unix:/run/cutover/coordinator.sock\"\nstate = '{state}' # ours\n{more}\n"
            );
            host.put("/etc/cutover/agent.toml", settings, 0o600);
        };
        let said = |action: &str| {
            let done = host.exec(&["dpkg", action, "cutover-agent"]);
            (done.status.success(), String::from_utf8_lossy(&done.stderr).into_owned())
        };
        // An instance that the agent runs itself is fenced.
        configured("/srv/agent", "");
        host.put("/srv/agent/instances/a/fenced", "", 0o600);
        let (removed, why) = said("--remove");
        assert!(!removed && why.contains("/srv/agent/instances/a/fenced"), "{why}");
        host.run(&["rm", "/srv/agent/instances/a/fenced"]);
        let (purged, why) = said("--purge");
        assert!(purged && why.contains("/srv/agent is kept") && why.contains("rm -r /srv/agent"), "{why}");
        host.run(&["test", "-e", "/srv/agent/instances/a"]);

        configured("/var/lib/cutover-agent", "recovery = \"/srv/points\"");
        host.put("/srv/points/u1/1.1/main", "", 0o600);
        host.put("/var/lib/cutover-agent/journal.db", "x", 0o600);
        let (purged, why) = said("--purge");
        assert!(purged && why.contains("rm -r /var/lib/cutover-agent /srv/points"), "{why}");
        host.run(&["test", "-e", "/var/lib/cutover-agent/journal.db"]);

        host.run(&["rm", "-r", "/srv/points"]);
        configured("/var/lib/cutover-agent", "");
        host.put("/var/lib/cutover-agent/instances/a/before-u1.json", "{}", 0o600);
        let (purged, why) = said("--purge");
        assert!(purged && why.contains("what instances started before"), "{why}");
        host.run(&["test", "-e", "/var/lib/cutover-agent/instances/a/before-u1.json"]);
    });
}

#[test]
fn two_builds_of_the_same_programs_are_the_same_bytes() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let [one, other] =
        folders.each_ref().map(|folder| build(folder.path()).into_iter().map(|file| std::fs::read(file).unwrap()));
    assert!(one.eq(other));
}

/// What deploy/README.md says of the units' exposure, by systemd's own figure.
#[test]
fn no_unit_is_more_exposed_than_the_page_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let page = std::fs::read_to_string(root.join("deploy/README.md")).unwrap();
    for name in ["cutover-agent", "cutover-coordinator"] {
        let unit = root.join(format!("deploy/systemd/{name}.service"));
        let output =
            Command::new("systemd-analyze").args(["security", "--offline=yes", "--no-pager"]).arg(unit).output();
        let Ok(output) = output else {
            return cutover_test_hosts::skipped("there is no systemd-analyze: run deploy/setup");
        };
        let text = String::from_utf8_lossy(&output.stdout);
        let figure = |text: &str, before: &str| -> f64 {
            let (_, rest) = text.split_once(before).unwrap_or_else(|| panic!("no {before:?} in {text}"));
            rest.split_whitespace().next().unwrap().parse().unwrap()
        };
        let (_, bounds) = page.split_once("## Bounds").unwrap();
        let (now, said) = (figure(&text, &format!("for {name}.service: ")), figure(bounds, &format!("| `{name}` | ")));
        assert!(now <= said, "{name}.service is at {now} now, the page says {said}");
    }
}
