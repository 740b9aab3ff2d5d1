//! Which instances may be started that are down. A host that was off while its deployment was upgraded knows nothing of it: its
//! units wait at their first start for what is said here.

use crate::allowed::release_left_by;
use crate::leadership::Leadership;
use cutover_vocabulary::fact::Ending;
use cutover_vocabulary::instance::{InstanceReport, Manager, RunState};
use cutover_vocabulary::link::{CoordinatorMessage, Permit, Say};
use cutover_vocabulary::plan::Strategy;
use cutover_vocabulary::{AgentName, InstanceName};
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
    let mut said = BTreeMap::new();
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
        if permits == said && !due || !leadership.leads_by_the_store().await {
            continue;
        }
        let message = CoordinatorMessage { epoch: leadership.epoch, say: Say::Permits(permits.clone()) };
        if outgoing.send(Ok(message.into())).await.is_err() {
            return;
        }
        said = permits;
    }
}

impl Leadership {
    /// Whether an instance may be started; none where that cannot be told at the moment.
    fn permit(&self, report: &InstanceReport) -> Option<Permit> {
        let (deployment, instance) = (&report.deployment, &report.instance);
        // Of an upgrade that an agent has and the store does not, nobody here knows what it left.
        if self.sees_all_of(deployment).is_err() {
            return None;
        }
        if self.latest_id(deployment).is_none() {
            return Some(Permit::Start);
        }
        // One that is not understood here says nothing of what may be started.
        let latest = self.latest(deployment)?;
        let member = latest.members().get(instance);
        let rejoins = latest.plan().binding.strategy == Strategy::Rejoin;
        if !latest.finished() && !rejoins {
            return match member {
                // From its drain on an order's fence stands, and an order lifts it. Before, only what was there from the start
                // serves; who came later gets its release first.
                Some(_) if report.fenced || latest.came_later(instance) => None,
                Some(_) => Some(Permit::Start),
                None => Some(Permit::Stay {
                    why: format!(
                        "upgrade {} of {deployment} is under way, and {instance} takes no part in it; `cutover status` shows it",
                        latest.id()
                    ),
                }),
            };
        }
        // It is stopped, switched and opened by orders.
        if !latest.finished() && member.is_some() {
            return None;
        }
        let Some(wanted) = release_left_by(&latest) else {
            // A person finished by hand, and has seen the members.
            return member.map(|_| Permit::Start);
        };
        let found = report.on_disk.as_ref()?;
        // What went back left its members what each had, be it another's or not.
        let went_back = !rejoins && latest.ending() != Some(Ending::Completed);
        if *found == wanted || (went_back && member.is_some_and(|member| member.version == *found)) {
            return Some(Permit::Start);
        }
        let why = format!(
            "{deployment} is to run {wanted} since upgrade {}, and this would start {found}; bring it there with `cutover rejoin \
             {instance}`",
            latest.id()
        );
        Some(Permit::Stay { why })
    }
}
