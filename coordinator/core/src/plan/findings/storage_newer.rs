//! A storage that a later release has migrated, and a target that knows fewer migrations than it records. No binary refuses a
//! newer schema, so nothing else would say it.

use crate::plan::case::{Case, finding};
use crate::plan::verdict::Obstacle;
use cutover_vocabulary::finding::{Finding, FindingSubject, Level, Source};

pub(super) fn check(case: &Case<'_>) -> Vec<Finding> {
    let newer = case.obstacles(Obstacle::StorageNewer, "storage-newer");
    let Some(verdict) = case.verdicts().into_iter().next().filter(|_| newer.is_empty()) else { return newer };
    match verdict.stored.beyond_target {
        // A target that is not newer is refused for that.
        Some(beyond) if !verdict.blocks.iter().any(|reason| reason.why == Obstacle::NotNewer) => vec![finding(
            "target-knows-fewer-migrations",
            Level::Info,
            FindingSubject::Storage,
            Source::ThisStorage,
            format!("it records migration {beyond}, and {} does not know it", case.ask.target),
            "nothing to do: no release takes a migration away, and a higher version with fewer migrations is known (1.3.3 and \
             1.4.x, 1.9.6 and 1.10.0)",
        )],
        Some(_) | None => Vec::new(),
    }
}
