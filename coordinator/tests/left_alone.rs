//! What is not led any more is seen by whoever looks; and what is not an agent's own makes nobody leave an upgrade alone.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests may panic")]

mod support;

use cutover_proto::{Code, Refused, v1 as pb};
use cutover_vocabulary::link::Permit;
use cutover_vocabulary::status::State;
use cutover_vocabulary::{DeploymentName, Digest, OrderId, Phase, Subject, UpgradeId};
use std::sync::{Arc, Mutex};
use support::host::{NEW, Seen, database};
use support::{Backend, Client, Entry, FakeAgent, Journal, Manners, Site, until};

fn agent(site: &Site, deployment: &'static str, name: &'static str, manners: Manners) -> FakeAgent {
    seen(site, name, Seen { deployment, instances: vec![name], ..Seen::default() }, manners)
}

fn seen(site: &Site, name: &'static str, seen: Seen, manners: Manners) -> FakeAgent {
    FakeAgent::named(&site.endpoint, seen, manners, name, &format!("inc-{name}"), Default::default())
}

fn ignores_drain() -> Manners {
    Manners { ignores: Some(Phase::Drain), ..Manners::default() }
}

async fn drain_of(agent: &FakeAgent) -> OrderId {
    until("a Drain order", || async {
        let journal = agent.journal.lock().unwrap();
        journal.orders.keys().find(|order| order.phase == Phase::Drain).cloned()
    })
    .await
}

/// The agent comes again and says that it has this order in hand. What it says is compared before it is told what may start.
async fn says(agent: &FakeAgent, order: OrderId) {
    until("a link", || async { (agent.journal.lock().unwrap().words > 0).then_some(()) }).await;
    let before = {
        let mut journal = agent.journal.lock().unwrap();
        let entry = Entry { content: Digest::of(b"it"), outcome: None, revoked: false, acknowledged: false };
        journal.orders.insert(order, entry);
        (journal.links, journal.words)
    };
    agent.break_link.lock().unwrap().cancel();
    until("another link", || async {
        let journal = agent.journal.lock().unwrap();
        (journal.links > before.0 && journal.words > before.1).then_some(())
    })
    .await;
}

async fn begin(client: &Client, deployment: &str) -> String {
    let plan = client.plan_of(deployment, &format!("plan-{deployment}")).await.unwrap();
    client.approve(&plan.digest, &format!("approve-{deployment}")).await.unwrap();
    client.start(&plan.digest, &format!("start-{deployment}")).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_in_hand_that_cannot_be_the_agents_own_leaves_the_upgrade_led() {
    let site = Site::memory();
    let coordinator = site.coordinator().await;
    let member = |name| {
        let seen = Seen { instances: vec!["a", "b"], storage: database(), ..Seen::default() };
        FakeAgent::named(&site.endpoint, seen, ignores_drain(), name, &format!("inc-{name}"), Default::default())
    };
    let (a, b) = (member("a"), member("b"));
    until("both", || async {
        let linked = |agent: &FakeAgent| agent.journal.lock().unwrap().words > 0;
        (linked(&a) && linked(&b)).then_some(())
    })
    .await;
    let upgrade = site.client().begin().await;
    let drain = drain_of(&a).await;
    drain_of(&b).await;
    let never_given = OrderId { attempt: 9, ..drain.clone() };

    let stranger = agent(&site, "test", "x", Manners::default());
    says(&stranger, never_given.clone()).await;
    let mut of_the_storage = never_given.clone();
    of_the_storage.step.subject = Subject::Storage;
    says(&stranger, of_the_storage.clone()).await;
    says(&b, never_given.clone()).await;
    for (agent, order) in [(&stranger, &never_given), (&stranger, &of_the_storage), (&b, &never_given)] {
        assert!(!agent.journal.lock().unwrap().orders[order].acknowledged, "{order}");
    }
    // Abort is answered by its loop, which is there.
    let back = pb::GoBackRequest {
        upgrade: upgrade.clone(),
        reason: "enough seen".to_owned(),
        request_id: "abort-1".to_owned(),
        operator: "ops".to_owned(),
        ..Default::default()
    };
    site.client().upgrades.abort(back).await.unwrap();
    site.client().status(&upgrade).await;
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_agent_says_of_a_deployment_that_it_has_no_part_in_keeps_no_host_down() {
    let site = Site::memory();
    let coordinator = site.coordinator().await;
    let (journal, prod): (Arc<Mutex<Journal>>, _) = (Arc::default(), DeploymentName::new("prod").unwrap());
    journal.lock().unwrap().newest.insert(prod, UpgradeId::new("prod-9").unwrap());
    let test = Seen { deployment: "test", instances: vec!["x"], ..Seen::default() };
    let stranger = FakeAgent::named(&site.endpoint, test, Manners::default(), "x", "inc-x", journal);
    until("what it says to be compared", || async { (stranger.journal.lock().unwrap().words > 0).then_some(()) }).await;
    // They have two releases on disk, so neither might start if an upgrade of theirs were missing here.
    let older = seen(&site, "a", Seen { storage: database(), ..Seen::default() }, Manners::default());
    let newer = Seen { instances: vec!["b"], ..Seen::three_at(NEW, 6) };
    let newer = seen(&site, "b", newer, Manners::default());
    for agent in [&older, &newer] {
        until("it may start", || async {
            agent.journal.lock().unwrap().permits.values().any(|permit| *permit == Permit::Start).then_some(())
        })
        .await;
    }
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_watches_an_upgrade_that_is_left_alone_is_told_that_it_is() {
    let site = Site::memory();
    let coordinator = site.coordinator().await;
    let a = agent(&site, "prod", "a", ignores_drain());
    let mut client = site.client();
    let upgrade = client.begin().await;
    let drain = drain_of(&a).await;
    let asked = pb::WatchRequest { upgrade: upgrade.clone(), after_seq: 0 };
    let mut events = client.upgrades.watch(asked).await.unwrap().into_inner();
    says(&a, OrderId { attempt: 9, ..drain }).await;
    let ended = loop {
        match events.message().await {
            Ok(event) => assert!(event.is_some(), "it ended without a word"),
            Err(status) => break Refused::of(&status).unwrap(),
        }
    };
    assert_eq!(ended.code, Code::Quarantined, "{ended}");
    assert!(ended.message.contains(&upgrade) && ended.message.contains("host-a"), "{ended}");
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_begins_with_what_has_not_ended_and_what_is_left_alone_and_cuts_none_of_it() {
    let site = Site::memory();
    let first = site.coordinator().await;
    let a = agent(&site, "prod", "a", Manners::default());
    let unread = site.client().begin().await;
    site.client().reaches(&unread, State::Completed).await;
    drop(a);
    first.stop().await;
    let Backend::Memory(store) = &site.backend else { panic!("a store in memory") };
    store.plant(&UpgradeId::new(unread.clone()).unwrap(), 1, b"{}");

    let second = site.coordinator().await;
    let x = agent(&site, "test", "x", ignores_drain());
    let unfinished = begin(&site.client(), "test").await;
    let mut unheard = drain_of(&x).await;
    let _y = agent(&site, "billing", "y", Manners::default());
    let newest = begin(&site.client(), "billing").await;
    site.client().reaches(&newest, State::Completed).await;
    unheard.upgrade = UpgradeId::new("test-77").unwrap();
    says(&x, unheard).await;

    let list = |deployment: Option<&str>, limit: u32| {
        let asked = pb::ListUpgradesRequest { deployment: deployment.map(str::to_owned), limit };
        let mut upgrades = site.client().upgrades;
        async move { upgrades.list(asked).await.unwrap().into_inner().upgrades }
    };
    let ids = |upgrades: &[pb::UpgradeSummary]| upgrades.iter().map(|it| it.id.clone()).collect::<Vec<_>>();
    let (unfinished, unread, newest) = (unfinished.as_str(), unread.as_str(), newest.as_str());
    assert_eq!(ids(&list(None, 0).await), [unfinished, "test-77", unread, newest]);
    let cut = list(None, 1).await;
    assert_eq!(ids(&cut), [unfinished, "test-77", unread]);
    for upgrade in &cut {
        assert_eq!(upgrade.quarantined(), upgrade.id != unfinished, "{upgrade:?}");
        assert_eq!(upgrade.waiting_for.contains("quarantined, not led"), upgrade.quarantined(), "{upgrade:?}");
    }
    let prod = list(Some("prod"), 1).await;
    assert_eq!((ids(&prod), prod[0].deployment.as_str()), (vec![unread.to_owned()], "prod"));
    assert_eq!(ids(&list(Some("test"), 1).await), [unfinished, "test-77"]);
    assert_eq!(ids(&list(Some("billing"), 1).await), [newest]);
    second.stop().await;
}
