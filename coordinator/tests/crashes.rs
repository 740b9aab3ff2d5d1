//! Coordinators that die, are deposed, or lose answers: the upgrade ends the same.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests may panic")]

mod support;

use cutover_coordinator::Want;
use cutover_coordinator::faults::{Faults, NoFaults, Point};
use cutover_proto::transport::{Endpoint, connect_lazy};
use cutover_proto::v1::fleet_client::FleetClient;
use cutover_proto::{Code, Refused, v1 as pb};
use cutover_store::memory::AppendFault;
use cutover_store::{MemoryStore, Store as _, Stored};
use cutover_vocabulary::status::State;
use cutover_vocabulary::{Digest, OrderId, UpgradeId};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use support::host::Seen;
use support::{Backend, Coordinator, FakeAgent, Manners, Site, StopAt, until};

fn appends(point: &Point) -> bool {
    matches!(point, Point::AfterAppend { .. })
}
fn all(_: &Point) -> bool {
    true
}

/// Drives one upgrade while its coordinator is killed at the n-th point and another one takes over.
async fn killed_at(site: Site, nth: usize, of: fn(&Point) -> bool) -> (BTreeMap<OrderId, Digest>, usize) {
    let faults = StopAt::new(nth, of);
    let first = site.coordinator_at("c-1", &site.endpoint, faults.clone()).await;
    let agent = FakeAgent::start(&site.endpoint, Seen::default(), Manners::default());
    let client = site.client();
    let driving = tokio::spawn(async move {
        let upgrade = client.begin().await;
        client.reaches(&upgrade, State::Completed).await;
        upgrade
    });
    let mut running: Option<Coordinator> = Some(first);
    let mut driving = std::pin::pin!(driving);
    let upgrade = tokio::select! {
        upgrade = &mut driving => upgrade,
        () = faults.stopped.notified() => {
            running.take().unwrap().kill().await;
            running = Some(site.coordinator_at("c-2", &site.endpoint, Arc::new(NoFaults)).await);
            driving.await
        }
    }
    .unwrap_or_else(|error| panic!("at point {nth} ({:?}): {error}", faults.points.lock().unwrap().last()));
    running.unwrap().stop().await;
    let given: BTreeMap<_, _> = {
        let journal = agent.journal.lock().unwrap();
        assert_eq!(journal.violations, Vec::<String>::new(), "at point {nth}");
        journal.orders.iter().map(|(id, entry)| (id.clone(), entry.content)).collect()
    };
    let stored = site.orders(&upgrade).await;
    assert_eq!(given, stored, "at point {nth}");
    (site.orders_alike(&upgrade).await, faults.reached.load(Ordering::SeqCst))
}

async fn killed_at_each(site: fn() -> Site, of: fn(&Point) -> bool, stride: usize) {
    let (expected, points) = killed_at(site(), usize::MAX, of).await;
    assert!(points > 20, "{points}");
    let mut runs = tokio::task::JoinSet::new();
    for nth in (1..=points).step_by(stride) {
        if runs.len() >= 6 {
            let (orders, _) = runs.join_next().await.unwrap().unwrap();
            assert_eq!(orders, expected);
        }
        runs.spawn(killed_at(site(), nth, of));
    }
    while let Some(run) = runs.join_next().await {
        assert_eq!(run.unwrap().0, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_after_an_append_to_etcd_the_next_coordinator_ends_the_same_with_the_same_orders() {
    killed_at_each(Site::etcd, appends, 6).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_after_any_append_the_next_coordinator_ends_the_same_with_the_same_orders() {
    killed_at_each(Site::memory, appends, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_crash_point_the_next_coordinator_ends_the_same_with_the_same_orders() {
    killed_at_each(Site::memory, all, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_on_sqlite_the_next_coordinator_ends_the_same_with_the_same_orders() {
    killed_at_each(Site::sqlite, all, 19).await;
}

/// Looks into the store whenever something is about to be said to an agent.
#[derive(Debug)]
struct Witness {
    store: MemoryStore,
    seen: Mutex<(usize, Vec<String>)>,
}
#[async_trait::async_trait]
impl Faults for Witness {
    async fn reach(&self, point: Point) {
        let (order, wanted): (OrderId, &[&str]) = match point {
            Point::BeforeSend { order, want: Want::Do } => (order, &["attempt-opened"]),
            Point::BeforeSend { order, want: Want::Revoke } => (order, &["revoke-asked"]),
            Point::BeforeAcknowledge { order } => {
                (order, &["step-succeeded", "evidence-refused", "step-failed", "revoked", "late-outcome"])
            }
            Point::BeforeAppend { .. }
            | Point::AfterAppend { .. }
            | Point::AfterSend { .. }
            | Point::AfterAcknowledge { .. } => return,
        };
        let facts = self.store.load(&order.upgrade, 0, 1000).await.unwrap();
        let stored = facts.iter().any(|stored| match stored {
            Stored::Known(fact) => fact.step() == Some(&order.step) && wanted.contains(&fact.fact.kind()),
            Stored::Foreign { .. } => false,
        });
        let mut seen = self.seen.lock().unwrap();
        seen.0 += 1;
        if !stored {
            seen.1.push(format!("{order}: none of {wanted:?} is stored"));
        }
    }
}

async fn witnessed(fault: Option<(u64, AppendFault)>) {
    let site = Site::memory();
    let Backend::Memory(store) = &site.backend else { unreachable!() };
    if let Some((nth, fault)) = fault {
        store.fail_append(nth, fault);
    }
    let witness = Arc::new(Witness { store: store.another_handle(), seen: Mutex::default() });
    let coordinator = site.coordinator_at("c-1", &site.endpoint, witness.clone()).await;
    let _agent = FakeAgent::start(&site.endpoint, Seen::default(), Manners { twice: true, ..Manners::default() });
    let client = site.client();
    let upgrade = client.begin().await;
    client.reaches(&upgrade, State::Completed).await;
    coordinator.stop().await;
    let seen = witness.seen.lock().unwrap();
    assert!(seen.0 > 40 && seen.1.is_empty(), "{fault:?}: {seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_an_append_comes_to_nothing_is_sent_or_acknowledged_before_its_fact_is_stored() {
    witnessed(None).await;
    for nth in [2, 5, 9] {
        let answered = AppendFault::ALL
            .iter()
            .filter(|fault| !matches!(fault, AppendFault::HangsBefore | AppendFault::HangsAfter));
        let mut runs = tokio::task::JoinSet::new();
        for fault in answered {
            runs.spawn(witnessed(Some((nth, *fault))));
        }
        while let Some(run) = runs.join_next().await {
            run.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_was_deposed_without_a_word_stops_and_leads_again_under_a_new_epoch() {
    let site = Site::memory();
    let coordinator = site.coordinator().await;
    let agent = FakeAgent::start(&site.endpoint, Seen::default(), Manners::default());
    until("the agent to be in", || async { (agent.journal.lock().unwrap().links > 0).then_some(()) }).await;
    let before = agent.journal.lock().unwrap().epoch;
    if let Backend::Memory(store) = &site.backend {
        store.depose();
    }
    let client = site.client();
    let upgrade = client.begin().await;
    client.reaches(&upgrade, State::Completed).await;
    {
        let journal = agent.journal.lock().unwrap();
        assert!(journal.epoch > before && journal.violations.is_empty(), "{:?}", journal.violations);
    }
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_coordinators_on_one_file_the_second_follows_and_names_the_leader_until_it_is_gone() {
    let site = Site::sqlite();
    let first = site.coordinator_at("c-1", &site.endpoint, Arc::new(NoFaults)).await;
    let agent = FakeAgent::start(&site.endpoint, Seen::default(), Manners::default());
    let client = site.client();
    let plan = client.plan("plan-1").await.unwrap();

    let beside = Endpoint::Unix(site.dir.path().join("c2.sock"));
    let second = site.coordinator_at("c-2", &beside, Arc::new(NoFaults)).await;
    let mut fleet = FleetClient::new(connect_lazy(&beside));
    let refused = until("the second to follow", || async {
        let mut fleet = FleetClient::new(connect_lazy(&beside));
        let status = fleet.list_instances(pb::ListInstancesRequest::default()).await.err()?;
        Refused::of(&status)
    })
    .await;
    assert_eq!((refused.code, refused.metadata["leader"].as_str()), (Code::NotLeader, "c-1"));
    let leader = fleet.get_leader(pb::GetLeaderRequest {}).await.unwrap().into_inner();
    assert_eq!((leader.name.as_deref(), leader.leading), (Some("c-1"), false));

    first.stop().await;
    until("the second to lead", || async {
        let mut fleet = FleetClient::new(connect_lazy(&beside));
        fleet.get_leader(pb::GetLeaderRequest {}).await.ok()?.into_inner().leading.then_some(())
    })
    .await;
    // What the first one knew, the second one knows.
    let known = pb::GetPlanRequest { digest: plan.digest.clone() };
    let mut upgrades = pb::upgrades_client::UpgradesClient::new(connect_lazy(&beside));
    assert_eq!(upgrades.get_plan(known).await.unwrap().into_inner(), plan);
    drop(agent);
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_with_a_foreign_fact_is_shown_and_left_alone() {
    let site = Site::memory();
    let coordinator = site.coordinator().await;
    let agent = FakeAgent::start(&site.endpoint, Seen::default(), Manners::default());
    let client = site.client();
    let upgrade = client.begin().await;
    client.reaches(&upgrade, State::Completed).await;
    coordinator.kill().await;
    drop(agent);
    let facts = site.facts(&upgrade).await;
    let Backend::Memory(store) = &site.backend else { unreachable!() };
    let foreign = serde_json::to_string(&facts[9]).unwrap().replace(facts[9].fact.kind(), "from-the-future");
    store.plant(&UpgradeId::new(upgrade.clone()).unwrap(), 10, foreign.as_bytes());

    let coordinator = site.coordinator().await;
    let (listed, refused) = until("the quarantine", || async {
        let mut upgrades = client.upgrades.clone();
        let listed = upgrades.list(pb::ListUpgradesRequest::default()).await.ok()?.into_inner().upgrades;
        let refused = upgrades.get(pb::GetUpgradeRequest { upgrade: upgrade.clone() }).await.err()?;
        Some((listed, Refused::of(&refused)?))
    })
    .await;
    assert!(listed[0].waiting_for.contains("fact 10"), "{listed:?}");
    assert_eq!(refused.code, Code::Quarantined);
    assert_eq!(site.store().await.load(&UpgradeId::new(upgrade).unwrap(), 0, 1000).await.unwrap().len(), facts.len());
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_that_etcd_holds_damaged_is_shown_and_left_alone_and_nothing_begins_after_it() {
    let site = Site::etcd();
    let coordinator = site.coordinator().await;
    let agent = FakeAgent::start(&site.endpoint, Seen::default(), Manners::default());
    let client = site.client();
    let upgrade = client.begin().await;
    client.reaches(&upgrade, State::Completed).await;
    coordinator.kill().await;
    let Backend::Etcd(etcd) = &site.backend else { unreachable!() };
    let keys = etcd.ctl(0, &["get", "--prefix", "", "--keys-only"]);
    let batch = keys.lines().filter(|key| key.contains(&format!("u/{upgrade}/b/"))).nth(2).expect("a batch");
    // As one of several pieces that are not there.
    etcd.ctl(0, &["put", batch, "@0000"]);

    let coordinator = site.coordinator().await;
    let listed = until("a leader", || async {
        Some(client.upgrades.clone().list(pb::ListUpgradesRequest::default()).await.ok()?.into_inner().upgrades)
    })
    .await;
    assert!(listed[0].waiting_for.contains("quarantined, not led"), "{listed:?}");
    let get = pb::GetUpgradeRequest { upgrade: upgrade.clone() };
    let refused = Refused::of(&client.upgrades.clone().get(get).await.unwrap_err()).unwrap();
    assert_eq!(refused.code, Code::Quarantined, "{refused}");
    assert!(refused.message.contains("in etcd") && refused.remedy.contains("restore the newest store"), "{refused}");
    let planned = client.plan("after").await.unwrap_err();
    assert!(planned.code == Code::Quarantined && planned.message.contains(&upgrade), "{planned}");
    drop(agent);
    coordinator.stop().await;
}
