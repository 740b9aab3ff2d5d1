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
