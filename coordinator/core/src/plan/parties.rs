//! Who takes part in a plan and who goes on serving beside it.

use super::case::Case;
use super::make::{PlanAsk, StrategyAsk};
use crate::catalogue::Catalogue;
use cutover_vocabulary::survey::{HostSurvey, InstanceSurvey};
use cutover_vocabulary::{AgentName, InstanceName};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// A deployment's instances by the part that they take. In all but a rejoin everybody takes part.
#[derive(Debug)]
pub struct Parties<'a> {
    members: Cow<'a, BTreeMap<InstanceName, AgentName>>,
    surveys: Cow<'a, [HostSurvey]>,
    beside: BTreeMap<InstanceName, AgentName>,
    others: Vec<HostSurvey>,
}

impl<'a> Parties<'a> {
    /// By what was asked and what was seen.
    pub fn of(
        ask: &PlanAsk,
        registered: &'a BTreeMap<InstanceName, AgentName>,
        surveys: &'a [HostSurvey],
    ) -> Parties<'a> {
        match ask.strategy {
            StrategyAsk::Rejoin => {}
            StrategyAsk::Auto | StrategyAsk::Downtime | StrategyAsk::Rolling => {
                let (members, surveys) = (Cow::Borrowed(registered), Cow::Borrowed(surveys));
                return Self { members, surveys, beside: BTreeMap::new(), others: Vec::new() };
            }
        }
        let seen = |name: &InstanceName| {
            surveys.iter().flat_map(|host| &host.instances).find(|survey| survey.instance == *name)
        };
        let joins = |name: &InstanceName| match ask.instances.is_empty() {
            true => seen(name).is_some_and(|survey| was_away(ask, survey)),
            false => ask.instances.contains(name),
        };
        let (members, beside): (BTreeMap<_, _>, BTreeMap<_, _>) =
            registered.clone().into_iter().partition(|(name, _)| joins(name));
        let of = |wanted: &BTreeMap<InstanceName, AgentName>| -> Vec<HostSurvey> {
            let mine = |survey: &&InstanceSurvey| wanted.contains_key(&survey.instance);
            let host = |host: &HostSurvey| {
                let instances: Vec<_> = host.instances.iter().filter(mine).cloned().collect();
                (!instances.is_empty()).then(|| HostSurvey { instances, ..host.clone() })
            };
            surveys.iter().filter_map(host).collect()
        };
        let (surveys, others) = (Cow::Owned(of(&members)), of(&beside));
        Self { members: Cow::Owned(members), surveys, beside, others }
    }

    /// The case that findings are made from.
    pub fn case<'b>(&'b self, catalogue: &'b Catalogue, ask: &'b PlanAsk) -> Case<'b> {
        let Self { members, surveys, beside, others } = self;
        Case { catalogue, ask, registered: members, surveys, beside, others }
    }
}

/// Whether an instance has not come along to the target: it has another release, or is fenced since.
fn was_away(ask: &PlanAsk, survey: &InstanceSurvey) -> bool {
    let report = &survey.report;
    report.fenced || report.running.as_ref().or(report.on_disk.as_ref()) != Some(&ask.target)
}
