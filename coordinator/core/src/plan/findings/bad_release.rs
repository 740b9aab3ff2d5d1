//! A target that nobody should run: 1.10.6 and 1.10.7 destroy balances at every start.

use crate::plan::case::{Case, finding};
use cutover_vocabulary::finding::{Finding, FindingSubject, Level, Source};

pub(super) fn check(case: &Case<'_>) -> Vec<Finding> {
    let bad = case.catalogue.bad_release(&case.ask.target);
    bad.map(|bad| {
        finding(
            "bad-release",
            Level::Block,
            FindingSubject::Path,
            Source::Measured,
            format!("{}: {}", case.ask.target, bad.reason),
            "choose another target",
        )
    })
    .into_iter()
    .collect()
}

/// The pages of its codes.
pub(super) const PAGES: &[super::Page] = &[super::Page {
    code: "bad-release",
    title: "a release that nobody should run",
    levels: &[Level::Block],
    sources: &[Source::Measured],
    means: "Releases that damage what they store, whatever one does: 1.10.6 and 1.10.7 count an account's balances from \
         zero after each start and store the wrong sums.",
    found: "The target is looked up in the catalogue's list of bad releases, which says what each of them does.",
    remedy: "Choose the release before or after it.",
}];
