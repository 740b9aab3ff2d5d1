//! Instances that their agents may only look at.

use crate::plan::case::{Case, finding};
use cutover_vocabulary::finding::{Finding, FindingSubject, Level, Source};

pub(super) fn check(case: &Case<'_>) -> Vec<Finding> {
    case.instances()
        .filter(|(_, survey)| survey.report.observe_only)
        .map(|(agent, survey)| {
            finding(
                "observe-only",
                Level::Block,
                FindingSubject::Instance(survey.instance.clone()),
                Source::ThisHost,
                format!("agent {agent} may only look at it, and refuses every order that would change something of it"),
                format!(
                    "take `observe_only = true` of instance {} out of that agent's settings file, restart the agent, then plan again",
                    survey.instance
                ),
            )
        })
        .collect()
}

/// The pages of its codes.
pub(super) const PAGES: &[super::Page] = &[super::Page {
    code: "observe-only",
    title: "an agent may only look at an instance",
    levels: &[Level::Block],
    sources: &[Source::ThisHost],
    means: "The instance is reported and surveyed, and its agent refuses every order that would change something of it: it \
            would neither be stopped nor kept from starting, and a ledger of the former version that serves while its storage \
            is migrated loses writes. So a deployment with one such instance is not upgraded at all.",
    found: "From the agent's settings: `observe_only = true`, as `cutover-agent adopt --observe-only` writes it. A SQLite storage of \
            such an instance is not opened, so the plan knows nothing of its ledgers.",
    remedy: "Take the line out of the agent's settings file on that host, run `systemctl restart cutover-agent`, and plan \
             again. Nothing has to be adopted anew.",
}];
