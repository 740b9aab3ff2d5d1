//! Plans over the fleet: made from surveys, kept under their digest, approved, and started when they still hold.

mod approve;
mod refusals;
mod start;

use crate::leadership::Leadership;
use crate::registry::{Answer, Deployment, PlanEntry, keys};
use cutover_core::plan::{self, CannotPlan, PlanAsk, StrategyAsk};
use cutover_proto::{Code, Refused};
use cutover_vocabulary::plan::{Limits, Plan};
use cutover_vocabulary::storage::StorageIdentity;
use cutover_vocabulary::survey::SurveyAsk;
use cutover_vocabulary::{DeploymentName, Elapsed, InstanceName, OperatorName, RequestId, Version};
use refusals::refuse_findings;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

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
        let keep = |_: Option<PlanEntry>| entry.clone();
        self.registry.replace(keys::plan(&plan.digest()), keep).await.map_err(|error| self.refuse(error))?;
        let storage = plan.binding.storage.clone();
        let found =
            |present: Option<Deployment>| Deployment { storage: Some(storage.clone()), ..present.unwrap_or_default() };
        let document = keys::deployment(&plan.binding.deployment);
        self.registry.replace(document, found).await.map_err(|error| self.refuse(error))?;
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
}
