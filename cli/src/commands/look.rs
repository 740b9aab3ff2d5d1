//! Commands that only look: `status`, `watch`, `facts`, `fleet`.

use super::upgrade::show;
use crate::Context;
use crate::args::{WhichStatus, WhichUpgrade};
use crate::client::Client;
use crate::exit::Exit;
use crate::follow;
use crate::render::page::Page;
use crate::render::{facts as lines, fleet as members, status as page};
use crate::trouble::Trouble;
use cutover_proto::{Code, v1};
use cutover_vocabulary::UpgradeId;

/// Where one upgrade stands; or a list of all, and where those stand that have not ended.
///
/// # Errors
/// [`Trouble`].
pub async fn status(context: &Context, args: WhichStatus) -> Result<Exit, Trouble> {
    let client = context.client().await?;
    let Some(upgrade) = args.upgrade else { return all(context, &client).await };
    let status = client.status(&upgrade).await?;
    show(context, &status)?;
    Ok(Exit::of_status(&status))
}

async fn all(context: &Context, client: &Client) -> Result<Exit, Trouble> {
    let upgrades = client.list().await?;
    let mut active = Vec::new();
    let mut quarantined = upgrades.iter().any(v1::UpgradeSummary::quarantined);
    for upgrade in upgrades.iter().filter(|upgrade| upgrade.ended.is_none() && !upgrade.quarantined()) {
        match client.status(&id(&upgrade.id)?).await {
            Ok(status) => active.push(status),
            // It is since the list was made. The others are shown all the same.
            Err(trouble) if trouble.code() == Some(Code::Quarantined.word()) => quarantined = true,
            Err(trouble) => return Err(trouble),
        }
    }
    let leader = client.leader().await?;
    context.screen.page(&page::list(&upgrades, context.screen.ink));
    for status in &active {
        context.screen.page("\n");
        context.screen.page(&page::page(status, &context.next, context.screen.ink));
    }
    context.screen.page(&page::led_by(&leader, context.screen.ink));
    let listed: Vec<_> = upgrades.iter().map(summary).collect();
    let (coordinators, leader) =
        (coordinators(&leader), serde_json::json!({ "name": leader.name, "epoch": leader.epoch }));
    context.screen.value(&serde_json::json!({
        "leader": leader,
        "coordinators": coordinators,
        "upgrades": listed,
        "active": active,
    }))?;
    Ok(Exit::of_all(&active, quarantined))
}

fn summary(upgrade: &v1::UpgradeSummary) -> serde_json::Value {
    let state = v1::State::try_from(upgrade.state)
        .ok()
        .and_then(|state| cutover_vocabulary::status::State::try_from(state).ok());
    serde_json::json!({
        "id": upgrade.id,
        "deployment": upgrade.deployment,
        "from": upgrade.from,
        "target": upgrade.target,
        "state": state,
        "waiting_for": upgrade.waiting_for,
        "quarantined": upgrade.quarantined(),
        "seq": upgrade.seq,
    })
}

/// Who is there.
fn coordinators(leader: &v1::Leader) -> Vec<serde_json::Value> {
    let one = |it: &v1::Coordinator| serde_json::json!({ "name": it.name, "address": it.address, "leads": it.leads });
    leader.coordinators.iter().map(one).collect()
}

fn id(text: &str) -> Result<UpgradeId, Trouble> {
    cutover_proto::malformed::text("id", text)
        .map_err(|source| Trouble::Malformed { doing: "listing upgrades".to_owned(), source })
}

/// The one that was started last. Of one that cannot be read it is not known when that was.
pub fn newest<'a>(
    upgrades: impl IntoIterator<Item = &'a v1::UpgradeSummary, IntoIter: DoubleEndedIterator>,
) -> Option<&'a v1::UpgradeSummary> {
    let started = |upgrade: &&v1::UpgradeSummary| upgrade.started_at.map(|at| (at.seconds, at.nanos));
    upgrades.into_iter().rev().max_by_key(started)
}

/// The upgrade that was named, or the newest.
async fn which(client: &Client, named: Option<UpgradeId>) -> Result<UpgradeId, Trouble> {
    match named {
        Some(upgrade) => Ok(upgrade),
        // The list begins with those that have not ended.
        None => match newest(&client.list().await?) {
            Some(newest) => id(&newest.id),
            None => Err(Trouble::usage("there has been no upgrade yet").next("cutover plan DEPLOYMENT --to VERSION")),
        },
    }
}

/// Follows to the end; where nobody sits at a terminal, at most to where it waits for a person.
///
/// # Errors
/// [`Trouble`].
pub async fn watch(context: &Context, args: WhichUpgrade) -> Result<Exit, Trouble> {
    let client = context.client().await?;
    let upgrade = which(&client, args.upgrade).await?;
    tokio::select! {
        status = follow::through_holds(&client, &upgrade, 0, context.screen, &context.next, "ends this following, not the upgrade") => {
            let status = status.inspect_err(|_| follow::left(context, &upgrade))?;
            show(context, &status)?;
            Ok(Exit::of_upgrade(&status))
        }
        _ = tokio::signal::ctrl_c() => Ok(Exit::of_status(&client.status(&upgrade).await?)),
    }
}

/// Every fact so far.
///
/// # Errors
/// [`Trouble`].
pub async fn facts(context: &Context, args: WhichUpgrade) -> Result<Exit, Trouble> {
    let client = context.client().await?;
    let upgrade = which(&client, args.upgrade).await?;
    if context.screen.json {
        for fact in client.facts(&upgrade, 0).await? {
            context.screen.value(&fact)?;
        }
        return Ok(Exit::Done);
    }
    // Sentences come with the events; those up to the present end of the list are read.
    let last = client.status(&upgrade).await?.seq;
    let mut events = client.watch(&upgrade, 0).await?;
    let mut page = Page::new(context.screen.ink);
    while let Some(event) = events.next().await? {
        lines::write(&mut page, &event.recorded, &event.text);
        if event.recorded.seq >= last {
            break;
        }
    }
    context.screen.page(&page.finish());
    Ok(Exit::Done)
}

/// Who is there, and who leads.
///
/// # Errors
/// [`Trouble`].
pub async fn fleet(context: &Context) -> Result<Exit, Trouble> {
    let client = context.client().await?;
    // Any coordinator says who leads. Asked last, it is the leader that says so.
    let (deployments, instances) = (client.deployments().await?, client.instances().await?);
    let leader = client.leader().await?;
    context.screen.page(&members::page(&leader, &deployments, &instances, context.screen.ink));
    let instances: Vec<_> = instances.iter().map(instance).collect();
    let deployments: Vec<_> = deployments
        .iter()
        .map(|it| serde_json::json!({ "name": it.name, "instances": it.instances, "upgrade": it.upgrade }))
        .collect();
    context.screen.value(&serde_json::json!({
        "leader": { "name": leader.name, "epoch": leader.epoch },
        "coordinators": coordinators(&leader),
        "deployments": deployments,
        "instances": instances,
    }))?;
    Ok(Exit::Done)
}

/// An instance of the fleet.
pub(super) fn instance(instance: &v1::Instance) -> serde_json::Value {
    let report =
        instance.report.clone().and_then(|report| cutover_vocabulary::instance::InstanceReport::try_from(report).ok());
    serde_json::json!({
        "name": instance.name,
        "deployment": instance.deployment,
        "agent": instance.agent,
        "connected": instance.connected,
        "last_heard": cutover_proto::convert::moment("last_heard", instance.last_heard).ok(),
        "report": report,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn the_newest_upgrade_is_not_the_first_of_the_list_where_an_older_one_has_not_ended() {
        let at = |id: &str, second: Option<i64>| {
            let mut summary = v1::UpgradeSummary { id: id.to_owned(), ..Default::default() };
            if let Some(second) = second {
                summary.started_at.get_or_insert_default().seconds = second;
            }
            summary
        };
        let listed = [at("unread", None), at("unfinished", Some(1)), at("done", Some(2)), at("older", Some(0))];
        assert_eq!(newest(&listed).unwrap().id, "done");
        assert_eq!(newest(&listed[..1]).unwrap().id, "unread");
        assert_eq!(newest(&[]), None);
    }
}
