//! Who is let in over TLS, as whom, and for what: a coordinator with certificates, agents and operators that show theirs.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests may panic")]

#[path = "../../tests/src/pki.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with other tests")]
mod pki;
mod support;

use cutover_coordinator::clock::SystemClock;
use cutover_coordinator::faults::NoFaults;
use cutover_coordinator::settings::StorePlace;
use cutover_coordinator::{Parts, Settings, run_with};
use cutover_proto::transport::{Endpoint, Tls, TlsFiles, connect_with, listen_on};
use cutover_proto::v1 as pb;
use cutover_proto::v1::agent_link_client::AgentLinkClient;
use cutover_proto::v1::agent_message::Say;
use cutover_proto::v1::fleet_client::FleetClient;
use cutover_proto::v1::upgrades_client::UpgradesClient;
use cutover_proto::{Code, Refused};
use cutover_store::{CoordinatorName, Store as _};
use cutover_vocabulary::fact::Fact;
use cutover_vocabulary::instance::RunState;
use cutover_vocabulary::link::AgentMessage;
use cutover_vocabulary::outcome::{Effect, FailureKind};
use cutover_vocabulary::status::State;
use cutover_vocabulary::survey::HostSurvey;
use cutover_vocabulary::{Elapsed, Failure, OperatorName, Outcome, Phase};
use pki::{Authority, Issued};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use support::host::{self, Seen};
use support::{Backend, Client, Coordinator, FakeAgent, Manners, Site, persist, until};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

/// A coordinator on a socket and under TLS, and the authority that its certificate is from.
struct Place {
    site: Site,
    authority: Authority,
    endpoint: Endpoint,
    coordinator: Coordinator,
}

fn tls(issued: Issued) -> Tls {
    let Issued { certificate, key, authority } = issued;
    Tls::new(TlsFiles { certificate, key, authority })
}

impl Place {
    /// One that lets these in as operators.
    async fn new(operators: &[&str]) -> Self {
        let (site, authority) = (Site::memory(), Authority::default());
        let own = tls(authority.issue(&["127.0.0.1"], &site.dir.path().join("coordinator")));
        let name = CoordinatorName::new("c-1").unwrap();
        let mut settings = Settings::new(name, site.endpoint.clone(), StorePlace::Memory).unwrap();
        settings.survey = Elapsed::from_secs(2);
        settings.operators = operators.iter().map(|name| OperatorName::new(*name).unwrap()).collect();
        let both = [site.endpoint.clone(), "https://127.0.0.1:0".parse().unwrap()];
        let listening = listen_on(&both, Some(&own)).await.unwrap();
        let endpoint = listening.endpoints()[1].clone();
        let shutdown = CancellationToken::new();
        let parts = Parts {
            settings,
            store: site.store().await,
            listening,
            shutdown: shutdown.clone(),
            clock: Arc::new(SystemClock),
            faults: Arc::new(NoFaults),
        };
        let coordinator = Coordinator { task: tokio::spawn(run_with(parts)), shutdown };
        let place = Self { site, authority, endpoint, coordinator };
        until("it to lead", || async {
            place.local().get_leader(pb::GetLeaderRequest {}).await.ok()?.get_ref().leading.then_some(())
        })
        .await;
        place
    }
    /// The fleet, asked over the Unix socket.
    fn local(&self) -> FleetClient<Channel> {
        FleetClient::new(cutover_proto::transport::connect_lazy(&self.site.endpoint))
    }
    fn certificate(&self, names: &[&str]) -> Tls {
        tls(self.authority.issue(names, &self.site.dir.path().join(names.concat())))
    }
    async fn channel(&self, names: &[&str]) -> Channel {
        connect_with(&self.endpoint, Some(&self.certificate(names))).await.unwrap()
    }
    async fn details(&self) -> Option<pb::DeploymentDetails> {
        let asked = pb::GetDeploymentRequest { name: "prod".to_owned() };
        Some(self.local().get_deployment(asked).await.ok()?.into_inner())
    }
    fn agent(&self, name: &str, seen: Seen, manners: Manners) -> FakeAgent {
        let certificate = self.certificate(&[&format!("host-{name}")]);
        FakeAgent::certified(&self.endpoint, certificate, seen, manners, name)
    }
    /// The instances of the deployment are there.
    async fn there(&self, count: usize) {
        let all = || async {
            let details = self.details().await?;
            let connected = details.instances.iter().filter(|instance| instance.connected).count();
            (connected == count).then_some(())
        };
        until("the instances", all).await;
    }
}

fn refused<T: std::fmt::Debug>(answer: Result<T, Status>) -> Refused {
    Refused::of(&answer.unwrap_err()).unwrap()
}

/// A link by hand, with its hello said.
struct Link {
    say: mpsc::Sender<pb::AgentMessage>,
    heard: Result<Streaming<pb::CoordinatorMessage>, Status>,
}
impl Link {
    async fn of(channel: Channel, hello: pb::Hello) -> Self {
        let (say, said) = mpsc::channel(64);
        say.send(pb::AgentMessage { say: Some(Say::Hello(hello)) }).await.unwrap();
        let heard = AgentLinkClient::new(channel).attach(ReceiverStream::new(said)).await;
        Self { say, heard: heard.map(tonic::Response::into_inner) }
    }
    async fn say(&self, message: AgentMessage) {
        self.say.send(message.into()).await.unwrap();
    }
    /// The next message; or why there is none.
    async fn next(&mut self) -> Result<pb::CoordinatorMessage, Status> {
        let heard = self.heard.as_mut().map_err(|status| status.clone())?;
        let next = tokio::time::timeout(Duration::from_secs(20), heard.message()).await.expect("a message");
        next?.ok_or_else(|| Status::ok("the link was closed without a word"))
    }
    /// Until it is closed.
    async fn end(mut self) -> Refused {
        loop {
            if let Err(status) = self.next().await {
                return Refused::of(&status).unwrap_or_else(|| panic!("{status:?}"));
            }
        }
    }
}

fn hello(agent: &str, machine: &str, instances: &[&str]) -> pb::Hello {
    let report = |name: &&str| host::report(name, RunState::Stopped, host::now(0).wall).into();
    pb::Hello {
        agent: agent.to_owned(),
        incarnation: "inc".to_owned(),
        machine: machine.to_owned(),
        boot: "boot".to_owned(),
        instances: instances.iter().map(report).collect(),
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_goes_to_its_end_over_tls_and_what_was_decided_is_under_the_name_of_the_certificate() {
    let place = Place::new(&["ops", "boss"]).await;
    let _agent = place.agent("a", Seen::default(), Manners::default());
    let client = Client { upgrades: UpgradesClient::new(place.channel(&["ops", "laptop"]).await) };
    let plan = client.plan("plan-1").await.unwrap();
    // The request names nobody: the certificate does.
    let approval = persist(|| async {
        let asked = pb::ApproveRequest {
            plan: plan.digest.clone(),
            request_id: "approve-1".to_owned(),
            reason: "we know".to_owned(),
            all: true,
            ..Default::default()
        };
        client.upgrades.clone().approve(asked).await
    });
    assert_eq!(approval.await.unwrap().by, "ops");
    let upgrade = client.start(&plan.digest, "start-1").await.unwrap();
    client.reaches(&upgrade, State::Completed).await;
    // A name that is another operator's, and one that is nobody's although the certificate has it.
    for other in ["boss", "laptop", "root"] {
        let asked = pb::SteerRequest { operator: other.to_owned(), ..client.steer(&upgrade, "close-1").await };
        let refused = refused(client.upgrades.clone().close(asked).await);
        assert_eq!((refused.code, refused.metadata["name"].as_str()), (Code::NotCertified, other));
    }
    client.upgrades.clone().close(client.steer(&upgrade, "close-2").await).await.unwrap();
    let facts = place.site.facts(&upgrade).await;
    assert!(matches!(facts[0].fact, Fact::Started { .. }), "{:?}", facts[0]);
    assert!(serde_json::to_string(&facts[0]).unwrap().contains("\"ops\""), "{:?}", facts[0]);
    place.coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_whose_name_is_not_in_its_certificate_is_refused_and_both_names_are_said() {
    let place = Place::new(&[]).await;
    for (names, said) in [
        (&["host-b"][..], "host-a"),
        (&["host-a.example.com"], "host-a"),
        (&["HOST-A"], "host-a"),
        (&["*.example.com", "https://example.com/host-a"], "host-a"),
    ] {
        let refused = Link::of(place.channel(names).await, hello(said, "m1", &["a"])).await.end().await;
        assert_eq!(refused.code, Code::NotCertified, "{refused}");
        assert!(refused.message.contains(said) && refused.message.contains(names[0]), "{refused}");
        assert_eq!(
            (refused.metadata["name"].as_str(), refused.metadata["certificate"].contains(names[0])),
            (said, true)
        );
    }
    assert!(
        place
            .local()
            .list_instances(pb::ListInstancesRequest::default())
            .await
            .unwrap()
            .into_inner()
            .instances
            .is_empty()
    );
    // One of several names is enough.
    let mut link = Link::of(place.channel(&["x", "host-a"]).await, hello("host-a", "m1", &["a"])).await;
    link.next().await.unwrap();
    place.there(1).await;
    place.coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_follows_lets_an_agent_stand_by_under_its_own_name_alone() {
    let place = Place::new(&[]).await;
    let Backend::Memory(store) = &place.site.backend else { unreachable!() };
    let ghost = store.another_handle();
    store.depose();
    ghost.lead(&CoordinatorName::new("ghost").unwrap()).await.unwrap().expect("it is free");
    until("it to follow", || async {
        let leader = place.local().get_leader(pb::GetLeaderRequest {}).await.ok()?.into_inner();
        (!leader.leading).then_some(())
    })
    .await;
    let stands_by = |agent: &str| pb::Hello { stands_by: true, ..hello(agent, "m1", &["a"]) };
    let refused = Link::of(place.channel(&["host-b"]).await, stands_by("host-a")).await.end().await;
    assert_eq!(refused.code, Code::NotCertified, "{refused}");
    let mut link = Link::of(place.channel(&["host-a"]).await, stands_by("host-a")).await;
    let heard = link.next().await.unwrap().say;
    assert!(matches!(heard, Some(pb::coordinator_message::Say::Following(_))), "{heard:?}");
    place.coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_listed_as_an_operator_can_neither_look_nor_steer_and_the_socket_still_can() {
    for operators in [&[][..], &["boss"]] {
        let place = Place::new(operators).await;
        let channel = place.channel(&["host-a", "ops"]).await;
        let (mut fleet, client) = (FleetClient::new(channel.clone()), UpgradesClient::new(channel));
        let mut refusals = vec![
            refused(fleet.get_leader(pb::GetLeaderRequest {}).await),
            refused(fleet.list_instances(pb::ListInstancesRequest::default()).await),
            refused(fleet.create_deployment(pb::CreateDeploymentRequest::default()).await),
            refused(fleet.excuse_member(pb::ExcuseMemberRequest::default()).await),
        ];
        let mut upgrades = client.clone();
        refusals.extend([
            refused(upgrades.list(pb::ListUpgradesRequest::default()).await),
            refused(upgrades.make_plan(pb::MakePlanRequest::default()).await),
            refused(upgrades.start(pb::StartRequest::default()).await),
            refused(upgrades.abort(pb::GoBackRequest { what_if: true, ..Default::default() }).await),
            refused(upgrades.watch(pb::WatchRequest::default()).await),
        ]);
        for refused in refusals {
            assert_eq!(refused.code, Code::NotPermitted, "{refused}");
            assert!(
                refused.metadata["certificate"].contains("host-a") && refused.remedy.contains("operators"),
                "{refused:?}"
            );
        }
        assert!(place.local().get_leader(pb::GetLeaderRequest {}).await.unwrap().into_inner().leading);
        place.coordinator.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_reports_for_another_hosts_instance_is_shut_out_and_shown() {
    let place = Place::new(&[]).await;
    let _owner = place.agent("a", Seen::default(), Manners::default());
    place.there(1).await;
    let foreign = || host::report("a", RunState::Running { pid: 7 }, host::now(0).wall);
    let survey = |agent: &str| {
        let mut survey: HostSurvey = Seen::default().surveys().remove(0);
        survey.agent = host::agent(agent);
        AgentMessage::Surveyed { request: host::request(1), survey: Box::new(survey) }
    };
    let wrong = [AgentMessage::Report(vec![foreign()]), survey("host-x")];
    for message in wrong {
        let mut link = Link::of(place.channel(&["host-x"]).await, hello("host-x", "m2", &["x"])).await;
        link.next().await.unwrap();
        link.say(AgentMessage::Report(vec![host::report("x", RunState::Stopped, host::now(0).wall)])).await;
        link.say(message).await;
        let refused = link.end().await;
        assert_eq!((refused.code, refused.metadata["agent"].as_str()), (Code::NotItsOwn, "host-a"));
        let claims = place.details().await.unwrap().claims;
        assert_eq!((claims[0].instance.as_str(), claims[0].agent.as_str()), ("a", "host-x"));
    }
    let shown = place.details().await.unwrap().instances;
    let report = shown.iter().find(|it| it.name == "a").unwrap();
    assert_eq!(report.agent, "host-a");
    assert_ne!(report.report, Some(foreign().into()), "what it said is nowhere");
    place.coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_answers_an_order_of_another_is_shut_out_and_the_order_stands() {
    let place = Place::new(&[]).await;
    let manners = Manners { ignores: Some(Phase::Rehearse), ..Manners::default() };
    let owner = place.agent("a", Seen::default(), manners);
    let upgrade = place.site.client().begin().await;
    let order = until("the rehearsal to be in hand", || async {
        owner.journal.lock().unwrap().orders.keys().find(|id| id.phase == Phase::Rehearse).cloned()
    })
    .await;
    let content = owner.journal.lock().unwrap().orders[&order].content;
    let failure =
        Failure { kind: FailureKind::Failed, effect: Effect::None, message: "no".to_owned(), remedy: String::new() };
    let answer = AgentMessage::Outcome { order: order.clone(), content, outcome: Outcome::Failed(failure) };
    let link = Link::of(place.channel(&["host-x"]).await, hello("host-x", "m2", &[])).await;
    link.say(answer.clone()).await;
    let refused = link.end().await;
    assert_eq!((refused.code, refused.metadata["agent"].as_str()), (Code::NotItsOwn, "host-a"));
    // Of one that is settled nothing is taken either: it is told late by nobody but whom it was given to.
    let settled = until("a settled order", || async {
        let journal = owner.journal.lock().unwrap();
        journal.orders.iter().find(|(_, entry)| entry.acknowledged).map(|(id, entry)| (id.clone(), entry.content))
    })
    .await;
    let mut link = Link::of(place.channel(&["host-x"]).await, hello("host-x", "m2", &[])).await;
    link.next().await.unwrap();
    let AgentMessage::Outcome { outcome, .. } = answer else { panic!() };
    link.say(AgentMessage::Outcome { order: settled.0, content: settled.1, outcome }).await;
    link.say(AgentMessage::Hello(cutover_vocabulary::link::Hello {
        agent: host::agent("host-x"),
        incarnation: "inc".to_owned(),
        machine: "m2".to_owned(),
        boot: "boot".to_owned(),
        epoch: Default::default(),
        in_hand: Vec::new(),
        instances: Vec::new(),
        stands_by: false,
        newest: Default::default(),
    }))
    .await;
    // The second hello ends the link, so what was before it was heard: nothing of it was acknowledged.
    assert_eq!(link.end().await.code, Code::InvalidArgument);
    assert_eq!(place.site.client().status(&upgrade).await.state, State::Running);
    assert!(place.site.orders(&upgrade).await.contains_key(&order));
    place.coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_hosts_with_one_certificate_one_is_served_and_the_other_is_named() {
    let place = Place::new(&[]).await;
    let first = hello("host-a", "m1", &["a"]);
    let mut served = Link::of(place.channel(&["host-a"]).await, first.clone()).await;
    served.next().await.unwrap();
    place.there(1).await;
    let copies = [
        // The certificate was copied.
        pb::Hello { machine: "m2".to_owned(), incarnation: "another journal".to_owned(), ..first.clone() },
        // The certificate and the journal were copied.
        pb::Hello { machine: "m2".to_owned(), ..first.clone() },
        // The whole host was copied, its machine id with it.
        pb::Hello { boot: "another boot".to_owned(), ..first.clone() },
    ];
    for copy in copies {
        let machine = copy.machine.clone();
        let refused = Link::of(place.channel(&["host-a"]).await, copy).await.end().await;
        assert_eq!((refused.code, refused.metadata["machine"].as_str()), (Code::AgentNameTaken, "m1"));
        let claims = place.details().await.unwrap().claims;
        assert_eq!((claims[0].instance.as_str(), claims[0].machine.as_str()), ("a", machine.as_str()));
    }
    // The first one is served on: what it says is heard.
    let newer = host::report("a", RunState::Running { pid: 42 }, host::now(9).wall);
    served.say(AgentMessage::Report(vec![newer.clone()])).await;
    until("its report", || async {
        let details = place.details().await?;
        (details.instances[0].report == Some(newer.clone().into())).then_some(())
    })
    .await;
    // The same agent again, on a new link, takes the place of the old one.
    let mut again = Link::of(place.channel(&["host-a"]).await, first).await;
    again.next().await.unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(20), async { while served.next().await.is_ok() {} }).await;
    ended.expect("the end of the former link");
    assert!(place.details().await.unwrap().claims.is_empty());
    place.coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_replaced_while_the_coordinator_runs_is_shown_to_the_next_who_calls() {
    let place = Place::new(&["ops"]).await;
    let mut standing = FleetClient::new(place.channel(&["ops"]).await);
    standing.get_leader(pb::GetLeaderRequest {}).await.unwrap();
    let next = Authority::new("next");
    next.issue(&["127.0.0.1"], &place.site.dir.path().join("coordinator"));
    assert!(connect_with(&place.endpoint, Some(&place.certificate(&["ops"]))).await.is_err());
    let ops = tls(next.issue(&["ops"], &place.site.dir.path().join("next")));
    let mut fresh = FleetClient::new(connect_with(&place.endpoint, Some(&ops)).await.unwrap());
    assert!(fresh.get_leader(pb::GetLeaderRequest {}).await.unwrap().into_inner().leading);
    // Who was let in stays.
    standing.get_leader(pb::GetLeaderRequest {}).await.unwrap();
    place.coordinator.stop().await;
}

#[test]
fn without_tls_an_address_that_others_can_reach_is_refused() {
    for address in ["http://0.0.0.0:7443", "http://10.0.0.7:7443", "http://[::]:7443"] {
        let text = format!("name = \"c\"\nlisten = [\"unix:/run/c.sock\", \"{address}\"]\nstore = \"memory\"\n");
        let error = Settings::parse(&text, Path::new("c.toml")).unwrap_err().to_string();
        assert!(error.contains("listen") && error.contains("TLS"), "{error}");
    }
}
