//! The fleet: who is registered, what was heard last, and who leads.

use super::access::Speaker;
use super::refusals::unreadable;
use super::upgrades::read;
use super::{caller, words as reason};
use crate::election::Shared;
use crate::leadership::Leadership;
use crate::members::{Details, Excuse};
use crate::registry::{Deployment, Registered, keys};
use cutover_proto::Refused;
use cutover_proto::convert::to_wire;
use cutover_proto::malformed::{text, texts};
use cutover_proto::v1 as pb;
use cutover_store::Present;
use cutover_vocabulary::{DeploymentName, InstanceName};
use std::collections::BTreeMap;
use std::sync::Arc;
use tonic::{Request, Response, Status};

/// The service.
pub(super) struct Fleet {
    pub(super) shared: Arc<Shared>,
}

#[tonic::async_trait]
impl pb::fleet_server::Fleet for Fleet {
    async fn list_instances(
        &self,
        request: Request<pb::ListInstancesRequest>,
    ) -> Result<Response<pb::ListInstancesResponse>, Status> {
        let leadership = self.shared.leading().await?;
        let wanted = request.into_inner().deployment;
        let mine = |member: &Registered| wanted.as_deref().is_none_or(|wanted| member.deployment.as_str() == wanted);
        let instances =
            leadership.fleet().into_iter().filter(mine).map(|member| instance(&leadership, member)).collect();
        Ok(Response::new(pb::ListInstancesResponse { instances }))
    }

    async fn list_deployments(
        &self,
        _: Request<pb::ListDeploymentsRequest>,
    ) -> Result<Response<pb::ListDeploymentsResponse>, Status> {
        let leadership = self.shared.leading().await?;
        let mut deployments: BTreeMap<String, pb::Deployment> = BTreeMap::new();
        for member in leadership.fleet() {
            let name: String = member.deployment.into();
            let deployment =
                deployments.entry(name.clone()).or_insert_with(|| pb::Deployment { name, ..Default::default() });
            deployment.instances.push(member.instance.into());
        }
        let documents = leadership.registry.list::<Deployment>(keys::DEPLOYMENTS).await;
        for (key, document) in documents.map_err(|error| leadership.refuse(error))? {
            let name = key.as_str().trim_start_matches(keys::DEPLOYMENTS);
            let declared = !document.declared.is_empty() || document.latest.is_some();
            if !declared && !deployments.contains_key(name) {
                continue;
            }
            let fresh = || pb::Deployment { name: name.to_owned(), ..Default::default() };
            let deployment = deployments.entry(name.to_owned()).or_insert_with(fresh);
            deployment.storage = document.storage.map(Into::into);
            deployment.allowed = DeploymentName::new(name).ok().and_then(|name| allowed(&leadership, &name));
            let unfinished = |id: &cutover_vocabulary::UpgradeId| {
                leadership.led().iter().any(|handle| handle.id == *id && !handle.now().upgrade.finished())
            };
            deployment.upgrade = document.latest.map(|latest| latest.id).filter(unfinished).map(Into::into);
        }
        Ok(Response::new(pb::ListDeploymentsResponse { deployments: deployments.into_values().collect() }))
    }

    async fn create_deployment(
        &self,
        request: Request<pb::CreateDeploymentRequest>,
    ) -> Result<Response<pb::DeploymentDetails>, Status> {
        let (speaker, asked) = (Speaker::of(&request)?, request.into_inner());
        let leadership = self.shared.leading().await?;
        let (by, id) = caller(&speaker, &asked.operator, &asked.request_id)?;
        let name = read(text("name", &asked.name))?;
        let instances: Vec<InstanceName> = read(texts("instances", &asked.instances))?;
        let details = leadership.declare(&name, &instances.into_iter().collect(), &by, &id).await?;
        Ok(Response::new(shown(&leadership, details)))
    }

    async fn get_deployment(
        &self,
        request: Request<pb::GetDeploymentRequest>,
    ) -> Result<Response<pb::DeploymentDetails>, Status> {
        let leadership = self.shared.leading().await?;
        let name = read(text("name", &request.into_inner().name))?;
        let details = leadership.details(&name).await?;
        Ok(Response::new(shown(&leadership, details)))
    }

    async fn excuse_member(
        &self,
        request: Request<pb::ExcuseMemberRequest>,
    ) -> Result<Response<pb::ExcuseMemberResponse>, Status> {
        let (speaker, asked) = (Speaker::of(&request)?, request.into_inner());
        let leadership = self.shared.leading().await?;
        let (by, id) = caller(&speaker, &asked.operator, &asked.request_id)?;
        let excuse = Excuse {
            deployment: read(text("deployment", &asked.deployment))?,
            instance: read(text("instance", &asked.instance))?,
            reason: reason("reason", asked.reason)?,
            evidence: reason("evidence", asked.evidence)?,
        };
        let tasks = leadership.tasks.clone();
        // It changes the registry and the upgrade, and must not be left between the two.
        let excused = tasks.finish(async move { leadership.excuse(&excuse, by, &id).await }).await;
        let upgrade = excused.ok_or_else(|| Refused::not_leader(None))??;
        Ok(Response::new(pb::ExcuseMemberResponse { upgrade: upgrade.map(Into::into) }))
    }

    async fn get_leader(&self, _: Request<pb::GetLeaderRequest>) -> Result<Response<pb::Leader>, Status> {
        let leader = self.shared.leader().await.map_err(|error| unreadable(&error))?;
        let epoch = leader.as_ref().map_or(0, |leader| leader.epoch.0);
        let there = self.shared.store.coordinators().await.map_err(|error| unreadable(&error))?;
        let coordinator = |one: Present| pb::Coordinator {
            leads: leader.as_ref().is_some_and(|leader| leader.name == one.name),
            name: one.name.to_string(),
            address: one.address,
        };
        let coordinators = there.into_iter().map(coordinator).collect();
        Ok(Response::new(pb::Leader {
            name: leader.map(|leader| leader.name.to_string()),
            epoch,
            this_coordinator: self.shared.name.to_string(),
            leading: self.shared.leads(),
            coordinators,
        }))
    }
}

/// A registered instance with what its agent last said.
fn instance(leadership: &Leadership, member: Registered) -> pb::Instance {
    let mut seen = leadership.links.seen(&member.agent);
    pb::Instance {
        report: seen.reports.remove(&member.instance).map(Into::into),
        name: member.instance.into(),
        deployment: member.deployment.into(),
        agent: member.agent.into(),
        connected: seen.connected,
        last_heard: seen.heard.map(to_wire),
    }
}

fn allowed(leadership: &Leadership, name: &DeploymentName) -> Option<String> {
    leadership.allowed(name).map(String::from)
}

fn shown(leadership: &Leadership, details: Details) -> pb::DeploymentDetails {
    let Details { name, document, instances, missing, upgrade } = details;
    let claims = leadership.claims();
    let ours = |instance: &InstanceName| {
        missing.contains(instance) || instances.iter().any(|member| member.instance == *instance)
    };
    let claims = claims.iter().filter(|(instance, _)| ours(instance)).map(|(instance, claim)| pb::RefusedClaim {
        instance: instance.as_str().to_owned(),
        agent: claim.agent.as_str().to_owned(),
        machine: claim.machine.clone(),
        at: Some(to_wire(claim.at)),
        why: claim.why.clone(),
    });
    let claims = claims.collect();
    let deployment = pb::Deployment {
        allowed: allowed(leadership, &name),
        name: name.into(),
        instances: instances.iter().map(|member| member.instance.as_str().to_owned()).collect(),
        storage: document.storage.map(Into::into),
        upgrade: upgrade.map(Into::into),
    };
    pb::DeploymentDetails {
        deployment: Some(deployment),
        instances: instances.into_iter().map(|member| instance(leadership, member)).collect(),
        missing: missing.into_iter().map(Into::into).collect(),
        claims,
    }
}
