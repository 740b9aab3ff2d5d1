//! A host that was off while its deployment was upgraded.

use crate::site::{Plan, Site, UNIT, serves};
use cutover_test_hosts::{Host, Lab};
use cutover_tests::checks::{check_facts, until_phase};
use cutover_tests::clients::version;
use cutover_tests::tier::Driven as _;
use cutover_tests::until;
use cutover_vocabulary::Phase;
use cutover_vocabulary::status::State;
use std::time::Duration;

fn boot(host: &Host) {
    host.boot();
    host.wait_up();
}

#[test]
fn a_host_that_was_off_during_an_upgrade_comes_back_fenced_and_a_rejoin_brings_it_to_what_the_others_run() {
    Lab::run(|lab| {
        let limits = "drain_seconds = 15\nagent_lost_seconds = 10\nlanes = 2\nbake_seconds = 1";
        let site = Site::new(lab, Plan { hosts: Some(3), limits, ..Plan::default() });
        let away = &site.hosts[2];
        let writer = site.writer();
        let upgrade = site.begin();
        assert!(until_phase(&site.voice, &upgrade, Phase::Rehearse));
        // Nothing of ours is there to tell it anything when it comes back.
        away.run(&["systemctl", "disable", "--quiet", "cutover-agent"]);
        away.power_cut();
        until("its silence holds the upgrade", Duration::from_secs(60), || {
            (site.voice.status(&upgrade).ok()?.state == State::Held).then_some(())
        });
        let evidence = "--evidence=it is off, and no session is left";
        let said = site.cutover(&["member", "excuse", "prod", "ledger-h3", "--reason=it was off", evidence]);
        site.until_state(&upgrade, State::Completed);
        check_facts(&site.voice.facts(&upgrade).unwrap());

        boot(away);
        until("its start is refused, with nobody to ask", Duration::from_secs(60), || {
            let said = away.run(&["journalctl", "--no-pager", "--output=cat", "--boot", "-u", UNIT]);
            said.contains("no coordinator has said since this host booted").then_some(())
        });
        assert!(!away.exec(&["systemctl", "start", UNIT]).status.success(), "a person's start fails visibly");
        assert_eq!(version(serves(away)), None, "{said}\n{}", site.logs());
        away.run(&["systemctl", "enable", "--quiet", "--now", "cutover-agent"]);
        let fleet = || site.cutover(&["fleet"]);
        until("it is fenced, and the fleet says why", Duration::from_secs(60), || {
            let fleet = fleet();
            let why = "fenced by the coordinator: prod is to run 1.4.6 since upgrade";
            (fleet.contains(why) && fleet.contains("cutover rejoin ledger-h3")).then_some(())
        });
        assert_eq!(version(serves(away)), None);

        // In the same boot, of which a refused start is noted: only the order that opens it may make up for that.
        let said = site.cutover(&["rejoin", "ledger-h3", "--yes"]);
        until("it serves with the others", Duration::from_secs(60), || {
            (version(serves(away)).as_deref() == Some("1.4.6")).then_some(())
        });
        assert!(said.contains("completed") && !said.contains("waits for a person"), "{said}");
        // By its next report.
        until("the fleet says no more of it", Duration::from_secs(30), || {
            let fleet = fleet();
            (!fleet.contains("fenced") && !fleet.contains("DRIFT")).then_some(())
        });
        site.check_end("1.4.6", writer);
    });
}
