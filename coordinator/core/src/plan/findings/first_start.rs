//! Targets without storage commands: the first requests to one of their instances migrate.

use crate::plan::case::{Case, finding};
use crate::plan::verdict::Migrates;
use cutover_vocabulary::finding::{Finding, FindingSubject, Level, Source};

pub(super) fn check(case: &Case<'_>) -> Vec<Finding> {
    let without = case.verdicts().first().is_some_and(|verdict| verdict.migrates == Migrates::FirstStart);
    let said = without.then(|| {
        finding(
            "target-without-storage-commands",
            Level::Info,
            FindingSubject::Path,
            Source::Measured,
            format!(
                "{} has no storage commands: there is nothing to scan, list or upgrade with, its first request to a ledger \
                 creates there what it needs",
                case.ask.target
            ),
            "nothing to do: the first requests are made by the runner's agent, one ledger at a time, to an instance that no \
             client reaches, after recovery points are taken; the proof follows",
        )
    });
    said.into_iter().collect()
}

/// The page of its code.
pub(super) const PAGES: &[super::Page] = &[super::Page {
    code: "target-without-storage-commands",
    title: "the target has no `storage scan|list|upgrade`",
    levels: &[Level::Info],
    sources: &[Source::Measured],
    means: "Releases up to 1.3.1 have no commands that migrate: whoever sends a ledger its first request migrates it. Typed all \
         the same, `storage upgrade` prints its usage and ends with status 0. Cutover makes these requests itself: for each \
         ledger the runner starts the target on a loopback port, reads the ledger once, ends it, and looks at what the ledger \
         records; one ledger at a time, with all instances down. The rehearsal does the same on a copy.",
    found: "By the catalogue; when the release is staged, its own `storage --help` is asked too, because two releases \
         have the commands against their number. Where the two disagree the upgrade is held.",
    remedy: "Nothing. It is said because the manual's steps 4 to 6 do not exist for such a target.",
}];
