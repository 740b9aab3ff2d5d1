//! Releases that keep the last transaction in memory: with a second writing instance each refuses the other's writes for good.
//! It holds of what is left at the end, so no strategy helps.

use crate::plan::case::Case;
use crate::plan::verdict::Obstacle;
use cutover_vocabulary::Finding;
use cutover_vocabulary::finding::{Level, Source};

pub(super) fn check(case: &Case<'_>) -> Vec<Finding> {
    case.obstacles(Obstacle::SeveralWriters, "several-writers")
}

/// The pages of its codes.
pub(super) const PAGES: &[super::Page] = &[super::Page {
    code: "several-writers",
    title: "a target of which only one instance may write",
    levels: &[Level::Block],
    sources: &[Source::Measured],
    means: "From 1.10.6 on the ledger keeps its last transaction in memory. A second instance that writes makes each refuse the \
         other's writes: one 200, then 409 for good. It holds of what is left at the end, whatever the strategy.",
    found: "The target is looked up in the catalogue, the instances of the deployment are counted, and their lock strategy is read from \
         their settings.",
    remedy: "Let one instance write, or, from 1.10.11 on, set `lock-strategy: redis` on every one of them; or choose a target before 1.10.6.",
}];
