//! What runs an instance, as far as it matters for safety.

use crate::plan::case::{Case, finding};
use cutover_vocabulary::finding::{Finding, FindingSubject, Level, Source};
use cutover_vocabulary::instance::Manager;

pub(super) fn check(case: &Case<'_>) -> Vec<Finding> {
    case.instances()
        .filter(|(_, survey)| survey.manager == Manager::Process)
        .map(|(_, survey)| {
            finding(
                "process-manager-has-no-guard",
                Level::Info,
                FindingSubject::Instance(survey.instance.clone()),
                Source::ThisHost,
                "it runs as a plain process: nothing but the agent keeps somebody from starting it by hand meanwhile",
                "use it for the sandbox and for trials; run fleets under systemd",
            )
        })
        .collect()
}

/// The pages of its codes.
pub(super) const PAGES: &[super::Page] = &[super::Page {
    code: "process-manager-has-no-guard",
    title: "nothing but the agent keeps an instance from being started by hand",
    levels: &[Level::Info],
    sources: &[Source::ThisHost],
    means: "An instance that runs as a plain process has no unit, so nothing outside the agent refuses a start while the \
         storage is migrated. One instance of the new version that starts too early migrates by itself, without a \
         backup.",
    found: "From the agent's settings: `manager = \"process\"`.",
    remedy: "Use it for the sandbox and for trials; for the length of an upgrade see that nobody else starts the ledger.",
}];
