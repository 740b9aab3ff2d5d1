//! The fleet: who is registered, what was heard last, and who leads.

use super::upgrades::unreadable;
use crate::election::Shared;
use crate::registry::{Deployment, Registered, keys};
use cutover_proto::convert::to_wire;
use cutover_proto::v1 as pb;
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
        let instance = |member: Registered| {
            let mut seen = leadership.links.seen(&member.agent);
            pb::Instance {
                report: seen.reports.remove(&member.instance).map(Into::into),
                name: member.instance.into(),
                deployment: member.deployment.into(),
                agent: member.agent.into(),
                connected: seen.connected,
                last_heard: seen.heard.map(to_wire),
            }
        };
        let instances = leadership.fleet().into_iter().filter(mine).map(instance).collect();
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
            let Some(deployment) = deployments.get_mut(name) else { continue };
            deployment.storage = document.storage.map(Into::into);
            let unfinished = |id: &cutover_vocabulary::UpgradeId| {
                leadership.led().iter().any(|handle| handle.id == *id && !handle.now().upgrade.finished())
            };
            deployment.upgrade = document.latest.map(|latest| latest.id).filter(unfinished).map(Into::into);
        }
        Ok(Response::new(pb::ListDeploymentsResponse { deployments: deployments.into_values().collect() }))
    }

    async fn get_leader(&self, _: Request<pb::GetLeaderRequest>) -> Result<Response<pb::Leader>, Status> {
        let leader = self.shared.leader().await.map_err(|error| unreadable(&error))?;
        let epoch = leader.as_ref().map_or(0, |leader| leader.epoch.0);
        Ok(Response::new(pb::Leader {
            name: leader.map(|leader| leader.name.to_string()),
            epoch,
            this_coordinator: self.shared.name.to_string(),
            leading: self.shared.leading().await.is_ok(),
        }))
    }
}
