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
