//! Files that look like a ledger's and that the ledger's own commands would pass over. SQLite only; what scan takes too
//! much of on PostgreSQL is `foreign-schema`.

use crate::plan::case::{Case, finding};
use cutover_vocabulary::finding::{Finding, FindingSubject, Level, Source};
use cutover_vocabulary::name::shown;
use cutover_vocabulary::storage::Driver;

pub(super) fn check(case: &Case<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for storage in case.storages() {
        match storage.identity.driver() {
            Driver::Sqlite => {}
            Driver::Postgres => continue,
        }
        for (file, why) in &storage.skipped {
            findings.push(finding(
                "file-skipped",
                Level::Approve,
                FindingSubject::Storage,
                Source::ThisStorage,
                format!("{} is not upgraded: {}", shown(file), shown(why)),
                "move it out of the storage's folder if it is no ledger; mend it if it is one",
            ));
        }
    }
    findings
}

/// The pages of its codes.
pub(super) const PAGES: &[super::Page] = &[super::Page {
    code: "file-skipped",
    title: "a file that looks like a ledger's and is passed over",
    levels: &[Level::Approve],
    sources: &[Source::ThisStorage],
    means: "The ledger's own commands do not upgrade it. If it is a ledger, it stays behind.",
    found: "The agent reads the storage's folder by itself and compares it with what `storage scan` would take.",
    remedy: "Move it out of the folder if it is none of the ledger's; mend its name or its content if it is one.",
}];
