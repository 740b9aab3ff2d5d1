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

/// The pages of its codes.
pub(super) const PAGES: &[super::Page] = &[
    super::Page {
        code: "storage-newer",
        title: "the storage was migrated by a later release",
        levels: &[Level::Block],
        sources: &[Source::ThisStorage, Source::Measured],
        means: "The storage records migrations that neither the present release nor the target knows. No binary refuses a newer schema, \
         so nothing but this says it: the release works on tables that it was never tried with.",
        found: "The numbers in the ledgers' table `migrations` are held against those that the releases know.",
        remedy: "Find out which release migrated it, an instance that was started by hand or a roll that was broken off, and choose that \
         release or a later one as the target.",
    },
    super::Page {
        code: "target-knows-fewer-migrations",
        title: "the target knows fewer migrations than the storage records",
        levels: &[Level::Info],
        sources: &[Source::ThisStorage],
        means: "A higher version can know fewer migrations than a lower one: 1.3.3 and 1.4.x, 1.9.6 and 1.10.0. No release takes a \
         migration away, and these pairs work.",
        found: "The numbers in the ledgers' table `migrations` are held against those that the target knows.",
        remedy: "Nothing.",
    },
];
