//! The API as a test speaks it: only what the .proto files offer.

use cutover_proto::refused::Refused;
use cutover_proto::transport::{self, Endpoint};
use cutover_proto::v1;
use cutover_proto::v1::upgrades_client::UpgradesClient;
use cutover_vocabulary::Recorded;
use cutover_vocabulary::hold::Choice;
use cutover_vocabulary::plan::Plan;
use cutover_vocabulary::status::Status;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tonic::transport::Channel;

static REQUESTS: AtomicU32 = AtomicU32::new(0);

fn request_id() -> String {
    format!("test-{}-{}", std::process::id(), REQUESTS.fetch_add(1, Ordering::Relaxed))
}

/// One operator.
pub struct Voice {
    endpoint: Endpoint,
    runtime: tokio::runtime::Runtime,
}

impl Voice {
    /// Speaks to the coordinator there; connects anew for every call, as restarts come in between.
    pub fn to(endpoint: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { endpoint: endpoint.parse().unwrap(), runtime }
    }

    /// Where it speaks to.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    async fn client(endpoint: &Endpoint) -> Result<UpgradesClient<Channel>, String> {
        let channel = transport::connect(endpoint).await.map_err(|error| error.to_string())?;
        Ok(UpgradesClient::new(channel).max_decoding_message_size(transport::MAX_MESSAGE_BYTES))
    }

    /// Makes a plan; a refusal comes as its code, message and remedy.
    pub fn plan(&self, deployment: &str, target: &str) -> Result<Plan, String> {
        self.plan_as(v1::Strategy::Auto, deployment, target)
    }

    /// The same by a strategy.
    pub fn plan_as(&self, strategy: v1::Strategy, deployment: &str, target: &str) -> Result<Plan, String> {
        self.runtime.block_on(async {
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
            let mut client = Self::client(&self.endpoint).await?;
            let plan = client.make_plan(request).await.map_err(|status| said(&status))?;
            Plan::try_from(plan.into_inner()).map_err(|error| error.to_string())
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
        self.runtime.block_on(async {
            let request = v1::ApproveRequest {
                plan: plan.digest().to_string(),
                request_id: request_id(),
                operator: "tester".to_owned(),
                reason: "test".to_owned(),
                findings: Vec::new(),
                all: true,
                answers: plan.binding.questions.keys().map(|id| (id.0.clone(), "seen to".to_owned())).collect(),
            };
            Self::client(&self.endpoint).await?.approve(request).await.map_err(|status| said(&status))?;
            Ok(())
        })
    }

    /// Starts a plan.
    pub fn start(&self, plan: &Plan) -> Result<String, String> {
        self.runtime.block_on(async {
            let request = v1::StartRequest {
                plan: plan.digest().to_string(),
                request_id: request_id(),
                operator: "tester".to_owned(),
            };
            let started = Self::client(&self.endpoint).await?.start(request).await.map_err(|status| said(&status))?;
            Ok(started.into_inner().upgrade)
        })
    }

    /// Where an upgrade stands.
    pub fn status(&self, upgrade: &str) -> Result<Status, String> {
        self.runtime.block_on(async {
            let request = v1::GetUpgradeRequest { upgrade: upgrade.to_owned() };
            let status = Self::client(&self.endpoint).await?.get(request).await.map_err(|status| said(&status))?;
            Status::try_from(status.into_inner()).map_err(|error| error.to_string())
        })
    }

    /// Every fact, as stored.
    pub fn facts(&self, upgrade: &str) -> Result<Vec<Recorded>, String> {
        self.facts_after(upgrade, 0)
    }

    /// Those behind the one with that number.
    pub fn facts_after(&self, upgrade: &str, seq: u64) -> Result<Vec<Recorded>, String> {
        self.runtime.block_on(async {
            let mut client = Self::client(&self.endpoint).await?;
            let mut facts = Vec::new();
            loop {
                let request = v1::ListFactsRequest {
                    upgrade: upgrade.to_owned(),
                    after_seq: seq + facts.len() as u64,
                    limit: 100,
                };
                let page = client.list_facts(request).await.map_err(|status| said(&status))?.into_inner();
                for fact in &page.facts {
                    facts.push(serde_json::from_slice(&fact.json).map_err(|error| error.to_string())?);
                }
                if !page.more {
                    return Ok(facts);
                }
            }
        })
    }

    /// Decides a hold.
    pub fn decide(&self, upgrade: &str, hold: u32, choice: Choice) -> Result<(), String> {
        self.runtime.block_on(async {
            let request = v1::DecideRequest {
                upgrade: upgrade.to_owned(),
                hold,
                choice: v1::Choice::from(choice).into(),
                reason: "test".to_owned(),
                request_id: request_id(),
                operator: "tester".to_owned(),
            };
            Self::client(&self.endpoint).await?.decide(request).await.map_err(|status| said(&status))?;
            Ok(())
        })
    }

    /// Goes back.
    pub fn go_back(&self, upgrade: &str, rollback: bool) -> Result<(), String> {
        self.runtime.block_on(async {
            let request = v1::GoBackRequest {
                upgrade: upgrade.to_owned(),
                reason: "test".to_owned(),
                request_id: request_id(),
                operator: "tester".to_owned(),
                what_if: false,
                accept_lost_writes: false,
            };
            let mut client = Self::client(&self.endpoint).await?;
            let answer = if rollback { client.rollback(request).await } else { client.abort(request).await };
            answer.map(|_| ()).map_err(|status| said(&status))
        })
    }
}

fn said(status: &tonic::Status) -> String {
    match Refused::of(status) {
        Some(refused) => format!("{}: {}; what to do: {}", refused.code.word(), refused.message, refused.remedy),
        None => status.to_string(),
    }
}
