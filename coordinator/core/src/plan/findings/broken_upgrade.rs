//! Upgrades that end well and leave a ledger that refuses every write, or that fail outright; measured.

use crate::plan::case::{Case, finding};
use cutover_vocabulary::finding::{Finding, FindingSubject, Level, Source};

pub(super) fn check(case: &Case<'_>) -> Vec<Finding> {
    let Some(driver) = case.driver() else { return Vec::new() };
    let mut findings = Vec::new();
    // Of mixed versions any may have migrated the storage, so each is looked up.
    for from in case.running() {
        let applies = |broken: &&crate::catalogue::BrokenUpgrade| {
            broken.driver == driver && broken.from.matches(from.semver()) && broken.to.matches(case.ask.target.semver())
        };
        for broken in case.catalogue.broken_upgrades.iter().filter(applies) {
            let around = broken.way_around.as_deref().unwrap_or("none is known");
            findings.push(finding(
                "broken-upgrade",
                Level::Block,
                FindingSubject::Path,
                Source::Measured,
                format!("{from} to {} on {driver}: {}", case.ask.target, broken.result),
                format!("way around: {around}"),
            ));
        }
    }
    findings
}
