//! What is asked of a fleet: who leads, who is there, who must be.

use super::{Client, refused, request_id};
use crate::trouble::Trouble;
use cutover_proto::v1;
use cutover_vocabulary::{DeploymentName, InstanceName};

impl Client {
    /// Who leads.
    ///
    /// # Errors
    /// [`Trouble`].
    pub async fn leader(&self) -> Result<v1::Leader, Trouble> {
        let answer = self.fleet.clone().get_leader(v1::GetLeaderRequest {}).await;
        Ok(answer.map_err(|status| refused("asking who leads", &status))?.into_inner())
    }

    /// Every deployment.
    ///
    /// # Errors
    /// [`Trouble`].
    pub async fn deployments(&self) -> Result<Vec<v1::Deployment>, Trouble> {
        let answer = self.fleet.clone().list_deployments(v1::ListDeploymentsRequest {}).await;
        Ok(answer.map_err(|status| refused("listing deployments", &status))?.into_inner().deployments)
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
        let answer = self.fleet.clone().create_deployment(request).await.map_err(|status| refused(&doing, &status))?;
        Ok(answer.into_inner())
    }

    /// One deployment.
    ///
    /// # Errors
    /// [`Trouble`].
    pub async fn deployment(&self, name: &DeploymentName) -> Result<v1::DeploymentDetails, Trouble> {
        let doing = format!("looking up deployment {name}");
        let request = v1::GetDeploymentRequest { name: name.as_str().to_owned() };
        let answer = self.fleet.clone().get_deployment(request).await.map_err(|status| refused(&doing, &status))?;
        Ok(answer.into_inner())
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
        let answer = self.fleet.clone().excuse_member(request).await.map_err(|status| refused(&doing, &status))?;
        Ok(answer.into_inner().upgrade)
    }

    /// Every instance.
    ///
    /// # Errors
    /// [`Trouble`].
    pub async fn instances(&self) -> Result<Vec<v1::Instance>, Trouble> {
        let answer = self.fleet.clone().list_instances(v1::ListInstancesRequest { deployment: None }).await;
        Ok(answer.map_err(|status| refused("listing instances", &status))?.into_inner().instances)
    }
}
