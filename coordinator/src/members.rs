//! Who must be there, and who may go: deployments are declared, and instances that are gone for good are let go.

use crate::leadership::Leadership;
use crate::registry::{Answer, Deployment, Registered, keys};
use crate::upgrade_loop::Handle;
use cutover_core::upgrade::{Ask, Input, Rejected};
use cutover_proto::{Code, Refused};
use cutover_vocabulary::{AgentName, DeploymentName, InstanceName, OperatorName, RequestId, UpgradeId};
use std::collections::BTreeSet;
use std::sync::Arc;
use tracing::info;

/// A deployment as it is registered.
pub(crate) struct Details {
    pub(crate) name: DeploymentName,
    pub(crate) document: Deployment,
    pub(crate) instances: Vec<Registered>,
    /// Declared, and no agent has ever spoken for them.
    pub(crate) missing: BTreeSet<InstanceName>,
    /// The upgrade that has not ended.
    pub(crate) upgrade: Option<UpgradeId>,
}

/// An instance that is to be let go, and the words for it.
#[derive(Debug, Clone)]
pub(crate) struct Excuse {
    pub(crate) deployment: DeploymentName,
    pub(crate) instance: InstanceName,
    pub(crate) reason: String,
    pub(crate) evidence: String,
}

impl Leadership {
    /// Declares a deployment and instances of it, besides those declared before. The same again changes nothing.
    pub(crate) async fn declare(
        &self,
        name: &DeploymentName,
        instances: &BTreeSet<InstanceName>,
        by: &OperatorName,
        request: &RequestId,
    ) -> Result<Details, Refused> {
        let (revision, call) = self.recall(request, &("declare", name, instances, by)).await?;
        let elsewhere =
            self.fleet().into_iter().find(|member| instances.contains(&member.instance) && member.deployment != *name);
        if let Some(member) = elsewhere {
            return Err(Refused::new(
                Code::InvalidArgument,
                format!("instance {} belongs to deployment {}", member.instance, member.deployment),
                "an instance has one deployment: its agent's settings say which",
            )
            .with("field", "instances"));
        }
        let with = |present: Option<Deployment>| {
            let mut deployment = present.unwrap_or_default();
            deployment.declared.extend(instances.iter().cloned());
            deployment
        };
        self.registry.replace(keys::deployment(name), with).await.map_err(|error| self.refuse(error))?;
        if revision == cutover_store::Revision::NONE {
            self.remember_call(request, revision, &call).await?;
        }
        info!(deployment = %name, instances = instances.len(), operator = %by, "declared a deployment");
        self.details(name).await
    }

    /// What is registered of a deployment.
    pub(crate) async fn details(&self, name: &DeploymentName) -> Result<Details, Refused> {
        let key = keys::deployment(name).map_err(|error| self.refuse(error.into()))?;
        let (_, document) = self.registry.read::<Deployment>(&key).await.map_err(|error| self.refuse(error))?;
        let instances: Vec<_> = self.fleet().into_iter().filter(|member| member.deployment == *name).collect();
        if document.is_none() && instances.is_empty() {
            return Err(no_such_deployment(name));
        }
        let document = document.unwrap_or_default();
        let known: BTreeSet<&InstanceName> = instances.iter().map(|member| &member.instance).collect();
        let missing = document.declared.iter().filter(|name| !known.contains(name)).cloned().collect();
        let upgrade = self.active(name).map(|handle| handle.id);
        Ok(Details { name: name.clone(), document, instances, missing, upgrade })
    }

    /// The loop of a deployment's upgrade that has not ended.
    fn active(&self, name: &DeploymentName) -> Option<Handle> {
        self.led().into_iter().find(|handle| {
            let upgrade = handle.now().upgrade;
            upgrade.plan().binding.deployment == *name && !upgrade.finished()
        })
    }

    /// Lets an instance go: out of an upgrade that has not ended, then out of the registry. Repeated with the same request it
    /// goes on where it stopped.
    pub(crate) async fn excuse(
        self: &Arc<Self>,
        excuse: &Excuse,
        by: OperatorName,
        request: &RequestId,
    ) -> Result<Option<UpgradeId>, Refused> {
        let Excuse { deployment, instance, reason, evidence } = excuse;
        let question = ("excuse", deployment, instance, (reason, evidence), &by);
        let (revision, mut call) = self.recall(request, &question).await?;
        if let Some(Answer::Excused(upgrade)) = call.answer {
            return Ok(upgrade);
        }
        let active = self.active(deployment);
        let carried_out = active.as_ref().is_some_and(|handle| handle.now().upgrade.knows_request(request));
        let registered = self.fleet().into_iter().find(|member| member.instance == *instance);
        self.may_go(excuse, registered.as_ref(), active.as_ref(), carried_out).await?;
        if let Some(handle) = &active {
            let ask = Ask::Excuse { instance: instance.clone(), reason: reason.clone(), evidence: evidence.clone() };
            match handle.ask(Input::Asked { by: by.clone(), request: request.clone(), ask }).await {
                // It is only registered, or only declared.
                Some(Ok(()) | Err(Rejected::NoSuchMember(_))) => {}
                Some(Err(rejected)) => return Err(crate::services::refuse(&handle.now().upgrade, rejected)),
                None => return Err(Refused::not_leader(None)),
            }
        }
        self.forget(excuse, registered).await?;
        let upgrade = active.map(|handle| handle.id);
        call.answer = Some(Answer::Excused(upgrade.clone()));
        self.remember_call(request, revision, &call).await?;
        info!(%deployment, %instance, operator = %by, "let an instance go");
        Ok(upgrade)
    }

    async fn may_go(
        &self,
        excuse: &Excuse,
        registered: Option<&Registered>,
        active: Option<&Handle>,
        carried_out: bool,
    ) -> Result<(), Refused> {
        let Excuse { deployment, instance, .. } = excuse;
        let member = active.and_then(|handle| handle.now().upgrade.agent_for(instance));
        let agents: BTreeSet<AgentName> =
            registered.map(|known| known.agent.clone()).into_iter().chain(member).collect();
        if let Some(agent) = agents.iter().find(|agent| self.links.speaks_for(agent, instance)) {
            return Err(Refused::new(
                Code::AgentConnected,
                format!("agent {agent} is connected and speaks for {instance}, so it is not gone"),
                "stop the agent, or take the instance out of its settings and restart it",
            )
            .with("agent", agent));
        }
        let mine = registered.is_some_and(|known| known.deployment == *deployment);
        if mine || !agents.is_empty() && registered.is_none() || carried_out {
            return Ok(());
        }
        if self.details(deployment).await?.missing.contains(instance) {
            return Ok(());
        }
        Err(Refused::new(
            Code::InvalidArgument,
            format!("{instance} is no instance of deployment {deployment}"),
            format!("see which it has: `cutover deployment show {deployment}`"),
        )
        .with("field", "instance"))
    }

    /// Out of the registry: its name is free again.
    async fn forget(&self, excuse: &Excuse, registered: Option<Registered>) -> Result<(), Refused> {
        let Excuse { deployment, instance, .. } = excuse;
        if let Some(known) = registered.filter(|known| known.deployment == *deployment) {
            let gone = Registered { gone: true, ..known.clone() };
            // Where it was let go already, whoever has the name since keeps it.
            let out = |present: Option<Registered>| present.filter(|it| *it != known).unwrap_or_else(|| gone.clone());
            let now = self.registry.replace(keys::instance(instance), out).await;
            let (revision, now) = now.map_err(|error| self.refuse(error))?;
            self.remember(revision, now);
        }
        let without = |present: Option<Deployment>| {
            let mut document = present.unwrap_or_default();
            document.declared.remove(instance);
            document
        };
        self.registry.replace(keys::deployment(deployment), without).await.map(drop).map_err(|error| self.refuse(error))
    }
}

fn no_such_deployment(name: &DeploymentName) -> Refused {
    Refused::new(
        Code::NoSuchDeployment,
        format!("nobody declared a deployment {name}, and no agent speaks for an instance of it"),
        "`cutover fleet` lists those there are; `cutover deployment create` declares one",
    )
}
