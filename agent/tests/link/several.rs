//! An agent of several coordinators: one leads, the others follow, and who does changes.

use super::*;
use cutover_proto::Refused;
use cutover_vocabulary::link::{Followed, Standby};

/// Two coordinators, and an agent that is linked to both: the first leads under epoch 1, the other follows it.
struct Two {
    bench: Bench,
    agent: Running,
    leader: Linked,
    second: Coordinator,
    follower: Linked,
}

impl Two {
    async fn new() -> Self {
        let mut bench = Bench::new().await;
        let mut second = Coordinator::start(&bench.folder.path().join("c2.sock")).await;
        let agent = bench.start_with(vec![bench.coordinator.endpoint.clone(), second.endpoint.clone()]);
        let (leader, _) = bench.welcome(1).await;
        let mut follower = second.next_link().await;
        let AgentMessage::Hello(hello) = follower.first().await else { panic!("the first message is a hello") };
        assert!(hello.stands_by);
        let followed = Followed { leader: "c-1".to_owned(), epoch: Epoch(1) };
        follower.stands_by(Standby::Following(Some(followed))).await;
        Self { bench, agent, leader, second, follower }
    }

    /// The second begins to lead under epoch 2.
    async fn elected(&mut self) -> Linked {
        self.follower.stands_by(Standby::Following(None)).await;
        self.follower.stands_by(Standby::Leading).await;
        self.follower.ends().await;
        let mut leader = self.second.next_link().await;
        let AgentMessage::Hello(_) = leader.first().await else { panic!("the first message is a hello") };
        leader.say(2, Say::Welcome).await;
        leader
    }
}

#[tokio::test]
async fn a_coordinator_that_begins_to_lead_has_the_agent_over_the_connection_that_stood() {
    let mut two = Two::new().await;
    let quick = order("u1", 1, "quick");
    let mut leader = two.elected().await;
    leader.say(2, please(&quick)).await;
    assert_eq!(leader.next().await, outcome_of(&quick, done()));
    assert_eq!((two.bench.coordinator.connections(), two.second.connections()), (1, 1));
    two.agent.stop().await;
}

#[tokio::test]
async fn a_leader_that_was_deposed_and_does_not_know_is_refused_over_its_link_and_the_new_one_hears_nothing_of_it() {
    let mut two = Two::new().await;
    let slow = order("u1", 1, "slow");
    two.leader.say(1, please(&slow)).await;
    two.bench.host.begun(&slow.id).await;
    let mut leader = two.elected().await;
    let known = order("u1", 2, "quick");
    leader.say(2, please(&known)).await;
    assert_eq!(leader.next().await, outcome_of(&known, done()));

    let late = order("u1", 3, "quick");
    two.leader.say(1, please(&late)).await;
    let why = Refusal::OldEpoch { sent: Epoch(1), known: Epoch(2) };
    assert_eq!(two.leader.next().await, AgentMessage::Refused { order: late.id.clone(), why });
    // What it gave while it led is answered to who leads when it ends.
    two.bench.host.release();
    assert_eq!(leader.next_but(&outcome_of(&known, done())).await, outcome_of(&slow, done()));
    assert!(!two.bench.host.performed().contains(&late.id));
    two.agent.stop().await;
}

#[tokio::test]
async fn what_the_former_leader_may_not_have_stored_is_said_first_on_the_new_leaders_link() {
    let mut two = Two::new().await;
    let quick = order("u1", 1, "quick");
    two.leader.say(1, please(&quick)).await;
    assert_eq!(two.leader.next().await, outcome_of(&quick, done()));
    drop(two.leader);
    two.follower.stands_by(Standby::Leading).await;
    let mut leader = two.second.next_link().await;
    let AgentMessage::Hello(hello) = leader.first().await else { panic!("the first message is a hello") };
    assert_eq!(hello.in_hand, [(quick.id.clone(), quick.content())]);
    leader.say(2, Say::Welcome).await;
    assert_eq!(leader.next().await, outcome_of(&quick, done()));
    two.agent.stop().await;
}

#[tokio::test]
async fn the_end_of_a_followers_link_leaves_the_leaders_at_work() {
    let mut two = Two::new().await;
    drop(two.follower);
    let _again = two.second.next_link().await;
    let quick = order("u1", 1, "quick");
    two.leader.say(1, please(&quick)).await;
    assert_eq!(two.leader.next().await, outcome_of(&quick, done()));
    two.agent.stop().await;
}

#[tokio::test]
async fn a_coordinator_of_an_older_release_that_refuses_to_follow_is_tried_until_it_leads() {
    let mut bench = Bench::new().await;
    let agent = bench.start();
    for _ in 0..3 {
        bench.coordinator.next_link().await.refuse(Refused::not_leader(Some("c-2"))).await;
    }
    let (mut linked, _) = bench.welcome(1).await;
    let quick = order("u1", 1, "quick");
    linked.say(1, please(&quick)).await;
    assert_eq!(linked.next().await, outcome_of(&quick, done()));
    assert_eq!(bench.coordinator.connections(), 1, "a refusal is no reason to connect anew");
    agent.stop().await;
}

#[tokio::test]
async fn a_coordinator_that_says_nothing_but_that_it_leads_does_not_keep_the_agent_busy() {
    let mut bench = Bench::new().await;
    let agent = bench.start();
    let before = tokio::time::Instant::now();
    // Of two, one is tried at once and one after a pause, which grows.
    for _ in 0..8 {
        bench.coordinator.next_link().await.stands_by(Standby::Leading).await;
    }
    assert!(before.elapsed() >= Duration::from_millis(10 + 20 + 40), "{:?}", before.elapsed());
    agent.stop().await;
}
