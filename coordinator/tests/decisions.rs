//! Operators decide holds, and see the fleet.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests may panic")]

mod support;

use cutover_proto::transport::connect_lazy;
use cutover_proto::v1::fleet_client::FleetClient;
use cutover_proto::{Code, Refused, v1 as pb};
use cutover_vocabulary::Elapsed;
use cutover_vocabulary::Phase;
use cutover_vocabulary::status::State;
use support::host::Seen;
use support::{FakeAgent, Manners, Site, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_is_taken_for_the_hold_and_the_choices_that_are_open_and_only_once() {
    let mut site = Site::memory();
    site.limits.agent_lost = Elapsed(400);
    let coordinator = site.coordinator().await;
    let manners = Manners { ignores: Some(Phase::Rehearse), ..Manners::default() };
    let agent = FakeAgent::start(&site.endpoint, Seen::default(), manners);
    let client = site.client();
    let upgrade = client.begin().await;
    until("the rehearsal to be in hand", || async {
        let journal = agent.journal.lock().unwrap();
        journal.orders.keys().any(|id| id.phase == Phase::Rehearse).then_some(())
    })
    .await;
    drop(agent);
    let hold = client.reaches(&upgrade, State::Held).await.holds[0].id;

    let decide = |hold: u32, choice: pb::Choice, request: &str| {
        let asked = pb::DecideRequest {
            upgrade: upgrade.clone(),
            hold,
            choice: choice.into(),
            reason: "we looked".to_owned(),
            request_id: request.to_owned(),
            operator: "ops".to_owned(),
        };
        let mut upgrades = client.upgrades.clone();
        async move { upgrades.decide(asked).await.map_err(|status| Refused::of(&status).unwrap()) }
    };
    let outdated = decide(hold.0 + 7, pb::Choice::Wait, "r-1").await.unwrap_err();
    assert_eq!(outdated.code, Code::HoldOutdated);
    let not_offered = decide(hold.0, pb::Choice::Rollback, "r-2").await.unwrap_err();
    assert_eq!(not_offered.code, Code::ChoiceNotOffered);
    assert!(not_offered.metadata["choices"].contains("abort"), "{not_offered:?}");
    let unsaid = decide(hold.0, pb::Choice::Unspecified, "r-3").await.unwrap_err();
    assert_eq!(unsaid.metadata["field"], "choice");
    for _ in 0..2 {
        decide(hold.0, pb::Choice::Abort, "r-4").await.unwrap();
    }
    let reused = decide(hold.0, pb::Choice::Wait, "r-4").await.unwrap_err();
    assert_eq!(reused.code, Code::RequestReused);
    let facts = site.facts(&upgrade).await;
    assert_eq!(facts.iter().filter(|fact| fact.fact.kind() == "hold-decided").count(), 1);
    // The order is withdrawn, and stays unsettled until its agent answers; that it still does not is asked about again, because
    // the first question went with the way forward.
    until("the agent to be asked about again", || async {
        client.status(&upgrade).await.holds.iter().any(|again| again.id != hold).then_some(())
    })
    .await;
    let _agent = FakeAgent::start(&site.endpoint, Seen::default(), manners);
    client.reaches(&upgrade, State::Aborted).await;
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_stays_registered_when_its_agent_is_gone_and_the_plan_is_refused() {
    let site = Site::memory();
    let coordinator = site.coordinator().await;
    let agent = FakeAgent::start(&site.endpoint, Seen::default(), Manners::default());
    let list = || async {
        let mut fleet = FleetClient::new(connect_lazy(&site.endpoint));
        let found = fleet.list_instances(pb::ListInstancesRequest::default()).await.ok()?.into_inner();
        found.instances.first().cloned()
    };
    let instance = until("the instance", list).await;
    assert!(instance.connected && instance.report.is_some() && instance.deployment == "prod");
    drop(agent);
    until("the agent to be gone", || async { list().await.filter(|instance| !instance.connected) }).await;
    let asked = pb::MakePlanRequest {
        deployment: "prod".to_owned(),
        target: "1.4.6".to_owned(),
        strategy: 0,
        request_id: "plan-1".to_owned(),
        operator: "ops".to_owned(),
        wave: None,
        bake_ms: None,
        rehearse_only: false,
        instances: Vec::new(),
    };
    let status = site.client().upgrades.make_plan(asked).await.unwrap_err();
    let refused = Refused::of(&status).unwrap();
    assert_eq!((refused.code, refused.metadata["agents"].as_str()), (Code::AgentNotSeen, "host-a"));
    coordinator.stop().await;
}
