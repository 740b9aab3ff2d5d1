//! Upgrades that end well and leave a ledger that refuses every write, or that fail outright; measured.

use crate::plan::case::{Case, finding};
use cutover_vocabulary::finding::{Finding, FindingSubject, Level, Source};

pub(super) fn check(case: &Case<'_>) -> Vec<Finding> {
    let (Some(from), Some(driver)) = (case.from(), case.driver()) else { return Vec::new() };
    let applies = |broken: &&crate::catalogue::BrokenUpgrade| {
        broken.driver == driver && broken.from.matches(from.semver()) && broken.to.matches(case.ask.target.semver())
    };
    case.catalogue
        .broken_upgrades
        .iter()
        .filter(applies)
        .map(|broken| {
            let around = broken.way_around.as_deref().unwrap_or("none is known");
            finding(
                "broken-upgrade",
                Level::Block,
                FindingSubject::Path,
                Source::Measured,
                format!("{from} to {} on {driver}: {}", case.ask.target, broken.result),
                format!("way around: {around}"),
            )
        })
        .collect()
}
