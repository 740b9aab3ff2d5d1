//! Releases that keep the last transaction in memory: with a second writing instance each refuses the other's writes for good.
//! It holds of what is left at the end, so no strategy helps.

use crate::plan::case::Case;
use crate::plan::verdict::Obstacle;
use cutover_vocabulary::Finding;

pub(super) fn check(case: &Case<'_>) -> Vec<Finding> {
    case.obstacles(Obstacle::SeveralWriters, "several-writers")
}
