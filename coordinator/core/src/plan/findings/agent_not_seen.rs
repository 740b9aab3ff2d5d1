//! A registered instance whose agent did not answer. A plan that leaves an instance out could migrate under it.

use crate::plan::case::{Case, finding};
use cutover_vocabulary::finding::{Finding, FindingSubject, Level, Source};

pub(super) fn check(case: &Case<'_>) -> Vec<Finding> {
    let seen: Vec<_> = case.instances().map(|(_, survey)| &survey.instance).collect();
    case.registered
        .iter()
        .filter(|(name, _)| !seen.contains(name))
        .map(|(name, agent)| {
            finding(
                "agent-not-seen",
                Level::Block,
                FindingSubject::Instance(name.clone()),
                Source::ThisHost,
                format!("agent {agent} did not answer for it"),
                format!("start the agent on its host, or look at `cutover fleet` to see since when {agent} is silent"),
            )
        })
        .collect()
}
