//! A target, or a present version, of which nothing is known; and targets without storage commands.

use crate::plan::case::{Case, finding};
use crate::plan::verdict::{Migrates, Obstacle};
use cutover_vocabulary::finding::{Finding, FindingSubject, Level, Source};

pub(super) fn check(case: &Case<'_>) -> Vec<Finding> {
    let mut findings = case.obstacles(Obstacle::UnknownRelease, "unknown-release");
    // What the machine can do today; the verdict says only what migrates.
    if case.verdicts().first().is_some_and(|verdict| verdict.migrates == Migrates::FirstStart) {
        findings.push(finding(
            "target-without-storage-commands",
            Level::Block,
            FindingSubject::Path,
            Source::Measured,
            format!("{} has no storage commands: its own first start migrates", case.ask.target),
            "this version of Cutover cannot secure such a start yet; choose a target from 1.3.2 on",
        ));
    }
    findings
}

/// The pages of its codes.
pub(super) const PAGES: &[super::Page] = &[
    super::Page {
        code: "unknown-release",
        title: "a release of which nothing is known",
        levels: &[Level::Block, Level::Approve],
        sources: &[Source::Measured],
        means: "Without its facts nobody can say which migrations it runs, whether it has storage commands, and who it can \
         run beside. An unknown target blocks; an unknown present version needs approval.",
        found: "The target and every version that runs are looked up in the catalogue of releases.",
        remedy: "Choose a release of the catalogue. If the release is new, use a Cutover that knows it.",
    },
    super::Page {
        code: "target-without-storage-commands",
        title: "the target has no `storage scan|list|upgrade`",
        levels: &[Level::Block],
        sources: &[Source::Measured],
        means: "Such a release migrates at its own first request, out of anybody's control.",
        found: "By the catalogue; when the release is staged, its own `storage --help` is asked too, because two releases \
         have the commands against their number.",
        remedy: "Choose a target from 1.3.2 on.",
    },
];
