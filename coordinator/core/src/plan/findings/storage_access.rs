//! A storage that cannot be written, or that somebody else has open.

use crate::plan::case::{Case, finding};
use cutover_vocabulary::finding::{Finding, FindingSubject, Level, Source};
use cutover_vocabulary::name::shown;

pub(super) fn check(case: &Case<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for storage in case.storages() {
        if let Some(why) = &storage.read_only {
            findings.push(finding(
                "storage-read-only",
                Level::Block,
                FindingSubject::Storage,
                Source::ThisHost,
                format!("it cannot be written: {why}"),
                "make it writable for the user that the service runs as",
            ));
        }
        for opener in &storage.strangers {
            findings.push(finding(
                "storage-held-by-others",
                Level::Block,
                FindingSubject::Storage,
                Source::ThisHost,
                format!("process {} ({}) has {} open", opener.pid, shown(&opener.command), shown(&opener.file)),
                "end that process; nobody but the instances may use the storage during an upgrade",
            ));
        }
    }
    findings
}

/// The pages of its codes.
pub(super) const PAGES: &[super::Page] = &[
    super::Page {
        code: "storage-read-only",
        title: "the storage cannot be written",
        levels: &[Level::Block],
        sources: &[Source::ThisHost],
        means: "A migration would fail, on some releases with a panic; on SQLite `storage scan` then reports an error and \
         still ends with status 0.",
        found: "SQLite: whether the files and their folder can be written. PostgreSQL: whether the server takes writes.",
        remedy: "Make it writable for the user that the service runs as, or name the server that takes writes.",
    },
    super::Page {
        code: "storage-held-by-others",
        title: "another program has the storage's files open",
        levels: &[Level::Block],
        sources: &[Source::ThisHost],
        means: "Whoever has the files open can write to them between the backup and the migration, and can keep SQLite's \
         locks while the migration wants them.",
        found: "On the storage's host: which processes have one of its files open, the instances' own apart. Processes that \
         the agent may not look into count as unknown, not as quiet.",
        remedy: "End that process, and see that nothing starts it again during the upgrade (a backup job, a report).",
    },
];
