//! What is asked of a fleet: who leads, who is there, who must be.

use super::leader::Line;
use super::{Client, request_id};
use crate::trouble::Trouble;
use cutover_proto::v1;
use cutover_vocabulary::{DeploymentName, InstanceName};

impl Client {
    /// Who leads.
    ///
    /// # Errors
    /// [`Trouble`].
    pub async fn leader(&self) -> Result<v1::Leader, Trouble> {
        let call = |to: Line| async move { to.fleet().get_leader(v1::GetLeaderRequest {}).await };
        self.coordinators.ask("asking who leads", call).await
    }

    /// Every deployment.
    ///
    /// # Errors
    /// [`Trouble`].
    pub async fn deployments(&self) -> Result<Vec<v1::Deployment>, Trouble> {
        let call = |to: Line| async move { to.fleet().list_deployments(v1::ListDeploymentsRequest {}).await };
        Ok(self.coordinators.ask("listing deployments", call).await?.deployments)
    }

    /// Declares a deployment and instances that must exist.
    ///
    /// # Errors
    /// [`Trouble`].
    pub async fn create_deployment(
        &self,
        name: &DeploymentName,
        instances: &[InstanceName],
    ) -> Result<v1::DeploymentDetails, Trouble> {
        let doing = format!("declaring deployment {name}");
        let request = v1::CreateDeploymentRequest {
            name: name.as_str().to_owned(),
            instances: instances.iter().map(|instance| instance.as_str().to_owned()).collect(),
            request_id: request_id(),
            operator: self.operator(),
        };
        let answer = self
            .coordinators
            .ask(&doing, |to| {
                let request = request.clone();
                async move { to.fleet().create_deployment(request).await }
            })
            .await?;
        Ok(answer)
    }

    /// One deployment.
    ///
    /// # Errors
    /// [`Trouble`].
    pub async fn deployment(&self, name: &DeploymentName) -> Result<v1::DeploymentDetails, Trouble> {
        let doing = format!("looking up deployment {name}");
        let request = v1::GetDeploymentRequest { name: name.as_str().to_owned() };
        let answer = self
            .coordinators
            .ask(&doing, |to| {
                let request = request.clone();
                async move { to.fleet().get_deployment(request).await }
            })
            .await?;
        Ok(answer)
    }

    /// Lets an instance go; answers with the upgrade that it took part in.
    ///
    /// # Errors
    /// [`Trouble`].
    pub async fn excuse(
        &self,
        deployment: &DeploymentName,
        instance: &InstanceName,
        reason: &str,
        evidence: &str,
    ) -> Result<Option<String>, Trouble> {
        let doing = format!("excusing {instance} of {deployment}");
        let request = v1::ExcuseMemberRequest {
            deployment: deployment.as_str().to_owned(),
            instance: instance.as_str().to_owned(),
            reason: reason.to_owned(),
            evidence: evidence.to_owned(),
            request_id: request_id(),
            operator: self.operator(),
        };
        let answer = self
            .coordinators
            .ask(&doing, |to| {
                let request = request.clone();
                async move { to.fleet().excuse_member(request).await }
            })
            .await?;
        Ok(answer.upgrade)
    }

    /// Every instance.
    ///
    /// # Errors
    /// [`Trouble`].
    pub async fn instances(&self) -> Result<Vec<v1::Instance>, Trouble> {
        let call =
            |to: Line| async move { to.fleet().list_instances(v1::ListInstancesRequest { deployment: None }).await };
        Ok(self.coordinators.ask("listing instances", call).await?.instances)
    }
}
