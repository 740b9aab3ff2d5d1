//! What happens once, in one place.

use crate::site::{Plan, Site, UNIT, serves};
use cutover_core::upgrade::{Way, forward};
use cutover_test_hosts::{Cable, Host, Lab};
use cutover_tests::checks::{check_facts, check_migrations, until_phase};
use cutover_tests::clients::version;
use cutover_tests::tier::Driven as _;
use cutover_tests::until;
use cutover_vocabulary::Phase;
use cutover_vocabulary::fact::{Fact, Recorded};
use cutover_vocabulary::hold::{Choice, HoldReason};
use cutover_vocabulary::phase::Border;
use cutover_vocabulary::status::State;
use std::collections::BTreeSet;
use std::time::Duration;

/// What must hold of every upgrade's facts.
fn checked(site: &Site, upgrade: &str) -> Vec<Recorded> {
    let facts = site.voice.facts(upgrade).unwrap();
    check_facts(&facts);
    check_migrations(&facts);
    facts
}

fn crossed(facts: &[Recorded], border: Border) -> bool {
    facts.iter().any(|recorded| matches!(recorded.fact, Fact::BorderCrossed { border: of } if of == border))
}

/// Without a word between both.
fn partition(one: &Host, other: &Host) {
    one.drop_from(other.address());
    other.drop_from(one.address());
}

#[test]
fn a_host_that_is_cut_off_with_its_instance_running_does_not_pass_as_drained() {
    Lab::run(|lab| {
        // So long that those who are there are not silent for as long, on a busy machine.
        let limits = "drain_seconds = 15\nagent_lost_seconds = 10\nlanes = 2";
        let site = Site::new(lab, Plan { limits, ..Plan::default() });
        let writer = site.writer();
        let (seat, third) = (&site.coordinators[0], &site.hosts[2]);
        let upgrade = site.begin();
        assert!(until_phase(&site.voice, &upgrade, Phase::Rehearse));
        partition(seat, third);
        // What is held for its silence before the drain goes on without it until the drain asks it.
        let held = until("the drain waits for it", Duration::from_secs(120), || {
            let status = site.voice.status(&upgrade).ok()?;
            let facts = site.voice.facts(&upgrade).ok()?;
            let asked = |recorded: &Recorded| match &recorded.fact {
                Fact::AttemptOpened { order } => order.id.phase == Phase::Drain && order.agent.as_str() == "h3",
                _ => false,
            };
            if status.state == State::Held && !facts.iter().any(asked) {
                for hold in &status.holds {
                    let _ = site.voice.decide(&upgrade, hold.id.0, Choice::Wait);
                }
            }
            (status.state == State::Held && facts.iter().any(asked)).then_some(status)
        });
        let lost = |hold: &HoldReason| matches!(hold, HoldReason::AgentLost { agent, .. } if agent.as_str() == "h3");
        assert!(held.holds.iter().all(|hold| lost(&hold.reason)), "{:#?}", held.holds);
        assert_eq!(version(serves(third)).as_deref(), Some("1.3.1"), "it serves, whoever can hear of it");
        assert!(!crossed(&checked(&site, &upgrade), Border::MigrateAuthorised));
        seat.heal();
        third.heal();
        // What was held for silence goes on by itself, or by a person's word.
        let went_on = |status: &cutover_vocabulary::status::Status| status.holds.is_empty();
        until("it goes on", Duration::from_secs(120), || {
            let status = site.voice.status(&upgrade).ok()?;
            for hold in &status.holds {
                let _ = site.voice.decide(&upgrade, hold.id.0, Choice::Retry);
            }
            went_on(&status).then_some(())
        });
        site.until_state(&upgrade, State::Completed);
        checked(&site, &upgrade);
        site.check_end("1.4.6", writer);
    });
}

#[test]
fn nobody_and_no_reboot_starts_the_former_version_while_the_storage_is_migrated() {
    Lab::run(|lab| {
        let site = Site::new(lab, Plan::default());
        let writer = site.writer();
        let upgrade = site.begin();
        site.hold_in_the_middle(&upgrade);
        let other = &site.hosts[3];
        assert!(!other.exec(&["systemctl", "start", UNIT]).status.success(), "a person's start fails visibly");
        other.power_cut();
        other.boot();
        other.wait_running();
        assert!(!other.exec(&["systemctl", "is-active", "--quiet", UNIT]).status.success(), "nor does a boot");
        assert!(!other.exec(&["systemctl", "start", UNIT]).status.success());
        for host in &site.hosts {
            assert_eq!(version(serves(host)), None, "{}", host.name());
        }
        site.migrations_go_on();
        site.until_state(&upgrade, State::Completed);
        checked(&site, &upgrade);
        site.check_end("1.4.6", writer);
    });
}

#[test]
fn a_recovery_folder_that_is_full_leads_back_before_anything_is_migrated() {
    Lab::run(|lab| {
        let site = Site::new(lab, Plan { recovery: Some(64 << 20), ..Plan::default() });
        let writer = site.writer();
        let upgrade = site.begin();
        assert!(until_phase(&site.voice, &upgrade, Phase::Rehearse));
        site.hosts[0].disk_full(Site::RECOVERY);
        let back = site.until_state(&upgrade, State::Aborted);
        let why = back.turned_back.unwrap_or_default();
        assert!(why.contains("no space left to write /srv/recovery/"), "{why}");
        assert!(!crossed(&checked(&site, &upgrade), Border::MigrateAuthorised));
        site.check_end("1.3.1", writer);

        site.hosts[0].disk_freed(Site::RECOVERY);
        let writer = site.writer();
        let again = site.begin();
        site.until_state(&again, State::Completed);
        checked(&site, &again);
        site.check_end("1.4.6", writer);
    });
}

#[test]
fn clocks_that_jump_an_hour_forth_and_back_change_nothing() {
    Lab::run(|lab| {
        let site = Site::new(lab, Plan::default());
        let (seat, runner) = (&site.coordinators[0], &site.hosts[0]);
        let shift = |seconds| {
            seat.clock_shift("cutover-coordinator.service", seconds);
            runner.clock_shift("cutover-agent.service", -seconds);
        };
        shift(0);
        seat.run(&["systemctl", "restart", "cutover-coordinator"]);
        runner.run(&["systemctl", "restart", "cutover-agent"]);
        let writer = site.writer();
        let upgrade = site.begin();
        assert!(until_phase(&site.voice, &upgrade, Phase::Rehearse));
        shift(3_600);
        assert!(until_phase(&site.voice, &upgrade, Phase::Migrate));
        shift(-3_600);
        site.until_state(&upgrade, State::Completed);
        let facts = checked(&site, &upgrade);
        let (first, last) = (facts[0].at.as_millis(), facts[facts.len() - 1].at.as_millis());
        assert!(last < first, "the clock was shifted for the coordinator");
        site.check_end("1.4.6", writer);
    });
}

#[test]
fn agents_that_are_killed_at_every_order_they_are_given_do_nothing_twice() {
    Lab::run(|lab| {
        let site = Site::new(lab, Plan { hosts: Some(2), ..Plan::default() });
        let writer = site.writer();
        let upgrade = site.begin();
        let (mut seen, mut killed) = (0, BTreeSet::new());
        let status = until("the upgrade ends", Duration::from_secs(400), || {
            // First, or an order of the last moment is not seen.
            let status = site.voice.status(&upgrade).ok()?;
            let news = site.voice.facts_after(&upgrade, seen).ok()?;
            seen = news.last().map_or(seen, |recorded| recorded.seq);
            for recorded in &news {
                let Fact::AttemptOpened { order } = &recorded.fact else { continue };
                let host = site.hosts.iter().find(|host| host.name() == order.agent.as_str()).unwrap();
                let kill = ["systemctl", "kill", "--signal=KILL", "--kill-whom=main", "cutover-agent"];
                // Of several orders at once each meets an agent that was started anew.
                until("its agent is killed", Duration::from_secs(20), || {
                    host.exec(&kill).status.success().then_some(())
                });
                killed.insert(order.id.phase);
            }
            (status.state.ended() || status.state == State::Held).then_some(status)
        });
        assert_eq!(status.state, State::Completed, "{:#?}\n{}", status.holds, site.logs());
        let of_the_way: BTreeSet<Phase> = forward(Way::Downtime).iter().map(|stage| stage.phase).collect();
        assert_eq!(killed, of_the_way, "at least once in every phase");
        checked(&site, &upgrade);
        site.check_end("1.4.6", writer);
    });
}

#[test]
fn the_coordinators_host_may_be_without_a_network_for_longer_than_its_links_live() {
    Lab::run(|lab| {
        let limits = "drain_seconds = 15\nagent_lost_seconds = 120\nlanes = 2";
        let site = Site::new(lab, Plan { hosts: Some(2), limits, ..Plan::default() });
        let writer = site.writer();
        let upgrade = site.begin();
        site.hold_in_the_middle(&upgrade);
        site.coordinators_cable(Cable::Out);
        until("no agent is linked", Duration::from_secs(90), || {
            let fleet = site.cutover(&["fleet"]);
            (fleet.matches("NOT CONNECTED").count() == site.hosts.len()).then_some(())
        });
        // What was begun ends meanwhile.
        site.migrations_go_on();
        site.coordinators_cable(Cable::In);
        site.until_state(&upgrade, State::Completed);
        checked(&site, &upgrade);
        site.check_end("1.4.6", writer);
    });
}
