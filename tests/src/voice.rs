//! The API as a test speaks it: only what the .proto files offer.

use cutover_proto::Code;
use cutover_proto::refused::Refused;
use cutover_proto::transport::{self, Endpoint};
use cutover_proto::v1;
use cutover_proto::v1::fleet_client::FleetClient;
use cutover_proto::v1::upgrades_client::UpgradesClient;
use cutover_vocabulary::Recorded;
use cutover_vocabulary::hold::Choice;
use cutover_vocabulary::plan::Plan;
use cutover_vocabulary::status::Status;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tonic::transport::Channel;

static REQUESTS: AtomicU32 = AtomicU32::new(0);

fn request_id() -> String {
    format!("test-{}-{}", std::process::id(), REQUESTS.fetch_add(1, Ordering::Relaxed))
}

/// How long one of several coordinators has to answer: one that is stopped takes connections and says nothing. Surveys and
/// downloads are within it.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);
/// The same for what is only looked at, again and again.
const LOOKS_WITHIN: Duration = Duration::from_secs(1);

/// Why a call was not taken.
struct Missed {
    /// A refusal as its code, message and remedy.
    said: String,
    /// Whether another coordinator may take it.
    elsewhere: bool,
}
impl From<tonic::Status> for Missed {
    fn from(status: tonic::Status) -> Self {
        match Refused::of(&status) {
            Some(refused) => Self {
                said: format!("{}: {}; what to do: {}", refused.code.word(), refused.message, refused.remedy),
                elsewhere: matches!(refused.code, Code::NotLeader | Code::StoreUnavailable),
            },
            None => Self { said: status.to_string(), elsewhere: true },
        }
    }
}
impl Missed {
    fn malformed(error: impl std::fmt::Display) -> Self {
        Self { said: error.to_string(), elsewhere: false }
    }
}

/// One operator.
pub struct Voice {
    endpoints: Vec<Endpoint>,
    /// Who took a call last.
    first: AtomicUsize,
    runtime: tokio::runtime::Runtime,
}

impl Voice {
    /// Speaks to the coordinator there; connects anew for every call, as restarts come in between.
    pub fn to(endpoint: &str) -> Self {
        Self::to_any([endpoint])
    }

    /// Speaks to the one of these that leads.
    pub fn to_any<'a>(endpoints: impl IntoIterator<Item = &'a str>) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let endpoints = endpoints.into_iter().map(|endpoint| endpoint.parse().unwrap()).collect();
        Self { endpoints, first: AtomicUsize::new(0), runtime }
    }

    /// Where it speaks to.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoints[self.first.load(Ordering::Relaxed)]
    }

    /// Takes a call to one coordinator after the other, until one takes it.
    fn ask<T>(
        &self,
        within: Duration,
        call: impl AsyncFn(UpgradesClient<Channel>) -> Result<T, Missed>,
    ) -> Result<T, String> {
        let first = self.first.load(Ordering::Relaxed);
        let mut said = Vec::new();
        for turn in 0..self.endpoints.len() {
            let at = (first + turn) % self.endpoints.len();
            let asked = async {
                let unreachable = |error: transport::CannotConnect| Missed { said: error.to_string(), elsewhere: true };
                let channel = transport::connect(&self.endpoints[at]).await.map_err(unreachable)?;
                call(UpgradesClient::new(channel).max_decoding_message_size(transport::MAX_MESSAGE_BYTES)).await
            };
            let answer = self.runtime.block_on(async {
                if self.endpoints.len() == 1 {
                    return asked.await;
                }
                let silent = |_| Missed { said: format!("no answer within {within:?}"), elsewhere: true };
                tokio::time::timeout(within, asked).await.map_err(silent)?
            });
            match answer {
                Err(missed) if missed.elsewhere => said.push(missed.said),
                Err(missed) => return Err(missed.said),
                Ok(answer) => {
                    self.first.store(at, Ordering::Relaxed);
                    return Ok(answer);
                }
            }
        }
        Err(said.join("; "))
    }

    /// The epoch under which the first of its coordinators says that it leads; none where it does not, or does not answer.
    pub fn leads(&self) -> Option<u64> {
        self.leader().filter(|leader| leader.leading).map(|leader| leader.epoch)
    }

    /// Whether the first of its coordinators says that another one leads.
    pub fn follows(&self) -> bool {
        self.leader().is_some_and(|leader| !leader.leading && leader.name.is_some())
    }

    /// The epoch of the leadership in which the first of its coordinators has a part, as the one that leads or as one that follows;
    /// none where it does not answer, nobody leads, or it has not heard yet that it leads no more.
    pub fn knows_epoch(&self) -> Option<u64> {
        let leader = self.leader()?;
        (leader.leading == (leader.name? == leader.this_coordinator)).then_some(leader.epoch)
    }

    /// What the first of its coordinators says of who leads.
    fn leader(&self) -> Option<v1::Leader> {
        let asked = async {
            let channel = transport::connect(self.endpoint()).await.ok()?;
            Some(FleetClient::new(channel).get_leader(v1::GetLeaderRequest {}).await.ok()?.into_inner())
        };
        self.runtime.block_on(async { tokio::time::timeout(LOOKS_WITHIN, asked).await.ok()? })
    }

    /// Makes a plan; a refusal comes as its code, message and remedy.
    pub fn plan(&self, deployment: &str, target: &str) -> Result<Plan, String> {
        self.plan_as(v1::Strategy::Auto, deployment, target)
    }

    /// The same by a strategy.
    pub fn plan_as(&self, strategy: v1::Strategy, deployment: &str, target: &str) -> Result<Plan, String> {
        let request = v1::MakePlanRequest {
            deployment: deployment.to_owned(),
            target: target.to_owned(),
            strategy: strategy.into(),
            request_id: request_id(),
            operator: "tester".to_owned(),
            wave: None,
            bake_ms: None,
            rehearse_only: false,
            instances: Vec::new(),
        };
        self.ask(ANSWERS_WITHIN, async |mut client| {
            let plan = client.make_plan(request.clone()).await?;
            Plan::try_from(plan.into_inner()).map_err(Missed::malformed)
        })
    }

    /// A plan as soon as the agents are there and the instances answer.
    ///
    /// # Panics
    /// When there is none in time.
    pub fn plan_when_ready(&self, deployment: &str, target: &str) -> Plan {
        self.try_plan_when_ready(v1::Strategy::Auto, deployment, target).unwrap_or_else(|why| panic!("no plan: {why}"))
    }

    /// The same by a strategy.
    ///
    /// # Errors
    /// Why there was none in time.
    pub fn try_plan_when_ready(&self, strategy: v1::Strategy, deployment: &str, target: &str) -> Result<Plan, String> {
        let begun = Instant::now();
        loop {
            match self.plan_as(strategy, deployment, target) {
                Err(_) if begun.elapsed() < Duration::from_secs(30) => {}
                plan_or_why => return plan_or_why,
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Approves everything in the plan that needs it.
    pub fn approve(&self, plan: &Plan) -> Result<(), String> {
        let request = v1::ApproveRequest {
            plan: plan.digest().to_string(),
            request_id: request_id(),
            operator: "tester".to_owned(),
            reason: "test".to_owned(),
            findings: Vec::new(),
            all: true,
            answers: plan.binding.questions.keys().map(|id| (id.0.clone(), "seen to".to_owned())).collect(),
        };
        self.ask(ANSWERS_WITHIN, async |mut client| {
            client.approve(request.clone()).await?;
            Ok(())
        })
    }

    /// Starts a plan.
    pub fn start(&self, plan: &Plan) -> Result<String, String> {
        let request = v1::StartRequest {
            plan: plan.digest().to_string(),
            request_id: request_id(),
            operator: "tester".to_owned(),
        };
        self.ask(ANSWERS_WITHIN, async |mut client| {
            let started = client.start(request.clone()).await?;
            Ok(started.into_inner().upgrade)
        })
    }

    /// How many instances have their agent linked to the leader; none where nobody leads.
    pub fn connected(&self) -> Option<usize> {
        self.endpoints.iter().find_map(|endpoint| {
            self.runtime.block_on(async {
                let channel = transport::connect(endpoint).await.ok()?;
                let asked = v1::ListInstancesRequest { deployment: None };
                let mut fleet = FleetClient::new(channel);
                let looked = tokio::time::timeout(LOOKS_WITHIN, fleet.list_instances(asked));
                let instances = looked.await.ok()?.ok()?.into_inner().instances;
                Some(instances.iter().filter(|instance| instance.connected).count())
            })
        })
    }

    /// Where an upgrade stands.
    pub fn status(&self, upgrade: &str) -> Result<Status, String> {
        self.ask(LOOKS_WITHIN, async |mut client| {
            let status = client.get(v1::GetUpgradeRequest { upgrade: upgrade.to_owned() }).await?;
            Status::try_from(status.into_inner()).map_err(Missed::malformed)
        })
    }

    /// Every fact, as stored.
    pub fn facts(&self, upgrade: &str) -> Result<Vec<Recorded>, String> {
        self.facts_after(upgrade, 0)
    }

    /// Those behind the one with that number.
    pub fn facts_after(&self, upgrade: &str, seq: u64) -> Result<Vec<Recorded>, String> {
        self.ask(LOOKS_WITHIN, async |mut client| {
            let mut facts = Vec::new();
            loop {
                let request = v1::ListFactsRequest {
                    upgrade: upgrade.to_owned(),
                    after_seq: seq + facts.len() as u64,
                    limit: 100,
                };
                let page = client.list_facts(request).await?.into_inner();
                for fact in &page.facts {
                    facts.push(serde_json::from_slice(&fact.json).map_err(Missed::malformed)?);
                }
                if !page.more {
                    return Ok(facts);
                }
            }
        })
    }

    /// Decides a hold.
    pub fn decide(&self, upgrade: &str, hold: u32, choice: Choice) -> Result<(), String> {
        let request = v1::DecideRequest {
            upgrade: upgrade.to_owned(),
            hold,
            choice: v1::Choice::from(choice).into(),
            reason: "test".to_owned(),
            request_id: request_id(),
            operator: "tester".to_owned(),
        };
        self.ask(ANSWERS_WITHIN, async |mut client| {
            client.decide(request.clone()).await?;
            Ok(())
        })
    }

    /// Gives no new orders, or gives them again.
    pub fn pause(&self, upgrade: &str, pause: bool) -> Result<(), String> {
        let request = v1::SteerRequest {
            upgrade: upgrade.to_owned(),
            reason: "test".to_owned(),
            request_id: request_id(),
            operator: "tester".to_owned(),
        };
        self.ask(ANSWERS_WITHIN, async |mut client| {
            let request = request.clone();
            if pause {
                client.pause(request).await?
            } else {
                client.resume(request).await?
            };
            Ok(())
        })
    }

    /// Goes back.
    pub fn go_back(&self, upgrade: &str, rollback: bool) -> Result<(), String> {
        let request = v1::GoBackRequest {
            upgrade: upgrade.to_owned(),
            reason: "test".to_owned(),
            request_id: request_id(),
            operator: "tester".to_owned(),
            what_if: false,
            accept_lost_writes: false,
        };
        self.ask(ANSWERS_WITHIN, async |mut client| {
            let request = request.clone();
            if rollback {
                client.rollback(request).await?
            } else {
                client.abort(request).await?
            };
            Ok(())
        })
    }
}
