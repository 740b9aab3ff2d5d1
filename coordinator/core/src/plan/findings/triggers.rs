//! Other units that start an instance: harmless while it is fenced, and good to know.

use crate::plan::case::{Case, finding};
use cutover_vocabulary::finding::{Finding, FindingSubject, Level, Source};

pub(super) fn check(case: &Case<'_>) -> Vec<Finding> {
    let triggered = case.instances().filter(|(_, survey)| !survey.triggers.is_empty());
    triggered
        .map(|(_, survey)| {
            finding(
                "started-by-others",
                Level::Info,
                FindingSubject::Instance(survey.instance.clone()),
                Source::ThisHost,
                format!("{} may start it", super::listed(survey.triggers.iter().cloned())),
                "nothing to do: while it is fenced its guard refuses them, which shows in its journal as failed starts",
            )
        })
        .collect()
}

/// The pages of its codes.
pub(super) const PAGES: &[super::Page] = &[super::Page {
    code: "started-by-others",
    title: "a timer, socket or path unit may start an instance",
    levels: &[Level::Info],
    sources: &[Source::ThisHost],
    means: "When it fires in the downtime, systemd tries to start the unit. The fence is part of the unit itself, so the start \
         fails, and the instance stays down.",
    found: "systemd names the units that trigger it (`TriggeredBy`).",
    remedy: "Nothing to do. Starts that failed during the upgrade are expected in its journal; stop the timer for that time if \
         somebody is woken by them.",
}];
