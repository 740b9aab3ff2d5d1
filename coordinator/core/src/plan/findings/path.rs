//! What the manual's table says of the path. A path that it does not name was never promised to work.

use crate::plan::case::{Case, finding};
use crate::plan::verdict::Obstacle;
use cutover_vocabulary::finding::{Finding, FindingSubject, Level, Source};

pub(super) fn check(case: &Case<'_>) -> Vec<Finding> {
    let target = &case.ask.target;
    let not_newer = case.obstacles(Obstacle::NotNewer, "target-not-newer");
    if !not_newer.is_empty() {
        return not_newer;
    }
    // Of a half rolled deployment some may run the target already; none may run what is newer.
    if let Some((instance, running)) = case.newest().filter(|(_, running)| *running > target) {
        return vec![finding(
            "target-not-newer",
            Level::Block,
            FindingSubject::Path,
            Source::Manual,
            format!("instance {instance} runs {running} already; {target} would be a downgrade for it"),
            "choose a newer target; a downgrade is not an upgrade back, the older version cannot read the newer tables",
        )];
    }
    case.obstacles(Obstacle::NotNamed, "path-not-in-table")
}

/// The pages of its codes.
pub(super) const PAGES: &[super::Page] = &[
    super::Page {
        code: "target-not-newer",
        title: "the target is not newer than what runs",
        levels: &[Level::Block],
        sources: &[Source::Manual],
        means: "An older release cannot read a newer one's tables. A downgrade is not an upgrade the other way round: the \
         way back from an upgrade is its recovery point.",
        found: "The target is compared with the lowest and with the highest version that the instances answer with.",
        remedy: "Choose a newer target. To undo an upgrade, see `cutover rollback`.",
    },
    super::Page {
        code: "path-not-in-table",
        title: "the manual's table of upgrade paths does not name this path",
        levels: &[Level::Block, Level::Approve],
        sources: &[Source::Manual],
        means: "The ledger's authors promised nothing for this path. From 1.4 on it needs approval, because the tables \
         change little from there on; below 1.4 it blocks, and the stops on the way are named.",
        found: "The two versions are looked up in the table of supported paths, which the catalogue carries as data, with \
         the manual's edition.",
        remedy: "Go by the stops that are named, one upgrade after the other. If you approve it instead, read what the \
         rehearsal proved about a copy of your own storage first.",
    },
];
