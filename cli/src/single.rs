//! `cutover single`: the instances of this one machine, without any daemon. Coordinator and agent run in this process
//! as long as the command does; everything durable lies in the agent's state directory, so the same command goes on
//! where it stopped.

use crate::Context;
use crate::args::{Decided, SingleArgs};
use crate::client::{Client, How, Steer};
use crate::commands::look::newest as newest_of;
use crate::commands::{plan as plans, upgrade as upgrades};
use crate::exit::Exit;
use crate::follow::follow;
use crate::house::{self, House, Keeps};
use crate::render::losses::Rows;
use crate::render::next::Next;
use crate::render::words::quoted;
use crate::trouble::Trouble;
use cutover_agent::service::systemd::settings_now;
use cutover_agent::settings::{AtBoot, Settings};
use cutover_proto::v1;
use cutover_vocabulary::status::State;
use cutover_vocabulary::{DeploymentName, InstanceName, UpgradeId};
use std::collections::BTreeSet;

/// Plans, approves, starts and follows; or goes on with an upgrade that has not ended.
///
/// # Errors
/// [`Trouble`].
pub async fn command(context: &Context, args: SingleArgs) -> Result<Exit, Trouble> {
    context.operator()?;
    let mut settings =
        settings_now(&args.settings).await.map_err(|error| Trouble::Usage { what: error.to_string(), next: None })?;
    // No coordinator is there to be heard once this has ended, and no host that could be off meanwhile.
    settings.instances.iter_mut().for_each(|instance| instance.at_boot = AtBoot::Start);
    let deployment = which(&settings, args.deployment.clone())?;
    settings.prepare().map_err(|error| Trouble::failed("the agent cannot use its state directory", error))?;
    house::log_to(&settings.state.join("cutover.log"))?;
    let instances: Vec<InstanceName> = settings.instances.iter().map(|instance| instance.name.clone()).collect();
    let store = settings.state.join("coordinator");
    let house = House::start(vec![settings], Keeps::Folder(&store), "").await?;
    let result = inside(context, &house, &deployment, &instances, &args).await;
    house.stop(result).await
}

fn which(settings: &Settings, named: Option<DeploymentName>) -> Result<DeploymentName, Trouble> {
    let there: BTreeSet<&DeploymentName> = settings.instances.iter().map(|instance| &instance.deployment).collect();
    let list = || there.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    match (named, there.len()) {
        (Some(name), _) if there.contains(&name) => Ok(name),
        (Some(name), _) => {
            Err(Trouble::usage(format!("the settings name no deployment {name}"))
                .next(format!("they name: {}", list())))
        }
        (None, 1) => {
            there.first().map(|name| (*name).clone()).ok_or_else(|| Trouble::usage("the settings name no instance"))
        }
        (None, 0) => {
            Err(Trouble::usage("the settings name no instance").next("add an [[instance]] with its deployment"))
        }
        (None, _) => Err(Trouble::usage("the settings name several deployments")
            .next(format!("choose one with --deployment: {}", list()))),
    }
}

async fn inside(
    context: &Context,
    house: &House,
    deployment: &DeploymentName,
    instances: &[InstanceName],
    args: &SingleArgs,
) -> Result<Exit, Trouble> {
    let client = house.client(&context.operator()?, instances).await?;
    // Nobody serves the socket once this command has ended: the same command goes on.
    let context = Context { next: Next::Single(again(context, args)), ..context.clone() };
    if args.close {
        return close(&context, &client, deployment, args.reason.as_deref().unwrap_or_default()).await;
    }
    if args.status {
        let status = client.status(&newest(&client, deployment).await?).await?;
        upgrades::show(&context, &status)?;
        return Ok(Exit::of_status(&status));
    }
    if args.plan {
        let plan = client.plan(deployment, &args.to, &How::default()).await?;
        plans::show(&context, &plan, Some(&context.next), Rows::Listed)?;
        return Ok(Exit::of_plan(&plan));
    }
    if let Some(upgrade) = unfinished(&client, deployment).await? {
        context.screen.line(&format!("Going on with upgrade {upgrade}, which has not ended."));
        if client.status(&upgrade).await?.state == State::Paused {
            client.steer(&upgrade, Steer::Resume, "resumed by `cutover single`").await?;
        }
        if let Some(Decided { hold, choice }) = args.decide {
            client.decide(&upgrade, hold, choice, args.why()).await?;
        }
        return follow_on(&context, &client, &upgrade).await;
    }
    if args.decide.is_some() || args.resume {
        // The same line typed twice: an upgrade that began now would be one that nobody asked for.
        let status = client.status(&newest(&client, deployment).await?).await?;
        upgrades::show(&context, &status)?;
        return Err(Trouble::usage(format!("no upgrade of {deployment} is under way, and none was started")));
    }
    let plan = client.plan(deployment, &args.to, &How::default()).await?;
    plans::show(&context, &plan, (!args.yes).then_some(&context.next), Rows::Listed)?;
    match Exit::of_plan(&plan) {
        Exit::NeedsApproval if args.yes => {
            let approval = client.approve(plan.digest(), args.why(), &args.answers.by_question()).await?;
            plans::show_approval(&context, &plan, &approval, Rows::Counted)?;
        }
        Exit::Done => {}
        exit @ (Exit::NeedsApproval | Exit::Blocked | Exit::Error | Exit::Usage | Exit::Held | Exit::WentBack) => {
            return Ok(exit);
        }
    }
    let upgrade = client.start(plan.digest()).await?;
    upgrades::started(&context, &upgrade)?;
    follow_on(&context, &client, &upgrade).await
}

/// Follows as far as it goes by itself. Ctrl-C stops at the next safe point, because the coordinator ends with it.
async fn follow_on(context: &Context, client: &Client, upgrade: &UpgradeId) -> Result<Exit, Trouble> {
    let status = tokio::select! {
        status = follow(client, upgrade, 0, context.screen) => status?,
        _ = tokio::signal::ctrl_c() => upgrades::pause(context.screen, client, upgrade).await?,
    };
    upgrades::show(context, &status)?;
    Ok(Exit::of_upgrade(&status))
}

/// This command without what it is to do: nobody serves the socket once it has ended, so the same one goes on.
fn again(context: &Context, args: &SingleArgs) -> String {
    let mut again = crate::program();
    let mut word = |flag: &str, value: &str| again.push_str(&format!(" {flag} {}", quoted(value)));
    if let Some(operator) = &context.global.operator {
        word("--operator", operator.as_str());
    }
    word("single --settings", &args.settings.display().to_string());
    word("--to", &args.to.to_string());
    if let Some(deployment) = &args.deployment {
        word("--deployment", deployment.as_str());
    }
    again
}

/// Says that the recovery points of the newest upgrade are not needed any more.
async fn close(context: &Context, client: &Client, deployment: &DeploymentName, reason: &str) -> Result<Exit, Trouble> {
    let upgrade = newest(client, deployment).await?;
    let status = client.steer(&upgrade, Steer::Close, reason).await?;
    context.screen.line(&format!("Upgrade {} is closed.", status.id));
    context.screen.value(&serde_json::json!({ "status": status }))?;
    Ok(Exit::Done)
}

/// The latest upgrade.
async fn newest(client: &Client, deployment: &DeploymentName) -> Result<UpgradeId, Trouble> {
    let newest = find(client, deployment, |_| true).await?;
    newest.ok_or_else(|| Trouble::usage(format!("{deployment} has had no upgrade here")))
}

async fn unfinished(client: &Client, deployment: &DeploymentName) -> Result<Option<UpgradeId>, Trouble> {
    find(client, deployment, |upgrade| upgrade.ended.is_none()).await
}

async fn find(
    client: &Client,
    deployment: &DeploymentName,
    wanted: impl Fn(&v1::UpgradeSummary) -> bool,
) -> Result<Option<UpgradeId>, Trouble> {
    let upgrades = client.list().await?;
    let its = |upgrade: &&v1::UpgradeSummary| upgrade.deployment == deployment.as_str() && wanted(upgrade);
    newest_of(upgrades.iter().filter(its))
        .map(|upgrade| cutover_proto::malformed::text("id", &upgrade.id))
        .transpose()
        .map_err(|source| Trouble::Malformed { doing: "listing upgrades".to_owned(), source })
}
