//! Two coordinators on one etcd: one leads, and stops by itself before the other one does.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests may panic")]

mod support;

use cutover_coordinator::faults::NoFaults;
use cutover_proto::transport::{Endpoint, connect_lazy};
use cutover_proto::v1::agent_link_client::AgentLinkClient;
use cutover_proto::v1::fleet_client::FleetClient;
use cutover_proto::v1::upgrades_client::UpgradesClient;
use cutover_proto::{Code, Refused, v1 as pb};
use cutover_store::{EtcdSettings, EtcdStore};
use cutover_test_etcd::Etcd;
use cutover_test_etcd::proxy::Proxy;
use cutover_vocabulary::link::{AgentMessage, Heard, Hello, Say};
use std::sync::Arc;
use std::time::{Duration, Instant};
use support::{Backend, Coordinator, Site, until};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

const LEASE: Duration = Duration::from_secs(2);

/// A coordinator that reaches etcd at one address, and where it listens.
async fn coordinator(name: &str, etcd: &str) -> (Site, Endpoint, Coordinator) {
    coordinator_of(name, [etcd.to_owned()]).await
}

/// The same at several.
async fn coordinator_of(name: &str, etcd: impl IntoIterator<Item = String>) -> (Site, Endpoint, Coordinator) {
    let mut site = Site::memory();
    let settings = EtcdSettings { lease: LEASE, ..EtcdSettings::new(etcd) };
    site.backend = Backend::Other(Arc::new(EtcdStore::open(settings).unwrap()));
    let endpoint = site.endpoint.clone();
    let running = site.coordinator_at(name, &endpoint, Arc::new(NoFaults)).await;
    (site, endpoint, running)
}

/// When it begins to serve as the leader, or ends: it says so without a look at etcd, which would take its time where that is away.
#[expect(clippy::disallowed_methods, reason = "which of two moments was first")]
async fn moment(what: &str, endpoint: &Endpoint, leading: bool) -> Instant {
    let health = HealthClient::new(connect_lazy(endpoint));
    let wanted = if leading { ServingStatus::Serving } else { ServingStatus::NotServing };
    until(what, || async {
        let asked = HealthCheckRequest { service: "cutover.v1.Upgrades".to_owned() };
        let said = health.clone().check(asked).await.ok()?.into_inner();
        (said.status() == wanted).then_some(())
    })
    .await;
    Instant::now()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_cut_off_from_etcd_stops_leading_before_the_other_one_begins() {
    let etcd = Etcd::start(1);
    let proxy = Proxy::to(etcd.address(0));
    let (first_site, first, first_runs) = coordinator("c-1", &proxy.url()).await;
    moment("c-1 leads", &first, true).await;
    let (_second_site, second, second_runs) = coordinator("c-2", &etcd.endpoint(0)).await;
    moment("c-2 follows", &second, false).await;
    proxy.cut();
    let (ended, began) = tokio::join!(moment("c-1 stops", &first, false), moment("c-2 leads", &second, true));
    assert!(ended < began, "two led for {:?}", ended - began);
    proxy.mend();
    second_runs.stop().await;
    // In order, the lease of nobody is waited for.
    moment("c-1 leads again", &first, true).await;
    first_runs.stop().await;
    drop(first_site);
}

/// A link of an agent that was welcomed, with the end that keeps it.
async fn welcomed(endpoint: &Endpoint) -> (mpsc::Sender<pb::AgentMessage>, Streaming<pb::CoordinatorMessage>) {
    let hello = Hello {
        agent: support::host::agent("host-a"),
        incarnation: "inc".to_owned(),
        machine: "m1".to_owned(),
        boot: "boot".to_owned(),
        epoch: Default::default(),
        in_hand: Vec::new(),
        instances: Vec::new(),
        stands_by: true,
        newest: Default::default(),
    };
    let (say, said) = mpsc::channel(8);
    say.send(AgentMessage::Hello(hello).into()).await.unwrap();
    let attached = AgentLinkClient::new(connect_lazy(endpoint)).attach(ReceiverStream::new(said)).await.unwrap();
    let mut heard = attached.into_inner();
    let welcome = Heard::try_from(heard.message().await.unwrap().unwrap()).unwrap();
    assert!(matches!(&welcome, Heard::Leader(message) if message.say == Say::Welcome), "{welcome:?}");
    (say, heard)
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::disallowed_methods, reason = "which of two moments was first")]
async fn a_leader_to_which_no_member_of_etcd_answers_ends_its_links_before_another_one_leads() {
    let etcd = Etcd::start(1);
    let members = [(); 3].map(|()| Proxy::to(etcd.address(0)));
    let (first_site, first, first_runs) = coordinator_of("c-1", members.each_ref().map(Proxy::url)).await;
    moment("c-1 leads", &first, true).await;
    let (_second_site, second, second_runs) = coordinator("c-2", &etcd.endpoint(0)).await;
    let (_say, mut heard) = welcomed(&first).await;
    // It looks every two seconds whether it leads: the next look falls into the outage, and asks three members one after the other.
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    members.iter().for_each(Proxy::cut);
    let link_ends = async {
        while heard.message().await.is_ok_and(|message| message.is_some()) {}
        Instant::now()
    };
    let (ended, began) = tokio::join!(link_ends, moment("c-2 leads", &second, true));
    assert!(ended < began, "an agent was linked to two leaders for {:?}", ended - began);
    members.iter().for_each(Proxy::mend);
    second_runs.stop().await;
    first_runs.stop().await;
    drop(first_site);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_says_who_is_there_and_where_the_leader_is_reached() {
    let etcd = Etcd::start(1);
    let (_first_site, first, first_runs) = coordinator("c-1", &etcd.endpoint(0)).await;
    moment("c-1 leads", &first, true).await;
    let (_second_site, second, second_runs) = coordinator("c-2", &etcd.endpoint(0)).await;
    let refused = until("c-2 to know where c-1 is", || async {
        let asked = pb::GetUpgradeRequest { upgrade: "none".to_owned() };
        let status = UpgradesClient::new(connect_lazy(&second)).get(asked).await.err()?;
        Refused::of(&status).filter(|refused| refused.metadata.contains_key("address"))
    })
    .await;
    let address = first.to_string();
    assert_eq!(refused.code, Code::NotLeader);
    assert_eq!(refused.metadata["leader"], "c-1");
    assert_eq!(refused.metadata["address"], address);
    assert!(refused.remedy.contains(&address), "{refused}");
    for asked in [&first, &second] {
        let all = until("both to be there", || async {
            let said = FleetClient::new(connect_lazy(asked)).get_leader(pb::GetLeaderRequest {}).await.ok()?;
            Some(said.into_inner()).filter(|said| said.coordinators.len() == 2)
        })
        .await;
        let there: Vec<_> = all.coordinators.iter().map(|it| (it.name.as_str(), it.address(), it.leads)).collect();
        assert_eq!(there, [("c-1", address.as_str(), true), ("c-2", second.to_string().as_str(), false)]);
        assert_eq!(all.leading, asked == &first);
    }
    second_runs.stop().await;
    first_runs.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn coordinators_see_each_other_until_they_end() {
    let etcd = Etcd::start(1);
    let (first_site, first, first_runs) = coordinator("c-1", &etcd.endpoint(0)).await;
    let (second_site, second, second_runs) = coordinator("c-2", &etcd.endpoint(0)).await;
    let store = first_site.store().await;
    let there = || async {
        let there = store.coordinators().await.unwrap();
        there.into_iter().map(|one| (one.name.to_string(), one.address.unwrap())).collect::<Vec<_>>()
    };
    let expected = [("c-1".to_owned(), first.to_string()), ("c-2".to_owned(), second.to_string())];
    until("both are there", || async { (there().await == expected).then_some(()) }).await;
    second_runs.stop().await;
    until("c-2 is gone", || async { (there().await == expected[..1]).then_some(()) }).await;
    first_runs.stop().await;
    until("c-1 is gone", || async { there().await.is_empty().then_some(()) }).await;
    drop(second_site);
}
