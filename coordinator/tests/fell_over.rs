//! What leads one upgrade falls over: that one is shown and left alone, and everything else goes on.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests may panic")]

mod support;

use cutover_coordinator::faults::{Faults, Point};
use cutover_proto::{Code, Refused, v1 as pb};
use cutover_vocabulary::status::State;
use std::sync::Arc;
use support::host::Seen;
use support::{FakeAgent, Manners, Site, until};

/// Panics where the rehearsal of `prod` has ended.
#[derive(Debug)]
struct FallsOver;

#[async_trait::async_trait]
impl Faults for FallsOver {
    async fn reach(&self, point: Point) {
        if let Point::BeforeAppend { upgrade, facts, after_seq } = point {
            let prod = upgrade.as_str().starts_with("prod-");
            assert!(
                !(prod && after_seq > 8 && facts.contains(&"step-succeeded")),
                "a loop that falls over: a test wants it"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_whose_loop_falls_over_is_left_alone_and_the_others_are_led() {
    let site = Site::memory();
    let coordinator = site.coordinator_at("c-1", &site.endpoint, Arc::new(FallsOver)).await;
    let agent = |deployment: &'static str, name: &'static str| {
        let seen = Seen { deployment, instances: vec![name], ..Seen::default() };
        FakeAgent::named(&site.endpoint, seen, Manners::default(), name, &format!("inc-{name}"), Arc::default())
    };
    let (_prod, _test) = (agent("prod", "a"), agent("test", "x"));
    let client = site.client();
    let begin = async |deployment: &str| {
        let plan = client.plan_of(deployment, &format!("plan-{deployment}")).await.unwrap();
        client.approve(&plan.digest, &format!("approve-{deployment}")).await.unwrap();
        client.start(&plan.digest, &format!("start-{deployment}")).await.unwrap()
    };
    let prod = begin("prod").await;
    let refused = until("it is left alone", || async {
        let asked = pb::GetUpgradeRequest { upgrade: prod.clone() };
        let answer = client.upgrades.clone().get(asked).await;
        answer.err().and_then(|status| Refused::of(&status)).filter(|refused| refused.code == Code::Quarantined)
    })
    .await;
    assert!(refused.message.contains("panic"), "{refused}");
    let test = begin("test").await;
    client.reaches(&test, State::Completed).await;
    coordinator.stop().await;
}
