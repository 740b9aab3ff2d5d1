//! A target, or a present version, of which nothing is known.

use crate::plan::case::Case;
use crate::plan::verdict::Obstacle;
use cutover_vocabulary::finding::{Finding, Level, Source};

pub(super) fn check(case: &Case<'_>) -> Vec<Finding> {
    case.obstacles(Obstacle::UnknownRelease, "unknown-release")
}

/// The pages of its codes.
pub(super) const PAGES: &[super::Page] = &[super::Page {
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
}];
