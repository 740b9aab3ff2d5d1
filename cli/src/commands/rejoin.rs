//! `rejoin`: instances that were away come to what the others run.

use super::upgrade::carry_out;
use crate::Context;
use crate::args::{Answers, RejoinArgs};
use crate::client::Client;
use crate::exit::Exit;
use crate::trouble::Trouble;
use cutover_proto::v1;
use cutover_vocabulary::plan::Strategy;
use cutover_vocabulary::{AgentName, DeploymentName, InstanceName};
use std::collections::BTreeSet;

/// Plans, starts and follows.
///
/// # Errors
/// [`Trouble`].
pub async fn rejoin(context: &Context, args: RejoinArgs) -> Result<Exit, Trouble> {
    let client = context.client().await?;
    let (deployment, instances) = whom(&client, &args).await?;
    let plan = client.plan_rejoin(&deployment, &instances).await?;
    if plan.binding.strategy != Strategy::Rejoin {
        return Err(Trouble::plain(
            "this coordinator cannot rejoin: it planned something else, and nothing was started. Install this program's version of \
             cutover-coordinator first",
        ));
    }
    carry_out(context, &client, &plan, args.yes, &args.reason, &Answers::default()).await
}

/// Which instances of which deployment, by what was said and what is registered.
async fn whom(client: &Client, args: &RejoinArgs) -> Result<(DeploymentName, Vec<InstanceName>), Trouble> {
    let (fleet, deployments) = (client.instances().await?, client.deployments().await?);
    let mine = |instance: &&v1::Instance| match &args.host {
        Some(host) => instance.agent == host.as_str(),
        None => args.instances.iter().any(|name| instance.name == name.as_str()),
    };
    let named: Vec<&v1::Instance> = fleet.iter().filter(mine).collect();
    let deployment = match &args.deployment {
        Some(deployment) => deployment.clone(),
        None if args.instances.is_empty() && args.host.is_none() => {
            only(deployments.iter().map(|it| it.name.as_str()))?
        }
        None => only(named.iter().map(|instance| instance.deployment.as_str()))?,
    };
    let Some(host) = &args.host else { return Ok((deployment, args.instances.clone())) };
    let allowed = deployments.iter().find(|it| it.name == deployment.as_str()).and_then(|it| it.allowed.as_deref());
    let away: Vec<InstanceName> = named
        .into_iter()
        .filter(|instance| instance.deployment == deployment.as_str() && was_away(instance, allowed))
        .filter_map(|instance| InstanceName::new(instance.name.as_str()).ok())
        .collect();
    if away.is_empty() { Err(nobody(host, &deployment, allowed)) } else { Ok((deployment, away)) }
}

/// Whether an instance has not come along: it is fenced, or has another release than its deployment is to run.
fn was_away(instance: &v1::Instance, allowed: Option<&str>) -> bool {
    let away = |report: &v1::InstanceReport| {
        report.fenced || report.running.as_deref().or(report.on_disk.as_deref()) != allowed
    };
    instance.report.as_ref().is_none_or(away)
}

fn nobody(host: &AgentName, deployment: &DeploymentName, allowed: Option<&str>) -> Trouble {
    let release = allowed.map(|allowed| format!(" other than {allowed}")).unwrap_or_default();
    let what = format!(
        "agent {host} speaks for no instance of {deployment} that has a release{release}, and for none that is fenced"
    );
    Trouble::usage(what).next("cutover fleet")
}

/// The one deployment that is meant.
fn only<'a>(names: impl Iterator<Item = &'a str>) -> Result<DeploymentName, Trouble> {
    let names: BTreeSet<&str> = names.collect();
    let mut all = names.iter();
    match (all.next(), all.next()) {
        (Some(only), None) => DeploymentName::new(*only).map_err(|error| Trouble::usage(error.to_string())),
        (Some(_), Some(_)) => {
            let list = names.into_iter().collect::<Vec<_>>().join(", ");
            let what = format!("it cannot be told which deployment is meant: {list}");
            Err(Trouble::usage(what).next("name it with --deployment"))
        }
        (None, _) => Err(Trouble::usage("no such instance or agent is registered").next("cutover fleet")),
    }
}
