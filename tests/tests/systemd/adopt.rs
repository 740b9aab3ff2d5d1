//! Units that run the ledger already are adopted and leave again: on real hosts, by the program that a person runs.

use crate::node::{Node, UNIT};
use cutover_ledger_simulator::pack;
use cutover_test_hosts::{Host, Lab};
use cutover_tests::checks::{check_facts, until_phase};
use cutover_tests::clients::{check_exactly_once, version};
use cutover_tests::house::{LEDGERS, program};
use cutover_tests::until;
use cutover_vocabulary::Phase;
use cutover_vocabulary::hold::Choice;
use cutover_vocabulary::status::State;
use std::process::{Command, Output};
use std::time::Duration;

/// The agent's settings.
const SETTINGS: &str = "/etc/cutover/agent.toml";

/// Every file of the host that adoption, reports and surveys have no business to change, with all that is known of it. `/opt/cutover`
/// is our own: binaries are asked about themselves there.
const FILES: &str = "find /etc /run/systemd/system /usr/local /srv /var/lib/numary -printf \
                     '%p %y %i %m %U %G %s %T@ %C@ %l\\n' | sort";

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn adopt(host: &Host, more: &[&str]) -> Output {
    host.exec(&[&["cutover-agent", "adopt", "--deployment", "prod"], more].concat())
}

fn unadopt(host: &Host, more: &[&str]) -> Output {
    host.exec(&[&["cutover-agent", "unadopt", UNIT], more].concat())
}

fn restart_agent(host: &Host) {
    host.run(&["systemctl", "reset-failed", "cutover-agent"]);
    host.run(&["systemctl", "restart", "cutover-agent"]);
}

/// The journal has it a moment later.
fn until_logged(node: &Node, words: &str) {
    until(words, Duration::from_secs(20), || node.logs().contains(words).then_some(()));
}

/// What of ours lies in the folders of systemd.
fn ours(host: &Host) -> String {
    host.run(&[
        "sh",
        "-c",
        "find /etc/systemd /run/systemd/system -name '*cutover*' -not -name 'cutover-*.service*' | sort",
    ])
}

#[test]
fn plain_templated_and_packaged_units_are_found_and_shown_without_secrets_and_a_dry_run_changes_nothing() {
    Lab::run(|lab| {
        let node = Node::unknown(lab, "1.3.1", "1.4.6", "", "");
        let host = &node.host;
        // One of a template, its binary a link into a folder of releases.
        let binary = lab.folder().join("numary-1.4.6");
        pack::install(&program("numary"), "1.4.6", &binary).unwrap();
        host.copy_in(&binary, "/srv/releases/1.4.6/numary");
        host.run(&["ln", "-s", "/srv/releases/1.4.6/numary", "/usr/local/bin/ledger-eu"]);
        host.run(&["install", "-d", "-o", "ledger", "/var/lib/ledgers/eu"]);
        let template = "[Service]\nUser=ledger\nEnvironment=NUMARY_STORAGE_DIR=/var/lib/ledgers/%i\n\
             ExecStart=/usr/local/bin/ledger-eu server start --server.http.bind_address localhost:4000\n\
             [Install]\nWantedBy=multi-user.target\n";
        host.put("/etc/systemd/system/numary@.service", template, 0o644);
        // A plain unit with a link of its own.
        host.run(&["ln", "-s", "/srv/releases/1.4.6/numary", "/usr/local/bin/ledger-us"]);
        let plain = "[Service]\nUser=ledger\nEnvironment=NUMARY_STORAGE_DIR=/var/lib/ledgers/us\n\
             ExecStart=/usr/local/bin/ledger-us server start\n";
        host.put("/etc/systemd/system/ledger-us.service", plain, 0o644);
        // One of a package, with a password in its file, its arguments and its environment.
        let package = lab.folder().join("package");
        let make = format!(
            "set -e; cd {}; mkdir -p DEBIAN usr/bin lib/systemd/system; cp {} usr/bin/numary\n\
             printf 'Package: numary\\nVersion: 1.4.6\\nArchitecture: all\\nMaintainer: x <x@example.org>\\nDescription: x\\n' \
             > DEBIAN/control; dpkg-deb --root-owner-group --build . ../numary.deb",
            package.display(),
            binary.display()
        );
        std::fs::create_dir(&package).unwrap();
        std::fs::create_dir_all(package.join("lib/systemd/system")).unwrap();
        std::fs::write(
            package.join("lib/systemd/system/ledger-pg.service"),
            "[Service]\nUser=ledger\nEnvironment=NUMARY_STORAGE_DRIVER=postgres TOKEN=t0ken-value\n\
             EnvironmentFile=-/etc/numary/pg.env\nExecStart=/usr/bin/numary server start \
             --storage.postgres.conn_string=postgresql://ledger:hunter22@127.0.0.1:1/books\n",
        )
        .unwrap();
        let made = Command::new("sh").args(["-c", &make]).output().unwrap();
        assert!(made.status.success(), "{}", said(&made));
        host.copy_in(&lab.folder().join("numary.deb"), "/root/numary.deb");
        host.run(&["dpkg", "-i", "/root/numary.deb"]);
        host.put("/etc/numary/pg.env", "NUMARY_AUTH_BASIC_CREDENTIALS=admin:hunter33\n", 0o600);
        // Not one of them: another of its commands, another program, and what Cutover itself would leave.
        for (name, command) in [
            ("scan.service", "/usr/bin/numary storage scan"),
            ("server.service", "/bin/echo server start"),
            ("cutover-closed-numary.service", "/usr/bin/numary server start"),
        ] {
            host.put(&format!("/etc/systemd/system/{name}"), format!("[Service]\nExecStart={command}\n"), 0o644);
        }
        // And one that cannot be adopted as it is.
        host.put(
            "/etc/systemd/system/passing.service",
            "[Service]\nDynamicUser=yes\nExecStart=/usr/bin/numary server start\n",
            0o644,
        );
        host.run(&["systemctl", "daemon-reload"]);
        host.run(&["systemctl", "enable", "--quiet", "numary@eu.service"]);

        let before = host.run(&["sh", "-c", FILES]);
        let shown = adopt(host, &["--dry-run"]);
        let text = said(&shown);
        assert!(shown.status.success(), "{text}");
        assert_eq!(host.run(&["sh", "-c", FILES]), before, "a dry run changes nothing");
        println!("{text}");
        for secret in ["hunter22", "hunter33", "t0ken-value"] {
            assert!(!text.contains(secret), "{secret} is shown:\n{text}");
        }
        for line in [
            "numary.service (active)",
            "numary@eu.service (inactive)",
            "ledger-pg.service (inactive)",
            "/etc/systemd/system/numary@.service",
            "/usr/bin/numary server start --storage.postgres.conn_string=[secret]",
            "a plain file, of no package",
            "a link into a folder of releases: /srv/releases/1.4.6/numary (version 1.4.6), of no package",
            "a plain file, of package numary (dpkg)",
            "1.3.1, by the binary itself, run as ledger",
            "ledger, HOME /var/lib/ledger",
            "sqlite /var/lib/numary/numary_*.db",
            "postgres; which one cannot be told now",
            "localhost:4000",
            "points the link /usr/local/bin/ledger-us to /opt/cutover/releases/VERSION/numary",
            // Other instances of its template would be started over that link.
            "leaves /usr/local/bin/ledger-eu as it is",
            "leaves /usr/bin/numary as it is",
            "DynamicUser=yes",
            "name = \"h1-numary-eu\"",
            "Nothing was changed (--dry-run)",
        ] {
            assert!(text.contains(line), "{line:?} is missing:\n{text}");
        }
        for other in ["scan.service", "server.service", "cutover-closed", "h1-passing\""] {
            assert!(!text.contains(other), "{other} is shown:\n{text}");
        }
        // Named, it is an error, and nothing is written for the others either.
        let refused = adopt(host, &["numary", "passing"]);
        assert!(!refused.status.success() && said(&refused).contains("DynamicUser=yes"), "{}", said(&refused));
        assert_eq!(host.run(&["sh", "-c", FILES]), before, "refused, nothing is changed");
    });
}

#[test]
fn an_adopted_unit_is_adopted_once_goes_through_a_whole_upgrade_and_leaves_only_as_it_is_safe() {
    Lab::run(|lab| {
        let node = Node::unknown(lab, "1.3.1", "1.4.6", "", "");
        let host = &node.host;
        host.run(&["chmod", "0640", SETTINGS]);
        let before = host.read(SETTINGS);
        let units = host.run(&["sh", "-c", "find /etc/systemd/system | sort; cat /etc/systemd/system/numary.service"]);
        for _ in 0..2 {
            let adopted = adopt(host, &[]);
            assert!(adopted.status.success(), "{}", said(&adopted));
        }
        let again = said(&adopt(host, &["numary"]));
        assert!(again.contains("is adopted already, as h1-numary") && again.contains("is left as it is"), "{again}");
        let adopted = host.read(SETTINGS);
        assert!(adopted.starts_with(&before) && adopted.matches("[[instance]]").count() == 1, "{adopted}");
        assert_eq!(host.run(&["stat", "-c", "%a %U", SETTINGS]), "640 root");
        let other = host.exec(&["cutover-agent", "adopt", "numary", "--deployment", "other"]);
        assert!(
            !other.status.success() && said(&other).contains("instance h1-numary of deployment prod"),
            "{}",
            said(&other)
        );

        // A person adds what tells the load balancer.
        let hooks = "out_of_rotation = [\"touch\", \"/var/lib/out-of-rotation\"]\n\
                     into_rotation = [\"rm\", \"-f\", \"/var/lib/out-of-rotation\"]\n";
        host.put(SETTINGS, format!("{adopted}{hooks}"), 0o600);
        restart_agent(host);
        let writer = node.writer();
        let upgrade = node.begin();
        node.until_state(&upgrade, State::Completed);
        check_exactly_once(node.address, LEDGERS, &writer.end());
        check_facts(&node.voice.facts(&upgrade).unwrap());

        let runs = unadopt(host, &[]);
        assert!(!runs.status.success() && said(&runs).contains("systemctl stop cutover-agent"), "{}", said(&runs));
        host.run(&["systemctl", "stop", "cutover-agent"]);
        let former = unadopt(host, &[]);
        assert!(!former.status.success(), "{}", said(&former));
        assert!(
            said(&former).contains("install -m 0755") && said(&former).contains("--keep-release"),
            "{}",
            said(&former)
        );
        assert!(ours(host).contains("zzz-cutover-release.conf"), "nothing was changed: {}", ours(host));

        // The release is kept as the administrator's, once by a dry run that changes nothing.
        let all = || host.run(&["sh", "-c", FILES]);
        let untouched = all();
        let dry = unadopt(host, &["--keep-release", "--dry-run"]);
        assert!(dry.status.success() && said(&dry).contains("zzz-administrator-release.conf"), "{}", said(&dry));
        assert_eq!(all(), untouched, "a dry run changes nothing");
        let kept = unadopt(host, &["--keep-release"]);
        assert!(kept.status.success(), "{}", said(&kept));
        assert_eq!(ours(host), "", "nothing of ours is left");
        assert_eq!(version(node.address).as_deref(), Some("1.4.6"), "it runs on");
        host.run(&["systemctl", "restart", UNIT]);
        until("it serves the same release", Duration::from_secs(30), || {
            (version(node.address).as_deref() == Some("1.4.6")).then_some(())
        });
        assert_eq!(host.read(SETTINGS), before, "the settings are what they were");
        host.run(&["rm", "-r", "/etc/systemd/system/numary.service.d"]);
        assert_eq!(
            host.run(&["sh", "-c", "find /etc/systemd/system | sort; cat /etc/systemd/system/numary.service"]),
            units,
            "but for that drop-in the units are what they were"
        );
    });
}

#[test]
fn with_the_allowed_release_at_its_own_path_a_unit_leaves_after_its_upgrade() {
    Lab::run(|lab| {
        let node = Node::new(lab, "1.3.1", "1.4.6");
        let upgrade = node.begin();
        node.until_state(&upgrade, State::Completed);
        let host = &node.host;
        host.run(&["systemctl", "stop", "cutover-agent"]);
        assert!(!unadopt(host, &[]).status.success(), "the former release lies there");
        host.run(&["install", "-m", "0755", "/opt/cutover/releases/1.4.6/numary", "/usr/local/bin/numary"]);
        let left = unadopt(host, &[]);
        assert!(left.status.success(), "{}", said(&left));
        assert_eq!(ours(host), "");
        assert_eq!(host.run(&["sh", "-c", "ls /etc/systemd/system | grep numary.service.d || true"]), "");
        host.run(&["systemctl", "restart", UNIT]);
        until("it serves the same release", Duration::from_secs(30), || {
            (version(node.address).as_deref() == Some("1.4.6")).then_some(())
        });
    });
}

#[test]
fn a_unit_whose_file_is_gone_leaves() {
    Lab::run(|lab| {
        let node = Node::new(lab, "1.3.1", "1.4.6");
        let host = &node.host;
        until("it is guarded", Duration::from_secs(30), || {
            let noted =
                host.exec(&["test", "-e", "/var/lib/cutover-agent/instances/ledger/allowed.json"]).status.success();
            (noted && ours(host).contains("50-cutover-guard.conf")).then_some(())
        });
        host.run(&["systemctl", "stop", "cutover-agent", UNIT]);
        host.run(&["rm", "/etc/systemd/system/numary.service"]);
        host.run(&["systemctl", "daemon-reload"]);
        let left = unadopt(host, &[]);
        assert!(left.status.success(), "{}", said(&left));
        assert_eq!(ours(host), "");
        assert!(!host.read(SETTINGS).contains("[[instance]]"));
    });
}

#[test]
fn a_unit_leaves_an_aborted_upgrade_as_it_came_and_not_while_that_is_under_way() {
    Lab::run(|lab| {
        let node = Node::unknown(lab, "1.3.1", "1.4.6", "", "");
        let host = &node.host;
        let before = host.read(SETTINGS);
        let units = "find /etc/systemd/system /run/systemd/system | sort; cat /etc/systemd/system/numary.service";
        let units_before = host.run(&["sh", "-c", units]);
        let adopted = adopt(host, &["numary"]);
        assert!(adopted.status.success(), "{}", said(&adopted));
        restart_agent(host);
        node.hold_migrations();
        let upgrade = node.begin();
        assert!(until_phase(&node.voice, &upgrade, Phase::Migrate));
        until("the migration runs", Duration::from_secs(60), || {
            host.exec(&["pgrep", "-f", "storage upgrade main"]).status.success().then_some(())
        });
        host.run(&["systemctl", "stop", "cutover-agent"]);
        let refused = unadopt(host, &[]);
        assert!(!refused.status.success() && said(&refused).contains("it is fenced"), "{}", said(&refused));
        host.run(&["cutover-agent", "local", "unfence", "h1-numary"]);
        let refused = unadopt(host, &[]);
        let why = format!("upgrade {upgrade} of deployment prod is under way here");
        assert!(!refused.status.success() && said(&refused).contains(&why), "{}", said(&refused));
        assert!(ours(host).contains("50-cutover-guard.conf"), "nothing was changed: {}", ours(host));
        let taken = ["cutover-agent", "local", "takeover", &upgrade, "--note", "this host leaves"];
        host.run(&taken);
        let refused = unadopt(host, &[]);
        assert!(!refused.status.success() && said(&refused).contains("still runs"), "{}", said(&refused));
        node.go_on();
        until("it may leave once the migration has ended", Duration::from_secs(60), || {
            unadopt(host, &[]).status.success().then_some(())
        });
        assert_eq!(host.read(SETTINGS), before, "the settings are byte for byte what they were");
        assert_eq!(host.run(&["sh", "-c", units]), units_before, "and so are the units");
        assert!(!host.exec(&["test", "-e", "/var/lib/cutover-agent/instances/h1-numary"]).status.success());
    });
}

#[test]
fn an_instance_that_may_only_be_looked_at_is_reported_and_surveyed_and_nothing_of_it_ever_changes() {
    Lab::run(|lab| {
        let node = Node::unknown(lab, "1.3.1", "1.4.6", "TimeoutStopSec=4", "drain_seconds = 1");
        let host = &node.host;
        node.will_not_stop();
        let all = || host.run(&["sh", "-c", FILES]);
        let adopted = adopt(host, &["numary", "--observe-only"]);
        assert!(adopted.status.success(), "{}", said(&adopted));
        let before = all();
        restart_agent(host);
        // The plan says so before anybody begins, and a person by hand is told so too.
        until("the plan is blocked and says so", Duration::from_secs(60), || {
            let why = node.voice.plan("prod", "1.4.6").err()?;
            why.contains("observe-only about instance h1-numary: agent h1 may only look at it").then_some(())
        });
        let by_hand = host.exec(&["cutover-agent", "local", "fence", "h1-numary"]);
        assert!(!by_hand.status.success() && said(&by_hand).contains("may only be looked at"), "{}", said(&by_hand));
        assert_eq!(all(), before, "nothing of it has changed");
        assert_eq!(version(node.address).as_deref(), Some("1.3.1"));

        // In the middle of an upgrade, for which it was not so when that began.
        let observed = host.read(SETTINGS);
        host.put(SETTINGS, observed.replace("observe_only = true\n", ""), 0o600);
        restart_agent(host);
        let upgrade = node.begin();
        let held = node.until_state(&upgrade, State::Held);
        host.run(&["systemctl", "stop", "cutover-agent"]);
        until("systemd kills it", Duration::from_secs(30), || {
            host.exec(&["systemctl", "is-failed", UNIT]).status.success().then_some(())
        });
        host.put(SETTINGS, observed, 0o600);
        let before = all();
        restart_agent(host);
        let said = refused_again(&node, &upgrade, held.holds[0].id.0);
        assert!(said.contains("may only be looked at (observe-only)"), "{said}");
        assert_eq!(all(), before, "nothing of it has changed");
    });
}

/// Has the step tried again, and gives why it holds then.
fn refused_again(node: &Node, upgrade: &str, first: u32) -> String {
    until("it is tried again, and holds again", Duration::from_secs(60), || {
        let status = node.voice.status(upgrade).ok()?;
        let hold = status.holds.first()?;
        if hold.id.0 == first {
            let _ = node.voice.decide(upgrade, first, Choice::Retry);
            return None;
        }
        Some(format!("{:?}", hold.reason))
    })
}

#[test]
fn an_agent_that_is_root_obeys_no_settings_and_no_hook_that_others_may_write() {
    Lab::run(|lab| {
        let node = Node::new(lab, "1.3.1", "1.4.6");
        let host = &node.host;
        let refused = |path: &str, change: &[&str], mend: &str| {
            host.run(change);
            let status = host.exec(&["cutover-agent", "local", "status"]);
            let text = said(&status);
            assert!(!status.status.success() && text.contains(path), "{text}");
            // The command that it names is the one that mends it.
            let command = text.split('`').nth(1).unwrap_or_default().to_owned();
            assert!(command.contains(mend), "{text}");
            assert!(!host.exec(&["systemctl", "restart", "cutover-agent"]).status.success(), "it does not start");
            until_logged(&node, &format!("root does not obey {path}"));
            host.run(&["sh", "-c", &command]);
            assert!(host.exec(&["cutover-agent", "local", "status"]).status.success(), "mended by {command}");
            restart_agent(host);
        };
        refused(SETTINGS, &["chmod", "0666", SETTINGS], "chmod go-w");
        refused(SETTINGS, &["chown", "ledger", SETTINGS], "chown -h root:root");
        refused(SETTINGS, &["chmod", "0777", "/etc/cutover"], "chmod go-w '/etc/cutover'");
        host.put("/srv/hooks/lb", "#!/bin/sh\n", 0o777);
        let hooked = host.read(SETTINGS).replace("[\"touch\"", "[\"/srv/hooks/lb\"");
        host.put(SETTINGS, hooked, 0o600);
        refused("/srv/hooks/lb", &["true"], "chmod go-w '/srv/hooks/lb'");
    });
}

#[test]
fn an_order_for_an_instance_that_the_settings_do_not_name_is_refused_and_the_status_and_the_log_say_so() {
    Lab::run(|lab| {
        let node = Node::with(lab, "1.3.1", "1.4.6", "TimeoutStopSec=4", "drain_seconds = 1");
        let host = &node.host;
        node.will_not_stop();
        let upgrade = node.begin();
        let held = node.until_state(&upgrade, State::Held);
        let other =
            host.read(SETTINGS).replace("name = \"ledger\"", "name = \"other\"").replace("\"prod\"", "\"trial\"");
        host.put(SETTINGS, other, 0o600);
        restart_agent(host);
        let said = refused_again(&node, &upgrade, held.holds[0].id.0);
        assert!(said.contains("instance ledger of deployment prod is not in the settings of agent h1"), "{said}");
        until_logged(&node, "an agent refused an order: it does not concern this host");
    });
}
