//! What a leader that is none any more still had in hand: an order that reaches an agent after the next leader's welcome, and facts
//! that were stored while nobody told it.

use crate::point::{Upgrade, entered, in_front_of, opened, settled};
use crate::{Point, VERSIONS, check, fleet};
use cutover_tests::fleet::Fleet;
use cutover_tests::until;
use cutover_vocabulary::Phase;
use cutover_vocabulary::phase::Border;
use cutover_vocabulary::status::State;
use rustix::process::Signal;
use std::time::Duration;

#[test]
fn an_order_of_an_old_leader_that_lay_in_a_socket_is_refused_when_it_arrives() {
    let Some(fleet) = fleet() else { return };
    let writer = fleet.writers(4);
    let upgrade = Upgrade { id: fleet.begin_to(VERSIONS[1]), to: VERSIONS[1] };
    upgrade.until(&fleet, "recovery points are ordered", |facts| entered(facts, Phase::Secure));
    let (leader, epoch) = fleet.coordinators.until_led(0);
    let link = |coordinator| fleet.breakable.link(coordinator, 2).unwrap();
    let all = 0..fleet.coordinators.all.len();
    all.clone().for_each(|coordinator| link(coordinator).keep_orders());
    let late = upgrade.until(&fleet, "the second agent is ordered something", |facts| {
        let mut open = facts.iter().filter_map(opened).filter(|order| !settled(facts, &order.id));
        let late = open.find(|order| order.agent.as_str() == "agent-2")?;
        in_front_of(facts, Border::MigrateAuthorised).then(|| late.id.clone())
    });
    until("the order is under way", Duration::from_secs(10), || link(leader).keeps_an_order().then_some(()));
    fleet.coordinators.all[leader].signal(Signal::STOP);
    let (now, next) = fleet.coordinators.until_led(epoch);
    // Welcomed under the new epoch, and the new leader's orders are under way to it as well.
    until("the next leader's order is under way", Duration::from_secs(20), || link(now).keeps_an_order().then_some(()));
    let log = || std::fs::read_to_string(fleet.host(2).dir.join("cutover-agent.err")).unwrap();
    let welcomed = format!("linked to the coordinator endpoint=http://{} epoch={next}", link(now).address);
    until("the agent is welcomed", Duration::from_secs(20), || log().contains(&welcomed).then_some(()));
    link(leader).deliver_orders();
    let refused = format!("order refused: sent under epoch {epoch}, but epoch {next} is known here");
    until("the agent refuses what the old leader had sent", Duration::from_secs(20), || {
        log().contains(&refused).then_some(())
    });
    assert!(!settled(&upgrade.facts(&fleet), &late), "a refusal settles nothing");
    all.for_each(|coordinator| link(coordinator).deliver_orders());
    fleet.coordinators.all[leader].signal(Signal::CONT);
    until("the old leader leads no more", Duration::from_secs(20), || {
        fleet.coordinators.all[leader].leads().is_none().then_some(())
    });
    fleet.until_state(&upgrade.id, State::Completed);
    check(&fleet, &upgrade, &writer.end());
}

#[test]
fn an_old_leader_that_is_stopped_before_it_hears_that_its_facts_are_stored_does_no_harm() {
    let Some(mut fleet) = fleet() else { return };
    let writer = fleet.writers(4);
    let upgrade = Upgrade { id: fleet.begin_to(VERSIONS[1]), to: VERSIONS[1] };
    Point::BeforeMigrateAuthorised.reach(&mut fleet, &upgrade);
    let (leader, epoch) = fleet.coordinators.until_led(0);
    let stored = |fleet: &mut Fleet| fleet.coordinators.etcd().ctl(0, &["get", "--prefix", "cutover/h/"]);
    let before = stored(&mut fleet);
    let proxies = &fleet.coordinators.all[leader].to_etcd;
    proxies.iter().for_each(|proxy| proxy.hold_answers());
    Point::BeforeMigrateAuthorised.let_go(&mut fleet, &upgrade);
    // The leader does not know it. When it continues it has the answer, with orders to give by it, and hears that its time is over.
    until("the leader's facts are stored", Duration::from_secs(10), || (stored(&mut fleet) != before).then_some(()));
    let one = &fleet.coordinators.all[leader];
    one.signal(Signal::STOP);
    one.to_etcd.iter().for_each(|proxy| proxy.release_answers());
    fleet.coordinators.until_led(epoch);
    Point::MigrateUnsettled.reach(&mut fleet, &upgrade);
    fleet.coordinators.all[leader].signal(Signal::CONT);
    until("the old leader leads no more", Duration::from_secs(20), || {
        fleet.coordinators.all[leader].leads().is_none().then_some(())
    });
    Point::MigrateUnsettled.let_go(&mut fleet, &upgrade);
    fleet.until_state(&upgrade.id, State::Completed);
    check(&fleet, &upgrade, &writer.end());
}
