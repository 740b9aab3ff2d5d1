//! Power: boot, reboot, cut, freeze.

use crate::{BRIEFLY, SOON, greeting, install_greeter};
use cutover_test_hosts::{DEADLINE, Lab, until};
use std::time::Instant;

/// Writes a line every time it is started, then sleeps.
const COUNTER: &str = "[Service]\nExecStartPre=sh -c 'echo started >> /var/lib/counter'\nExecStart=sleep infinity\n\
                       [Install]\nWantedBy=multi-user.target\n";

#[test]
fn a_host_boots_to_running_with_a_bus_and_a_journal() {
    Lab::run(|lab| {
        let host = lab.host("ledger-a");
        let begun = Instant::now();
        host.boot();
        host.wait_running();
        println!("one host booted in {:?}", begun.elapsed());
        assert_eq!(host.run(&["systemctl", "is-system-running"]), "running");
        assert_eq!(host.run(&["hostname"]), "ledger-a");
        assert_eq!(host.run(&["cat", "/proc/1/comm"]), "systemd");
        assert!(host.run(&["busctl", "list"]).contains("org.freedesktop.systemd1"));
        assert!(host.run(&["journalctl", "--no-pager"]).contains("ledger-a systemd[1]"));
        let outside = std::process::Command::new("busctl")
            .args(["--address", &host.system_bus(), "get-property", "org.freedesktop.systemd1"])
            .args(["/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager", "SystemState"])
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&outside.stdout), "s \"running\"\n", "its bus answers in the lab");
        assert_eq!(host.exec(&["false"]).status.code(), Some(1));
        assert_ne!(host.boot_id(), std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap().trim());
        assert_eq!(host.read("/proc/sys/kernel/random/boot_id").trim(), host.boot_id());
    });
}

#[test]
fn a_host_with_a_failed_unit_does_not_pass_for_running() {
    Lab::run(|lab| {
        let host = &lab.hosts(1)[0];
        let broken = "[Service]\nExecStart=false\n[Install]\nWantedBy=multi-user.target\n";
        host.put("/etc/systemd/system/broken.service", broken, 0o644);
        host.run(&["systemctl", "enable", "--quiet", "broken"]);
        host.reboot();
        let waited = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| host.wait_running()));
        let said = *waited.unwrap_err().downcast::<String>().unwrap();
        assert!(said.starts_with("h1 is degraded: broken.service"), "{said}");
    });
}

#[test]
fn a_unit_and_a_file_survive_a_reboot() {
    Lab::run(|lab| {
        let host = &lab.hosts(1)[0];
        host.put("/etc/systemd/system/counter.service", COUNTER, 0o644);
        host.run(&["systemctl", "enable", "--now", "--quiet", "counter"]);
        host.run(&["touch", "/run/of-this-boot"]);
        let (boot, pid) = (host.boot_id(), host.pid());
        host.reboot();
        host.wait_running();
        assert_ne!(host.boot_id(), boot);
        assert_ne!(host.pid(), pid);
        assert_eq!(host.run(&["systemctl", "is-active", "counter"]), "active");
        assert_eq!(host.read("/var/lib/counter"), "started\nstarted\n");
        assert!(!host.exec(&["test", "-e", "/run/of-this-boot"]).status.success());
    });
}

#[test]
fn a_host_that_is_switched_off_stops_its_units_in_order() {
    Lab::run(|lab| {
        let host = &lab.hosts(1)[0];
        host.put(
            "/etc/systemd/system/last.service",
            "[Service]\nExecStart=sleep infinity\nExecStop=sh -c 'echo stopped > /var/lib/last'\n",
            0o644,
        );
        host.run(&["systemctl", "start", "last"]);
        host.power_off();
        assert!(!host.is_on());
        assert_eq!(std::fs::read_to_string(host.root().join("var/lib/last")).unwrap(), "stopped\n");
        assert!(host.try_exec(&["true"], SOON).is_none(), "nobody answers");
        host.power_off();
        host.boot();
        host.wait_running();
    });
}

#[test]
fn a_power_cut_ends_every_process_at_once_and_keeps_the_disk() {
    Lab::run(|lab| {
        let host = &lab.hosts(1)[0];
        // It would say so if it were stopped, and it writes without a pause.
        host.put(
            "/etc/systemd/system/writer.service",
            "[Service]\nExecStart=bash -c 'while :; do echo line >> /var/lib/lines; done'\n\
             ExecStop=sh -c 'echo stopped > /var/lib/stopped'\n",
            0o644,
        );
        host.run(&["systemctl", "start", "writer"]);
        let lines = host.root().join("var/lib/lines");
        until("lines are written", DEADLINE, || lines.exists().then_some(()));
        let boot = host.boot_id();
        let begun = Instant::now();
        host.power_cut();
        println!("power cut in {:?}", begun.elapsed());
        let written = lines.metadata().unwrap().len();
        assert!(!host.root().join("var/lib/stopped").exists(), "no unit was stopped in order");
        host.boot();
        host.wait_running();
        assert_eq!(lines.metadata().unwrap().len(), written, "no process of the former boot writes on");
        assert_ne!(host.boot_id(), boot);
        assert_eq!(host.run(&["systemctl", "is-active", "dbus"]), "active");
        assert_eq!(host.exec(&["systemctl", "is-active", "writer"]).status.code(), Some(3));
    });
}

#[test]
fn a_frozen_host_answers_nothing_until_it_is_thawed() {
    Lab::run(|lab| {
        let hosts = lab.hosts(2);
        hosts.iter().for_each(install_greeter);
        assert_eq!(greeting(&hosts[0], SOON).unwrap(), "h1");
        let boot = hosts[0].boot_id();
        hosts[0].freeze();
        assert!(greeting(&hosts[0], BRIEFLY).is_err(), "a service of it answers");
        assert!(hosts[0].try_exec(&["true"], BRIEFLY).is_none(), "a command in it is run");
        assert_eq!(greeting(&hosts[1], SOON).unwrap(), "h2", "another is not frozen");
        hosts[0].thaw();
        assert_eq!(greeting(&hosts[0], SOON).unwrap(), "h1");
        assert_eq!(hosts[0].boot_id(), boot);
        hosts[0].freeze();
        hosts[0].power_cut();
        hosts[0].boot();
        hosts[0].wait_running();
        assert_eq!(greeting(&hosts[0], SOON).unwrap(), "h1", "it boots as any other");
    });
}
