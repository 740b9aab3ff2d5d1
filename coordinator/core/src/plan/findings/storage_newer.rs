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
        title: "a later release than both has migrated this storage",
        levels: &[Level::Block, Level::Approve],
        sources: &[Source::ThisStorage, Source::Measured],
        means: "A ledger records a migration that neither the present release nor the target knows: somebody let a later release \
             at it. No binary refuses a newer schema. It blocks where it is known what the target does on such tables, like \
             writes that reach nothing but `log`; elsewhere it needs approval.",
        found: "The highest migration that the ledgers record is held against what the catalogue knows of both releases; the \
             releases that know exactly that migration are looked up beside the target.",
        remedy: "Find out who migrated it, and choose a target that knows these migrations; the finding names the first.",
    },
    super::Page {
        code: "target-knows-fewer-migrations",
        title: "the target knows fewer migrations than this storage records",
        levels: &[Level::Info],
        sources: &[Source::ThisStorage],
        means: "A higher version with fewer migrations: 1.4.x after 1.3.3, 1.10.0 after 1.9.6. Nothing is taken away, and what a \
             ledger records afterwards is what was there joined with what the target knows.",
        found: "The highest migration that the ledgers record is held against what the catalogue knows of the target.",
        remedy: "Nothing.",
    },
];
