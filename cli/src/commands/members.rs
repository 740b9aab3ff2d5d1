//! Commands about who must be there and who may go: `deployment create`, `deployment show`, `member excuse`.

use super::look::instance;
use crate::Context;
use crate::args::{CreateDeploymentArgs, DeploymentCommand, ExcuseArgs, MemberCommand};
use crate::exit::Exit;
use crate::render::fleet as members;
use crate::trouble::Trouble;
use cutover_proto::v1;

/// Declares a deployment, or shows one.
///
/// # Errors
/// [`Trouble`].
pub async fn deployment(context: &Context, command: DeploymentCommand) -> Result<Exit, Trouble> {
    let client = context.client().await?;
    let details = match command {
        DeploymentCommand::Create(CreateDeploymentArgs { name, instances }) => {
            client.create_deployment(&name, &instances).await?
        }
        DeploymentCommand::Show { name } => client.deployment(&name).await?,
    };
    context.screen.page(&members::deployment(&details, context.screen.ink));
    context.screen.value(&value(&details))?;
    Ok(Exit::Done)
}

/// Lets an instance go.
///
/// # Errors
/// [`Trouble`].
pub async fn member(context: &Context, command: MemberCommand) -> Result<Exit, Trouble> {
    let MemberCommand::Excuse(ExcuseArgs { deployment, instance, reason, evidence }) = command;
    let upgrade = context.client().await?.excuse(&deployment, &instance, &reason, &evidence).await?;
    context.screen.line(&format!("{instance} belongs to deployment {deployment} no more."));
    if let Some(upgrade) = &upgrade {
        context.screen.line(&format!(
            "Upgrade {upgrade} goes on without it; a session of it on the storage holds it like any stranger's."
        ));
    }
    let (deployment, instance) = (deployment.as_str(), instance.as_str());
    context.screen.value(&serde_json::json!({ "deployment": deployment, "excused": instance, "upgrade": upgrade }))?;
    Ok(Exit::Done)
}

fn value(details: &v1::DeploymentDetails) -> serde_json::Value {
    let deployment = details.deployment.clone().unwrap_or_default();
    let storage = deployment.storage.and_then(|it| cutover_vocabulary::storage::StorageIdentity::try_from(it).ok());
    let claim = |claim: &v1::RefusedClaim| {
        serde_json::json!({
            "instance": claim.instance,
            "agent": claim.agent,
            "machine": claim.machine,
            "at": cutover_proto::convert::moment("at", claim.at).ok(),
            "why": claim.why,
        })
    };
    serde_json::json!({
        "name": deployment.name,
        "storage": storage,
        "upgrade": deployment.upgrade,
        "instances": details.instances.iter().map(instance).collect::<Vec<_>>(),
        "missing": details.missing,
        "refused_claims": details.claims.iter().map(claim).collect::<Vec<_>>(),
    })
}
