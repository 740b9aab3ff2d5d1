//! An instance is not as Cutover last left it: somebody replaced a binary, changed the unit, or started another one by hand.

use crate::plan::case::{Case, finding};
use cutover_vocabulary::finding::{Finding, FindingSubject, Level, Source};
use cutover_vocabulary::instance::DriftKind;

pub(super) fn check(case: &Case<'_>) -> Vec<Finding> {
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
         switched it. Where a unit's guard is gone, nothing refuses anything: neither another binary nor a start under a fence. Where the unit starts another path, the drain would be refused, so it blocks.",
    found: "After each switch the agent keeps the path and the SHA-256 of what may be started, and compares with every \
         report: the path that the unit starts, the file that lies there, the binary of the process that runs, and whether the unit's guard lies in its place.",
    remedy: "Find out who changed it, and put the right release back. Or accept what is there, on its host: `cutover-agent \
         local allow INSTANCE`, which puts a missing guard back, too.",
}];
