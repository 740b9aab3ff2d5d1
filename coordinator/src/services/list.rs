//! The list of upgrades. What has not ended and what is left alone comes first, and is there however many others there are.

use super::refusals::unreadable;
use crate::leadership::{Entry, Leadership, Quarantined};
use crate::upgrade_loop::load::{CannotLoad, load};
use cutover_core::upgrade::Upgrade;
use cutover_proto::Refused;
use cutover_proto::v1 as pb;
use cutover_store::{StoreError, UpgradeHead};
use cutover_vocabulary::{DeploymentName, UpgradeId};
use std::collections::BTreeSet;

/// One upgrade of the list.
struct Line {
    summary: pb::UpgradeSummary,
    /// Of which deployments it may be; none where that is not known.
    of: BTreeSet<DeploymentName>,
}

/// The upgrades of a deployment, or all. At most `most` of those that have ended and can be read.
pub(super) async fn list(
    leadership: &Leadership,
    deployment: Option<&str>,
    most: usize,
) -> Result<Vec<pb::UpgradeSummary>, Refused> {
    let heads = leadership.store.upgrades().await.map_err(|error| unreadable(&error))?;
    let mut lines = Vec::new();
    for head in &heads {
        lines.push(line(leadership, head).await?);
    }
    let unknown = leadership.left_alone().into_iter().filter(|(id, _)| heads.iter().all(|head| head.id != *id));
    lines.extend(unknown.map(|(id, quarantined)| left_alone(leadership, &id, 0, &quarantined)));
    lines.retain(|line| {
        let may_be_of = |wanted: &str| line.of.is_empty() || line.of.iter().any(|name| name.as_str() == wanted);
        deployment.is_none_or(may_be_of)
    });
    let summaries = lines.into_iter().map(|line| line.summary);
    let (mut first, mut others): (Vec<_>, Vec<_>) =
        summaries.partition(|summary| summary.ended.is_none() || summary.quarantined());
    newest_first(&mut first);
    newest_first(&mut others);
    others.truncate(most.saturating_sub(first.len()));
    first.append(&mut others);
    Ok(first)
}

fn newest_first(upgrades: &mut [pb::UpgradeSummary]) {
    let started = |summary: &pb::UpgradeSummary| summary.started_at.map(|at| (at.seconds, at.nanos));
    upgrades.sort_by(|a, b| started(b).cmp(&started(a)).then_with(|| b.id.cmp(&a.id)));
}

/// One without a loop is read for this alone.
async fn line(leadership: &Leadership, head: &UpgradeHead) -> Result<Line, Refused> {
    let quarantined = match leadership.entry(&head.id) {
        Some(Entry::Led(handle)) => return Ok(known(leadership, &handle.now().upgrade, head.seq)),
        Some(Entry::Quarantined(quarantined)) => quarantined,
        None => match load(&*leadership.store, &head.id).await {
            Ok(loaded) => return Ok(known(leadership, &loaded.upgrade, head.seq)),
            Err(
                why @ (CannotLoad::Foreign { .. }
                | CannotLoad::Missing(_)
                | CannotLoad::Store(StoreError::Damaged { .. })),
            ) => Quarantined::unread(why),
            Err(CannotLoad::Store(error)) => return Err(unreadable(&error)),
        },
    };
    Ok(left_alone(leadership, &head.id, head.seq, &quarantined))
}

fn known(leadership: &Leadership, upgrade: &Upgrade, seq: u64) -> Line {
    let summary = pb::UpgradeSummary { seq, ..(&upgrade.status(leadership.now())).into() };
    Line { summary, of: BTreeSet::from([upgrade.plan().binding.deployment.clone()]) }
}

fn left_alone(leadership: &Leadership, id: &UpgradeId, seq: u64, quarantined: &Quarantined) -> Line {
    let before = quarantined.before();
    let mut of = quarantined.deployments();
    if of.is_empty() {
        of.extend(leadership.latest_ids().iter().find(|(_, latest)| *latest == id).map(|(name, _)| name.clone()));
    }
    let mut summary: pb::UpgradeSummary = match &before {
        Some(upgrade) => (&upgrade.status(leadership.now())).into(),
        None => pb::UpgradeSummary { id: id.to_string(), ..Default::default() },
    };
    if let (None, Some(name), 1) = (before, of.first(), of.len()) {
        summary.deployment = name.to_string();
    }
    summary.seq = seq;
    summary.waiting_for = format!("quarantined, not led: {}", quarantined.why);
    summary.quarantined = Some(true);
    Line { summary, of }
}
