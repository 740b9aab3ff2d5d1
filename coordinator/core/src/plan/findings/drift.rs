//! An instance is not as Cutover last left it: somebody replaced a binary, changed the unit, or started another one by hand.

use crate::plan::case::{Case, finding};
use cutover_vocabulary::finding::{Finding, FindingSubject, Level, Source};
use cutover_vocabulary::instance::DriftKind;

pub(super) fn check(case: &Case<'_>) -> Vec<Finding> {
    let unguarded = case.instances().filter(|(_, survey)| !survey.report.missing_guard.is_empty());
    let unguarded = unguarded.map(|(_, survey)| {
        finding(
            "drift",
            Level::Approve,
            FindingSubject::Instance(survey.instance.clone()),
            Source::ThisHost,
            format!(
                "its guard {} is gone: whoever starts it is not held up, by a fence either",
                cutover_vocabulary::name::shown(&survey.report.missing_guard)
            ),
            format!(
                "find out who removed it, and put it back, on its host: `cutover-agent local guard {}`",
                survey.instance
            ),
        )
    });
    let drifted = case.instances().filter(|(_, survey)| !survey.report.drift.is_empty());
    drifted
        .map(|(_, survey)| {
            let drift = &survey.report.drift;
            // Its guard would refuse to be put in its place.
            let level = match drift.iter().any(|drift| drift.kind == DriftKind::Command) {
                true => Level::Block,
                false => Level::Approve,
            };
            finding(
                "drift",
                level,
                FindingSubject::Instance(survey.instance.clone()),
                Source::ThisHost,
                super::listed(drift.iter().map(ToString::to_string)),
                format!(
                    "put back what Cutover switched it to; or accept what is there, on its host: `cutover-agent local allow {}`",
                    survey.instance
                ),
            )
        })
        .chain(unguarded)
        .collect()
}

/// The pages of its codes.
pub(super) const PAGES: &[super::Page] = &[super::Page {
    code: "drift",
    title: "an instance is not as Cutover last left it",
    levels: &[Level::Approve, Level::Block],
    sources: &[Source::ThisHost],
    means: "A package was installed over the binary, the unit was changed, or another binary was started by hand. The guard \
         of a unit refuses to start it so; going back would bring what is there now, not what was there when Cutover last \
         switched it. Where the unit starts another path, the drain would be refused, so it blocks. Where the guard \
         itself is gone, nothing refuses anything, until an upgrade's drain puts it back.",
    found: "After each switch the agent keeps the path and the SHA-256 of what may be started, and compares with every \
         report: the path that the unit starts, the file that lies there, and the binary of the process that runs; and looks whether the guard lies in \
         its place.",
    remedy: "Find out who changed it, and put the right release back. Or accept what is there, on its host: `cutover-agent \
         local allow INSTANCE`. A guard that is gone comes back with `cutover-agent local guard INSTANCE`, which allows nothing \
         new.",
}];
