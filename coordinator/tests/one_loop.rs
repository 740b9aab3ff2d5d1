//! One loop leads an upgrade, whoever asks for it while it is being started.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests may panic")]

mod support;

use cutover_coordinator::faults::{Faults, Point};
use cutover_proto::Code;
use cutover_vocabulary::status::State;
use cutover_vocabulary::{Phase, UpgradeId};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use support::host::Seen;
use support::{FakeAgent, Manners, Site, until};
use tokio::sync::Notify;

/// Keeps a start between its first fact and its loop, and notes what every loop wanted to append.
#[derive(Debug, Default)]
struct Gate {
    stored: Mutex<Option<UpgradeId>>,
    open: Notify,
    drafts: Mutex<BTreeMap<u64, u32>>,
}

#[async_trait::async_trait]
impl Faults for Gate {
    async fn reach(&self, point: Point) {
        match point {
            Point::AfterAppend { upgrade, after_seq: 0, .. } => {
                *self.stored.lock().unwrap() = Some(upgrade);
                self.open.notified().await;
            }
            Point::BeforeAppend { after_seq, .. } => {
                *self.drafts.lock().unwrap().entry(after_seq).or_default() += 1;
            }
            Point::AfterAppend { .. }
            | Point::BeforeSend { .. }
            | Point::AfterSend { .. }
            | Point::BeforeAcknowledge { .. }
            | Point::AfterAcknowledge { .. } => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_that_is_asked_for_while_it_is_being_started_has_one_loop() {
    let site = Site::memory();
    let gate = Arc::new(Gate::default());
    let coordinator = site.coordinator_at("c-1", &site.endpoint, gate.clone()).await;
    // It does not end before it was asked for.
    let stays = Manners { ignores: Some(Phase::Rehearse), ..Manners::default() };
    let agent = FakeAgent::start(&site.endpoint, Seen::default(), stays);
    let client = site.client();
    let plan = client.plan("plan-1").await.unwrap();
    client.approve(&plan.digest, "approve-1").await.unwrap();
    let starter = client.clone();
    let digest = plan.digest.clone();
    let starting = tokio::spawn(async move { starter.start(&digest, "start-1").await });
    let id = until("the first fact", || async { gate.stored.lock().unwrap().clone() }).await;

    // Both load it and have it led; nobody has told them that a start is under way.
    client.status(id.as_str()).await;
    assert_eq!(client.plan("plan-2").await.unwrap_err().code, Code::DeploymentBusy);
    until("its loop to go on", || async { gate.drafts.lock().unwrap().contains_key(&1).then_some(()) }).await;
    gate.open.notify_one();

    assert_eq!(starting.await.unwrap().unwrap(), id.as_str());
    drop(agent);
    let _agent = FakeAgent::start(&site.endpoint, Seen::default(), Manners::default());
    client.reaches(id.as_str(), State::Completed).await;
    let twice: Vec<u64> =
        gate.drafts.lock().unwrap().iter().filter(|(_, count)| **count > 1).map(|(seq, _)| *seq).collect();
    assert!(twice.is_empty(), "two loops wanted to append after the same facts: {twice:?}");
    coordinator.stop().await;
}
