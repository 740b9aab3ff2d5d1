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
