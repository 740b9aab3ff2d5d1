//! Which instances may be started that are down. A host that was off while its deployment was upgraded knows nothing of it: its
//! units wait at their first start for what is said here.

use crate::allowed::release_left_by;
use crate::leadership::{Entry, Leadership};
use cutover_vocabulary::fact::Ending;
use cutover_vocabulary::instance::InstanceReport;
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

/// Says what holds for an agent's instances, and says it again whenever that changes. Ends where the agent does not take it.
pub(super) async fn say(leadership: &Arc<Leadership>, agent: &AgentName, outgoing: &Outgoing) {
    let mut said = BTreeMap::new();
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        look.tick().await;
        let reports = leadership.links.seen(agent).reports;
        let permits: BTreeMap<InstanceName, Permit> = reports
            .into_values()
            .filter_map(|report| Some((report.instance.clone(), leadership.permit(&report)?)))
            .collect();
        // A leader that was deposed and does not know it yet may miss an upgrade.
        if permits.is_empty() || permits == said || !leadership.leads_by_the_store().await {
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
        let deployment = &report.deployment;
        if self.in_the_dark(deployment) {
            return None;
        }
        let Some(latest) = self.latest(deployment) else { return Some(Permit::Start) };
        let member = latest.members().get(&report.instance);
        let Some(wanted) = release_left_by(&latest) else {
            // A member serves before it is drained, and from then on its own fence stands. Where a person finished by hand, that
            // person knows what is right.
            if member.is_some() || latest.finished() {
                return Some(Permit::Start);
            }
            let why = format!(
                "upgrade {} of {deployment} is under way, and {} takes no part in it; `cutover status` shows it",
                latest.id(),
                report.instance
            );
            return Some(Permit::Stay { why });
        };
        let found = report.on_disk.as_ref()?;
        // What went back left its members what each had, be it another's or not.
        let went_back =
            latest.ending() != Some(Ending::Completed) && latest.plan().binding.strategy != Strategy::Rejoin;
        if *found == wanted || (went_back && member.is_some_and(|member| member.version == *found)) {
            return Some(Permit::Start);
        }
        let why = format!(
            "{deployment} is to run {wanted} since upgrade {}, and this would start {found}; bring it there with `cutover rejoin \
             {}`",
            latest.id(),
            report.instance
        );
        Some(Permit::Stay { why })
    }

    /// Whether an upgrade that is not understood here may be one of this deployment.
    fn in_the_dark(&self, deployment: &DeploymentName) -> bool {
        self.every_entry().iter().any(|entry| match entry {
            Entry::Led(_) => false,
            Entry::Quarantined(quarantined) => quarantined.may_be_of(deployment),
        })
    }
}
