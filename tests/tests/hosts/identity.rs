//! Agents that are not who they say they are.

use crate::site::{Plan, Site};
use cutover_test_hosts::{Host, Lab};
use cutover_tests::tier::Driven as _;
use cutover_tests::until;
use cutover_vocabulary::status::State;
use std::time::Duration;

/// What an agent logged.
fn said(host: &Host) -> String {
    host.run(&["journalctl", "--no-pager", "--output=cat", "-u", "cutover-agent"])
}

fn until_said(host: &Host, words: &str) {
    until(&format!("{} says {words:?}", host.name()), Duration::from_secs(60), || {
        said(host).contains(words).then_some(())
    });
}

#[test]
fn a_second_agent_with_the_name_and_certificate_of_another_is_refused_even_while_that_one_is_off() {
    Lab::run(|lab| {
        let site = Site::new(lab, Plan::default());
        let (fifth, copy) = (&site.hosts[4], lab.host("copy"));
        copy.boot();
        copy.wait_running();
        // As a host that was cloned: the same settings and the same key.
        site.install_agent(lab.folder(), &copy, fifth.name(), "ledger-h5");
        copy.run(&["systemctl", "start", "cutover-agent"]);
        until_said(&copy, "another agent is connected as h5");

        let writer = site.writer();
        let upgrade = site.begin();
        site.hold_in_the_middle(&upgrade);
        fifth.power_cut();
        until_said(&copy, "an upgrade that has not ended counts on it");
        fifth.boot();
        fifth.wait_running();
        site.migrations_go_on();
        site.until_state(&upgrade, State::Completed);
        site.check_end("1.4.6", writer);
    });
}

#[test]
fn an_agent_that_reports_for_another_hosts_instance_is_refused_and_shown() {
    Lab::run(|lab| {
        let site = Site::new(lab, Plan { hosts: Some(2), ..Plan::default() });
        site.planned();
        let (seat, second) = (&site.coordinators[0], &site.hosts[1]);
        site.install_agent(lab.folder(), second, "h2", "ledger-h1");
        second.run(&["systemctl", "restart", "cutover-agent"]);
        until_said(second, "instance ledger-h1 is registered with agent h1");
        let coordinator = format!("unix:{}", Site::SOCKET);
        let shown = seat.run(&["cutover", "--coordinator", &coordinator, "--json", "deployment", "show", "prod"]);
        let claims = shown.split_once("\"refused_claims\":").map(|(_, claims)| claims).unwrap_or_default();
        assert!(claims.contains("\"instance\":\"ledger-h1\"") && claims.contains("\"agent\":\"h2\""), "{shown}");
        let plan = site.voice.plan("prod", "1.4.6");
        assert!(plan.as_ref().is_err_and(|why| why.contains("ledger-h2")), "its own is without an agent: {plan:#?}");
    });
}
