//! Files that look like a ledger's and that the ledger's own commands would pass over.

use crate::plan::case::{Case, finding};
use cutover_vocabulary::finding::{Finding, FindingSubject, Level, Source};
use cutover_vocabulary::name::shown;

pub(super) fn check(case: &Case<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for storage in case.storages() {
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
