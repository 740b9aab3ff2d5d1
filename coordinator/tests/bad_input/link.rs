//! A link on which an agent says what makes no sense, or not in its turn.

use super::support::host::{self, Seen};
use super::support::{FakeAgent, Manners, Site, until};
use super::{HOSTILE, blames, can_be_printed, serves};
use cutover_proto::transport::{Endpoint, connect};
use cutover_proto::v1 as pb;
use cutover_proto::v1::agent_link_client::AgentLinkClient;
use cutover_proto::v1::agent_message::Say;
use cutover_proto::{Code, Refused};
use cutover_vocabulary::fact::Settlement;
use cutover_vocabulary::instance::RunState;
use cutover_vocabulary::link::{AgentMessage, Refusal};
use cutover_vocabulary::order::StepId;
use cutover_vocabulary::outcome::{Effect, FailureKind};
use cutover_vocabulary::survey::HostSurvey;
use cutover_vocabulary::{Digest, Failure, OrderId, Outcome, Phase, Subject, UpgradeId};
use tonic::Status;

/// Says all of this, one after the other, and waits for the end of the link.
async fn say(endpoint: &Endpoint, messages: Vec<pb::AgentMessage>) -> Status {
    let mut client = AgentLinkClient::new(connect(endpoint).await.unwrap());
    // It stays open on this side: the end is the coordinator's.
    let said = tokio_stream::StreamExt::chain(tokio_stream::iter(messages), tokio_stream::pending());
    let mut heard = match client.attach(said).await {
        Ok(answer) => answer.into_inner(),
        Err(status) => return status,
    };
    let end = async {
        loop {
            match heard.message().await {
                Ok(Some(_)) => {}
                Ok(None) => return Status::ok("the link was closed without a word"),
                Err(status) => return status,
            }
        }
    };
    let ended = tokio::time::timeout(std::time::Duration::from_secs(30), end).await;
    ended.unwrap_or_else(|_| Status::ok("the link stands"))
}

fn hello() -> pb::Hello {
    let (agent, machine) = ("host-x".to_owned(), "m1".to_owned());
    pb::Hello { agent, incarnation: "inc".to_owned(), machine, boot: "boot".to_owned(), ..Default::default() }
}

fn report() -> pb::InstanceReport {
    host::report("x", RunState::Stopped, host::now(0).wall).into()
}

fn message(say: Say) -> pb::AgentMessage {
    pb::AgentMessage { say: Some(say) }
}

/// An order of an upgrade that there never was.
fn no_such_order() -> OrderId {
    let step = StepId { stage: 3, run: 1, subject: Subject::Storage };
    OrderId { upgrade: UpgradeId::new("prod-77").unwrap(), step, phase: Phase::Drain, attempt: 1 }
}

fn outcome_json() -> Vec<u8> {
    let failure =
        Failure { kind: FailureKind::Failed, effect: Effect::None, message: "no".to_owned(), remedy: String::new() };
    serde_json::to_vec(&Outcome::Failed(failure)).unwrap()
}

/// Messages that mean nothing, each with the field that is blamed.
fn meaningless() -> Vec<(&'static str, pb::AgentMessage)> {
    let order = || Some(pb::OrderId::from(no_such_order()));
    let content_sha256 = || Digest::of(b"x").to_string();
    let outcome = |order, content_sha256, json: &[u8]| {
        let outcome_json = json.to_vec().into();
        message(Say::Outcome(pb::OrderOutcome { order, content_sha256, outcome_json }))
    };
    let revoked =
        |order, json: &[u8]| message(Say::Revoked(pb::OrderRevoked { order, settlement_json: json.to_vec().into() }));
    let surveyed = |request: &str, agent: &str, survey_json: Vec<u8>| {
        let (request, agent) = (request.to_owned(), agent.to_owned());
        message(Say::Surveyed(pb::Surveyed { request, agent, survey_json: survey_json.into() }))
    };
    let survey = serde_json::to_vec(&Seen::default().surveys()[0]).unwrap();
    let reported = |report| message(Say::Report(pb::Report { instances: vec![report] }));
    let ordered = |order: pb::OrderId| outcome(Some(order), content_sha256(), &outcome_json());
    let of = |change: fn(&mut pb::OrderId)| {
        let mut order = pb::OrderId::from(no_such_order());
        change(&mut order);
        ordered(order)
    };
    vec![
        ("say", pb::AgentMessage { say: None }),
        ("outcome.order", outcome(None, content_sha256(), &outcome_json())),
        ("outcome.content_sha256", outcome(order(), "abc".to_owned(), &outcome_json())),
        ("outcome.outcome_json", outcome(order(), content_sha256(), b"")),
        ("outcome.outcome_json", outcome(order(), content_sha256(), b"{\"Done\":{\"FromTheFuture\":{}}}")),
        ("outcome.outcome_json", outcome(order(), content_sha256(), &b"[".repeat(100_000))),
        ("outcome.order.upgrade", of(|order| order.upgrade.clear())),
        ("outcome.order.stage", of(|order| order.stage = 70_000)),
        ("outcome.order.phase", of(|order| order.phase = 0)),
        ("outcome.order.phase", of(|order| order.phase = 99)),
        ("outcome.order.subject", of(|order| order.subject = None)),
        ("revoked.order", revoked(None, b"{}")),
        ("revoked.settlement_json", revoked(order(), b"\xff")),
        ("refused.order", message(Say::Refused(pb::OrderRefused { order: None, why: None }))),
        ("refused.why", message(Say::Refused(pb::OrderRefused { order: order(), why: None }))),
        ("surveyed.survey_json", surveyed("r", "host-x", b"null".to_vec())),
        ("surveyed.agent", surveyed("r", "host-b", survey.clone())),
        ("surveyed.agent", surveyed("r", "host-x", survey)),
        (
            "taken_over.upgrade",
            message(Say::TakenOver(pb::TakenOver { upgrade: HOSTILE.concat(), note: String::new() })),
        ),
        ("report.instances[0].run", reported(pb::InstanceReport { run: None, ..report() })),
        (
            "report.instances[0].run",
            reported(pb::InstanceReport { run: Some(pb::RunState { state: None }), ..report() }),
        ),
        ("report.instances[0].manager", reported(pb::InstanceReport { manager: 9, ..report() })),
        ("report.instances[0].at", reported(pb::InstanceReport { at: None, ..report() })),
        ("report.instances[0].running", reported(pb::InstanceReport { running: Some("new".to_owned()), ..report() })),
        ("report.instances[0].instance", reported(pb::InstanceReport { instance: HOSTILE.concat(), ..report() })),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_means_nothing_closes_the_link_and_names_the_field() {
    let site = Site::memory();
    let coordinator = site.coordinator().await;
    serves(&site.endpoint).await;
    for (field, wrong) in meaningless() {
        blames(&say(&site.endpoint, vec![message(Say::Hello(hello())), wrong]).await, field);
    }
    for (field, wrong) in [
        ("hello.agent", pb::Hello { agent: String::new(), ..hello() }),
        ("hello.agent", pb::Hello { agent: HOSTILE.concat(), ..hello() }),
        ("hello.in_hand[0].order", pb::Hello { in_hand: vec![pb::OrderInHand::default()], ..hello() }),
        ("hello.instances[0].instance", pb::Hello { instances: vec![pb::InstanceReport::default()], ..hello() }),
    ] {
        blames(&say(&site.endpoint, vec![message(Say::Hello(wrong))]).await, field);
    }
    serves(&site.endpoint).await;
    coordinator.stop().await;
}

/// What makes sense, but not now: of orders that nobody gave, in answer to nothing, before a hello or twice.
fn out_of_turn() -> Vec<pb::AgentMessage> {
    let order = no_such_order();
    let survey = HostSurvey { agent: host::agent("host-x"), ..Seen::default().surveys().remove(0) };
    let upgrade = order.upgrade.clone();
    [
        AgentMessage::Outcome {
            order: order.clone(),
            content: Digest::of(b"x"),
            outcome: serde_json::from_slice(&outcome_json()).unwrap(),
        },
        AgentMessage::Revoked { order: order.clone(), settlement: Settlement::NeverBegun },
        AgentMessage::Refused { order, why: Refusal::NotHere(HOSTILE.concat()) },
        AgentMessage::Surveyed { request: host::request(7), survey: Box::new(survey) },
        AgentMessage::TakenOver { upgrade, note: HOSTILE.concat() },
        AgentMessage::Report(Vec::new()),
    ]
    .map(Into::into)
    .to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_begins_with_one_hello_and_what_is_said_of_nothing_changes_nothing() {
    let site = Site::memory();
    let coordinator = site.coordinator().await;
    serves(&site.endpoint).await;
    for early in out_of_turn() {
        blames(&say(&site.endpoint, vec![early, message(Say::Hello(hello()))]).await, "say");
    }
    let hello = || message(Say::Hello(hello()));
    // That the second hello is what closes the link shows that it stood until then.
    blames(&say(&site.endpoint, [vec![hello()], out_of_turn(), vec![hello()]].concat()).await, "say");
    serves(&site.endpoint).await;
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_cannot_answer_for_another() {
    let site = Site::memory();
    let coordinator = site.coordinator().await;
    let manners = Manners { ignores: Some(Phase::Rehearse), ..Manners::default() };
    let agent = FakeAgent::start(&site.endpoint, Seen::default(), manners);
    let client = site.client();
    let upgrade = client.begin().await;
    let (order, content) = until("the rehearsal to be in hand", || async {
        let journal = agent.journal.lock().unwrap();
        let found = journal.orders.iter().find(|(id, _)| id.phase == Phase::Rehearse);
        found.map(|(id, entry)| (id.clone(), entry.content))
    })
    .await;
    let before = site.facts(&upgrade).await;
    let outcome: Outcome = serde_json::from_slice(&outcome_json()).unwrap();
    let answers = [
        AgentMessage::Outcome { order: order.clone(), content, outcome: outcome.clone() },
        AgentMessage::Outcome { order: order.clone(), content: Digest::of(b"other"), outcome },
        AgentMessage::Revoked { order: order.clone(), settlement: Settlement::NeverBegun },
        AgentMessage::Refused { order, why: Refusal::NotHere("it".to_owned()) },
        AgentMessage::TakenOver { upgrade: UpgradeId::new(&upgrade).unwrap(), note: "mine".to_owned() },
    ];
    let hello = || message(Say::Hello(hello()));
    let said = [vec![hello()], answers.map(Into::into).to_vec(), vec![hello()]].concat();
    blames(&say(&site.endpoint, said).await, "say");
    assert_eq!(site.facts(&upgrade).await, before);
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_agent_says_of_its_host_comes_back_escaped() {
    let site = Site::memory();
    let coordinator = site.coordinator().await;
    serves(&site.endpoint).await;
    let first = pb::Hello { machine: HOSTILE.concat(), ..hello() };
    let mut client = AgentLinkClient::new(connect(&site.endpoint).await.unwrap());
    let said =
        tokio_stream::StreamExt::chain(tokio_stream::iter([message(Say::Hello(first))]), tokio_stream::pending());
    let mut heard = client.attach(said).await.unwrap().into_inner();
    heard.message().await.unwrap().expect("a welcome");
    let taken = say(&site.endpoint, vec![message(Say::Hello(hello()))]).await;
    let refused = Refused::of(&taken).unwrap_or_else(|| panic!("{taken:?}"));
    assert_eq!(refused.code, Code::AgentNameTaken);
    assert!(refused.message.contains(r"\u{1b}[2J"), "{refused:?}");
    can_be_printed(&refused);
    assert_eq!(refused.metadata["machine"], HOSTILE.concat());
    drop(heard);
    coordinator.stop().await;
}
