//! A whole upgrade over the real wire: coordinator, store, link, API; only the host is a script.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests may panic")]

mod support;

use cutover_proto::Code;
use cutover_proto::v1 as pb;
use cutover_vocabulary::hold::HoldReason;
use cutover_vocabulary::status::State;
use cutover_vocabulary::{Digest, Elapsed, Phase};
use support::host::Seen;
use support::{FakeAgent, Manners, Site, until};
use tokio_stream::StreamExt as _;

async fn runs_from_plan_to_completed(site: Site, manners: Manners) {
    let coordinator = site.coordinator().await;
    let agent = FakeAgent::start(&site.endpoint, Seen::default(), manners);
    let client = site.client();
    let upgrade = client.begin().await;
    assert!(upgrade.starts_with("prod-1-"), "{upgrade}");
    let status = client.reaches(&upgrade, State::Completed).await;
    assert!(status.holds.is_empty() && status.turned_back.is_none());
    // Everything that was given was done once, and what the agent did is what the facts say.
    let given = site.orders(&upgrade).await;
    let all_acknowledged = || async {
        let journal = agent.journal.lock().unwrap();
        (journal.orders.len() == given.len() && journal.orders.values().all(|entry| entry.acknowledged)).then_some(())
    };
    until("every outcome to be acknowledged", all_acknowledged).await;
    {
        let journal = agent.journal.lock().unwrap();
        assert_eq!(journal.violations, Vec::<String>::new());
        for (id, entry) in &journal.orders {
            assert_eq!(given.get(id), Some(&entry.content), "{id}");
        }
    }
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_upgrade_runs_from_plan_to_completed_in_memory() {
    runs_from_plan_to_completed(Site::memory(), Manners::default()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_upgrade_runs_from_plan_to_completed_on_sqlite() {
    runs_from_plan_to_completed(Site::sqlite(), Manners::default()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_upgrade_runs_from_plan_to_completed_on_etcd() {
    runs_from_plan_to_completed(Site::etcd(), Manners::default()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_twice_or_out_of_order_happens_once() {
    let manners = Manners { twice: true, backwards: true, ..Manners::default() };
    runs_from_plan_to_completed(Site::memory(), manners).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outcome_that_was_lost_with_its_link_is_said_again_on_the_next() {
    for nth in 1..=6 {
        let manners = Manners { breaks_after: Some(nth), ..Manners::default() };
        runs_from_plan_to_completed(Site::memory(), manners).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_was_refused_because_of_another_is_sent_again() {
    let site = Site::memory();
    let coordinator = site.coordinator().await;
    let manners = Manners { refuses_once: true, ignores: Some(Phase::Rehearse), ..Manners::default() };
    let agent = FakeAgent::start(&site.endpoint, Seen::default(), manners);
    let client = site.client();
    client.begin().await;
    until("the rehearsal to be in hand", || async {
        let journal = agent.journal.lock().unwrap();
        journal.orders.keys().any(|id| id.phase == Phase::Rehearse).then_some(())
    })
    .await;
    assert_eq!(agent.journal.lock().unwrap().refused.len(), 3);
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_needs_approval_does_not_start_without_it() {
    let site = Site::memory();
    let coordinator = site.coordinator().await;
    let _agent = FakeAgent::start(&site.endpoint, Seen::default(), Manners::default());
    let client = site.client();
    let plan = client.plan("plan-1").await.unwrap();
    let refused = client.start(&plan.digest, "start-1").await.unwrap_err();
    assert_eq!(refused.code, Code::NeedsApproval, "{refused}");
    assert!(refused.metadata["findings"].contains("account-metadata-without-posting"), "{refused:?}");
    // Nothing was begun by it: the same call passes once it is approved.
    client.approve(&plan.digest[..12], "approve-1").await.unwrap();
    assert!(client.start(&plan.digest, "start-1").await.unwrap().starts_with("prod-1-"));
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_plan_is_refused_and_what_changed_is_named() {
    let site = Site::memory();
    let coordinator = site.coordinator().await;
    let agent = FakeAgent::start(&site.endpoint, Seen::default(), Manners::default());
    let client = site.client();
    let plan = client.plan("plan-1").await.unwrap();
    client.approve(&plan.digest, "approve-1").await.unwrap();
    drop(agent);
    let mut seen = Seen::default();
    seen.ledgers.push(("new", 0));
    let _agent = FakeAgent::start(&site.endpoint, seen, Manners::default());
    let refused = until("the link to be the new agent's", || async {
        match client.start(&plan.digest, "start-1").await {
            Err(refused) if refused.code != Code::Blocked => Some(refused),
            Err(_) => None,
            Ok(upgrade) => panic!("{upgrade} was started"),
        }
    })
    .await;
    assert_eq!(refused.code, Code::PlanStale, "{refused}");
    assert!(refused.metadata["changes"].contains("ledger new is new"), "{refused:?}");
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_request_id_gives_the_same_answer_and_another_question_is_refused() {
    let site = Site::memory();
    let coordinator = site.coordinator().await;
    let agent = FakeAgent::start(&site.endpoint, Seen::default(), Manners::default());
    let client = site.client();
    let plan = client.plan("plan-1").await.unwrap();
    let upgrade = client.begin().await;
    assert_eq!(client.start(&plan.digest, "start-1").await.unwrap(), upgrade);
    let busy = client.start(&plan.digest, "start-2").await;
    assert!(busy.is_err() || client.status(&upgrade).await.state == State::Completed, "{busy:?}");
    drop(agent);
    assert_eq!(client.plan("plan-1").await.unwrap(), plan);
    let reused = client.start(&plan.digest, "plan-1").await.unwrap_err();
    assert_eq!(reused.code, Code::RequestReused);
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_with_an_unfinished_upgrade_does_not_start_a_second_one() {
    let site = Site::memory();
    let coordinator = site.coordinator().await;
    let manners = Manners { ignores: Some(Phase::Rehearse), ..Manners::default() };
    let _agent = FakeAgent::start(&site.endpoint, Seen::default(), manners);
    let client = site.client();
    let upgrade = client.begin().await;
    let plan = client.plan("plan-1").await.unwrap();
    let refused = client.start(&plan.digest, "start-2").await.unwrap_err();
    assert_eq!((refused.code, refused.metadata["upgrade"].as_str()), (Code::DeploymentBusy, upgrade.as_str()));
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn watching_shows_every_fact_once_and_ends_with_the_last() {
    let site = Site::memory();
    let coordinator = site.coordinator().await;
    let _agent = FakeAgent::start(&site.endpoint, Seen::default(), Manners::default());
    let mut client = site.client();
    let upgrade = client.begin().await;
    let asked = pb::WatchRequest { upgrade: upgrade.clone(), after_seq: 1 };
    let mut events = client.upgrades.watch(asked).await.unwrap().into_inner();
    let (mut told, mut closing) = (Vec::new(), false);
    while let Some(event) = events.next().await {
        let event = event.unwrap();
        assert!(!event.text.is_empty() && !event.text.contains('\n'));
        if event.kind == "ended" && !closing {
            closing = true;
            let steer = client.steer(&upgrade, "close-1").await;
            let mut upgrades = client.upgrades.clone();
            tokio::spawn(async move { upgrades.close(steer).await });
        }
        told.push((event.seq, event.kind));
    }
    let stored = site.facts(&upgrade).await;
    let stored: Vec<_> = stored.iter().skip(1).map(|fact| (fact.seq, fact.fact.kind().to_owned())).collect();
    assert_eq!(told, stored);
    assert_eq!(told.last().map(|(_, kind)| kind.as_str()), Some("closed"));
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abort_before_the_migration_withdraws_orders_and_ends_aborted() {
    let site = Site::memory();
    let coordinator = site.coordinator().await;
    let manners = Manners { ignores: Some(Phase::Rehearse), ..Manners::default() };
    let agent = FakeAgent::start(&site.endpoint, Seen::default(), manners);
    let mut client = site.client();
    let upgrade = client.begin().await;
    until("the rehearsal to be in hand", || async {
        let journal = agent.journal.lock().unwrap();
        journal.orders.keys().any(|id| id.phase == Phase::Rehearse).then_some(())
    })
    .await;
    let ask = |what_if| pb::GoBackRequest {
        upgrade: upgrade.clone(),
        reason: "another day".to_owned(),
        request_id: "abort-1".to_owned(),
        operator: "ops".to_owned(),
        what_if,
        accept_lost_writes: false,
    };
    let meant = client.upgrades.abort(ask(true)).await.unwrap().into_inner();
    assert!(meant.allowed && !meant.begun);
    for _ in 0..2 {
        assert!(client.upgrades.abort(ask(false)).await.unwrap().into_inner().begun);
    }
    client.reaches(&upgrade, State::Aborted).await;
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_goes_silent_with_an_order_holds_the_upgrade_until_it_is_back() {
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
    let held = client.reaches(&upgrade, State::Held).await;
    assert!(matches!(held.holds[0].reason, HoldReason::AgentLost { .. }), "{:?}", held.holds);
    // It comes back without its journal, is told the same order, and answers this time.
    let _agent = FakeAgent::start(&site.endpoint, Seen::default(), Manners::default());
    client.reaches(&upgrade, State::Completed).await;
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_agent_with_one_name_is_refused_while_the_first_is_connected() {
    let site = Site::memory();
    let coordinator = site.coordinator().await;
    let first = FakeAgent::start(&site.endpoint, Seen::default(), Manners::default());
    until("the first to be in", || async { (first.journal.lock().unwrap().links > 0).then_some(()) }).await;
    let other = FakeAgent::named(
        &site.endpoint,
        Seen::default(),
        Manners::default(),
        "a",
        "another journal",
        Default::default(),
    );
    let status = until("a refusal", || async { other.journal.lock().unwrap().last_refusal.clone() }).await;
    assert_eq!(cutover_proto::Refused::of(&status).unwrap().code, Code::AgentNameTaken);
    let upgrade = site.client().begin().await;
    site.client().reaches(&upgrade, State::Completed).await;
    assert_eq!(other.journal.lock().unwrap().links, 0);
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outcome_of_an_order_with_other_content_holds_the_upgrade() {
    let site = Site::memory();
    let coordinator = site.coordinator().await;
    let manners = Manners { ignores: Some(Phase::Rehearse), ..Manners::default() };
    let agent = FakeAgent::start(&site.endpoint, Seen::default(), manners);
    let client = site.client();
    let upgrade = client.begin().await;
    until("the rehearsal to be in hand", || async {
        let mut journal = agent.journal.lock().unwrap();
        let entry = journal.orders.iter_mut().find(|(id, _)| id.phase == Phase::Rehearse);
        entry.map(|(_, entry)| entry.content = Digest::of(b"another order"))
    })
    .await;
    agent.break_link.lock().unwrap().cancel();
    let held = client.reaches(&upgrade, State::Held).await;
    assert!(matches!(held.holds[0].reason, HoldReason::StepFailed { .. }), "{:?}", held.holds);
    coordinator.stop().await;
}
