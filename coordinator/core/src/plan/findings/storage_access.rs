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
