//! Plans over the fleet: made from surveys, kept under their digest, approved, and started when they still hold.

use crate::faults::Point;
use crate::leadership::Leadership;
use crate::registry::{Agreed, Answer, Deployment, Latest, PlanEntry, RegistryError, keys};
use crate::upgrade_loop::load::Loaded;
use crate::upgrade_loop::{Verdict, nonce, tell};
use cutover_core::plan::{self, Approve, CannotPlan, MayNotStart, NotApprovable, PlanAsk, StrategyAsk};
use cutover_core::upgrade::{Upgrade, start};
use cutover_proto::{Code, Refused};
use cutover_store::{Batch, Revision};
use cutover_vocabulary::finding::Finding;
use cutover_vocabulary::plan::{Approval, Limits, Plan, PlanDigest, PreparationId};
use cutover_vocabulary::storage::StorageIdentity;
use cutover_vocabulary::survey::SurveyAsk;
use cutover_vocabulary::{
    DeploymentName, Digest, Elapsed, InstanceName, OperatorName, RequestId, Timestamp, UpgradeId, Version,
};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tracing::Instrument as _;

/// Digits of a plan's digest that are enough where only one plan begins with them.
const SHORTEST_DIGEST: usize = 8;

/// How an operator wants a deployment to be upgraded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wish {
    /// To which version. None: to the release that the deployment is to run; only a rejoin may leave it open.
    pub(crate) target: Option<Version>,
    /// How.
    pub(crate) strategy: StrategyAsk,
    /// How many instances move together, where not as the settings say.
    pub(crate) wave: Option<u16>,
    /// How long a wave is watched, where not as the settings say.
    pub(crate) bake: Option<Elapsed>,
    /// Whether it ends with the rehearsal.
    pub(crate) rehearse_only: bool,
    /// Rejoin: which instances; none named: every one that has not come along.
    pub(crate) instances: BTreeSet<InstanceName>,
}

/// A plan that was made before, and how it was asked for.
pub(crate) struct KeptPlan {
    pub(crate) plan: Plan,
    entry: PlanEntry,
}

impl Leadership {
    /// Looks at a deployment and keeps the plan.
    pub(crate) async fn make_plan(
        self: &Arc<Self>,
        deployment: DeploymentName,
        wish: Wish,
        request: &RequestId,
        by: &OperatorName,
    ) -> Result<Plan, Refused> {
        let how = format!("{wish:?}");
        let (revision, mut call) = self.recall(request, &("make-plan", &deployment, how, by)).await?;
        if let Some(Answer::Plan { chunks }) = &call.answer {
            return self.registry.kept_plan(chunks).await.map_err(|error| self.refuse(error));
        }
        // During an upgrade an instance is down on purpose; a plan would say to start it.
        self.next_upgrade(&deployment, request).await?;
        let plan = self.look(&deployment, &wish).await?;
        let chunks = self.registry.keep_plan(&plan).await.map_err(|error| self.refuse(error))?;
        // Whatever becomes of the deployment until then, the start looks at the version that this plan names.
        let entry = PlanEntry::new(deployment, plan.binding.target.version.clone(), wish, chunks.clone());
        self.replace(|| keys::plan(&plan.digest()).map_err(Into::into), |_: Option<PlanEntry>| entry.clone()).await?;
        let storage = plan.binding.storage.clone();
        self.replace(
            || keys::deployment(&plan.binding.deployment).map_err(Into::into),
            |present: Option<Deployment>| Deployment { storage: Some(storage.clone()), ..present.unwrap_or_default() },
        )
        .await?;
        call.answer = Some(Answer::Plan { chunks });
        self.remember_call(request, revision, &call).await?;
        Ok(plan)
    }

    /// Surveys and plans, without keeping anything.
    async fn look(&self, deployment: &DeploymentName, wish: &Wish) -> Result<Plan, Refused> {
        let Wish { target, strategy, wave, bake, rehearse_only, instances } = wish;
        let allowed = self.allowed(deployment);
        let Some(target) = target.as_ref().or(allowed.as_ref()) else {
            return Err(Refused::new(
                Code::Blocked,
                format!(
                    "nothing says which release deployment {deployment} is to run: no upgrade of it has ended, or a person finished \
                     the latest one by hand"
                ),
                format!("plan an upgrade of the whole deployment: `cutover plan {deployment} --to VERSION`"),
            )
            .with("findings", format!("rejoin-refused deployment {deployment}")));
        };
        let registered = self.members_of(deployment);
        let key = keys::deployment(deployment).map_err(|error| self.refuse(error.into()))?;
        let (_, document) = self.registry.read::<Deployment>(&key).await.map_err(|error| self.refuse(error))?;
        let declared = document.unwrap_or_default().declared;
        if registered.is_empty() && declared.is_empty() {
            return Err(Refused::new(
                Code::NoSuchDeployment,
                format!("no instance of a deployment {deployment} is registered"),
                "start the agents of its hosts; each names its instances and their deployment in its settings",
            ));
        }
        let survey = SurveyAsk { deployment: deployment.clone(), target: target.clone() };
        let surveys = self.survey_all(&registered, &survey).await;
        let usual = self.settings.limits.clone();
        let ask = PlanAsk {
            deployment: deployment.clone(),
            target: target.clone(),
            strategy: *strategy,
            limits: Limits { wave: wave.unwrap_or(usual.wave), bake: bake.unwrap_or(usual.bake), ..usual },
            rehearse_only: *rehearse_only,
            declared,
            allowed: allowed.clone(),
            instances: instances.clone(),
            elsewhere: self.storages_of_others(deployment).await?,
        };
        plan::make(&self.settings.catalogue, &ask, &registered, &surveys, self.now().wall).map_err(
            |CannotPlan { findings }| {
                let seen: BTreeSet<_> = surveys.iter().map(|survey| &survey.agent).collect();
                // What a rejoin does not bring in is not what it lacks.
                let needed =
                    registered.iter().filter(|(name, _)| *strategy != StrategyAsk::Rejoin || instances.contains(*name));
                let unseen: BTreeSet<_> =
                    needed.map(|(_, agent)| agent).filter(|agent| !seen.contains(agent)).collect();
                let never =
                    *strategy != StrategyAsk::Rejoin && ask.declared.iter().any(|name| !registered.contains_key(name));
                let code = if unseen.is_empty() && !never { Code::Blocked } else { Code::AgentNotSeen };
                let agents = unseen.into_iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                let refused = refuse_findings(code, "there is no plan yet", &findings);
                if agents.is_empty() { refused } else { refused.with("agents", agents) }
            },
        )
    }

    /// The storages of other deployments that have instances, as they were found when each was planned for last.
    async fn storages_of_others(
        &self,
        deployment: &DeploymentName,
    ) -> Result<BTreeMap<DeploymentName, StorageIdentity>, Refused> {
        let documents =
            self.registry.list::<Deployment>(keys::DEPLOYMENTS).await.map_err(|error| self.refuse(error))?;
        let of_other = |(key, document): (_, Deployment)| {
            let name = keys::deployment_of(&key)?;
            let alive = name != *deployment && !self.members_of(&name).is_empty();
            document.storage.filter(|_| alive).map(|storage| (name, storage))
        };
        Ok(documents.into_iter().filter_map(of_other).collect())
    }

    /// A plan by its digest, or by the first digits of it.
    pub(crate) async fn kept_plan(&self, digest: &str) -> Result<KeptPlan, Refused> {
        let hexadecimal = digest.bytes().all(|digit| digit.is_ascii_hexdigit());
        if digest.len() < SHORTEST_DIGEST || !hexadecimal {
            return Err(Refused::new(
                Code::InvalidArgument,
                format!("{digest:?} is not the digest of a plan"),
                format!("give at least its first {SHORTEST_DIGEST} hexadecimal digits"),
            )
            .with("field", "digest"));
        }
        let prefix = format!("{}{}", keys::PLANS, digest.to_ascii_lowercase());
        let mut found = self.registry.list::<PlanEntry>(&prefix).await.map_err(|error| self.refuse(error))?;
        match (found.pop(), found.is_empty()) {
            (Some((_, entry)), true) => {
                let plan = self.registry.kept_plan(&entry.chunks).await.map_err(|error| self.refuse(error))?;
                Ok(KeptPlan { plan, entry })
            }
            (Some(_), false) => Err(Refused::new(
                Code::InvalidArgument,
                format!("several plans begin with {digest}"),
                "give more digits of the digest",
            )),
            (None, _) => Err(Refused::new(
                Code::NoSuchPlan,
                format!("there is no plan {digest}"),
                "make one with `cutover plan`, and use the digest that it prints",
            )),
        }
    }

    /// Keeps an approval. What was agreed to before stays agreed to.
    pub(crate) async fn approve(
        &self,
        digest: &str,
        which: &Approve,
        answers: &BTreeMap<PreparationId, String>,
        by: OperatorName,
        reason: String,
        request: &RequestId,
    ) -> Result<Approval, Refused> {
        let question = ("approve", digest, format!("{which:?}"), answers, &by, &reason);
        let (revision, mut call) = self.recall(request, &question).await?;
        if let Some(Answer::Approval(approval)) = call.answer {
            return Ok(approval);
        }
        let kept = self.kept_plan(digest).await?;
        let given =
            plan::approve(&kept.plan, which, answers, by, reason, self.now().wall).map_err(|error| match error {
                NotApprovable::Blocked(ref codes) => {
                    let findings = codes.join(", ");
                    Refused::new(Code::Blocked, error.to_string(), "mend what blocks, then plan again")
                        .with("findings", findings)
                }
                NotApprovable::NoSuchFinding(..) => {
                    Refused::new(Code::InvalidArgument, error.to_string(), "name findings as the plan does")
                        .with("field", "findings")
                }
                NotApprovable::NoSuchQuestion(..) | NotApprovable::EmptyAnswer(_) => Refused::new(
                    Code::InvalidArgument,
                    error.to_string(),
                    "answer the questions that the plan asks, by their ids",
                )
                .with("field", "answers"),
            })?;
        let key = || keys::approval(&given.plan).map_err(Into::into);
        let after = self.latest_id(&kept.entry.deployment);
        let agreed = |present: Option<Agreed>| {
            let present = present.filter(|present| present.after == after).map(|present| present.approval);
            Agreed { approval: together(present, given.clone()), after: after.clone() }
        };
        let Agreed { approval, .. } = self.replace(key, agreed).await?;
        call.answer = Some(Answer::Approval(approval.clone()));
        self.remember_call(request, revision, &call).await?;
        Ok(approval)
    }

    /// Starts a plan: looks again first, and refuses what has changed or is not agreed to.
    pub(crate) async fn start(
        self: &Arc<Self>,
        digest: &str,
        by: OperatorName,
        request: &RequestId,
    ) -> Result<UpgradeId, Refused> {
        let (revision, mut call) = self.recall(request, &("start", digest, &by)).await?;
        if let Some(Answer::Upgrade(id)) = call.answer {
            return Ok(id);
        }
        let agreed = self.kept_plan(digest).await?;
        let entry = &agreed.entry;
        let _one_at_a_time = self.starting(&entry.deployment).await;
        // Refused before anybody is asked to look: the look takes a while, and the answer would be the same.
        let (_, present) = self.next_upgrade(&entry.deployment, request).await?;
        let id = match present {
            Begin::Begun(id) => id,
            Begin::New { last, .. } => {
                let fresh = self.look(&entry.deployment, &entry.wish()).await?;
                let key = keys::approval(&agreed.plan.digest()).map_err(|error| self.refuse(error.into()))?;
                let (_, agreed_to) = self.registry.read::<Agreed>(&key).await.map_err(|error| self.refuse(error))?;
                // An approval is for one upgrade: what was agreed to before the last one began is not agreed to again.
                let approval = agreed_to.filter(|it| it.after == last).map(|it| it.approval);
                plan::may_start(&agreed.plan, &fresh, approval.as_ref())
                    .map_err(|why| may_not_start(&agreed.plan.digest(), why))?;
                self.begin(fresh, approval, by, request).await?
            }
        };
        call.answer = Some(Answer::Upgrade(id.clone()));
        self.remember_call(request, revision, &call).await?;
        Ok(id)
    }

    /// Which upgrade a start would begin now, by the deployment's document and the facts that there are.
    async fn next_upgrade(
        self: &Arc<Self>,
        name: &DeploymentName,
        request: &RequestId,
    ) -> Result<(Revision, Begin), Refused> {
        self.sees_all_of(name)?;
        let key = keys::deployment(name).map_err(|error| self.refuse(error.into()))?;
        let (revision, present) = self.registry.read::<Deployment>(&key).await.map_err(|error| self.refuse(error))?;
        let deployment = present.unwrap_or_default();
        let Some(latest) = deployment.latest.clone() else {
            let last = deployment.before.clone();
            return Ok((revision, Begin::New { deployment, last }));
        };
        match self.upgrade(&latest.id).await {
            // The start was answered by a coordinator that died before it could say so.
            Ok(_) if latest.request == *request => {
                self.is_latest(name, &latest.id);
                Ok((revision, Begin::Begun(latest.id)))
            }
            Ok(handle) if handle.now().upgrade.finished() => {
                let last = Some(latest.id);
                let deployment = Deployment { latest: None, before: last.clone(), ..deployment };
                Ok((revision, Begin::New { deployment, last }))
            }
            Ok(_) => Err(Refused::new(
                Code::DeploymentBusy,
                format!("deployment {name} has upgrade {}, which has not ended", latest.id),
                "follow or end that one first: `cutover status`",
            )
            .with("upgrade", &latest.id)),
            // It was announced and has no facts: it never began, and its number is free.
            Err(refused) if refused.code == Code::NoSuchUpgrade => {
                let upgrades = deployment.upgrades.saturating_sub(1);
                let last = deployment.before.clone();
                let deployment = Deployment { upgrades, latest: None, ..deployment };
                Ok((revision, Begin::New { deployment, last }))
            }
            Err(refused) => Err(refused),
        }
    }

    /// Announces the upgrade in its deployment's document, then stores its first fact.
    async fn begin(
        self: &Arc<Self>,
        plan: Plan,
        approval: Option<Approval>,
        by: OperatorName,
        request: &RequestId,
    ) -> Result<UpgradeId, Refused> {
        let name = plan.binding.deployment.clone();
        let (revision, begin) = self.next_upgrade(&name, request).await?;
        let mut deployment = match begin {
            Begin::Begun(id) => return Ok(id),
            Begin::New { deployment, .. } => deployment,
        };
        let id = loop {
            deployment.upgrades += 1;
            let id = upgrade_id(&name, deployment.upgrades, request, self.now().wall)?;
            if !self.holds(&id).await? {
                break id;
            }
        };
        deployment.latest = Some(Latest { id: id.clone(), request: request.clone() });
        let key = keys::deployment(&name).map_err(|error| self.refuse(error.into()))?;
        self.registry.write(&key, revision, &deployment).await.map_err(|error| self.refuse(error))?;

        let happened = start(plan, approval, by, request.clone(), self.epoch, self.now());
        let broken = |error: cutover_core::upgrade::BrokenChain| {
            Refused::new(Code::Internal, error.to_string(), "look at the coordinator's log")
        };
        let upgrade = Upgrade::begin(id.clone(), &happened).map_err(broken)?;
        let first = happened.seal(1, Digest::of(b""));
        let hash = first.hash();
        let batch = Batch { nonce: nonce(), facts: vec![first] };
        let (point, facts) = (id.clone(), vec!["started"]);
        self.faults.reach(Point::BeforeAppend { upgrade: point.clone(), after_seq: 0, facts: facts.clone() }).await;
        let appended = self.store.append(self.epoch, &id, 0, &batch).await;
        self.faults.reach(Point::AfterAppend { upgrade: point, after_seq: 0, facts }).await;
        match self.judge_append(&id, &batch, appended).instrument(self.span(&id)).await {
            Verdict::Committed => {
                self.span(&id).in_scope(|| tell(&batch.facts));
                self.lead(&id, Loaded { upgrade, hash });
                self.is_latest(&name, &id);
                Ok(id)
            }
            Verdict::NotStored => Err(Refused::new(
                Code::StoreUnavailable,
                format!("upgrade {id} was not started: its first fact could not be stored"),
                "start it again with the same request id; if it lasts, look at the coordinator's log",
            )),
            Verdict::Lost => Err(Refused::not_leader(None)),
        }
    }

    /// Writes a document from what it is now; again where another call changed it meanwhile.
    pub(crate) async fn replace<T: Serialize + serde::de::DeserializeOwned>(
        &self,
        key: impl Fn() -> Result<cutover_store::Key, RegistryError>,
        change: impl Fn(Option<T>) -> T,
    ) -> Result<T, Refused> {
        let key = key().map_err(|error| self.refuse(error))?;
        loop {
            let (revision, present) = self.registry.read(&key).await.map_err(|error| self.refuse(error))?;
            let value = change(present);
            match self.registry.write(&key, revision, &value).await {
                Ok(()) => return Ok(value),
                Err(RegistryError::Conflict { .. }) => {}
                Err(error) => return Err(self.refuse(error)),
            }
        }
    }
}

/// What a start finds.
#[expect(clippy::large_enum_variant, reason = "one a start")]
enum Begin {
    /// This very call has begun it.
    Begun(UpgradeId),
    /// Nothing is in the way of a new one.
    New {
        /// The deployment's document.
        deployment: Deployment,
        /// The last upgrade of it that began.
        last: Option<UpgradeId>,
    },
}

/// `DEPLOYMENT-NUMBER-MARK`; a long name of a deployment is cut, so that the rest fits.
///
/// The mark tells upgrades apart whose stores know nothing of each other: after a store was lost the numbers begin again, and
/// agents keep results, recovery points and former releases under an upgrade's name. Never may those of another one fit.
fn upgrade_id(
    deployment: &DeploymentName,
    number: u64,
    request: &RequestId,
    at: Timestamp,
) -> Result<UpgradeId, Refused> {
    let mark = Digest::of(format!("{request} {}", at.as_millis()).as_bytes()).short();
    let end = format!("-{number}-{}", &mark[..6]);
    let name: String = deployment.as_str().chars().take(63 - end.len()).collect();
    UpgradeId::new(format!("{name}{end}"))
        .map_err(|error| Refused::new(Code::Internal, error.to_string(), "rename the deployment"))
}

/// Two approvals of one plan as one: both agreed, each to what they named.
fn together(before: Option<Approval>, now: Approval) -> Approval {
    let Some(before) = before else { return now };
    let findings: BTreeSet<_> = before.findings.into_iter().chain(now.findings).collect();
    let mut losses = before.losses;
    losses.extend(now.losses);
    let mut answers = before.answers;
    answers.extend(now.answers);
    let reason = if before.by == now.by && before.reason == now.reason {
        now.reason
    } else {
        format!("{}: {}; {}: {}", before.by, before.reason, now.by, now.reason)
    };
    Approval {
        findings: findings.into_iter().collect(),
        losses,
        answers,
        reason,
        plan: now.plan,
        by: now.by,
        at: now.at,
    }
}

fn may_not_start(digest: &PlanDigest, why: MayNotStart) -> Refused {
    match why {
        MayNotStart::Blocked { findings } => refuse_findings(Code::Blocked, "the plan is blocked", &findings),
        MayNotStart::NeedsApproval { findings, questions } if questions.is_empty() => {
            refuse_findings(Code::NeedsApproval, "a person must approve this first", &findings)
        }
        MayNotStart::NeedsApproval { findings, questions } => {
            let asked: Vec<String> = questions.iter().map(|(id, question)| format!("{id}: {question}")).collect();
            let open: Vec<String> =
                findings.iter().map(|finding| format!("{} about {}", finding.code, finding.subject)).collect();
            let also = if open.is_empty() { String::new() } else { format!("; and approve {}", open.join(", ")) };
            let ids: Vec<String> = questions.keys().map(ToString::to_string).collect();
            Refused::new(
                Code::NeedsApproval,
                format!("a person must answer this first: {}{also}", asked.join(" ")),
                format!(
                    "cutover approve {} --answer '{}=WHAT WAS SEEN TO'",
                    digest.0.short(),
                    ids.join("=…' --answer '")
                ),
            )
            .with("questions", ids.join(", "))
            .with("findings", open.join(", "))
        }
        MayNotStart::Stale { changes } => Refused::new(
            Code::PlanStale,
            format!("plan {} is not true any more: {}", digest.0.short(), changes.join("; ")),
            "plan again, look at what changed, and start the new plan",
        )
        .with("changes", changes.join("; ")),
    }
}

fn refuse_findings(code: Code, what: &str, findings: &[Finding]) -> Refused {
    let text = |finding: &Finding| format!("{} about {}: {}", finding.code, finding.subject, finding.evidence);
    let texts: Vec<String> = findings.iter().map(text).collect();
    let remedies: BTreeSet<&str> = findings.iter().map(|finding| finding.remedy.as_str()).collect();
    let names: Vec<String> = findings.iter().map(|finding| format!("{} {}", finding.code, finding.subject)).collect();
    let remedy = remedies.into_iter().collect::<Vec<_>>().join("; ");
    Refused::new(code, format!("{what}: {}", texts.join("; ")), remedy).with("findings", names.join(", "))
}
