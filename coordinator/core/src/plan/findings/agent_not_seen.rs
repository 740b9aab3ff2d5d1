//! A registered instance whose agent did not answer. A plan that leaves an instance out could migrate under it.

use crate::plan::case::{Case, finding};
use cutover_vocabulary::finding::{Finding, FindingSubject, Level, Source};

pub(super) fn check(case: &Case<'_>) -> Vec<Finding> {
    let seen: Vec<_> = case.instances().map(|(_, survey)| &survey.instance).collect();
    // Who is missing is no member of a rejoin, nor in its way.
    let declared = case.ask.declared.iter().filter(|_| !case.rejoins());
    let never = declared.filter(|name| !case.registered.contains_key(*name)).map(|name| {
        finding(
            "agent-not-seen",
            Level::Block,
            FindingSubject::Instance(name.clone()),
            Source::ThisHost,
            "it was declared, and no agent has ever spoken for it",
            format!(
                "start the agent that names {name} in its settings; or let it go with `cutover member excuse {} {name} \
                 --reason TEXT --evidence TEXT`",
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

/// The pages of its codes.
pub(super) const PAGES: &[super::Page] = &[super::Page {
    code: "agent-not-seen",
    title: "an instance that should take part was not looked at",
    levels: &[Level::Block],
    sources: &[Source::ThisHost],
    means: "A plan that leaves an instance out could migrate the storage under it while it serves. Most old releases \
         then answer 503, and some answer 200 and lose what they were given (measured, any 1.3.2 to 1.7.8 beside 1.8 \
         or later).",
    found: "The coordinator knows every instance that an agent ever spoke for and every one that was declared. The plan \
         asks their agents; one that does not answer in time is named here.",
    remedy: "Start the agent on that host and see in `cutover fleet` that it is back, then plan again. If the instance is \
         gone for good, let it go by name with `cutover member excuse`, which asks for a reason and keeps it.",
}];
