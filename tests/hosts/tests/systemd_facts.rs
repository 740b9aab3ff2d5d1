//! What Cutover relies on in systemd, asserted on a real one: how a start is prevented, and how a stop is known to be clean.

use cutover_test_hosts::{Host, Lab};

/// A service that is there to be started, as a package installs it.
const SERVICE: &str = "[Service]\nExecStart=sleep infinity\n[Install]\nWantedBy=multi-user.target\n";

fn install(host: &Host, path: &str, text: &str) {
    host.put(path, text, 0o644);
    host.run(&["systemctl", "daemon-reload"]);
}

fn start(host: &Host) -> Option<i32> {
    host.exec(&["systemctl", "start", "ledger"]).status.code()
}

fn show(host: &Host, property: &str) -> String {
    host.run(&["systemctl", "show", "-P", property, "ledger"])
}

#[test]
fn a_failed_assert_fails_the_start_and_a_failed_condition_passes_for_a_start() {
    Lab::run(|lab| {
        let host = &lab.hosts(1)[0];
        install(host, "/etc/systemd/system/ledger.service", SERVICE);
        let drop_in = "/etc/systemd/system/ledger.service.d/fence.conf";
        install(host, drop_in, "[Unit]\nConditionPathExists=/var/lib/open\n");
        assert_eq!((start(host), show(host, "ActiveState")), (Some(0), "inactive".to_owned()));
        assert_eq!((show(host, "ConditionResult"), show(host, "Result")), ("no".to_owned(), "success".to_owned()));
        install(host, drop_in, "[Unit]\nAssertPathExists=/var/lib/open\n");
        assert_eq!((start(host), show(host, "ActiveState")), (Some(1), "inactive".to_owned()));
        assert_eq!(show(host, "AssertResult"), "no");
        host.run(&["touch", "/var/lib/open"]);
        assert_eq!((start(host), show(host, "ActiveState")), (Some(0), "active".to_owned()));
        host.run(&["rm", "/var/lib/open"]);
        assert_eq!(show(host, "ActiveState"), "active", "what runs is not ended by it");
        assert_ne!(host.exec(&["systemctl", "restart", "ledger"]).status.code(), Some(0));
    });
}

#[test]
fn a_mask_holds_for_a_packages_unit_and_not_for_one_in_etc() {
    Lab::run(|lab| {
        let host = &lab.hosts(1)[0];
        install(host, "/usr/lib/systemd/system/ledger.service", SERVICE);
        host.run(&["systemctl", "mask", "--quiet", "ledger"]);
        assert_eq!(start(host), Some(1));
        let call =
            ["call", "org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager"];
        let unit = ["StartUnit", "ss", "ledger.service", "replace"];
        let masked = host.exec(&[&["busctl", "--json=short"][..], &call, &unit].concat());
        let said = String::from_utf8_lossy(&masked.stderr).into_owned();
        assert!(!masked.status.success() && said.contains("Unit ledger.service is masked"), "{said}");
        host.run(&["systemctl", "unmask", "--quiet", "ledger"]);
        assert_eq!(start(host), Some(0));
        host.run(&["systemctl", "stop", "ledger"]);

        install(host, "/etc/systemd/system/ledger.service", SERVICE);
        let refused = host.exec(&["systemctl", "mask", "ledger"]);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && said.contains("already exists"), "{said}");
        // It says that it did it, and did not.
        host.run(&["systemctl", "mask", "--runtime", "--quiet", "ledger"]);
        assert_eq!((start(host), show(host, "ActiveState")), (Some(0), "active".to_owned()));
    });
}

#[test]
fn a_drop_in_in_etc_holds_over_a_reboot_and_a_power_cut_and_one_in_run_does_not() {
    Lab::run(|lab| {
        let host = &lab.hosts(1)[0];
        install(host, "/etc/systemd/system/ledger.service", SERVICE);
        host.run(&["systemctl", "enable", "--quiet", "ledger"]);
        install(host, "/run/systemd/system/ledger.service.d/fence.conf", "[Unit]\nAssertPathExists=/var/lib/open\n");
        assert_eq!(start(host), Some(1));
        host.reboot();
        host.wait_running();
        assert_eq!(show(host, "ActiveState"), "active", "the fence in /run is gone");
        install(host, "/etc/systemd/system/ledger.service.d/fence.conf", "[Unit]\nAssertPathExists=/var/lib/open\n");
        host.reboot();
        host.wait_running();
        assert_eq!((show(host, "ActiveState"), show(host, "AssertResult")), ("inactive".to_owned(), "no".to_owned()));
        host.power_cut();
        host.boot();
        host.wait_running();
        assert_eq!((show(host, "ActiveState"), start(host)), ("inactive".to_owned(), Some(1)));
    });
}

#[test]
fn a_stop_past_its_timeout_returns_success_and_only_the_units_result_tells() {
    Lab::run(|lab| {
        let host = &lab.hosts(1)[0];
        let stubborn = "[Service]\nTimeoutStopSec=300ms\n\
                        ExecStart=bash -c 'trap \"\" TERM; touch /run/deaf; while :; do sleep 1; done'\n";
        install(host, "/etc/systemd/system/ledger.service", stubborn);
        assert_eq!(start(host), Some(0));
        cutover_test_hosts::until("the service ignores SIGTERM", cutover_test_hosts::DEADLINE, || {
            host.exec(&["test", "-e", "/run/deaf"]).status.success().then_some(())
        });
        host.run(&["systemctl", "stop", "ledger"]);
        assert_eq!((show(host, "ActiveState"), show(host, "Result")), ("failed".to_owned(), "timeout".to_owned()));
        // CLD_KILLED by SIGKILL.
        assert_eq!((show(host, "ExecMainCode"), show(host, "ExecMainStatus")), ("2".to_owned(), "9".to_owned()));

        install(host, "/etc/systemd/system/ledger.service", SERVICE);
        assert_eq!(start(host), Some(0));
        host.run(&["systemctl", "stop", "ledger"]);
        assert_eq!((show(host, "ActiveState"), show(host, "Result")), ("inactive".to_owned(), "success".to_owned()));
    });
}

#[test]
fn a_command_before_the_start_runs_as_root_with_a_plus_and_its_failure_prevents_the_start() {
    Lab::run(|lab| {
        let host = &lab.hosts(1)[0];
        let guarded = "[Service]\nUser=nobody\nExecStartPre=sh -c 'id -un > /tmp/plain'\n\
                       ExecStartPre=+sh -c 'id -un > /run/plus'\n\
                       ExecStartPre=+test -e /var/lib/open\nExecStart=sh -c 'id -un > /tmp/main; exec sleep infinity'\n";
        install(host, "/etc/systemd/system/ledger.service", guarded);
        assert_eq!((start(host), show(host, "ActiveState")), (Some(1), "failed".to_owned()));
        assert_eq!(show(host, "Result"), "exit-code");
        assert_eq!((host.read("/tmp/plain"), host.read("/run/plus")), ("nobody\n".to_owned(), "root\n".to_owned()));
        assert!(!host.exec(&["test", "-e", "/tmp/main"]).status.success(), "the service itself was started");
        host.run(&["touch", "/var/lib/open"]);
        assert_eq!((start(host), show(host, "ActiveState")), (Some(0), "active".to_owned()));
        cutover_test_hosts::until("the service runs as its user", cutover_test_hosts::DEADLINE, || {
            (host.exec(&["cat", "/tmp/main"]).stdout == b"nobody\n").then_some(())
        });
    });
}
