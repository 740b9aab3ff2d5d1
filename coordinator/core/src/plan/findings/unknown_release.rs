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
        sources: &[Source::Measured, Source::CompanyFile],
        means: "A target must be known: which migrations a ledger records afterwards is part of the plan, and one that records others \
             would be held with everything down. A present version that is not known, and a release that only the company's own \
             file describes, need approval.",
        found: "The target and every version that runs are looked up in the catalogue of releases.",
        remedy: "Choose a release of the catalogue, use a Cutover that knows the new one, or describe it in the company's own file: \
             the setting `catalogue` of the coordinator, a table `[[release]]` with its migrations. Read what the rehearsal shows \
             before you approve.",
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
