//! Upgrades that end well and leave a ledger that refuses every write, or that fail outright; measured.

use crate::plan::case::Case;
use crate::plan::verdict::Obstacle;
use cutover_vocabulary::finding::{Finding, Level, Source};

/// Of mixed versions any may have migrated the storage, so each is looked up.
pub(super) fn check(case: &Case<'_>) -> Vec<Finding> {
    case.obstacles(Obstacle::BrokenUpgrade, "broken-upgrade")
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
