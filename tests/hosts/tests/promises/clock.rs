//! A shifted clock.

use cutover_test_hosts::{DEADLINE, Host, Lab, until};
use std::time::{SystemTime, UNIX_EPOCH};

/// Tells the time, again and again.
const TELLER: &str = "[Service]\n\
    ExecStart=bash -c 'while :; do date +%%s > /run/told.new; mv /run/told.new /run/told; sleep 0.05; done'\n";

/// How far the unit's clock is from this one, in whole minutes.
fn told(host: &Host) -> i64 {
    let told: i64 = host.read("/run/told").trim().parse().unwrap();
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap();
    (told - now + 30).div_euclid(60)
}

#[test]
fn a_shifted_clock_is_seen_by_its_unit_alone_and_jumps_while_it_runs() {
    Lab::run(|lab| {
        let host = &lab.hosts(1)[0];
        host.put("/etc/systemd/system/teller.service", TELLER, 0o644);
        host.clock_shift("teller.service", 7200);
        host.run(&["systemctl", "start", "teller"]);
        until("the unit is two hours ahead", DEADLINE, || {
            (host.exec(&["test", "-e", "/run/told"]).status.success() && told(host) == 120).then_some(())
        });
        host.clock_shift("teller.service", -600);
        until("it jumped behind", DEADLINE, || (told(host) == -10).then_some(()));
        assert_eq!(host.run(&["systemctl", "show", "-P", "NRestarts", "teller"]), "0");
        let elsewhere: u64 = host.run(&["date", "+%s"]).parse().unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        assert!(now.abs_diff(elsewhere) <= 5, "the host's own clock is {elsewhere}, this one {now}");
        host.reboot();
        host.wait_running();
        host.run(&["systemctl", "start", "teller"]);
        until("it is behind after a reboot too", DEADLINE, || {
            (host.exec(&["test", "-e", "/run/told"]).status.success() && told(host) == -10).then_some(())
        });
    });
}
