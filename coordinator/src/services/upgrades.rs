//! Plans and upgrades.

use super::access::Speaker;
use super::refusals::{foreign, no_such_upgrade, refuse, unreadable};
use super::{caller, list, reason, watch};
use crate::election::Shared;
use crate::leadership::Leadership;
use crate::plans::Wish;
use crate::registry::Answer;
use crate::upgrade_loop::Handle;
use crate::upgrade_loop::load::PAGE;
use cutover_core::plan::{Approve, StrategyAsk};
use cutover_core::upgrade::{Ask, Back, Input, Upgrade, what_if};
use cutover_proto::malformed::{self, Malformed, text, texts, wanted, word};
use cutover_proto::v1 as pb;
use cutover_proto::{Code, Refused};
use cutover_store::Stored;
use cutover_vocabulary::fact::Cause;
use cutover_vocabulary::finding::FindingCode;
use cutover_vocabulary::hold::{Choice, HoldId};
use cutover_vocabulary::status::{Status as UpgradeStatus, WhatIf};
use cutover_vocabulary::{Elapsed, InstanceName, OperatorName, Recorded, RequestId, UpgradeId};
use std::collections::BTreeSet;
use std::sync::Arc;
use tonic::{Request, Response, Status};

/// Most facts of a page, and how many where the caller does not say.
const FACTS: (usize, usize) = (1_000, 100);
/// Most upgrades of a list, and how many where the caller does not say.
const UPGRADES: (usize, usize) = (1_000, 100);
/// Bytes of facts after which a page ends, well below the largest message.
const PAGE_BYTES: usize = 2 * 1024 * 1024;

/// The service.
pub(super) struct Upgrades {
    pub(super) shared: Arc<Shared>,
}

#[tonic::async_trait]
impl pb::upgrades_server::Upgrades for Upgrades {
    type WatchStream = watch::Events;

    async fn make_plan(&self, request: Request<pb::MakePlanRequest>) -> Result<Response<pb::Plan>, Status> {
        let (speaker, asked) = (Speaker::of(&request)?, request.into_inner());
        let leadership = self.shared.leading().await?;
        let (by, id) = caller(&speaker, &asked.operator, &asked.request_id)?;
        let deployment = read(text("deployment", &asked.deployment))?;
        let strategy = read(strategy(asked.strategy))?;
        let rejoins = strategy == StrategyAsk::Rejoin;
        let target = match asked.target.as_str() {
            "" if rejoins => None,
            target => Some(read(text("target", target))?),
        };
        let instances: BTreeSet<InstanceName> = read(texts("instances", &asked.instances))?.into_iter().collect();
        if !rejoins && !instances.is_empty() {
            return Err(misplaced(
                "instances",
                "an upgrade moves every instance of a deployment; a rejoin moves those named",
            )
            .into());
        }
        if rejoins && asked.rehearse_only {
            return Err(misplaced("rehearse_only", "a rejoin migrates nothing, so there is nothing to rehearse").into());
        }
        let wave = asked.wave.map(|wave| positive("wave", u16::try_from(wave).unwrap_or(0))).transpose()?;
        let bake = asked.bake_ms.map(|bake| positive("bake_ms", u64::try_from(bake).unwrap_or(0))).transpose()?;
        let (bake, rehearse_only) = (bake.map(Elapsed), asked.rehearse_only);
        let wish = Wish { target, strategy, wave, bake, rehearse_only, instances };
        let plan = leadership.make_plan(deployment, wish, &id, &by).await?;
        Ok(Response::new(plan.into()))
    }

    async fn get_plan(&self, request: Request<pb::GetPlanRequest>) -> Result<Response<pb::Plan>, Status> {
        let leadership = self.shared.leading().await?;
        let kept = leadership.kept_plan(&request.into_inner().digest).await?;
        Ok(Response::new(kept.plan.into()))
    }

    async fn approve(&self, request: Request<pb::ApproveRequest>) -> Result<Response<pb::Approval>, Status> {
        let (speaker, asked) = (Speaker::of(&request)?, request.into_inner());
        let leadership = self.shared.leading().await?;
        let (by, id) = caller(&speaker, &asked.operator, &asked.request_id)?;
        let which = which(asked.findings, asked.all)?;
        let answers = cutover_proto::heard(asked.answers);
        let approval = leadership.approve(&asked.plan, &which, &answers, by, reason(asked.reason)?, &id).await?;
        Ok(Response::new(approval.into()))
    }

    async fn start(&self, request: Request<pb::StartRequest>) -> Result<Response<pb::StartResponse>, Status> {
        let (speaker, asked) = (Speaker::of(&request)?, request.into_inner());
        let leadership = self.shared.leading().await?;
        let (by, id) = caller(&speaker, &asked.operator, &asked.request_id)?;
        let tasks = leadership.tasks.clone();
        // Its first fact makes an upgrade; whoever asked may go after that, and it must be led all the same.
        let started = tasks.finish(async move { leadership.start(&asked.plan, by, &id).await }).await;
        let upgrade = started.ok_or_else(|| Refused::not_leader(None))??;
        Ok(Response::new(pb::StartResponse { upgrade: upgrade.into() }))
    }

    async fn get(&self, request: Request<pb::GetUpgradeRequest>) -> Result<Response<pb::Status>, Status> {
        let leadership = self.shared.leading().await?;
        let handle = leadership.upgrade(&read(text("upgrade", &request.into_inner().upgrade))?).await?;
        Ok(Response::new(status(&leadership, &handle).into()))
    }

    async fn list(
        &self,
        request: Request<pb::ListUpgradesRequest>,
    ) -> Result<Response<pb::ListUpgradesResponse>, Status> {
        let asked = request.into_inner();
        let leadership = self.shared.leading().await?;
        let most = limit(asked.limit, UPGRADES);
        let upgrades = list::list(&leadership, asked.deployment.as_deref(), most).await?;
        Ok(Response::new(pb::ListUpgradesResponse { upgrades }))
    }

    async fn watch(&self, request: Request<pb::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let asked = request.into_inner();
        let leadership = self.shared.leading().await?;
        let handle = leadership.upgrade(&read(text("upgrade", &asked.upgrade))?).await?;
        Ok(Response::new(watch::follow(leadership, handle, asked.after_seq)))
    }

    async fn list_facts(
        &self,
        request: Request<pb::ListFactsRequest>,
    ) -> Result<Response<pb::ListFactsResponse>, Status> {
        let asked = request.into_inner();
        let leadership = self.shared.leading().await?;
        let id: UpgradeId = read(text("upgrade", &asked.upgrade))?;
        let head = leadership.store.head(&id).await.map_err(|error| unreadable(&error))?;
        let head = head.ok_or_else(|| no_such_upgrade(&id))?;
        let page = leadership.store.load(&id, asked.after_seq, limit(asked.limit, FACTS)).await;
        let mut facts: Vec<pb::StoredFact> = Vec::new();
        let mut bytes = 0;
        for stored in page.map_err(|error| unreadable(&error))? {
            let fact: pb::StoredFact = match stored {
                Stored::Known(recorded) => recorded.into(),
                // What comes before it is shown; asking on from there tells why there is no more.
                Stored::Foreign { .. } if !facts.is_empty() => break,
                Stored::Foreign { seq, why } => return Err(foreign(&id, seq, &why).into()),
            };
            bytes += fact.json.len();
            if bytes > PAGE_BYTES && !facts.is_empty() {
                break;
            }
            facts.push(fact);
        }
        let more = facts.last().map_or(asked.after_seq, |fact| fact.seq) < head.seq;
        Ok(Response::new(pb::ListFactsResponse { facts, more }))
    }

    async fn decide(&self, request: Request<pb::DecideRequest>) -> Result<Response<pb::Status>, Status> {
        let (speaker, asked) = (Speaker::of(&request)?, request.into_inner());
        let choice: Choice = read(word::<pb::Choice, _>("choice", asked.choice))?;
        let ask = Ask::Decide { hold: HoldId(asked.hold), choice, reason: reason(asked.reason)? };
        self.steer(&speaker, &asked.upgrade, &asked.operator, &asked.request_id, ask).await
    }

    async fn abort(&self, request: Request<pb::GoBackRequest>) -> Result<Response<pb::WhatIf>, Status> {
        self.go_back(Speaker::of(&request)?, request.into_inner(), Back::Abort).await
    }

    async fn rollback(&self, request: Request<pb::GoBackRequest>) -> Result<Response<pb::WhatIf>, Status> {
        self.go_back(Speaker::of(&request)?, request.into_inner(), Back::Rollback).await
    }

    async fn pause(&self, request: Request<pb::SteerRequest>) -> Result<Response<pb::Status>, Status> {
        let (speaker, asked) = (Speaker::of(&request)?, request.into_inner());
        let ask = Ask::Pause { reason: reason(asked.reason)? };
        self.steer(&speaker, &asked.upgrade, &asked.operator, &asked.request_id, ask).await
    }

    async fn resume(&self, request: Request<pb::SteerRequest>) -> Result<Response<pb::Status>, Status> {
        let (speaker, asked) = (Speaker::of(&request)?, request.into_inner());
        let ask = Ask::Resume { reason: reason(asked.reason)? };
        self.steer(&speaker, &asked.upgrade, &asked.operator, &asked.request_id, ask).await
    }

    async fn close(&self, request: Request<pb::SteerRequest>) -> Result<Response<pb::Status>, Status> {
        let (speaker, asked) = (Speaker::of(&request)?, request.into_inner());
        let ask = Ask::Close { reason: reason(asked.reason)? };
        self.steer(&speaker, &asked.upgrade, &asked.operator, &asked.request_id, ask).await
    }
}

impl Upgrades {
    async fn steer(
        &self,
        speaker: &Speaker,
        upgrade: &str,
        operator: &str,
        request: &str,
        ask: Ask,
    ) -> Result<Response<pb::Status>, Status> {
        let leadership = self.shared.leading().await?;
        let (by, request) = caller(speaker, operator, request)?;
        let handle = leadership.upgrade(&read(text("upgrade", upgrade))?).await?;
        carry_out(&leadership, &handle, by, request, ask).await?;
        Ok(Response::new(status(&leadership, &handle).into()))
    }

    async fn go_back(
        &self,
        speaker: Speaker,
        asked: pb::GoBackRequest,
        back: Back,
    ) -> Result<Response<pb::WhatIf>, Status> {
        let leadership = self.shared.leading().await?;
        // Also where it is only asked about, so that a rehearsal finds out.
        if asked.accept_lost_writes {
            return Err(no_lossy_way().into());
        }
        let handle = leadership.upgrade(&read(text("upgrade", &asked.upgrade))?).await?;
        if asked.what_if {
            return Ok(Response::new(meant(what_if(&handle.now().upgrade, back), false)));
        }
        let (by, request) = caller(&speaker, &asked.operator, &asked.request_id)?;
        let reason = reason(asked.reason)?;
        let ask = match back {
            Back::Abort => Ask::Abort { reason },
            Back::Rollback => Ask::Rollback { reason },
        };
        carry_out(&leadership, &handle, by, request.clone(), ask).await?;
        Ok(Response::new(meant(meant_when_begun(&leadership, &handle, &request, back).await?, true)))
    }
}

/// Has an upgrade's loop carry out a call, and waits until that is stored.
async fn carry_out(
    leadership: &Arc<Leadership>,
    handle: &Handle,
    by: OperatorName,
    request: RequestId,
    ask: Ask,
) -> Result<(), Refused> {
    let question = ("steer", &handle.id, format!("{ask:?}"), &by);
    let (mut revision, mut call) = leadership.recall(&request, &question).await?;
    if call.answer == Some(Answer::Done) {
        return Ok(());
    }
    if revision == cutover_store::Revision::NONE {
        revision = leadership.remember_call(&request, revision, &call).await?;
    }
    match handle.ask(Input::Asked { by, request: request.clone(), ask }).await {
        // A fact says that it was carried out.
        Some(Ok(())) if handle.now().upgrade.knows_request(&request) => Ok(()),
        // It was so already. A repeat that came after somebody else's call would undo that one.
        Some(Ok(())) => {
            call.answer = Some(Answer::Done);
            leadership.remember_call(&request, revision, &call).await.map(drop)
        }
        Some(Err(rejected)) => Err(refuse(&handle.now().upgrade, rejected)),
        None => Err(Refused::not_leader(None)),
    }
}

pub(super) fn status(leadership: &Leadership, handle: &Handle) -> UpgradeStatus {
    handle.now().upgrade.status(leadership.now())
}

/// What going back meant at the moment when this call began it: of a repeated call the same as of the first.
async fn meant_when_begun(
    leadership: &Leadership,
    handle: &Handle,
    request: &RequestId,
    back: Back,
) -> Result<WhatIf, Refused> {
    let asked = |by: &Cause| matches!(by, Cause::Operator { request: known, .. } if known == request);
    let mut before: Vec<Recorded> = Vec::new();
    'facts: loop {
        let after = before.last().map_or(0, |fact| fact.seq);
        let page = leadership.store.load(&handle.id, after, PAGE).await.map_err(|error| unreadable(&error))?;
        if page.is_empty() {
            break;
        }
        for stored in page {
            match stored {
                Stored::Known(fact) if asked(&fact.by) => break 'facts,
                Stored::Known(fact) => before.push(fact),
                Stored::Foreign { seq, why } => return Err(foreign(&handle.id, seq, &why)),
            }
        }
    }
    let upgrade = Upgrade::replay(handle.id.clone(), &before);
    let upgrade =
        upgrade.map_err(|broken| foreign(&handle.id, before.last().map_or(0, |fact| fact.seq), &broken.to_string()))?;
    Ok(what_if(&upgrade, back))
}

fn meant(what_if: WhatIf, begun: bool) -> pb::WhatIf {
    let WhatIf { allowed, meaning, stages, ledgers } = what_if;
    pb::WhatIf {
        allowed,
        meaning,
        stages: stages.into_iter().map(Into::into).collect(),
        ledgers: ledgers.into_iter().map(Into::into).collect(),
        lost_writes: String::new(),
        begun,
    }
}

fn no_lossy_way() -> Refused {
    let why = "Cutover has no way back that loses what clients wrote since traffic was let in";
    let remedy = "leave `accept_lost_writes` out; once traffic was let in, repair forwards";
    Refused::new(Code::InvalidArgument, why, remedy).with("field", "accept_lost_writes")
}

/// Field readers name the field; a `Status` is made of that here.
pub(super) fn read<T>(field: Result<T, Malformed>) -> Result<T, Refused> {
    field.map_err(Refused::from)
}

/// A number that must be at least 1; one that does not fit counts as 0.
fn positive<T: Default + PartialEq>(field: &str, value: T) -> Result<T, Refused> {
    if value == T::default() {
        return Err(Malformed::at(field, "it must be at least 1, and a number that fits").into());
    }
    Ok(value)
}

/// What was said has no meaning beside the rest.
fn misplaced(field: &str, why: &str) -> Refused {
    Malformed::at(field, why).into()
}

fn strategy(number: i32) -> Result<StrategyAsk, Malformed> {
    let known =
        pb::Strategy::try_from(number).map_err(|_| Malformed::at("strategy", format!("{number} is not known")))?;
    Ok(match known {
        pb::Strategy::Unspecified | pb::Strategy::Auto => StrategyAsk::Auto,
        pb::Strategy::Downtime => StrategyAsk::Downtime,
        pb::Strategy::Rolling => StrategyAsk::Rolling,
        pb::Strategy::Rejoin => StrategyAsk::Rejoin,
    })
}

fn which(findings: Vec<pb::FindingName>, all: bool) -> Result<Approve, Refused> {
    match (findings.is_empty(), all) {
        (true, true) => Ok(Approve::All),
        (true, false) => Err(Malformed::at("findings", "name the findings, or say `all`").into()),
        (false, true) => Err(Malformed::at("all", "either name findings, or say `all`").into()),
        (false, false) => {
            let one = |(index, name): (usize, pb::FindingName)| {
                let place = format!("findings[{index}].subject");
                Ok((FindingCode(name.code), wanted(&place, name.subject)?))
            };
            Ok(Approve::These(findings.into_iter().enumerate().map(one).collect::<Result<_, malformed::Malformed>>()?))
        }
    }
}

fn limit(asked: u32, (most, usual): (usize, usize)) -> usize {
    match usize::try_from(asked) {
        Ok(0) => usual,
        Ok(asked) => asked.min(most),
        Err(_) => most,
    }
}
