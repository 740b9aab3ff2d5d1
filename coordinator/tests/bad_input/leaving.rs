//! Clients that go in the middle of a call.

use super::serves;
use super::support::host::Seen;
use super::support::{FakeAgent, Manners, Site, until};
use cutover_coordinator::faults::{Faults, Point};
use cutover_proto::transport::connect;
use cutover_proto::v1 as pb;
use cutover_proto::v1::upgrades_client::UpgradesClient;
use cutover_vocabulary::Phase;
use cutover_vocabulary::status::State;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

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

/// Stops at the moment when an upgrade's first fact is stored, until it is told to go on.
#[derive(Debug, Default)]
struct Started {
    stored: Notify,
    broken_off: Arc<Notify>,
    go_on: Notify,
}

/// Tells when the call that waits there is broken off.
struct Waits(Arc<Notify>);
impl Drop for Waits {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

#[async_trait::async_trait]
impl Faults for Started {
    async fn reach(&self, point: Point) {
        if let Point::AfterAppend { after_seq: 0, .. } = point {
            let _waits = Waits(self.broken_off.clone());
            self.stored.notify_one();
            self.go_on.notified().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_whose_caller_left_while_it_was_started_goes_on_and_is_the_answer_to_the_next_call() {
    let site = Site::memory();
    let started = Arc::new(Started::default());
    let coordinator = site.coordinator_at("c-1", &site.endpoint, started.clone()).await;
    let _agent = FakeAgent::start(&site.endpoint, Seen::default(), Manners::default());
    let client = site.client();
    let plan = client.plan("plan-1").await.unwrap().digest;
    client.approve(&plan, "approve-1").await.unwrap();
    let asked = pb::StartRequest { plan: plan.clone(), request_id: "start-1".to_owned(), operator: "ops".to_owned() };
    let mut upgrades = UpgradesClient::new(connect(&site.endpoint).await.unwrap());
    let call = tokio::spawn(async move { upgrades.start(asked).await });
    started.stored.notified().await;
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    // It is not broken off; if it were, that would be at once.
    let broken_off = tokio::time::timeout(Duration::from_millis(500), started.broken_off.notified()).await;
    started.go_on.notify_one();
    assert!(broken_off.is_err(), "the call ended with its caller");
    // Nobody asks for it: it goes on by itself.
    let store = site.store().await;
    let upgrade = until("the upgrade to end", || async {
        let head = store.upgrades().await.unwrap().pop()?;
        let ended = site.facts(head.id.as_str()).await.iter().any(|recorded| recorded.fact.kind() == "ended");
        ended.then_some(head.id)
    })
    .await;
    assert_eq!(client.start(&plan, "start-1").await.unwrap(), upgrade.as_str());
    assert_eq!(store.upgrades().await.unwrap().len(), 1);
    serves(&site.endpoint).await;
    coordinator.stop().await;
}
