//! No sequence of calls, whatever is in their fields, reaches a panic: each is answered, by an answer or by a refusal with a code
//! that is no fault of the coordinator's, and the service still answers afterwards. A coordinator with a store in memory over a
//! Unix socket, an agent that carries out its orders, and upgrades at every point.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests may panic")]

mod support;

use cutover_proto::transport::connect_lazy;
use cutover_proto::v1 as pb;
use cutover_proto::v1::agent_link_client::AgentLinkClient;
use cutover_proto::v1::agent_message::Say;
use cutover_proto::v1::finding_subject::About;
use cutover_proto::v1::fleet_client::FleetClient;
use cutover_proto::v1::upgrades_client::UpgradesClient;
use cutover_proto::{Code, Refused};
use cutover_vocabulary::outcome::{Effect, FailureKind};
use cutover_vocabulary::status::State;
use cutover_vocabulary::{Digest, Failure, OrderId, Outcome, Phase};
use proptest::prelude::*;
use proptest::sample::select;
use std::time::Duration;
use support::host::{self, Seen};
use support::{FakeAgent, Manners, Site, panics, until};
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

/// What is called. Every method of the API, and the link twice: with anything, and with an answer to an order that stands.
#[derive(Debug, Clone, Copy)]
enum Method {
    MakePlan,
    GetPlan,
    Approve,
    Start,
    Get,
    List,
    Watch,
    ListFacts,
    Decide,
    Abort,
    Rollback,
    Pause,
    Resume,
    Close,
    ListInstances,
    ListDeployments,
    CreateDeployment,
    GetDeployment,
    ExcuseMember,
    GetLeader,
    Attach,
    Answer,
}
use Method::*;

const METHODS: &[Method] = &[
    MakePlan,
    GetPlan,
    Approve,
    Start,
    Get,
    List,
    Watch,
    ListFacts,
    Decide,
    Abort,
    Rollback,
    Pause,
    Resume,
    Close,
    ListInstances,
    ListDeployments,
    CreateDeployment,
    GetDeployment,
    ExcuseMember,
    GetLeader,
    Attach,
    Answer,
];

/// A call with everything that its fields may hold. `PLAN` and `UPGRADE` stand for the last ones that there are.
#[derive(Debug, Clone)]
struct Call {
    method: Method,
    deployment: String,
    target: String,
    plan: String,
    upgrade: String,
    instance: String,
    request_id: String,
    operator: String,
    words: String,
    number: u64,
    chosen: i32,
    flags: (bool, bool),
}

/// Mostly what is right, so that calls get far; now and then anything.
fn mostly(right: &'static [&'static str]) -> impl Strategy<Value = String> {
    let right = select(right).prop_map(str::to_owned);
    prop_oneof![40 => right, 1 => any::<String>(), 1 => "[a-z0-9.-]{0,80}", 1 => Just(String::new())]
}

fn call() -> impl Strategy<Value = Call> {
    let names = (
        mostly(&["prod"]),
        mostly(&["1.4.6", "1.3.1", "1.9.6"]),
        mostly(&["PLAN"]),
        mostly(&["UPGRADE"]),
        mostly(&["a", "a", "b"]),
    );
    let by = (mostly(&["r-1", "r-2", "r-3", "r-4", "r-5", "r-6"]), mostly(&["ops", "ops", "night-shift"]));
    let number = prop_oneof![6 => Just(1), 3 => 0..4_u64, 1 => any::<u64>(), 1 => Just(u64::MAX)];
    let chosen = prop_oneof![8 => 1..6_i32, 2 => 0..7_i32, 1 => any::<i32>()];
    let rest = (mostly(&["it is time", "the host is off"]), number, chosen, any::<(bool, bool)>());
    (select(METHODS), names, by, rest).prop_map(
        |(
            method,
            (deployment, target, plan, upgrade, instance),
            (request_id, operator),
            (words, number, chosen, flags),
        )| {
            Call {
                method,
                deployment,
                target,
                plan,
                upgrade,
                instance,
                request_id,
                operator,
                words,
                number,
                chosen,
                flags,
            }
        },
    )
}

/// How far an upgrade is when the calls begin, and where it stops by itself.
#[derive(Debug, Clone, Copy)]
enum Before {
    Nothing,
    Planned,
    Approved,
    Started(Option<Phase>),
    Held,
}

fn before() -> impl Strategy<Value = Before> {
    let started = [None, Some(Phase::Rehearse), Some(Phase::Drain), Some(Phase::Migrate), Some(Phase::Open)];
    prop_oneof![
        1 => Just(Before::Nothing),
        1 => Just(Before::Planned),
        2 => Just(Before::Approved),
        3 => select(started.to_vec()).prop_map(Before::Started),
        3 => Just(Before::Held),
    ]
}

/// Who calls, and what is known so far.
struct Play {
    site: Site,
    agent: FakeAgent,
    upgrades: UpgradesClient<Channel>,
    fleet: FleetClient<Channel>,
    link: AgentLinkClient<Channel>,
    plan: String,
    upgrade: String,
}

impl Play {
    async fn begin(site: Site, before: Before) -> Self {
        let ignores = match before {
            Before::Started(phase) => phase,
            Before::Held => Some(Phase::Migrate),
            Before::Nothing | Before::Planned | Before::Approved => None,
        };
        let agent = FakeAgent::start(&site.endpoint, Seen::default(), Manners { ignores, ..Manners::default() });
        let channel = connect_lazy(&site.endpoint);
        let (mut plan, mut upgrade) = ("0".repeat(64), "prod-1".to_owned());
        let client = site.client();
        if !matches!(before, Before::Nothing) {
            plan = client.plan("plan-0").await.unwrap().digest;
        }
        if !matches!(before, Before::Nothing | Before::Planned) {
            client.approve(&plan, "approve-0").await.unwrap();
        }
        if matches!(before, Before::Started(_) | Before::Held) {
            upgrade = client.start(&plan, "start-0").await.unwrap();
        }
        let (upgrades, fleet) = (UpgradesClient::new(channel.clone()), FleetClient::new(channel.clone()));
        let mut play = Self { site, agent, upgrades, fleet, link: AgentLinkClient::new(channel), plan, upgrade };
        if let Before::Held = before {
            until("the migration to be in hand", || async { play.standing() }).await;
            // What is said on a link is lost where another one takes its place: the agent's own may.
            let held = async {
                loop {
                    play.fail(FailureKind::Failed, Effect::None, "no".to_owned()).await.unwrap();
                    let reached = client.reaches(&play.upgrade, State::Held);
                    if tokio::time::timeout(Duration::from_secs(1), reached).await.is_ok() {
                        break;
                    }
                }
            };
            tokio::time::timeout(Duration::from_secs(30), held).await.expect("a hold");
        }
        play
    }

    /// An order that the agent has and did not answer.
    fn standing(&self) -> Option<(OrderId, Digest)> {
        let journal = self.agent.journal.lock().unwrap();
        let mut open = journal.orders.iter().filter(|(_, entry)| entry.outcome.is_none());
        open.next().map(|(id, entry)| (id.clone(), entry.content))
    }

    /// Says of such an order that it failed.
    async fn fail(&mut self, kind: FailureKind, effect: Effect, message: String) -> Result<(), Status> {
        let Some((order, content)) = self.standing() else { return Ok(()) };
        let failure = Failure { kind, effect, remedy: message.clone(), message };
        let outcome_json = serde_json::to_vec(&Outcome::Failed(failure)).unwrap().into();
        let (order, content_sha256) = (Some(order.into()), content.to_string());
        // As the agent itself would come again: it takes the place of its link.
        let agent = host::agent("host-a").to_string();
        let (incarnation, machine) = ("inc".to_owned(), "m1".to_owned());
        let hello = pb::Hello { agent, incarnation, machine, ..Default::default() };
        self.say(hello, Say::Outcome(pb::OrderOutcome { order, content_sha256, outcome_json })).await
    }

    /// Calls, and says what came of it.
    async fn call(&mut self, call: Call) -> Result<(), Status> {
        let Call { method, deployment, target, plan, upgrade, instance, request_id, operator, words, number, .. } =
            call;
        let (chosen, flags) = (call.chosen, call.flags);
        let plan = plan.replace("PLAN", &self.plan);
        let upgrade = upgrade.replace("UPGRADE", &self.upgrade);
        let limit = u32::try_from(number).unwrap_or(u32::MAX);
        let steer = || pb::SteerRequest {
            upgrade: upgrade.clone(),
            reason: words.clone(),
            request_id: request_id.clone(),
            operator: operator.clone(),
        };
        let back = || pb::GoBackRequest {
            upgrade: upgrade.clone(),
            reason: words.clone(),
            request_id: request_id.clone(),
            operator: operator.clone(),
            what_if: flags.0,
            accept_lost_writes: flags.1,
        };
        match method {
            MakePlan => {
                let wave = flags.0.then_some(limit);
                let bake_ms = flags.1.then_some(number.cast_signed());
                let strategy = chosen;
                let rehearse_only = flags.0 && flags.1;
                let rejoins = chosen == pb::Strategy::Rejoin as i32 && flags.0;
                let instances = if rejoins { vec![instance] } else { Vec::new() };
                let asked = pb::MakePlanRequest {
                    deployment,
                    target,
                    strategy,
                    request_id,
                    operator,
                    wave,
                    bake_ms,
                    rehearse_only,
                    instances,
                };
                self.plan = self.upgrades.make_plan(asked).await?.into_inner().digest;
                Ok(())
            }
            GetPlan => done(self.upgrades.get_plan(pb::GetPlanRequest { digest: plan }).await),
            Approve => {
                let about = match number {
                    0 => None,
                    1 => Some(About::Ledger(instance)),
                    2 => Some(About::Storage(pb::WholeStorage {})),
                    _ => Some(About::Instance(instance)),
                };
                let one = pb::FindingName { code: target, subject: flags.0.then_some(pb::FindingSubject { about }) };
                let findings = if flags.1 { Vec::new() } else { vec![one] };
                let answers = if chosen == 0 { [(words.clone(), words.clone())].into() } else { Default::default() };
                let (reason, all) = (words, flags.0 || flags.1);
                let asked = pb::ApproveRequest { plan, request_id, operator, reason, findings, all, answers };
                done(self.upgrades.approve(asked).await)
            }
            Start => {
                let asked = pb::StartRequest { plan, request_id, operator };
                self.upgrade = self.upgrades.start(asked).await?.into_inner().upgrade;
                Ok(())
            }
            Get => done(self.upgrades.get(pb::GetUpgradeRequest { upgrade }).await),
            List => {
                let asked = pb::ListUpgradesRequest { deployment: flags.0.then_some(deployment), limit };
                done(self.upgrades.list(asked).await)
            }
            Watch => {
                let asked = pb::WatchRequest { upgrade, after_seq: number };
                let mut events = self.upgrades.watch(asked).await?.into_inner();
                // It leaves in the middle.
                for _ in 0..number.min(8) {
                    match tokio::time::timeout(Duration::from_millis(2), events.message()).await {
                        Ok(event) => drop(event?),
                        Err(_) => break,
                    }
                }
                Ok(())
            }
            ListFacts => {
                let asked = pb::ListFactsRequest { upgrade, after_seq: number, limit };
                done(self.upgrades.list_facts(asked).await)
            }
            Decide => {
                let (hold, choice, reason) = (limit, chosen, words);
                let asked = pb::DecideRequest { upgrade, hold, choice, reason, request_id, operator };
                done(self.upgrades.decide(asked).await)
            }
            Abort => done(self.upgrades.abort(back()).await),
            Rollback => done(self.upgrades.rollback(back()).await),
            Pause => done(self.upgrades.pause(steer()).await),
            Resume => done(self.upgrades.resume(steer()).await),
            Close => done(self.upgrades.close(steer()).await),
            ListInstances => {
                let asked = pb::ListInstancesRequest { deployment: flags.0.then_some(deployment) };
                done(self.fleet.list_instances(asked).await)
            }
            ListDeployments => done(self.fleet.list_deployments(pb::ListDeploymentsRequest {}).await),
            CreateDeployment => {
                let instances = if flags.0 { vec![instance, words] } else { vec![instance] };
                let asked = pb::CreateDeploymentRequest { name: deployment, instances, request_id, operator };
                done(self.fleet.create_deployment(asked).await)
            }
            GetDeployment => done(self.fleet.get_deployment(pb::GetDeploymentRequest { name: deployment }).await),
            ExcuseMember => {
                let (reason, evidence) = (words.clone(), words);
                let asked = pb::ExcuseMemberRequest { deployment, instance, reason, evidence, request_id, operator };
                done(self.fleet.excuse_member(asked).await)
            }
            GetLeader => done(self.fleet.get_leader(pb::GetLeaderRequest {}).await),
            Attach => {
                let json = words.clone().into_bytes().into();
                let order = flags.1.then(|| pb::OrderId {
                    upgrade: upgrade.clone(),
                    stage: limit,
                    run: limit,
                    phase: chosen,
                    subject: Some(pb::Subject::default()),
                    attempt: limit,
                    text: words.clone(),
                });
                let content_sha256 = "0".repeat(64);
                let say = match chosen {
                    0 => Say::Report(pb::Report { instances: vec![pb::InstanceReport::default()] }),
                    1 => Say::Outcome(pb::OrderOutcome { order, content_sha256, outcome_json: json }),
                    2 => Say::Revoked(pb::OrderRevoked { order, settlement_json: json }),
                    3 => {
                        Say::Surveyed(pb::Surveyed { request: request_id, agent: instance.clone(), survey_json: json })
                    }
                    4 => Say::Hello(pb::Hello::default()),
                    _ => Say::TakenOver(pb::TakenOver { upgrade, note: words }),
                };
                let agent = if flags.0 { "host-x".to_owned() } else { format!("host-{instance}") };
                let epoch = number.min(1);
                self.say(pb::Hello { agent, incarnation: operator, epoch, ..Default::default() }, say).await
            }
            Answer => {
                let kinds = [FailureKind::Transient, FailureKind::Refused, FailureKind::Failed, FailureKind::Unclean];
                let kind = kinds[usize::try_from(number % 4).unwrap()];
                let effect = if flags.0 { Effect::None } else { Effect::Unknown };
                self.fail(kind, effect, words).await
            }
        }
    }

    /// A link on which this is said; it ends when both sides have said what they wanted.
    async fn say(&mut self, hello: pb::Hello, say: Say) -> Result<(), Status> {
        let messages = [Say::Hello(hello), say].map(|say| pb::AgentMessage { say: Some(say) });
        let mut heard = self.link.attach(Request::new(tokio_stream::iter(messages))).await?.into_inner();
        while heard.message().await?.is_some() {}
        Ok(())
    }
}

fn done<T>(answer: Result<Response<T>, Status>) -> Result<(), Status> {
    answer.map(drop)
}

async fn play(before: Before, calls: Vec<Call>) {
    panics::none();
    let site = Site::memory();
    let coordinator = site.coordinator().await;
    let mut play = Play::begin(site, before).await;
    for call in calls {
        let said = format!("{call:?}");
        let answer = tokio::time::timeout(Duration::from_secs(20), play.call(call)).await;
        let answer = answer.unwrap_or_else(|_| panic!("no answer to {said}"));
        panics::none();
        if let Err(status) = answer {
            let refused = Refused::of(&status).unwrap_or_else(|| panic!("{said}: no refusal of ours: {status:?}"));
            assert!(!matches!(refused.code, Code::Internal | Code::Other(_)), "{said}: {refused:?}");
            assert!(!refused.message.contains(char::is_control), "{said}: {refused:?}");
        }
    }
    until("the service to answer as before", || async {
        let leader = play.fleet.clone().get_leader(pb::GetLeaderRequest {}).await.ok()?.into_inner();
        let list = play.upgrades.clone().list(pb::ListUpgradesRequest::default()).await;
        list.is_ok_and(|_| leader.leading).then_some(())
    })
    .await;
    for upgrade in play.upgrades.list(pb::ListUpgradesRequest::default()).await.unwrap().into_inner().upgrades {
        // Its facts are one chain, and can all be read again.
        let facts = play.site.facts(&upgrade.id).await;
        assert!(facts.windows(2).all(|pair| pair[1].prev == pair[0].hash()), "{}", upgrade.id);
    }
    drop(play);
    coordinator.kill().await;
    panics::none();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn no_sequence_of_calls_reaches_a_panic(before in before(), calls in proptest::collection::vec(call(), 1..=12)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(play(before, calls));
    }
}
