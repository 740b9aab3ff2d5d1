//! Recovery points and their proof need room.

use crate::plan::case::{Case, finding};
use cutover_vocabulary::finding::{Finding, FindingSubject, Level, Source};

pub(super) fn check(case: &Case<'_>) -> Vec<Finding> {
    case.storages()
        .into_iter()
        .filter(|storage| storage.free_bytes < storage.needed_bytes)
        .map(|storage| {
            finding(
                "disk-space",
                Level::Block,
                FindingSubject::Storage,
                Source::ThisHost,
                format!(
                    "recovery points and rehearsal need {} MiB, {} MiB are free in the agent's state folder",
                    storage.needed_bytes.div_ceil(1 << 20),
                    storage.free_bytes >> 20
                ),
                "free room there, or point the agent's `state` at a larger disk",
            )
        })
        .collect()
}

/// The pages of its codes.
pub(super) const PAGES: &[super::Page] = &[super::Page {
    code: "disk-space",
    title: "not enough room for recovery points",
    levels: &[Level::Block],
    sources: &[Source::ThisHost],
    means: "A disk that fills up in the downtime makes the downtime longer, and a recovery point that was cut short is \
         none.",
    found: "The runner's agent compares what a copy of every ledger and its proof need with what is free in the folder \
         of its recovery points. What a database's own server has free cannot be asked from here.",
    remedy: "Free room there, or set `recovery` in the agent's settings to a folder on a larger disk.",
}];
