//! Upgrades that end well and leave a ledger that refuses every write or holds rows twice, or that fail outright; measured.

use crate::plan::case::Case;
use crate::plan::verdict::Obstacle;
use cutover_vocabulary::finding::{Finding, Level, Source};

/// Of mixed versions any may have migrated the storage, so each is looked up, and so is whoever did by what the ledgers record.
pub(super) fn check(case: &Case<'_>) -> Vec<Finding> {
    case.obstacles(Obstacle::BrokenUpgrade, "broken-upgrade")
}

/// The pages of its codes.
pub(super) const PAGES: &[super::Page] = &[super::Page {
    code: "broken-upgrade",
    title: "an upgrade that fails, or ends well and leaves a ledger that refuses every write or is damaged",
    levels: &[Level::Block, Level::Approve],
    sources: &[Source::Measured, Source::CompanyFile],
    means: "Some pairs of releases are known not to work. The worst of them end with status 0, say `migrated`, read \
         well, and then refuse every transaction for good. After others the ledger works and a part of it is damaged: that \
         needs approval.",
    found: "The version of each instance and the target are looked up in the catalogue's list of broken upgrades, for \
         this kind of storage. So is the release that knows exactly what a ledger records, where that is another one: no \
         release refuses a newer storage, so an older one may run on what a later one left.",
    remedy: "Take the way around that the finding names, if one is known; else choose another target. Approve where you have \
         seen to what the finding names.",
}];
