//! Which instances may be started that are down. A host that was off while its deployment was upgraded knows nothing of it: its
//! units wait at their first start for what is said here.

use crate::allowed::release_left_by;
use crate::leadership::Leadership;
use cutover_core::upgrade::Upgrade;
use cutover_vocabulary::fact::Ending;
use cutover_vocabulary::instance::{InstanceReport, Manager, RunState};
use cutover_vocabulary::link::{CoordinatorMessage, Permit, Say};
use cutover_vocabulary::plan::Strategy;
use cutover_vocabulary::{AgentName, DeploymentName, InstanceName};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval};
use tonic::Status;

/// How often it is looked whether something else is to be said.
const LOOK: Duration = Duration::from_secs(2);

type Outgoing = tokio::sync::mpsc::Sender<Result<cutover_proto::v1::CoordinatorMessage, Status>>;

/// Says what holds for an agent's instances, and says it again whenever that changes, and where one is down that was to stay so and
/// has no fence. Ends where the agent does not take it.
pub(super) async fn say(leadership: &Arc<Leadership>, agent: &AgentName, outgoing: &Outgoing) {
    // A new link is told also that nothing can be said: what another leader said before is over.
    let mut said = None;
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        look.tick().await;
        let reports = leadership.links.seen(agent).reports;
        let permits: BTreeMap<InstanceName, Permit> =
            reports.values().filter_map(|report| Some((report.instance.clone(), leadership.permit(report)?))).collect();
        let due = reports.values().any(|report| {
            let stays = matches!(permits.get(&report.instance), Some(Permit::Stay { .. }));
            let guarded = report.manager == Manager::Systemd && !report.observe_only;
            stays && guarded && !report.fenced && report.run == RunState::Stopped
        });
        // A leader that was deposed and does not know it yet may miss an upgrade.
        if said.as_ref() == Some(&permits) && !due || !leadership.leads_by_the_store().await {
            continue;
        }
        let message = CoordinatorMessage { epoch: leadership.epoch, say: Say::Permits(permits.clone()) };
        if outgoing.send(Ok(message.into())).await.is_err() {
            return;
        }
        said = Some(permits);
    }
}

impl Leadership {
    /// Whether an instance may be started; none where that cannot be told at the moment.
    fn permit(&self, report: &InstanceReport) -> Option<Permit> {
        let deployment = &report.deployment;
        // Of an upgrade that an agent has and the store does not, nobody here knows what it left.
        if self.sees_all_of(deployment).is_err() {
            return None;
        }
        let latest = match self.latest_id(deployment) {
            None => None,
            // One that is not understood here says nothing of what may be started.
            Some(_) => Some(self.latest(deployment)?),
        };
        let lost = self.misses_an_upgrade_of(deployment);
        let permit = match latest {
            Some(latest) if !lost || !latest.finished() => self.by_the_latest(report, &latest)?,
            None if !lost => Permit::Start,
            // What the latest that is known here left is not what there is.
            Some(_) | None => self.as_found(report)?,
        };
        // Whoever is heard later may have in hand what this store does not know.
        (permit != Permit::Start || self.has_heard_all_of(deployment)).then_some(permit)
    }

    fn by_the_latest(&self, report: &InstanceReport, latest: &Upgrade) -> Option<Permit> {
        if latest.taken_over() || latest.ending() == Some(Ending::TakenOver) {
            return latest.members().get(&report.instance).and_then(|_| self.as_found(report));
        }
        if latest.finished() { after(report, latest) } else { during(report, latest) }
    }

    /// What a person left, or a store that was lost knew, is told by what lies there, once it is the same everywhere: one that was off
    /// has still what was.
    fn as_found(&self, report: &InstanceReport) -> Option<Permit> {
        let agreed = report.on_disk.is_some() && self.links.agree_on_disk(&self.members_of(&report.deployment));
        (!report.fenced && agreed).then_some(Permit::Start)
    }

    /// Whether every agent of a deployment has said hello under this leadership, or had the time after which it counts as lost.
    fn has_heard_all_of(&self, deployment: &DeploymentName) -> bool {
        let heard = || {
            self.moment().0 > self.settings.limits.agent_lost || self.has_compared(self.members_of(deployment).values())
        };
        self.all_heard(deployment, heard)
    }
}

/// While an upgrade is under way.
fn during(report: &InstanceReport, latest: &Upgrade) -> Option<Permit> {
    let (deployment, instance, id) = (&report.deployment, &report.instance, latest.id());
    let rejoins = latest.plan().binding.strategy == Strategy::Rejoin;
    if !latest.members().contains_key(instance) {
        // Beside a rejoin the others serve.
        return if rejoins {
            after(report, latest)
        } else {
            let why = format!(
                "upgrade {id} of {deployment} is under way, and {instance} takes no part in it; `cutover status` shows it"
            );
            Some(Permit::Stay { why })
        };
    }
    // Its orders' fence stands from its drain on, and an order lifts it. Where it does not stand, the host is not what it was.
    if report.fenced || latest.was_drained(instance) {
        return None;
    }
    // Only an order brings these to their release and opens them. From then on they serve like others.
    if rejoins || latest.came_later(instance) {
        let target = &latest.plan().binding.target.version;
        let serves = latest.runs_target(instance) && report.on_disk.as_ref() == Some(target);
        return serves.then_some(Permit::Start);
    }
    Some(Permit::Start)
}

/// By what an upgrade left; beside a rejoin, by what the others run all the while.
fn after(report: &InstanceReport, latest: &Upgrade) -> Option<Permit> {
    let (deployment, instance, id) = (&report.deployment, &report.instance, latest.id());
    let wanted = release_left_by(latest)?;
    let found = report.on_disk.as_ref()?;
    // What went back left its members what each had, be it another's or not.
    let rejoins = latest.plan().binding.strategy == Strategy::Rejoin;
    let went_back = !rejoins && latest.ending() != Some(Ending::Completed);
    let kept = latest.members().get(instance).is_some_and(|member| went_back && member.version == *found);
    if *found == wanted || kept {
        return Some(Permit::Start);
    }
    let why = format!(
        "{deployment} is to run {wanted} since upgrade {id}, and this would start {found}; bring it there with `cutover rejoin \
         {instance}`"
    );
    Some(Permit::Stay { why })
}
