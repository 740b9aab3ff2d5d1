//! Releases that keep the last transaction in memory: with a second writing instance each refuses the other's writes for good.
//! It holds of what is left at the end, so no strategy helps.

use crate::plan::case::Case;
use crate::plan::verdict::Obstacle;
use cutover_vocabulary::finding::{Finding, Level, Source};

pub(super) fn check(case: &Case<'_>) -> Vec<Finding> {
    case.obstacles(Obstacle::SeveralWriters, "several-writers")
}

/// The pages of its codes.
pub(super) const PAGES: &[super::Page] = &[super::Page {
    code: "several-writers",
    title: "several instances of the target would write, and it bears only one",
    levels: &[Level::Block],
    sources: &[Source::Measured],
    means: "From 1.10.6 on the ledger keeps the last transaction in memory. With a second writing instance, of the same version \
         too, one write is answered 200 and then every one 409, for good. It holds of what is left at the end, so no strategy \
         helps. From 1.10.11 on a redis lock on every instance makes it work; before, nothing does.",
    found: "The target is looked up in the catalogue's list of releases with one writer; the agents tell each instance's \
         `lock-strategy`. An instance that could not be asked counts as one without; of one that serves beside a rejoin \
            `others-not-seen` asks a person. That all of them name the same redis is \
         not looked at.",
    remedy: "Set `lock-strategy: redis` on every instance first, with one redis for all; or keep one instance; or choose a target \
         before 1.10.6.",
}];
