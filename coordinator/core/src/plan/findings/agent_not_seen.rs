//! A registered instance whose agent did not answer. A plan that leaves an instance out could migrate under it.

use crate::plan::case::{Case, finding};
use cutover_vocabulary::finding::{Finding, FindingSubject, Level, Source};

pub(super) fn check(case: &Case<'_>) -> Vec<Finding> {
    let seen: Vec<_> = case.instances().map(|(_, survey)| &survey.instance).collect();
    let never = case.ask.declared.iter().filter(|name| !case.registered.contains_key(*name)).map(|name| {
        finding(
            "agent-not-seen",
            Level::Block,
            FindingSubject::Instance(name.clone()),
            Source::ThisHost,
            "it was declared, and no agent has ever spoken for it",
            format!(
                "start the agent that names {name} in its settings; or let it go with `cutover member excuse {} {name}`",
                case.ask.deployment
            ),
        )
    });
    let silent = case.registered.iter().filter(|(name, _)| !seen.contains(name)).map(|(name, agent)| {
        finding(
            "agent-not-seen",
            Level::Block,
            FindingSubject::Instance(name.clone()),
            Source::ThisHost,
            format!("agent {agent} did not answer for it"),
            format!("start the agent on its host, or look at `cutover fleet` to see since when {agent} is silent"),
        )
    });
    silent.chain(never).collect()
}
