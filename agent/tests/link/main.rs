//! The agent at a real link: a coordinator in this process on a Unix socket, a journal on disk, and a host that does as
//! it is told.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot be set up has failed")]

mod coordinator;
mod host;
mod several;

use coordinator::{Coordinator, Linked};
use cutover_agent::journal::Journal;
use cutover_agent::run::{Agent, Pace, journal_file};
use cutover_desk::Host;
use cutover_proto::transport::Endpoint;
use cutover_proto::v1::{self, coordinator_message};
use cutover_vocabulary::fact::Settlement;
use cutover_vocabulary::link::{AgentMessage, Permit, Refusal, Say};
use cutover_vocabulary::outcome::{Effect, FailureKind};
use cutover_vocabulary::survey::SurveyAsk;
use cutover_vocabulary::{Digest, Epoch, Order, Outcome, Version};
use host::{FakeHost, done, order};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A folder with a socket and a state directory, a coordinator, and a host.
struct Bench {
    folder: tempfile::TempDir,
    coordinator: Coordinator,
    host: Arc<FakeHost>,
}

impl Bench {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let coordinator = Coordinator::start(&folder.path().join("c.sock")).await;
        Self { folder, coordinator, host: Arc::new(FakeHost::default()) }
    }

    fn start(&self) -> Running {
        self.start_with(vec![self.coordinator.endpoint.clone()])
    }

    fn start_with(&self, coordinators: Vec<Endpoint>) -> Running {
        let agent = Agent {
            host: Host {
                agent: "agent-1".parse().unwrap(),
                instances: ["quick", "slow", "panics"]
                    .into_iter()
                    .map(|name| (name.parse().unwrap(), "prod".parse().unwrap()))
                    .collect(),
            },
            journal: journal_file(self.folder.path()),
            coordinators,
            tls: None,
            machine: "machine-1".to_owned(),
            boot: "boot-1".to_owned(),
            pace: Pace {
                report: Duration::from_millis(50),
                look: Duration::from_millis(20),
                remind: Duration::from_secs(60),
                shortest_pause: Duration::from_millis(10),
                longest_pause: Duration::from_millis(50),
                jitter: false,
            },
        };
        let shutdown = CancellationToken::new();
        let host = Arc::clone(&self.host);
        let task = tokio::spawn(agent.run(host, shutdown.clone()));
        Running { task, shutdown }
    }

    /// The next link, welcomed under an epoch, and its hello.
    async fn welcome(&mut self, epoch: u64) -> (Linked, cutover_vocabulary::link::Hello) {
        let mut linked = self.coordinator.next_link().await;
        let AgentMessage::Hello(hello) = linked.first().await else { panic!("the first message is a hello") };
        linked.say(epoch, Say::Welcome).await;
        (linked, hello)
    }
}

struct Running {
    task: JoinHandle<Result<(), cutover_agent::journal::JournalError>>,
    shutdown: CancellationToken,
}

impl Running {
    async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap().unwrap();
    }
}

fn please(order: &Order) -> Say {
    Say::Do(Box::new(order.clone()))
}

fn outcome_of(order: &Order, outcome: Outcome) -> AgentMessage {
    AgentMessage::Outcome { order: order.id.clone(), content: order.content(), outcome }
}

#[tokio::test]
async fn an_order_is_done_once_answered_and_after_the_acknowledgement_not_mentioned_again() {
    let mut bench = Bench::new().await;
    let agent = bench.start();
    let quick = order("u1", 1, "quick");
    let (mut linked, hello) = bench.welcome(1).await;
    assert_eq!((hello.epoch, hello.in_hand.len(), hello.instances.len()), (Epoch(0), 0, 1));
    linked.say(1, please(&quick)).await;
    linked.say(1, please(&quick)).await;
    assert_eq!(linked.next().await, outcome_of(&quick, done()));
    linked.say(1, Say::Acknowledge(quick.id.clone())).await;
    // What is answered next has been read after the acknowledgement.
    linked.say(1, please(&order("u1", 2, "quick"))).await;
    assert_eq!(linked.next_but(&outcome_of(&quick, done())).await, outcome_of(&order("u1", 2, "quick"), done()));
    linked.say(1, Say::Acknowledge(order("u1", 2, "quick").id)).await;
    drop(linked);

    let (mut linked, hello) = bench.welcome(1).await;
    assert_eq!((hello.epoch, hello.in_hand), (Epoch(1), vec![]));
    let last = order("u1", 3, "quick");
    linked.say(1, please(&last)).await;
    assert_eq!(linked.next().await, outcome_of(&last, done()), "nothing was said before it");
    assert_eq!(bench.host.performed(), [quick.id, order("u1", 2, "quick").id, last.id]);
    agent.stop().await;
}

#[tokio::test]
async fn a_link_that_breaks_before_the_acknowledgement_brings_the_outcome_again() {
    let mut bench = Bench::new().await;
    let agent = bench.start();
    let quick = order("u1", 1, "quick");
    let (mut linked, _) = bench.welcome(1).await;
    linked.say(1, please(&quick)).await;
    assert_eq!(linked.next().await, outcome_of(&quick, done()));
    drop(linked);
    let (mut linked, hello) = bench.welcome(1).await;
    assert_eq!(hello.in_hand, [(quick.id.clone(), quick.content())]);
    assert_eq!(linked.next().await, outcome_of(&quick, done()));
    assert_eq!(bench.host.performed(), [quick.id]);
    agent.stop().await;
}

#[tokio::test]
async fn an_outcome_that_comes_while_nobody_is_linked_is_the_first_thing_said_then() {
    let mut bench = Bench::new().await;
    let agent = bench.start();
    let slow = order("u1", 1, "slow");
    let (linked, _) = bench.welcome(1).await;
    linked.say(1, please(&slow)).await;
    bench.host.begun(&slow.id).await;
    let linked = {
        drop(linked);
        bench.coordinator.next_link().await
    };
    bench.host.release();
    drop(linked);
    let (mut linked, _) = bench.welcome(1).await;
    assert_eq!(linked.next().await, outcome_of(&slow, done()));
    agent.stop().await;
}

#[tokio::test]
async fn an_agent_that_restarts_with_an_order_in_hand_takes_it_up_again_and_answers_once() {
    let mut bench = Bench::new().await;
    let agent = bench.start();
    let slow = order("u1", 1, "slow");
    let (linked, first) = bench.welcome(1).await;
    linked.say(1, please(&slow)).await;
    bench.host.begun(&slow.id).await;
    agent.stop().await;
    assert!(bench.host.stops().iter().all(|stop| !stop.is_cancelled()), "a shutdown stops no work");
    drop(linked);

    let agent = bench.start();
    let (mut linked, second) = bench.welcome(1).await;
    assert_eq!(second.incarnation, first.incarnation);
    assert_eq!(second.in_hand, [(slow.id.clone(), slow.content())]);
    linked.say(1, please(&slow)).await;
    bench.host.release();
    assert_eq!(linked.next().await, outcome_of(&slow, done()));
    assert_eq!(bench.host.performed(), [slow.id.clone(), slow.id.clone()]);
    linked.say(1, Say::Acknowledge(slow.id.clone())).await;
    let next = order("u1", 2, "quick");
    linked.say(1, please(&next)).await;
    // The order that was repeated may have found its outcome there, and was then answered twice.
    assert_eq!(linked.next_but(&outcome_of(&slow, done())).await, outcome_of(&next, done()));
    assert_eq!(bench.host.performed(), [slow.id.clone(), slow.id, next.id]);
    agent.stop().await;
}

#[tokio::test]
async fn a_fenced_leader_is_refused_and_after_a_restart_its_link_is_not_kept() {
    let mut bench = Bench::new().await;
    let agent = bench.start();
    let (mut linked, _) = bench.welcome(7).await;
    let quick = order("u1", 1, "quick");
    let refused =
        AgentMessage::Refused { order: quick.id.clone(), why: Refusal::OldEpoch { sent: Epoch(6), known: Epoch(7) } };
    linked.say(6, please(&quick)).await;
    assert_eq!(linked.next().await, refused);
    agent.stop().await;
    drop(linked);
    let agent = bench.start();
    let (mut linked, hello) = bench.welcome(6).await;
    assert_eq!(hello.epoch, Epoch(7));
    linked.ends().await;
    assert_eq!(bench.host.performed(), []);
    agent.stop().await;
}

#[tokio::test]
async fn work_that_panics_is_a_failure_of_unknown_effect_and_takes_nothing_else_along() {
    let mut bench = Bench::new().await;
    let agent = bench.start();
    let (mut linked, _) = bench.welcome(1).await;
    let panics = order("u1", 1, "panics");
    linked.say(1, please(&panics)).await;
    let AgentMessage::Outcome { outcome: Outcome::Failed(failure), .. } = linked.next().await else { panic!() };
    assert_eq!((failure.kind, failure.effect), (FailureKind::Interrupted, Effect::Unknown));
    assert!(failure.message.contains("a test wants it"), "{failure}");
    let quick = order("u1", 1, "quick");
    linked.say(1, please(&quick)).await;
    assert_eq!(linked.next().await, outcome_of(&quick, done()));
    agent.stop().await;
}

#[tokio::test]
async fn a_revoke_stops_the_work_and_is_answered_with_what_is_true_then() {
    let mut bench = Bench::new().await;
    let agent = bench.start();
    let (mut linked, _) = bench.welcome(1).await;
    let slow = order("u1", 1, "slow");
    linked.say(1, please(&slow)).await;
    bench.host.begun(&slow.id).await;
    linked.say(1, Say::Revoke(slow.id.clone())).await;
    let AgentMessage::Revoked { order: id, settlement: Settlement::Stopped(failure) } = linked.next().await else {
        panic!()
    };
    assert_eq!((id, failure.message.as_str()), (slow.id.clone(), "stopped"));

    let never = order("u1", 2, "quick");
    linked.say(1, Say::Revoke(never.id.clone())).await;
    let settled = AgentMessage::Revoked { order: never.id.clone(), settlement: Settlement::NeverBegun };
    assert_eq!(linked.next().await, settled);
    linked.say(1, please(&never)).await;
    let refused = AgentMessage::Refused { order: never.id.clone(), why: Refusal::RevokedBefore };
    assert_eq!(linked.next().await, refused);
    agent.stop().await;
}

#[tokio::test]
async fn a_survey_is_answered_while_an_order_is_in_hand() {
    let mut bench = Bench::new().await;
    let agent = bench.start();
    let (mut linked, _) = bench.welcome(1).await;
    let slow = order("u1", 1, "slow");
    linked.say(1, please(&slow)).await;
    bench.host.begun(&slow.id).await;
    let ask = SurveyAsk { deployment: "prod".parse().unwrap(), target: Version::new(1, 4, 6) };
    linked.say(1, Say::Survey { request: "r1".parse().unwrap(), ask }).await;
    let AgentMessage::Surveyed { request, survey } = linked.next().await else { panic!() };
    assert_eq!((request.as_str(), survey.agent.as_str()), ("r1", "agent-1"));
    agent.stop().await;
}

#[tokio::test]
async fn a_takeover_in_the_journal_is_told_and_refuses_what_comes_after() {
    let mut bench = Bench::new().await;
    let agent = bench.start();
    let (mut linked, _) = bench.welcome(1).await;
    let (mut journal, _) = Journal::beside(&journal_file(bench.folder.path())).await.unwrap();
    journal.take_over("u1".parse().unwrap(), "by hand".to_owned()).await.unwrap();
    let told = AgentMessage::TakenOver { upgrade: "u1".parse().unwrap(), note: "by hand".to_owned() };
    assert_eq!(linked.next().await, told);
    let quick = order("u1", 1, "quick");
    linked.say(1, please(&quick)).await;
    let why = Refusal::TakenOver("by hand".to_owned());
    assert_eq!(linked.next().await, AgentMessage::Refused { order: quick.id, why });
    agent.stop().await;
}

/// An order as it is said, changed before it is on the wire.
fn spoilt(change: fn(&mut v1::Do)) -> coordinator_message::Say {
    let mut wire = v1::Do::from(order("u1", 1, "quick"));
    change(&mut wire);
    coordinator_message::Say::Do(wire)
}

#[tokio::test]
async fn a_message_that_is_not_understood_ends_the_link_and_nothing_else() {
    let mut bench = Bench::new().await;
    let agent = bench.start();
    let nonsense = [
        None,
        Some(coordinator_message::Say::Do(v1::Do::default())),
        Some(coordinator_message::Say::Revoke(v1::Revoke { order: None })),
        Some(coordinator_message::Say::Acknowledge(v1::Acknowledge { order: Some(v1::OrderId::default()) })),
        Some(coordinator_message::Say::Survey(v1::Survey { request: "'; --".to_owned(), ..Default::default() })),
        Some(spoilt(|wire| wire.order = None)),
        Some(spoilt(|wire| wire.agent = "somebody-else".to_owned())),
        Some(spoilt(|wire| wire.content_sha256 = Digest::of(b"x").to_string())),
        Some(spoilt(|wire| wire.order_json = wire.order_json.slice(1..))),
        Some(spoilt(|wire| wire.order_json = vec![b'['; 100_000].into())),
    ];
    for say in nonsense {
        let (linked, _) = bench.welcome(1).await;
        linked.say_raw(v1::CoordinatorMessage { epoch: 1, say }).await;
    }
    let (mut linked, hello) = bench.welcome(1).await;
    assert_eq!((hello.in_hand, bench.host.performed()), (vec![], vec![]));
    let quick = order("u1", 1, "quick");
    linked.say(1, please(&quick)).await;
    assert_eq!(linked.next().await, outcome_of(&quick, done()));
    agent.stop().await;
}

/// Orders before a welcome, acknowledgements and revokes of what nobody heard of.
#[tokio::test]
async fn what_a_coordinator_says_out_of_turn_leaves_the_agent_at_work() {
    let mut bench = Bench::new().await;
    let agent = bench.start();
    let mut linked = bench.coordinator.next_link().await;
    let AgentMessage::Hello(_) = linked.first().await else { panic!("the first message is a hello") };
    let (early, unknown) = (order("u1", 1, "quick"), order("u9", 7, "quick"));
    linked.say(1, please(&early)).await;
    linked.ends().await;
    assert_eq!(bench.host.performed(), [], "nothing counts before the welcome, which tells who leads");
    let (mut linked, _) = bench.welcome(1).await;
    linked.say(1, please(&early)).await;
    linked.say(1, Say::Acknowledge(unknown.id.clone())).await;
    linked.say(1, Say::Revoke(unknown.id.clone())).await;
    linked.say(1, Say::Welcome).await;
    let never = AgentMessage::Revoked { order: unknown.id.clone(), settlement: Settlement::NeverBegun };
    let mut answers = vec![linked.next().await];
    answers.push(linked.next_but(&answers[0]).await);
    assert!(answers.contains(&outcome_of(&early, done())) && answers.contains(&never), "{answers:?}");
    assert_eq!(bench.host.performed(), [early.id]);
    agent.stop().await;
}

/// A unit that does not come up must not keep another one free that has to stay down by now.
#[tokio::test]
async fn a_newer_word_on_what_may_start_does_not_wait_for_a_start_that_takes_long() {
    let mut bench = Bench::new().await;
    let agent = bench.start();
    let (linked, _) = bench.welcome(1).await;
    let word = |instance: &str, permit| Say::Permits([(instance.parse().unwrap(), permit)].into());
    linked.say(1, word("slow", Permit::Start)).await;
    bench.host.permitted(1, "slow").await;
    linked.say(1, word("quick", Permit::Stay { why: "it is old".to_owned() })).await;
    bench.host.permitted(1, "quick").await;
    agent.stop().await;
}

#[tokio::test]
async fn reports_follow_each_other_on_a_standing_link() {
    let mut bench = Bench::new().await;
    let agent = bench.start();
    let (mut linked, _) = bench.welcome(1).await;
    assert_eq!(linked.report().await.len(), 1);
    assert_eq!(linked.report().await.len(), 1);
    agent.stop().await;
}

#[tokio::test]
async fn looks_at_the_instances_that_fail_stop_neither_link_nor_work() {
    let mut bench = Bench::new().await;
    bench.host.fail_looks(true);
    let agent = bench.start();
    let (mut linked, _) = bench.welcome(1).await;
    let quick = order("u1", 1, "quick");
    linked.say(1, please(&quick)).await;
    assert_eq!(linked.next().await, outcome_of(&quick, done()));
    bench.host.fail_looks(false);
    while linked.report().await.is_empty() {}
    agent.stop().await;
}

#[tokio::test]
async fn a_coordinator_that_comes_later_is_found() {
    let mut bench = Bench::new().await;
    bench.coordinator.stop().await;
    let agent = bench.start();
    bench.host.observed().await;
    bench.coordinator = Coordinator::start(&bench.folder.path().join("c.sock")).await;
    let (_linked, hello) = bench.welcome(1).await;
    assert_eq!(hello.agent.as_str(), "agent-1");
    agent.stop().await;
}

#[tokio::test]
async fn two_agents_on_one_state_directory_are_one_too_many() {
    let mut bench = Bench::new().await;
    let agent = bench.start();
    let (_linked, _) = bench.welcome(1).await;
    let error = bench.start().task.await.unwrap().unwrap_err();
    assert!(error.to_string().contains("in use by another agent"), "{error}");
    agent.stop().await;
}
