//! A coordinator that follows keeps its links: it says who leads, and calls when it leads itself.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests may panic")]

mod support;

use cutover_coordinator::faults::NoFaults;
use cutover_proto::transport::{Endpoint, connect_lazy};
use cutover_proto::v1::agent_link_client::AgentLinkClient;
use cutover_proto::v1::fleet_client::FleetClient;
use cutover_proto::{Code, Refused, v1 as pb};
use cutover_vocabulary::link::{AgentMessage, Followed, Heard, Hello, Say, Standby};
use std::sync::Arc;
use std::time::Duration;
use support::{Coordinator, Site, until};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

struct Link {
    _say: mpsc::Sender<pb::AgentMessage>,
    heard: Streaming<pb::CoordinatorMessage>,
}

impl Link {
    async fn over(line: &Channel, stands_by: bool) -> Self {
        let hello = Hello {
            agent: support::host::agent("host-a"),
            incarnation: "inc".to_owned(),
            machine: "m1".to_owned(),
            boot: "boot".to_owned(),
            epoch: Default::default(),
            in_hand: Vec::new(),
            instances: Vec::new(),
            stands_by,
            newest: Default::default(),
        };
        let (say, said) = mpsc::channel(8);
        say.send(AgentMessage::Hello(hello).into()).await.unwrap();
        let attached = AgentLinkClient::new(line.clone()).attach(ReceiverStream::new(said)).await.unwrap();
        Self { _say: say, heard: attached.into_inner() }
    }

    async fn next(&mut self) -> Result<Option<Heard>, Status> {
        let next = tokio::time::timeout(Duration::from_secs(20), self.heard.message()).await.expect("in time")?;
        Ok(next.map(|message| Heard::try_from(message).unwrap()))
    }
}

/// One that leads as c-1, and one that follows as c-2, with a connection to it.
async fn two(site: &Site) -> (Coordinator, Coordinator, Channel) {
    let first = site.coordinator().await;
    let mut fleet = FleetClient::new(connect_lazy(&site.endpoint));
    until("the first to lead", || {
        let mut fleet = fleet.clone();
        async move { fleet.get_leader(pb::GetLeaderRequest {}).await.ok()?.into_inner().leading.then_some(()) }
    })
    .await;
    let leader = fleet.get_leader(pb::GetLeaderRequest {}).await.unwrap().into_inner();
    assert_eq!(leader.name.as_deref(), Some("c-1"));
    let beside = Endpoint::Unix(site.dir.path().join("c2.sock"));
    let second = site.coordinator_at("c-2", &beside, Arc::new(NoFaults)).await;
    (first, second, connect_lazy(&beside))
}

fn follows(name: &str, epoch: u64) -> Heard {
    let followed = Followed { leader: name.to_owned(), epoch: cutover_vocabulary::Epoch(epoch) };
    Heard::Follower(Standby::Following(Some(followed)))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_stands_by_is_told_who_leads_and_then_that_it_is_to_attach_anew() {
    let site = Site::memory();
    let (first, second, line) = two(&site).await;
    let mut link = Link::over(&line, true).await;
    // It may not have looked yet whom it follows.
    let mut heard = link.next().await.unwrap().unwrap();
    while heard != follows("c-1", 1) {
        assert_eq!(heard, Heard::Follower(Standby::Following(None)));
        heard = link.next().await.unwrap().unwrap();
    }
    first.stop().await;
    let mut heard = link.next().await.unwrap().unwrap();
    while heard != Heard::Follower(Standby::Leading) {
        assert_eq!(heard, Heard::Follower(Standby::Following(None)), "nobody leads for a moment");
        heard = link.next().await.unwrap().unwrap();
    }
    assert_eq!(link.next().await.unwrap(), None, "the last word");
    let mut link = Link::over(&line, true).await;
    let Some(Heard::Leader(welcome)) = link.next().await.unwrap() else { panic!("a welcome") };
    assert_eq!((welcome.epoch.0, welcome.say), (2, Say::Welcome));
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_does_not_stand_by_is_refused_by_one_that_follows() {
    let site = Site::memory();
    let (first, second, line) = two(&site).await;
    let refused = Refused::of(&Link::over(&line, false).await.next().await.unwrap_err()).unwrap();
    assert_eq!((refused.code, refused.metadata["leader"].as_str()), (Code::NotLeader, "c-1"));
    second.stop().await;
    first.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_stops_ends_its_links_with_a_word() {
    let site = Site::memory();
    let (first, second, line) = two(&site).await;
    let mut link = Link::over(&line, true).await;
    let _ = link.next().await.unwrap().unwrap();
    let stopping = tokio::spawn(second.stop());
    let ended = loop {
        match link.next().await {
            Ok(Some(heard)) => assert!(matches!(heard, Heard::Follower(Standby::Following(_)))),
            Ok(None) => panic!("without a word"),
            Err(status) => break Refused::of(&status).unwrap(),
        }
    };
    assert_eq!(ended.code, Code::NotLeader);
    stopping.await.unwrap();
    first.stop().await;
}
