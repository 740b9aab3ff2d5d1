//! Clients that go in the middle of a call.

use super::serves;
use super::support::host::Seen;
use super::support::{FakeAgent, Manners, Site};
use cutover_proto::transport::connect;
use cutover_proto::v1 as pb;
use cutover_proto::v1::upgrades_client::UpgradesClient;
use cutover_vocabulary::Phase;
use cutover_vocabulary::status::State;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn followers_that_leave_or_do_not_read_hold_up_nobody() {
    let site = Site::memory();
    let coordinator = site.coordinator().await;
    let manners = Manners { ignores: Some(Phase::Rehearse), ..Manners::default() };
    let waiting = FakeAgent::start(&site.endpoint, Seen::default(), manners);
    let client = site.client();
    let upgrade = client.begin().await;
    let watch = || {
        let asked = pb::WatchRequest { upgrade: upgrade.clone(), after_seq: 0 };
        let endpoint = &site.endpoint;
        async move { UpgradesClient::new(connect(endpoint).await.unwrap()).watch(asked).await.unwrap().into_inner() }
    };
    let mut unread = Vec::new();
    for n in 0..20 {
        unread.push(watch().await);
        let mut leaves = watch().await;
        for _ in 0..n % 4 {
            leaves.message().await.unwrap().unwrap();
        }
    }
    // More events than wait for a client that does not read.
    for n in 0..100 {
        let asked = client.steer(&upgrade, &format!("steer-{n}")).await;
        let mut upgrades = client.upgrades.clone();
        if n % 2 == 0 {
            upgrades.pause(asked).await.unwrap()
        } else {
            upgrades.resume(asked).await.unwrap()
        };
    }
    drop(waiting);
    let _agent = FakeAgent::start(&site.endpoint, Seen::default(), Manners::default());
    let end = client.reaches(&upgrade, State::Completed).await.seq;
    // One that did not read so far finds everything, in order.
    let mut late = unread.pop().unwrap();
    for seq in 1..=end {
        assert_eq!(late.message().await.unwrap().unwrap().seq, seq);
    }
    serves(&site.endpoint).await;
    let stopped = tokio::time::timeout(Duration::from_secs(10), coordinator.stop()).await;
    assert!(stopped.is_ok(), "it waits for clients that do not read");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_its_caller_left_is_done_once_or_not_at_all() {
    let site = Site::memory();
    let coordinator = site.coordinator().await;
    let _agent = FakeAgent::start(&site.endpoint, Seen::default(), Manners::default());
    let client = site.client();
    let plan = client.plan("plan-1").await.unwrap().digest;
    client.approve(&plan, "approve-1").await.unwrap();
    // It leaves ever later, in the middle of whatever the call does then.
    for micros in (0..40).map(|n| n * 250) {
        let asked =
            pb::StartRequest { plan: plan.clone(), request_id: "start-1".to_owned(), operator: "ops".to_owned() };
        let mut upgrades = UpgradesClient::new(connect(&site.endpoint).await.unwrap());
        let left = tokio::time::timeout(Duration::from_micros(micros), upgrades.start(asked)).await;
        drop((left, upgrades));
    }
    let upgrade = client.start(&plan, "start-1").await.unwrap();
    client.reaches(&upgrade, State::Completed).await;
    let all = client.upgrades.clone().list(pb::ListUpgradesRequest::default()).await.unwrap().into_inner().upgrades;
    assert_eq!(all.into_iter().map(|one| one.id).collect::<Vec<_>>(), [upgrade]);
    serves(&site.endpoint).await;
    coordinator.stop().await;
}
