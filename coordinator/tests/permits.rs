//! Which instances may be started, by what their coordinator knows of the deployment.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests may panic")]

mod support;

use cutover_coordinator::faults::Point;
use cutover_proto::v1 as pb;
use cutover_vocabulary::link::Permit;
use cutover_vocabulary::status::State;
use cutover_vocabulary::{Elapsed, InstanceName, Phase};
use std::sync::Arc;
use std::time::Duration;
use support::host::{NEW, Seen, database};
use support::{FakeAgent, Manners, Site, StopAt, until};

fn agent(site: &Site, name: &'static str, seen: Seen, manners: Manners) -> FakeAgent {
    let seen = Seen { instances: vec![name], storage: database(), ..seen };
    FakeAgent::named(&site.endpoint, seen, manners, name, &format!("inc-{name}"), Default::default())
}

/// What an agent was told of its instance, once it was told.
async fn permit(agent: &FakeAgent) -> Permit {
    until("a permit", || async { agent.journal.lock().unwrap().permits.values().next().cloned() }).await
}

async fn until_stays(agent: &FakeAgent, words: &str) {
    let stays = |permit: &Permit| matches!(permit, Permit::Stay { why } if why.contains(words));
    until(words, || async { agent.journal.lock().unwrap().permits.values().any(stays).then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_was_off_is_told_to_stay_down_and_the_others_may_start_also_by_the_next_leader() {
    let site = Site::memory();
    let coordinator = site.coordinator().await;
    let old = agent(&site, "a", Seen::default(), Manners::default());
    assert_eq!(permit(&old).await, Permit::Start, "nothing was ever upgraded");
    let upgrade = site.client().begin().await;
    site.client().reaches(&upgrade, State::Completed).await;
    drop(old);
    let upgraded = agent(&site, "a", Seen::three_at(NEW, 6), Manners::default());
    let away = agent(&site, "c", Seen { away: vec!["c"], ..Seen::three_at(NEW, 6) }, Manners::default());
    until_stays(&away, "this would start 1.3.1; bring it there with `cutover rejoin c`").await;
    assert_eq!(permit(&upgraded).await, Permit::Start);

    away.journal.lock().unwrap().permits.clear();
    coordinator.kill().await;
    let _next = site.coordinator().await;
    until_stays(&away, "prod is to run 1.4.6").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_an_upgrade_that_went_back_each_member_may_start_what_it_had() {
    let site = Site::memory();
    let _coordinator = site.coordinator().await;
    let fails = Manners { fails: Some(Phase::Stage), ..Manners::default() };
    let newest = agent(&site, "a", Seen::default(), fails);
    let older = agent(&site, "b", Seen { from: (1, 3, 0), ..Seen::default() }, Manners::default());
    permit(&newest).await;
    permit(&older).await;
    let upgrade = site.client().begin().await;
    let status = site.client().reaches(&upgrade, State::Aborted).await;
    assert_eq!(status.instances.len(), 2);
    // Anew, for what was said before is not said again.
    drop((newest, older));
    let again = [
        agent(&site, "a", Seen::default(), Manners::default()),
        agent(&site, "b", Seen { from: (1, 3, 0), ..Seen::default() }, Manners::default()),
    ];
    for agent in &again {
        assert_eq!(permit(agent).await, Permit::Start);
    }
    let other = agent(&site, "c", Seen { from: (1, 3, 0), ..Seen::default() }, Manners::default());
    until_stays(&other, "prod is to run 1.3.1").await;
}

/// Who is let in gets the target first; its own order opens it. What stood by the coordinator's word must not be lifted before.
#[tokio::test(flavor = "multi_thread")]
async fn while_an_upgrade_is_under_way_its_members_may_start_and_nobody_else_not_even_who_is_let_in() {
    let mut site = Site::memory();
    site.limits.agent_lost = Elapsed::from_secs(600);
    let _coordinator = site.coordinator().await;
    let waits = Manners { ignores: Some(Phase::Rehearse), ..Manners::default() };
    let looks_never = Manners { ignores: Some(Phase::Preflight), ..Manners::default() };
    let member = agent(&site, "a", Seen::default(), looks_never);
    permit(&member).await;
    let upgrade = site.client().begin().await;
    let newcomer = agent(&site, "z", Seen::default(), waits);
    until_stays(&newcomer, &format!("upgrade {upgrade} of prod is under way, and z takes no part in it")).await;
    assert_eq!(permit(&member).await, Permit::Start);
    let held = site.client().reaches(&upgrade, State::Held).await.holds[0].id;
    let asked = pb::DecideRequest {
        upgrade: upgrade.clone(),
        hold: held.0,
        choice: pb::Choice::Accept.into(),
        reason: "it belongs to it".to_owned(),
        request_id: "accept-1".to_owned(),
        operator: "ops".to_owned(),
    };
    // The first look is answered now, and no order is out any more.
    drop(member);
    let member = agent(&site, "a", Seen::default(), waits);
    until("it is accepted", || async { site.client().upgrades.decide(asked.clone()).await.ok() }).await;
    let z = InstanceName::new("z").unwrap();
    until("it is a member", || async {
        site.client().status(&upgrade).await.instances.iter().any(|member| member.name == z).then_some(())
    })
    .await;
    drop((member, newcomer));
    // Each new link is told at its beginning: the newcomer's first, and nothing until the member's was.
    let newcomer = agent(&site, "z", Seen::default(), waits);
    until("its link", || async { (newcomer.journal.lock().unwrap().links > 0).then_some(()) }).await;
    let member = agent(&site, "a", Seen::default(), waits);
    assert_eq!(permit(&member).await, Permit::Start);
    assert!(newcomer.journal.lock().unwrap().permits.is_empty(), "{:?}", newcomer.journal.lock().unwrap().permits);
}

/// An order's fence holds it down. Where that is gone its host is not what it was, and only an order opens it.
#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_was_proved_down_is_not_told_that_it_may_start_though_it_has_no_fence_any_more() {
    let site = Site::memory();
    let _coordinator = site.coordinator().await;
    let member = agent(&site, "a", Seen::default(), Manners { ignores: Some(Phase::Secure), ..Manners::default() });
    permit(&member).await;
    site.client().begin().await;
    until("it is proved down", || async {
        let journal = member.journal.lock().unwrap();
        journal.orders.keys().any(|order| order.phase == Phase::Secure).then_some(())
    })
    .await;
    drop(member);
    let restored = agent(&site, "a", Seen::default(), Manners::default());
    until("a word", || async { (restored.journal.lock().unwrap().words > 0).then_some(()) }).await;
    assert!(restored.journal.lock().unwrap().permits.is_empty(), "{:?}", restored.journal.lock().unwrap().permits);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_that_was_announced_and_never_began_changes_nothing_of_who_may_start() {
    let site = Site::memory();
    let second_start = StopAt::new(2, |point| matches!(point, Point::BeforeAppend { after_seq: 0, .. }));
    let coordinator = site.coordinator_at("c-1", &site.endpoint, second_start.clone()).await;
    let old = agent(&site, "a", Seen::default(), Manners::default());
    permit(&old).await;
    let upgrade = site.client().begin().await;
    site.client().reaches(&upgrade, State::Completed).await;
    let client = site.client();
    let starting = tokio::spawn(async move { client.begin_again().await });
    tokio::time::timeout(Duration::from_secs(20), second_start.stopped.notified()).await.unwrap();
    coordinator.kill().await;
    starting.abort();
    let _next = site.coordinator_at("c-2", &site.endpoint, Arc::new(cutover_coordinator::faults::NoFaults)).await;
    let away = agent(&site, "c", Seen { away: vec!["c"], ..Seen::three_at(NEW, 6) }, Manners::default());
    until_stays(&away, "prod is to run 1.4.6").await;
}

/// An agent that is heard later may have in hand what this store does not know: it is restored, or another one.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_leader_lets_nobody_start_before_it_has_heard_every_agent() {
    let mut site = Site::memory();
    site.limits.agent_lost = Elapsed::from_secs(600);
    let coordinator = site.coordinator().await;
    let both = [
        agent(&site, "a", Seen::default(), Manners::default()),
        agent(&site, "b", Seen::default(), Manners::default()),
    ];
    for agent in &both {
        permit(agent).await;
    }
    let upgrade = site.client().begin().await;
    assert_eq!(site.client().reaches(&upgrade, State::Completed).await.instances.len(), 2);
    drop(both);
    coordinator.kill().await;
    let _next = site.coordinator().await;
    let first = agent(&site, "a", Seen::three_at(NEW, 6), Manners::default());
    until("a word", || async { (first.journal.lock().unwrap().words > 0).then_some(()) }).await;
    assert!(first.journal.lock().unwrap().permits.is_empty(), "{:?}", first.journal.lock().unwrap().permits);
    let second = agent(&site, "b", Seen::three_at(NEW, 6), Manners::default());
    assert_eq!(permit(&second).await, Permit::Start);
    assert_eq!(permit(&first).await, Permit::Start);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_takeover_nobody_may_start_before_all_members_have_the_same_on_disk() {
    let site = Site::memory();
    let _coordinator = site.coordinator().await;
    let stuck = Manners { ignores: Some(Phase::Drain), ..Manners::default() };
    let [a, b] = ["a", "b"].map(|name| agent(&site, name, Seen::default(), stuck));
    permit(&a).await;
    permit(&b).await;
    let mut client = site.client();
    let upgrade = client.begin().await;
    until("a drain in hand", || async {
        let journal = a.journal.lock().unwrap();
        journal.orders.keys().any(|order| order.phase == Phase::Drain).then_some(())
    })
    .await;
    a.take_over(&upgrade, "by hand");
    client.reaches(&upgrade, State::Held).await;
    let close = pb::SteerRequest {
        upgrade: upgrade.clone(),
        reason: "brought to 1.4.6 by hand".to_owned(),
        request_id: "close-1".to_owned(),
        operator: "ops".to_owned(),
    };
    client.upgrades.close(close).await.unwrap();
    client.reaches(&upgrade, State::TakenOver).await;
    drop(a);
    // The other one was off, and its host has still what was.
    let a = agent(&site, "a", Seen::three_at(NEW, 6), Manners::default());
    until("a word", || async { (a.journal.lock().unwrap().words > 0).then_some(()) }).await;
    assert!(a.journal.lock().unwrap().permits.is_empty(), "{:?}", a.journal.lock().unwrap().permits);
    drop(b);
    let b = agent(&site, "b", Seen::three_at(NEW, 6), Manners::default());
    assert_eq!(permit(&b).await, Permit::Start);
    assert_eq!(permit(&a).await, Permit::Start);
}
