//! Disks: full ones, and what a host changes of the machine's programs.

use cutover_test_hosts::Lab;
use std::process::Command;

#[test]
fn a_full_disk_says_no_space_until_it_is_freed_and_keeps_what_was_there() {
    Lab::run(|lab| {
        let host = lab.host("a");
        host.disk("/var/lib/ledger", 4 << 20);
        host.boot();
        host.wait_running();
        host.run(&["sh", "-c", "echo kept > /var/lib/ledger/before"]);
        host.disk_full("/var/lib/ledger");
        let write = ["cp", "/etc/hostname", "/var/lib/ledger/during"];
        let refused = host.exec(&write);
        assert!(!refused.status.success());
        assert!(String::from_utf8_lossy(&refused.stderr).contains("No space left on device"));
        host.run(&["sh", "-c", "echo fine > /var/lib/elsewhere"]);
        host.reboot();
        host.wait_running();
        assert!(!host.exec(&write).status.success(), "it is full over a reboot");
        host.disk_freed("/var/lib/ledger");
        host.run(&write);
        assert_eq!(host.read("/var/lib/ledger/before"), "kept\n");
    });
}

#[test]
fn what_a_host_changes_of_usr_is_its_own_and_survives_a_power_cut() {
    Lab::run(|lab| {
        let hosts = lab.hosts(2);
        let on_machine = std::fs::read("/usr/bin/tac").unwrap();
        hosts[0].put("/usr/bin/numary", "#!/bin/sh\necho 1.4.6\n", 0o755);
        hosts[0].put("/usr/bin/tac", "#!/bin/sh\necho changed\n", 0o755);
        assert_eq!(hosts[0].run(&["numary"]), "1.4.6");
        assert!(!std::path::Path::new("/usr/bin/numary").exists(), "this machine was changed");
        assert!(std::fs::read("/usr/bin/tac").unwrap() == on_machine, "this machine was changed");
        assert!(!hosts[1].exec(&["test", "-e", "/usr/bin/numary"]).status.success(), "another host was changed");
        hosts[0].power_cut();
        hosts[0].boot();
        hosts[0].wait_running();
        assert_eq!(hosts[0].run(&["/usr/bin/numary"]), "1.4.6");
        assert_eq!(hosts[0].run(&["tac"]), "changed");
    });
}

#[test]
fn what_a_lab_installs_is_on_every_host_and_not_on_this_machine() {
    Lab::run(|lab| {
        let program = lab.folder().join("numary");
        std::fs::write(&program, "#!/bin/sh\necho 1.3.1\n").unwrap();
        std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        lab.install(&program, "/usr/bin/numary");
        let hosts = lab.hosts(2);
        hosts[0].put("/usr/bin/numary", "#!/bin/sh\necho 1.4.6\n", 0o755);
        assert_eq!((hosts[0].run(&["numary"]), hosts[1].run(&["numary"])), ("1.4.6".to_owned(), "1.3.1".to_owned()));
        assert!(!std::path::Path::new("/usr/bin/numary").exists(), "this machine was changed");
    });
}

#[test]
fn a_host_cannot_change_the_settings_of_this_machine() {
    Lab::run(|lab| {
        let host = &lab.hosts(1)[0];
        let write = ["sh", "-c", "cat /proc/sys/vm/swappiness > /proc/sys/vm/swappiness"];
        assert!(String::from_utf8_lossy(&host.exec(&write).stderr).contains("Read-only file system"));
        host.run(&["sh", "-c", "echo own > /etc/motd && echo own > /opt/own && echo own > /root/own"]);
        assert!(!std::path::Path::new("/opt/own").exists() && !std::path::Path::new("/root/own").exists());
    });
}

#[test]
fn a_package_is_installed_on_one_host_alone() {
    Lab::run(|lab| {
        let hosts = lab.hosts(2);
        let tree = lab.folder().join("package");
        std::fs::create_dir_all(tree.join("DEBIAN")).unwrap();
        std::fs::create_dir_all(tree.join("usr/lib/systemd/system")).unwrap();
        let control =
            "Package: greeting\nVersion: 1.0\nArchitecture: all\nMaintainer: nobody\nDescription: says hello\n";
        std::fs::write(tree.join("DEBIAN/control"), control).unwrap();
        let unit = "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=echo hello\n";
        std::fs::write(tree.join("usr/lib/systemd/system/greeting.service"), unit).unwrap();
        let file = lab.folder().join("greeting.deb");
        let built =
            Command::new("dpkg-deb").args(["--root-owner-group", "--build"]).args([&tree, &file]).output().unwrap();
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        hosts[0].copy_in(&file, "/root/greeting.deb");
        hosts[0].run(&["dpkg", "--install", "/root/greeting.deb"]);
        hosts[0].run(&["systemctl", "daemon-reload"]);
        hosts[0].run(&["systemctl", "start", "greeting"]);
        assert_eq!(hosts[0].run(&["dpkg-query", "--show", "greeting"]), "greeting\t1.0");
        assert!(!hosts[1].exec(&["dpkg-query", "--show", "greeting"]).status.success(), "another host has it too");
        assert!(!Command::new("dpkg-query").args(["--show", "greeting"]).output().unwrap().status.success());
    });
}
