//! Calls that steer an upgrade, and calls that come again.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests may panic")]

mod support;

use cutover_proto::{Code, Refused, v1 as pb};
use cutover_vocabulary::Phase;
use cutover_vocabulary::status::State;
use support::host::Seen;
use support::{FakeAgent, Manners, Site, persist, until};

async fn until_in_hand(agent: &FakeAgent, phase: Phase) {
    until("its order to be in hand", || async {
        agent.journal.lock().unwrap().orders.keys().any(|id| id.phase == phase).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_changed_nothing_changes_nothing_when_it_comes_again() {
    let site = Site::memory();
    let coordinator = site.coordinator().await;
    let manners = Manners { ignores: Some(Phase::Rehearse), ..Manners::default() };
    let agent = FakeAgent::start(&site.endpoint, Seen::default(), manners);
    let client = site.client();
    let upgrade = client.begin().await;
    until_in_hand(&agent, Phase::Rehearse).await;
    let pause = |request: &'static str| {
        let client = client.clone();
        let upgrade = upgrade.clone();
        async move {
            let asked = client.steer(&upgrade, request).await;
            persist(|| async { client.upgrades.clone().pause(asked.clone()).await }).await.unwrap()
        }
    };
    let resume = |request: &'static str| {
        let client = client.clone();
        let upgrade = upgrade.clone();
        async move {
            let asked = client.steer(&upgrade, request).await;
            persist(|| async { client.upgrades.clone().resume(asked.clone()).await }).await.unwrap()
        }
    };
    let paused = || async { client.status(&upgrade).await.paused };
    resume("resume-1").await;
    pause("pause-1").await;
    resume("resume-1").await;
    assert!(paused().await, "somebody else paused it since");

    pause("pause-2").await;
    resume("resume-2").await;
    pause("pause-2").await;
    assert!(!paused().await, "somebody else resumed it since");
    coordinator.kill().await;
    let coordinator = site.coordinator().await;
    pause("pause-2").await;
    assert!(!paused().await, "the next leader knows it too");
    coordinator.stop().await;
}

fn back(upgrade: &str, request: &str, what_if: bool) -> pb::GoBackRequest {
    pb::GoBackRequest {
        upgrade: upgrade.to_owned(),
        reason: "another day".to_owned(),
        request_id: request.to_owned(),
        operator: "ops".to_owned(),
        what_if,
        accept_lost_writes: false,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_way_back_that_is_asked_for_again_is_answered_as_before() {
    for (phase, ending) in [(Phase::Secure, State::Aborted), (Phase::Migrate, State::RolledBack)] {
        let site = Site::memory();
        let coordinator = site.coordinator().await;
        let manners = Manners { ignores: Some(phase), ..Manners::default() };
        let agent = FakeAgent::start(&site.endpoint, Seen::default(), manners);
        let client = site.client();
        let upgrade = client.begin().await;
        until_in_hand(&agent, phase).await;
        // Going back resumes it, and that fact comes first.
        client.upgrades.clone().pause(client.steer(&upgrade, "pause-1").await).await.unwrap();
        let go_back = |what_if: bool| {
            let (mut upgrades, asked) = (client.upgrades.clone(), back(&upgrade, "back-1", what_if));
            async move {
                let aborts = ending == State::Aborted;
                let answer = if aborts { upgrades.abort(asked).await } else { upgrades.rollback(asked).await };
                answer.unwrap().into_inner()
            }
        };
        let meant = go_back(true).await;
        assert!(meant.allowed && !meant.begun && !meant.stages.is_empty(), "{meant:?}");
        let first = go_back(false).await;
        assert_eq!(first, pb::WhatIf { begun: true, ..meant });
        assert_eq!(go_back(false).await, first);
        drop(agent);
        let _agent = FakeAgent::start(&site.endpoint, Seen::default(), Manners::default());
        client.reaches(&upgrade, ending).await;
        assert_eq!(go_back(false).await, first);
        coordinator.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_way_back_that_loses_writes_is_refused_whoever_asks_for_it_or_about_it() {
    let site = Site::memory();
    let coordinator = site.coordinator().await;
    let manners = Manners { ignores: Some(Phase::Rehearse), ..Manners::default() };
    let agent = FakeAgent::start(&site.endpoint, Seen::default(), manners);
    let client = site.client();
    let upgrade = client.begin().await;
    until_in_hand(&agent, Phase::Rehearse).await;
    for (call, what_if) in [(0, true), (1, true), (2, false), (3, false)] {
        let asked = pb::GoBackRequest { accept_lost_writes: true, ..back(&upgrade, &format!("back-{call}"), what_if) };
        let mut upgrades = client.upgrades.clone();
        let answer = if call % 2 == 0 { upgrades.abort(asked).await } else { upgrades.rollback(asked).await };
        let refused = Refused::of(&answer.unwrap_err()).unwrap();
        assert_eq!(
            (refused.code.clone(), refused.metadata["field"].as_str()),
            (Code::InvalidArgument, "accept_lost_writes")
        );
        assert!(refused.message.contains("no way back"), "{refused}");
    }
    assert_eq!(client.status(&upgrade).await.state, State::Running);
    coordinator.stop().await;
}
