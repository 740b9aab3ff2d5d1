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

/// The pages of its codes.
pub(super) const PAGES: &[super::Page] = &[super::Page {
    code: "broken-upgrade",
    title: "an upgrade that fails, or ends well and leaves a ledger that refuses every write",
    levels: &[Level::Block],
    sources: &[Source::Measured],
    means: "Some pairs of releases are known not to work. The worst of them end with status 0, say `migrated`, read \
         well, and then refuse every transaction for good.",
    found: "The version of each instance and the target are looked up in the catalogue's list of broken upgrades, for \
         this kind of storage.",
    remedy: "Take the way around that the finding names, if one is known; else choose another target.",
}];
