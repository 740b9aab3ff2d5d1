//! The API as the commands use it: calls in the words of the vocabulary, refusals as [`Trouble`].

mod fleet;
mod leader;

pub use leader::named;

use crate::trouble::Trouble;
use cutover_proto::convert::fact::Event;
use cutover_proto::refused::Refused;
use cutover_proto::transport::{Endpoint, Tls};
use cutover_proto::v1;
use cutover_vocabulary::hold::{Choice, HoldId};
use cutover_vocabulary::name::shown;
use cutover_vocabulary::plan::{Approval, Plan, PlanDigest, PreparationId, Strategy};
use cutover_vocabulary::status::{Status, WhatIf};
use cutover_vocabulary::{DeploymentName, Elapsed, InstanceName, OperatorName, Recorded, UpgradeId, Version};
use leader::{Coordinators, Line};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Connections to coordinators, and who speaks.
#[derive(Debug, Clone)]
pub struct Client {
    coordinators: Arc<Coordinators>,
    operator: OperatorName,
}

/// Which way back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Back {
    /// While no data was touched.
    Abort,
    /// By restoring.
    Rollback,
}

/// What is asked of a way back.
#[derive(Debug, Clone, Copy)]
pub struct GoBack<'a> {
    /// Which.
    pub back: Back,
    /// Why.
    pub reason: &'a str,
    /// Only say what would happen.
    pub what_if: bool,
}

/// What the API says to a way back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// What it means.
    pub what: WhatIf,
    /// What would be lost, for people.
    pub lost_writes: String,
    /// Whether it has begun.
    pub begun: bool,
}

/// Steering that needs no more than an upgrade.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Steer {
    /// No new orders.
    Pause,
    /// Orders again.
    Resume,
    /// The recovery points are not needed any more.
    Close,
}

/// Ids are made here, at the edge: one a call, kept when the call is repeated.
#[expect(clippy::disallowed_methods, reason = "the edge where request ids are made")]
fn request_id() -> String {
    uuid::Uuid::new_v4().to_string()
}

fn refused(doing: &str, status: &tonic::Status) -> Trouble {
    let doing = doing.to_owned();
    match Refused::of(status) {
        Some(refused) => Trouble::Refused {
            doing,
            code: refused.code.word().to_owned(),
            message: shown(&refused.message).to_string(),
            remedy: (!refused.remedy.is_empty()).then(|| shown(&refused.remedy).to_string()),
        },
        None => Trouble::Broken { doing, message: shown(&status.to_string()).to_string() },
    }
}

fn read<T, U: TryFrom<T, Error = cutover_proto::Malformed>>(doing: &str, value: T) -> Result<U, Trouble> {
    U::try_from(value).map_err(|source| Trouble::Malformed { doing: doing.to_owned(), source })
}

fn what_if(doing: &str, wire: v1::WhatIf) -> Result<WhatIf, Trouble> {
    let malformed = |source| Trouble::Malformed { doing: doing.to_owned(), source };
    Ok(WhatIf {
        allowed: wire.allowed,
        meaning: wire.meaning,
        stages: cutover_proto::malformed::each("stages", wire.stages).map_err(malformed)?,
        ledgers: cutover_proto::malformed::texts("ledgers", &wire.ledgers).map_err(malformed)?,
    })
}

/// How an operator wants the instances to be moved; what is left away the coordinator chooses.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct How {
    /// By which strategy.
    pub strategy: Option<Strategy>,
    /// Rolling: how many move together behind the canary.
    pub wave: Option<u16>,
    /// Rolling: how long a wave is watched.
    pub bake: Option<Elapsed>,
    /// End with the rehearsal.
    pub rehearse_only: bool,
}

fn strategy(strategy: Option<Strategy>) -> v1::Strategy {
    strategy.map_or(v1::Strategy::Auto, v1::Strategy::from)
}

impl Client {
    /// Connects to the coordinators at these addresses; fails when nobody answers at any. One under TLS needs certificates.
    ///
    /// # Errors
    /// [`Trouble::Unreachable`].
    pub async fn connect(endpoints: &[Endpoint], tls: Option<&Tls>, operator: OperatorName) -> Result<Self, Trouble> {
        let coordinators = Arc::new(Coordinators::connect(endpoints, tls).await?);
        Ok(Self { coordinators, operator })
    }

    fn operator(&self) -> String {
        self.operator.as_str().to_owned()
    }

    /// Makes a plan.
    ///
    /// # Errors
    /// [`Trouble`]; a plan that is blocked is no error.
    pub async fn plan(&self, deployment: &DeploymentName, to: &Version, how: &How) -> Result<Plan, Trouble> {
        self.plan_to(deployment, to.to_string(), how, &[]).await
    }

    /// Makes a plan that brings instances to the release that their deployment is to run; none named: every one that was away.
    ///
    /// # Errors
    /// [`Trouble`]; a plan that is blocked is no error.
    pub async fn plan_rejoin(&self, deployment: &DeploymentName, instances: &[InstanceName]) -> Result<Plan, Trouble> {
        let how = How { strategy: Some(Strategy::Rejoin), ..How::default() };
        self.plan_to(deployment, String::new(), &how, instances).await
    }

    async fn plan_to(
        &self,
        deployment: &DeploymentName,
        target: String,
        how: &How,
        instances: &[InstanceName],
    ) -> Result<Plan, Trouble> {
        let doing = match target.as_str() {
            "" => format!("planning a rejoin of {deployment}"),
            to => format!("planning {deployment} to {to}"),
        };
        let request = v1::MakePlanRequest {
            deployment: deployment.as_str().to_owned(),
            target,
            strategy: strategy(how.strategy).into(),
            request_id: request_id(),
            operator: self.operator(),
            wave: how.wave.map(u32::from),
            bake_ms: how.bake.map(|bake| i64::try_from(bake.as_millis()).unwrap_or(i64::MAX)),
            rehearse_only: how.rehearse_only,
            instances: instances.iter().map(|instance| instance.as_str().to_owned()).collect(),
        };
        let answer = self
            .coordinators
            .ask(&doing, |to| {
                let request = request.clone();
                async move { to.upgrades().make_plan(request).await }
            })
            .await?;
        read(&doing, answer)
    }

    /// A plan by its digest's first digits.
    ///
    /// # Errors
    /// [`Trouble`].
    pub async fn get_plan(&self, digest: &str) -> Result<Plan, Trouble> {
        let doing = format!("looking up plan {digest}");
        let request = v1::GetPlanRequest { digest: digest.to_owned() };
        let answer = self
            .coordinators
            .ask(&doing, |to| {
                let request = request.clone();
                async move { to.upgrades().get_plan(request).await }
            })
            .await?;
        read(&doing, answer)
    }

    /// Agrees to everything in a plan that needs it.
    ///
    /// # Errors
    /// [`Trouble`].
    pub async fn approve(
        &self,
        plan: PlanDigest,
        reason: &str,
        answers: &BTreeMap<PreparationId, String>,
    ) -> Result<Approval, Trouble> {
        let doing = format!("approving plan {}", plan.0.short());
        let request = v1::ApproveRequest {
            plan: plan.to_string(),
            request_id: request_id(),
            operator: self.operator(),
            reason: reason.to_owned(),
            findings: Vec::new(),
            all: true,
            answers: cutover_proto::spoken(answers.clone()),
        };
        let answer = self
            .coordinators
            .ask(&doing, |to| {
                let request = request.clone();
                async move { to.upgrades().approve(request).await }
            })
            .await?;
        read(&doing, answer)
    }

    /// Starts a plan.
    ///
    /// # Errors
    /// [`Trouble`].
    pub async fn start(&self, plan: PlanDigest) -> Result<UpgradeId, Trouble> {
        let doing = format!("starting plan {}", plan.0.short());
        let request = v1::StartRequest { plan: plan.to_string(), request_id: request_id(), operator: self.operator() };
        let answer = self
            .coordinators
            .ask(&doing, |to| {
                let request = request.clone();
                async move { to.upgrades().start(request).await }
            })
            .await?;
        cutover_proto::malformed::text("upgrade", &answer.upgrade)
            .map_err(|source| Trouble::Malformed { doing, source })
    }

    /// Where an upgrade stands.
    ///
    /// # Errors
    /// [`Trouble`].
    pub async fn status(&self, upgrade: &UpgradeId) -> Result<Status, Trouble> {
        let doing = format!("looking up upgrade {upgrade}");
        let request = v1::GetUpgradeRequest { upgrade: upgrade.as_str().to_owned() };
        let answer = self
            .coordinators
            .ask(&doing, |to| {
                let request = request.clone();
                async move { to.upgrades().get(request).await }
            })
            .await?;
        read(&doing, answer)
    }

    /// All upgrades, the newest first.
    ///
    /// # Errors
    /// [`Trouble`].
    pub async fn list(&self) -> Result<Vec<v1::UpgradeSummary>, Trouble> {
        let request = v1::ListUpgradesRequest { deployment: None, limit: 0 };
        let answer = self
            .coordinators
            .ask("listing upgrades", |to| {
                let request = request.clone();
                async move { to.upgrades().list(request).await }
            })
            .await?;
        Ok(answer.upgrades)
    }

    /// Follows an upgrade: every fact after `after`.
    ///
    /// # Errors
    /// [`Trouble`].
    pub async fn watch(&self, upgrade: &UpgradeId, after: u64) -> Result<Events, Trouble> {
        let doing = format!("following upgrade {upgrade}");
        let request = v1::WatchRequest { upgrade: upgrade.as_str().to_owned(), after_seq: after };
        let answer = self
            .coordinators
            .ask(&doing, |to| {
                let request = request.clone();
                async move { to.upgrades().watch(request).await }
            })
            .await?;
        Ok(Events { stream: answer, doing })
    }

    /// Every fact of an upgrade after `after`, a page at a time until there is no more.
    ///
    /// # Errors
    /// [`Trouble`].
    pub async fn facts(&self, upgrade: &UpgradeId, mut after: u64) -> Result<Vec<Recorded>, Trouble> {
        let doing = format!("reading the facts of upgrade {upgrade}");
        let mut facts = Vec::new();
        loop {
            let request = v1::ListFactsRequest { upgrade: upgrade.as_str().to_owned(), after_seq: after, limit: 0 };
            let answer = self
                .coordinators
                .ask(&doing, |to| {
                    let request = request.clone();
                    async move { to.upgrades().list_facts(request).await }
                })
                .await?;
            let page = answer;
            for fact in page.facts {
                after = after.max(fact.seq);
                facts.push(read(&doing, fact)?);
            }
            if !page.more {
                return Ok(facts);
            }
        }
    }

    /// Decides a hold.
    ///
    /// # Errors
    /// [`Trouble`].
    pub async fn decide(
        &self,
        upgrade: &UpgradeId,
        hold: HoldId,
        choice: Choice,
        reason: &str,
    ) -> Result<Status, Trouble> {
        let doing = format!("deciding hold {hold} of {upgrade}");
        let request = v1::DecideRequest {
            upgrade: upgrade.as_str().to_owned(),
            hold: hold.0,
            choice: v1::Choice::from(choice).into(),
            reason: reason.to_owned(),
            request_id: request_id(),
            operator: self.operator(),
        };
        let answer = self
            .coordinators
            .ask(&doing, |to| {
                let request = request.clone();
                async move { to.upgrades().decide(request).await }
            })
            .await?;
        read(&doing, answer)
    }

    /// Goes back, or says what that would mean.
    ///
    /// # Errors
    /// [`Trouble`].
    pub async fn go_back(&self, upgrade: &UpgradeId, ask: GoBack<'_>) -> Result<Answer, Trouble> {
        let request = v1::GoBackRequest {
            upgrade: upgrade.as_str().to_owned(),
            reason: ask.reason.to_owned(),
            request_id: if ask.what_if { String::new() } else { request_id() },
            operator: self.operator(),
            what_if: ask.what_if,
            // There is no such way back: once clients were let in, going back is refused.
            accept_lost_writes: false,
        };
        let doing = match ask.back {
            Back::Abort => format!("aborting {upgrade}"),
            Back::Rollback => format!("rolling back {upgrade}"),
        };
        let call = |to: Line| {
            let request = request.clone();
            async move {
                match ask.back {
                    Back::Abort => to.upgrades().abort(request).await,
                    Back::Rollback => to.upgrades().rollback(request).await,
                }
            }
        };
        let wire = self.coordinators.ask(&doing, call).await?;
        let (lost_writes, begun) = (wire.lost_writes.clone(), wire.begun);
        Ok(Answer { what: what_if(&doing, wire)?, lost_writes, begun })
    }

    /// Pauses, resumes or closes.
    ///
    /// # Errors
    /// [`Trouble`].
    pub async fn steer(&self, upgrade: &UpgradeId, steer: Steer, reason: &str) -> Result<Status, Trouble> {
        let request = v1::SteerRequest {
            upgrade: upgrade.as_str().to_owned(),
            reason: reason.to_owned(),
            request_id: request_id(),
            operator: self.operator(),
        };
        let doing = match steer {
            Steer::Pause => format!("pausing {upgrade}"),
            Steer::Resume => format!("resuming {upgrade}"),
            Steer::Close => format!("closing {upgrade}"),
        };
        let call = |to: Line| {
            let request = request.clone();
            async move {
                match steer {
                    Steer::Pause => to.upgrades().pause(request).await,
                    Steer::Resume => to.upgrades().resume(request).await,
                    Steer::Close => to.upgrades().close(request).await,
                }
            }
        };
        read(&doing, self.coordinators.ask(&doing, call).await?)
    }
}

/// Events of one upgrade, as they happen.
#[derive(Debug)]
pub struct Events {
    stream: tonic::Streaming<v1::Event>,
    doing: String,
}

impl Events {
    /// The next event; none after the last fact of a closed upgrade. May be dropped and called again.
    ///
    /// # Errors
    /// [`Trouble`]; [`Trouble::Broken`] when the connection was lost.
    pub async fn next(&mut self) -> Result<Option<Event>, Trouble> {
        match self.stream.message().await.map_err(|status| refused(&self.doing, &status))? {
            Some(event) => Ok(Some(read(&self.doing, event)?)),
            None => Ok(None),
        }
    }
}
