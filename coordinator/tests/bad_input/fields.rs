//! Fields that are missing, unknown, or hold what nobody should put there.

use super::raw::{call, message};
use super::support::host::Seen;
use super::support::{FakeAgent, Manners, Site};
use super::{HOSTILE, blames, serves};
use cutover_proto::transport::{Endpoint, connect};
use cutover_proto::v1 as pb;
use cutover_proto::v1::fleet_client::FleetClient;
use cutover_proto::v1::upgrades_client::UpgradesClient;
use cutover_vocabulary::Phase;
use cutover_vocabulary::status::State;
use prost::Message;
use tonic::Status;
use tonic::transport::Channel;

/// Calls by their paths, so that a table of requests can be walked through.
struct Caller(Channel);

impl Caller {
    async fn to(endpoint: &Endpoint) -> Self {
        Self(connect(endpoint).await.unwrap())
    }
    async fn refused(&self, method: &str, request: &impl Message) -> Status {
        call(&self.0, &format!("/cutover.v1.{method}"), message(&request.encode_to_vec())).await
    }
}

fn text(text: &str) -> String {
    text.to_owned()
}

fn plan() -> pb::MakePlanRequest {
    let (deployment, target) = (text("prod"), text("1.4.6"));
    pb::MakePlanRequest { deployment, target, request_id: text("r-1"), operator: text("ops"), ..Default::default() }
}
fn approve() -> pb::ApproveRequest {
    let (plan, reason) = ("0".repeat(64), text("we know"));
    pb::ApproveRequest { plan, reason, request_id: text("r-1"), operator: text("ops"), all: true, ..Default::default() }
}
fn decide() -> pb::DecideRequest {
    let (upgrade, choice) = (text("prod-1"), pb::Choice::Retry.into());
    pb::DecideRequest { upgrade, hold: 1, choice, reason: text("so"), request_id: text("r-1"), operator: text("ops") }
}
fn excuse() -> pb::ExcuseMemberRequest {
    let (deployment, instance) = (text("prod"), text("a"));
    let (reason, evidence, request_id, operator) = (text("gone"), text("it is off"), text("r-1"), text("ops"));
    pb::ExcuseMemberRequest { deployment, instance, reason, evidence, request_id, operator }
}
fn subject(about: Option<pb::finding_subject::About>) -> Vec<pb::FindingName> {
    vec![pb::FindingName { code: text("x"), subject: Some(pb::FindingSubject { about }) }]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_that_is_missing_unknown_or_too_large_is_named() {
    let site = Site::memory();
    let coordinator = site.coordinator().await;
    serves(&site.endpoint).await;
    let to = Caller::to(&site.endpoint).await;
    let long = "x".repeat(4_001);

    for (field, request) in [
        ("deployment", pb::MakePlanRequest { deployment: text(""), ..plan() }),
        ("target", pb::MakePlanRequest { target: text(""), ..plan() }),
        ("request_id", pb::MakePlanRequest { request_id: text(""), ..plan() }),
        ("request_id", pb::MakePlanRequest { request_id: "x".repeat(64), ..plan() }),
        ("operator", pb::MakePlanRequest { operator: text(""), ..plan() }),
        ("strategy", pb::MakePlanRequest { strategy: 99, ..plan() }),
        ("strategy", pb::MakePlanRequest { strategy: -1, ..plan() }),
        ("wave", pb::MakePlanRequest { wave: Some(0), ..plan() }),
        ("wave", pb::MakePlanRequest { wave: Some(65_536), ..plan() }),
        ("bake_ms", pb::MakePlanRequest { bake_ms: Some(0), ..plan() }),
        ("bake_ms", pb::MakePlanRequest { bake_ms: Some(i64::MIN), ..plan() }),
    ] {
        blames(&to.refused("Upgrades/MakePlan", &request).await, field);
    }
    for version in ["one.four", "1.4", "1.4.6-rc1", "1.4.6 ", "99999999999999999999.0.0", "1.4.6/../..", "٣.١.٤"] {
        let request = pb::MakePlanRequest { target: text(version), ..plan() };
        blames(&to.refused("Upgrades/MakePlan", &request).await, "target");
    }
    for (field, request) in [
        ("findings", pb::ApproveRequest { all: false, ..approve() }),
        ("all", pb::ApproveRequest { findings: subject(None), ..approve() }),
        ("findings[0].subject", pb::ApproveRequest { all: false, findings: subject(None), ..approve() }),
        (
            "findings[0].subject",
            pb::ApproveRequest { all: false, findings: vec![pb::FindingName::default()], ..approve() },
        ),
        ("reason", pb::ApproveRequest { reason: long.clone(), ..approve() }),
        ("digest", pb::ApproveRequest { plan: text("1234567"), ..approve() }),
    ] {
        blames(&to.refused("Upgrades/Approve", &request).await, field);
    }
    for (field, request) in [
        ("choice", pb::DecideRequest { choice: 0, ..decide() }),
        ("choice", pb::DecideRequest { choice: 77, ..decide() }),
        ("upgrade", pb::DecideRequest { upgrade: text(""), ..decide() }),
        ("reason", pb::DecideRequest { reason: long.clone(), ..decide() }),
    ] {
        blames(&to.refused("Upgrades/Decide", &request).await, field);
    }
    for (field, request) in [
        ("deployment", pb::ExcuseMemberRequest { deployment: text(""), ..excuse() }),
        ("instance", pb::ExcuseMemberRequest { instance: text(""), ..excuse() }),
        ("evidence", pb::ExcuseMemberRequest { evidence: long, ..excuse() }),
    ] {
        blames(&to.refused("Fleet/ExcuseMember", &request).await, field);
    }
    let declare = pb::CreateDeploymentRequest {
        name: text("prod"),
        instances: vec![text("a"), text("")],
        request_id: text("r-1"),
        operator: text("ops"),
    };
    blames(&to.refused("Fleet/CreateDeployment", &declare).await, "instances[1]");
    for limit in [0, 1, u32::MAX] {
        let all = pb::ListUpgradesRequest { deployment: None, limit };
        assert_eq!(to.refused("Upgrades/List", &all).await.code(), tonic::Code::Ok);
    }
    serves(&site.endpoint).await;
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_name_is_refused_everywhere_and_comes_back_escaped() {
    let site = Site::memory();
    let coordinator = site.coordinator().await;
    serves(&site.endpoint).await;
    let to = Caller::to(&site.endpoint).await;
    for name in HOSTILE.iter().map(|name| text(name)) {
        let upgrade = || name.clone();
        for (field, request) in [
            ("deployment", pb::MakePlanRequest { deployment: name.clone(), ..plan() }),
            ("target", pb::MakePlanRequest { target: name.clone(), ..plan() }),
            ("request_id", pb::MakePlanRequest { request_id: name.clone(), ..plan() }),
            ("operator", pb::MakePlanRequest { operator: name.clone(), ..plan() }),
        ] {
            blames(&to.refused("Upgrades/MakePlan", &request).await, field);
        }
        let digest = pb::GetPlanRequest { digest: name.clone() };
        blames(&to.refused("Upgrades/GetPlan", &digest).await, "digest");
        let plan = pb::StartRequest { plan: name.clone(), request_id: text("r-1"), operator: text("ops") };
        blames(&to.refused("Upgrades/Start", &plan).await, "digest");
        let got = pb::GetUpgradeRequest { upgrade: upgrade() };
        blames(&to.refused("Upgrades/Get", &got).await, "upgrade");
        let watched = pb::WatchRequest { upgrade: upgrade(), after_seq: u64::MAX };
        blames(&to.refused("Upgrades/Watch", &watched).await, "upgrade");
        let facts = pb::ListFactsRequest { upgrade: upgrade(), after_seq: u64::MAX, limit: u32::MAX };
        blames(&to.refused("Upgrades/ListFacts", &facts).await, "upgrade");
        let back = pb::GoBackRequest { upgrade: upgrade(), what_if: true, ..Default::default() };
        for method in ["Upgrades/Abort", "Upgrades/Rollback"] {
            blames(&to.refused(method, &back).await, "upgrade");
        }
        let steer = pb::SteerRequest {
            upgrade: upgrade(),
            request_id: text("r-1"),
            operator: text("ops"),
            ..Default::default()
        };
        for method in ["Upgrades/Pause", "Upgrades/Resume", "Upgrades/Close"] {
            blames(&to.refused(method, &steer).await, "upgrade");
        }
        let deployment = pb::GetDeploymentRequest { name: name.clone() };
        blames(&to.refused("Fleet/GetDeployment", &deployment).await, "name");
        let gone = pb::ExcuseMemberRequest { instance: name.clone(), ..excuse() };
        blames(&to.refused("Fleet/ExcuseMember", &gone).await, "instance");
        // What is only compared may be anything.
        let filter = pb::ListInstancesRequest { deployment: Some(name.clone()) };
        let mut fleet = FleetClient::new(to.0.clone());
        assert!(fleet.list_instances(filter).await.unwrap().into_inner().instances.is_empty());
        let filter = pb::ListUpgradesRequest { deployment: Some(name), limit: 0 };
        let mut upgrades = UpgradesClient::new(to.0.clone());
        assert!(upgrades.list(filter).await.unwrap().into_inner().upgrades.is_empty());
    }
    serves(&site.endpoint).await;
    coordinator.stop().await;
}

/// A person may write anything for a reason; it is kept to the letter, and what is meant to be read cannot move a cursor.
#[tokio::test(flavor = "multi_thread")]
async fn words_of_people_are_stored_to_the_letter_and_shown_escaped() {
    let site = Site::memory();
    let coordinator = site.coordinator().await;
    let manners = Manners { ignores: Some(Phase::Rehearse), ..Manners::default() };
    let _agent = FakeAgent::start(&site.endpoint, Seen::default(), manners);
    let client = site.client();
    let hostile = HOSTILE.join(" ");
    let digest = client.plan("plan-1").await.unwrap().digest;
    let approve =
        |request_id: &str| pb::ApproveRequest { plan: digest.clone(), request_id: text(request_id), ..approve() };
    let mut upgrades = client.upgrades.clone();
    for (n, answers) in [[(hostile.clone(), text("yes"))], [(text(""), text(""))]].into_iter().enumerate() {
        let asked = pb::ApproveRequest { answers: answers.into(), ..approve(&format!("answers-{n}")) };
        blames(&upgrades.approve(asked).await.unwrap_err(), "answers");
    }
    let about = Some(pb::finding_subject::About::Ledger(hostile.clone()));
    let findings = vec![pb::FindingName { code: hostile.clone(), subject: Some(pb::FindingSubject { about }) }];
    let asked = pb::ApproveRequest { all: false, findings, ..approve("findings") };
    blames(&upgrades.approve(asked).await.unwrap_err(), "findings");
    let asked = pb::ApproveRequest { reason: hostile.clone(), ..approve("approve") };
    assert_eq!(upgrades.approve(asked).await.unwrap().into_inner().reason, hostile);

    let upgrade = client.start(&digest, "start-1").await.unwrap();
    let asked = pb::GoBackRequest {
        upgrade: upgrade.clone(),
        reason: hostile.clone(),
        request_id: text("abort-1"),
        operator: text("ops"),
        ..Default::default()
    };
    upgrades.abort(asked).await.unwrap();
    let status = client.reaches(&upgrade, State::Aborted).await;
    assert!(status.turned_back.is_some_and(|why| why.contains(&hostile)));
    let watched = pb::WatchRequest { upgrade, after_seq: 0 };
    let mut events = upgrades.watch(watched).await.unwrap().into_inner();
    let mut said = Vec::new();
    while said.len() < usize::try_from(status.seq).unwrap() {
        said.push(events.message().await.unwrap().unwrap().text);
    }
    assert!(!said.iter().any(|line| line.contains(char::is_control)), "{said:?}");
    assert!(said.iter().any(|line| line.contains(r"\u{1b}[2J")), "{said:?}");
    coordinator.stop().await;
}
