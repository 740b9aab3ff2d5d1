//! Who must be there, who appears, and who may go, over the API.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests may panic")]

mod support;

use cutover_proto::transport::connect_lazy;
use cutover_proto::v1::agent_link_client::AgentLinkClient;
use cutover_proto::v1::fleet_client::FleetClient;
use cutover_proto::{Code, Refused, v1 as pb};
use cutover_store::{Key, MemoryStore, Put, Revision, Store as _, StoreError};
use cutover_vocabulary::hold::HoldReason;
use cutover_vocabulary::instance::InstanceReport;
use cutover_vocabulary::link::{AgentMessage, Hello};
use cutover_vocabulary::status::State;
use cutover_vocabulary::{DeploymentName, Elapsed, Epoch, InstanceName, Phase};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use support::host::{Seen, database};
use support::{Backend, Coordinator, FakeAgent, Manners, Meddled, Meddles, Site, until};
use tokio::sync::Notify;
use tonic::transport::Channel;

fn fleet(site: &Site) -> FleetClient<Channel> {
    FleetClient::new(connect_lazy(&site.endpoint))
}

fn agent(site: &Site, name: &'static str, instance: &'static str) -> FakeAgent {
    let seen = Seen { instances: vec![instance], ..Seen::default() };
    FakeAgent::named(&site.endpoint, seen, Manners::default(), name, &format!("inc-{name}"), Default::default())
}

async fn create(site: &Site, instances: &[&str], request: &str) -> Result<pb::DeploymentDetails, Refused> {
    let asked = pb::CreateDeploymentRequest {
        name: "prod".to_owned(),
        instances: instances.iter().map(|&name| name.to_owned()).collect(),
        request_id: request.to_owned(),
        operator: "ops".to_owned(),
    };
    fleet(site).create_deployment(asked).await.map(tonic::Response::into_inner).map_err(|s| Refused::of(&s).unwrap())
}

async fn show(site: &Site) -> Option<pb::DeploymentDetails> {
    let asked = pb::GetDeploymentRequest { name: "prod".to_owned() };
    fleet(site).get_deployment(asked).await.ok().map(tonic::Response::into_inner)
}

async fn excuse(site: &Site, instance: &str, evidence: &str, request: &str) -> Result<Option<String>, Refused> {
    let asked = pb::ExcuseMemberRequest {
        deployment: "prod".to_owned(),
        instance: instance.to_owned(),
        reason: "its host burnt down".to_owned(),
        evidence: evidence.to_owned(),
        request_id: request.to_owned(),
        operator: "ops".to_owned(),
    };
    let answer = fleet(site).excuse_member(asked).await;
    answer.map(|answer| answer.into_inner().upgrade).map_err(|status| Refused::of(&status).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_declared_instance_that_was_never_seen_blocks_every_plan_until_it_is_let_go() {
    let site = Site::memory();
    let coordinator = site.coordinator().await;
    let _a = agent(&site, "a", "a");
    until("the instance", || async { show(&site).await.filter(|details| details.instances.len() == 1) }).await;
    for _ in 0..2 {
        let details = create(&site, &["a", "b"], "create-1").await.unwrap();
        assert_eq!(details.missing, ["b"]);
    }
    assert_eq!(create(&site, &["z"], "create-1").await.unwrap_err().code, Code::RequestReused);
    let asked = pb::MakePlanRequest {
        deployment: "prod".to_owned(),
        target: "1.4.6".to_owned(),
        request_id: "plan-1".to_owned(),
        operator: "ops".to_owned(),
        wave: None,
        bake_ms: None,
        rehearse_only: false,
        instances: Vec::new(),
        strategy: pb::Strategy::Auto.into(),
    };
    let refused = Refused::of(&site.client().upgrades.make_plan(asked).await.unwrap_err()).unwrap();
    assert_eq!(refused.code, Code::AgentNotSeen);
    assert!(refused.metadata["findings"].contains("agent-not-seen instance b"), "{refused:?}");
    // A deployment that nobody declared, and an instance that is none of it.
    assert_eq!(excuse(&site, "x", "seen", "excuse-0").await.unwrap_err().code, Code::InvalidArgument);
    for _ in 0..2 {
        assert_eq!(excuse(&site, "b", "never built", "excuse-1").await.unwrap(), None);
    }
    assert!(show(&site).await.unwrap().missing.is_empty());
    site.client().plan("plan-2").await.unwrap();
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_agent_that_claims_an_instance_is_refused_and_shown_until_the_first_is_let_go() {
    let site = Site::memory();
    let coordinator = site.coordinator().await;
    let first = agent(&site, "a", "a");
    until("the instance", || async { show(&site).await.filter(|details| details.instances.len() == 1) }).await;
    let connected = excuse(&site, "a", "seen", "excuse-1").await.unwrap_err();
    assert_eq!((connected.code, connected.metadata["agent"].as_str()), (Code::AgentConnected, "host-a"));
    drop(first);
    // The second one's settings name the same instance, on another host.
    let seen = Seen { instances: vec!["a"], ..Seen::default() };
    let second = FakeAgent::claiming(&site.endpoint, seen, "b");
    let status = until("a refusal", || async { second.journal.lock().unwrap().last_refusal.clone() }).await;
    assert_eq!(Refused::of(&status).unwrap().code, Code::AgentNameTaken);
    let details = until("the claim", || async { show(&site).await.filter(|it| !it.claims.is_empty()) }).await;
    assert_eq!((details.claims[0].instance.as_str(), details.claims[0].agent.as_str()), ("a", "host-b"));
    assert_eq!(details.instances[0].agent, "host-a");
    until("the first to be gone", || async { show(&site).await.filter(|it| !it.instances[0].connected) }).await;
    excuse(&site, "a", "it moved", "excuse-2").await.unwrap();
    until("the second to be in, and its claim to be gone", || async {
        let details = show(&site).await?;
        let in_it = details.instances.first().is_some_and(|it| it.agent == "host-b");
        (in_it && details.claims.is_empty()).then_some(())
    })
    .await;
    coordinator.stop().await;
}

async fn within<T>(waits: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), waits).await.expect("in time")
}

/// Keeps from its answer whoever writes this into the document of instance a, once that is stored.
struct Late {
    says: &'static str,
    stored: Notify,
    answered: Notify,
}
impl Late {
    fn says(says: &'static str) -> Arc<Self> {
        Arc::new(Self { says, stored: Notify::new(), answered: Notify::new() })
    }
}

#[async_trait::async_trait]
impl Meddles for Arc<Late> {
    async fn put(&self, store: &MemoryStore, epoch: Epoch, key: &Key, expected: Revision, value: &[u8]) -> Put {
        let put = store.put(epoch, key, expected, value).await;
        if key.as_str() == "instances/a" && String::from_utf8_lossy(value).contains(self.says) {
            self.stored.notify_one();
            self.answered.notified().await;
        }
        put
    }
}

/// Instance a is registered by the agent of host a, which is not there any more.
async fn with_one_that_left(late: &Arc<Late>) -> (Site, Coordinator) {
    let mut site = Site::memory();
    site.backend = Backend::Other(Arc::new(Meddled(MemoryStore::new(), late.clone())));
    let coordinator = site.coordinator().await;
    let first = agent(&site, "a", "a");
    until("the instance", || async { show(&site).await.filter(|details| details.instances.len() == 1) }).await;
    drop(first);
    until("the first to be gone", || async { show(&site).await.filter(|it| !it.instances[0].connected) }).await;
    (site, coordinator)
}

/// Keeps one look at the document of instance a from its answer, once that is wanted.
#[derive(Default)]
struct LateLook {
    wanted: AtomicBool,
    asked: Notify,
    answered: Notify,
}

#[async_trait::async_trait]
impl Meddles for Arc<LateLook> {
    async fn get(&self, store: &MemoryStore, key: &Key) -> Result<Option<(Revision, Vec<u8>)>, StoreError> {
        if key.as_str() == "instances/a" && self.wanted.swap(false, Ordering::SeqCst) {
            self.asked.notify_one();
            self.answered.notified().await;
        }
        store.get(key).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_is_made_again_and_again_is_shown_all_the_while() {
    let mut site = Site::memory();
    let late = Arc::new(LateLook::default());
    site.backend = Backend::Other(Arc::new(Meddled(MemoryStore::new(), late.clone())));
    let coordinator = site.coordinator().await;
    let _first = agent(&site, "a", "a");
    until("the instance", || async { show(&site).await.filter(|details| details.instances.len() == 1) }).await;
    let _second = FakeAgent::claiming(&site.endpoint, Seen { instances: vec!["a"], ..Seen::default() }, "b");
    until("the claim", || async { show(&site).await.filter(|it| !it.claims.is_empty()) }).await;
    late.wanted.store(true, Ordering::SeqCst);
    within(late.asked.notified()).await;
    assert_eq!(show(&site).await.unwrap().claims[0].agent, "host-b");
    late.answered.notify_one();
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_speaks_for_its_instances_from_its_hello_on() {
    let late = Late::says("m2");
    let (site, coordinator) = with_one_that_left(&late).await;
    let (greeted, ()) = tokio::join!(greets_from("m2", &site, &[("a", "prod")]), async {
        within(late.stored.notified()).await;
        let excused = within(excuse(&site, "a", "seen", "excuse-1")).await;
        assert_eq!(excused.unwrap_err().code, Code::AgentConnected);
        late.answered.notify_one();
    });
    greeted.unwrap();
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_takes_a_name_that_is_let_go_has_it_whichever_is_answered_first() {
    let late = Late::says("gone");
    let (site, coordinator) = with_one_that_left(&late).await;
    let seen = Seen { instances: vec!["a"], ..Seen::default() };
    let _second = FakeAgent::claiming(&site.endpoint, seen, "b");
    let is_in = || async {
        show(&site).await.filter(|details| details.instances.first().is_some_and(|it| it.agent == "host-b"))
    };
    let (excused, ()) = tokio::join!(excuse(&site, "a", "it moved", "excuse-1"), async {
        within(late.stored.notified()).await;
        until("the second to be in", is_in).await;
        late.answered.notify_one();
    });
    excused.unwrap();
    assert!(is_in().await.is_some(), "{:?}", show(&site).await);
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_appears_holds_the_upgrade_and_goes_only_with_evidence_and_without_its_agent() {
    let mut site = Site::memory();
    site.limits.agent_lost = Elapsed(400);
    let coordinator = site.coordinator().await;
    let manners = Manners { ignores: Some(Phase::Rehearse), ..Manners::default() };
    let a = FakeAgent::start(&site.endpoint, Seen::default(), manners);
    let client = site.client();
    let upgrade = client.begin().await;
    until("the rehearsal to be in hand", || async {
        a.journal.lock().unwrap().orders.keys().any(|id| id.phase == Phase::Rehearse).then_some(())
    })
    .await;
    let b = agent(&site, "b", "b");
    let held = client.reaches(&upgrade, State::Held).await;
    let HoldReason::InstanceAppeared { instance, agent, .. } = &held.holds[0].reason else { panic!("{held:?}") };
    assert_eq!((instance.as_str(), agent.as_str()), ("b", "host-b"));
    assert_eq!(excuse(&site, "b", "seen", "excuse-1").await.unwrap_err().code, Code::AgentConnected);
    drop(b);
    until("it to be gone", || async {
        show(&site).await.filter(|it| it.instances.iter().any(|it| it.name == "b" && !it.connected))
    })
    .await;
    let refused = excuse(&site, "b", "", "excuse-2").await.unwrap_err();
    assert_eq!((refused.code, refused.metadata["field"].as_str()), (Code::InvalidArgument, "evidence"));
    for _ in 0..2 {
        assert_eq!(
            excuse(&site, "b", "no process has the files open", "excuse-3").await.unwrap(),
            Some(upgrade.clone())
        );
    }
    drop(a);
    let _a = FakeAgent::start(&site.endpoint, Seen::default(), Manners::default());
    client.reaches(&upgrade, State::Completed).await;
    let facts = site.facts(&upgrade).await;
    assert_eq!(facts.iter().filter(|fact| fact.fact.kind() == "member-excused").count(), 1);
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_over_upgrade_is_ended_by_hand_and_frees_its_deployment() {
    let site = Site::memory();
    let coordinator = site.coordinator().await;
    let manners = Manners { ignores: Some(Phase::Migrate), ..Manners::default() };
    let a = FakeAgent::start(&site.endpoint, Seen::default(), manners);
    let mut client = site.client();
    let upgrade = client.begin().await;
    until("the migration to be in hand", || async {
        a.journal.lock().unwrap().orders.keys().any(|id| id.phase == Phase::Migrate).then_some(())
    })
    .await;
    let close = |reason: &str, request: &str| pb::SteerRequest {
        upgrade: upgrade.clone(),
        reason: reason.to_owned(),
        request_id: request.to_owned(),
        operator: "ops".to_owned(),
    };
    let early = client.upgrades.close(close("tired", "close-1")).await.unwrap_err();
    assert_eq!(Refused::of(&early).unwrap().code, Code::UpgradeActive);
    a.take_over(&upgrade, "I do it by hand");
    client.reaches(&upgrade, State::Held).await;
    let silent = client.upgrades.close(close("", "close-2")).await.unwrap_err();
    assert_eq!(Refused::of(&silent).unwrap().metadata["field"], "reason");
    client.upgrades.close(close("restored by hand", "close-3")).await.unwrap();
    client.reaches(&upgrade, State::TakenOver).await;
    let again = site.client().begin_again().await;
    assert_ne!(again, upgrade, "the deployment is free for a new plan");
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_taken_over_on_one_host_is_ordered_on_no_other_any_more() {
    let site = Site::memory();
    let coordinator = site.coordinator().await;
    let stuck = Manners { ignores: Some(Phase::Drain), ..Manners::default() };
    let host = |name: &'static str| {
        let seen = Seen { instances: vec![name], storage: support::host::database(), ..Seen::default() };
        FakeAgent::named(&site.endpoint, seen, stuck, name, &format!("inc-{name}"), Default::default())
    };
    let [a, b] = ["a", "b"].map(host);
    for agent in [&a, &b] {
        until("a link", || async { (agent.journal.lock().unwrap().words > 0).then_some(()) }).await;
    }
    let client = site.client();
    let upgrade = client.begin().await;
    until("b to have its drain", || async {
        b.journal.lock().unwrap().orders.keys().any(|id| id.phase == Phase::Drain).then_some(())
    })
    .await;
    a.take_over(&upgrade, "I do it by hand");
    client.reaches(&upgrade, State::Held).await;
    // Its host was off when that was ordered.
    drop(b);
    let b = host("b");
    until("a link", || async { (b.journal.lock().unwrap().words > 0).then_some(()) }).await;
    // What is asked of an agent comes behind what was to be said before.
    let _ = site.client().plan("look").await;
    assert!(b.journal.lock().unwrap().orders.is_empty(), "{:?}", b.journal.lock().unwrap().orders.keys());
    coordinator.stop().await;
}

/// The hello of the agent on host a with these instances, each with its deployment; Ok where it is let in.
async fn greets(site: &Site, instances: &[(&str, &str)]) -> Result<(), Refused> {
    greets_from("m1", site, instances).await
}

/// The same from a machine.
async fn greets_from(machine: &str, site: &Site, instances: &[(&str, &str)]) -> Result<(), Refused> {
    let like = Seen::default().surveys().remove(0).instances.remove(0).report;
    let report = |(name, deployment): &(&str, &str)| InstanceReport {
        drift: Vec::new(),
        missing_guard: String::new(),
        instance: InstanceName::new(*name).unwrap(),
        deployment: DeploymentName::new(*deployment).unwrap(),
        ..like.clone()
    };
    let hello = Hello {
        agent: support::host::agent("host-a"),
        incarnation: "inc".to_owned(),
        machine: machine.to_owned(),
        boot: "boot".to_owned(),
        epoch: Epoch::default(),
        in_hand: Vec::new(),
        instances: instances.iter().map(report).collect(),
        stands_by: false,
        newest: Default::default(),
    };
    let (say, said) = tokio::sync::mpsc::channel::<pb::AgentMessage>(1);
    say.send(AgentMessage::Hello(hello).into()).await.unwrap();
    let mut link = AgentLinkClient::new(connect_lazy(&site.endpoint));
    let mut inbound = link.attach(tokio_stream::wrappers::ReceiverStream::new(said)).await.unwrap().into_inner();
    inbound.message().await.map(drop).map_err(|status| Refused::of(&status).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_whose_instance_of_one_deployment_moved_is_not_kept_from_the_upgrade_of_another() {
    let site = Site::memory();
    let coordinator = site.coordinator().await;
    let manners = Manners { ignores: Some(Phase::Rehearse), ..Manners::default() };
    let agent = FakeAgent::start(&site.endpoint, Seen::default(), manners);
    site.client().begin().await;
    until("the rehearsal to be in hand", || async {
        let journal = agent.journal.lock().unwrap();
        journal.orders.keys().any(|id| id.phase == Phase::Rehearse).then_some(())
    })
    .await;
    drop(agent);
    greets(&site, &[("a", "prod"), ("x", "books")]).await.unwrap();
    greets(&site, &[("x", "archive"), ("a", "prod")]).await.unwrap();
    let refused = greets(&site, &[("x", "archive"), ("a", "archive")]).await.unwrap_err();
    assert_eq!(refused.code, Code::AgentNameTaken, "a member of an upgrade stays where it is: {refused}");
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_an_upgrade_counts_on_an_agent_another_machine_gets_none_of_its_orders_whatever_it_names() {
    let site = Site::memory();
    let coordinator = site.coordinator().await;
    let manners = Manners { ignores: Some(Phase::Migrate), ..Manners::default() };
    let agent = FakeAgent::start(&site.endpoint, Seen::default(), manners);
    let upgrade = site.client().begin().await;
    until("the migration to be in hand", || async {
        let journal = agent.journal.lock().unwrap();
        journal.orders.keys().any(|id| id.phase == Phase::Migrate).then_some(())
    })
    .await;
    drop(agent);
    until("it to be gone", || async { show(&site).await.filter(|it| !it.instances[0].connected) }).await;
    for instances in [&[][..], &[("x", "prod")], &[("a", "prod")]] {
        let refused = greets_from("m2", &site, instances).await.unwrap_err();
        assert_eq!((refused.code, refused.metadata["machine"].as_str()), (Code::AgentNameTaken, "m1"), "{instances:?}");
    }
    assert_eq!(show(&site).await.unwrap().claims[0].machine, "m2");
    let _agent = FakeAgent::start(&site.endpoint, Seen::default(), Manners::default());
    site.client().reaches(&upgrade, State::Completed).await;
    coordinator.stop().await;
}

/// Nobody would drain what the other one has there, and an instance that is off at the moment is seen by nobody.
#[tokio::test(flavor = "multi_thread")]
async fn a_storage_that_another_deployment_uses_is_upgraded_for_neither_without_a_persons_word() {
    let site = Site::memory();
    let _coordinator = site.coordinator().await;
    let agent = |name: &'static str, deployment: &'static str| {
        let seen = Seen { deployment, instances: vec![name], storage: database(), ..Seen::default() };
        FakeAgent::named(&site.endpoint, seen, Manners::default(), name, &format!("inc-{name}"), Default::default())
    };
    let _agents = [agent("a", "prod"), agent("y", "billing")];
    let shared = |plan: &pb::Plan| {
        let findings = &plan.observed.as_ref().unwrap().findings;
        findings.iter().find(|finding| finding.code == "storage-of-another-deployment").map(|it| it.evidence.clone())
    };
    let client = site.client();
    let planned = |deployment: &'static str, request: &'static str| {
        let client = client.clone();
        async move { until("a plan", || async { client.plan_of(deployment, request).await.ok() }).await }
    };
    assert_eq!(shared(&planned("billing", "plan-1").await), None, "nothing is known of the other one yet");
    let found = shared(&planned("prod", "plan-2").await).unwrap();
    assert!(found.starts_with("it used postgres"), "{found}");
    assert!(shared(&planned("billing", "plan-3").await).is_some());
}
