//! Schemas that `storage scan` takes for a ledger and that are none: it takes every one that has a table `transactions`.
//!
//! Measured: scan registers it, `storage list` names it from then on, and `storage upgrade` fails inside it. Registering
//! demands that the list names the plan's ledgers and nothing else, so it would fail in the downtime.

use crate::plan::case::{Case, finding};
use cutover_vocabulary::finding::{Finding, FindingSubject, Level, Source};
use cutover_vocabulary::name::shown;
use cutover_vocabulary::storage::Driver;

pub(super) fn check(case: &Case<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for storage in case.storages() {
        match storage.identity.driver() {
            Driver::Sqlite => continue,
            Driver::Postgres => {}
        }
        for (schema, why) in &storage.skipped {
            findings.push(finding(
                "foreign-schema",
                Level::Block,
                FindingSubject::Storage,
                Source::Measured,
                format!("`storage scan` would register schema {} as a ledger: {}", shown(schema), shown(why)),
                "rename its table `transactions`, or move that schema to another database; where the system store names it \
                 already, delete its row from _system.ledgers as well",
            ));
        }
    }
    findings
}

/// The pages of its codes.
pub(super) const PAGES: &[super::Page] = &[super::Page {
    code: "foreign-schema",
    title: "a schema of another application that `storage scan` takes for a ledger",
    levels: &[Level::Block],
    sources: &[Source::Measured],
    means: "`storage scan` registers every schema with a table `transactions`. From then on `storage list` names it, \
         `storage upgrade` fails inside it, and from 1.7.0 leaves a table behind there.",
    found: "The agent lists the schemas with such a table and compares their columns with those of every release of the \
         ledger.",
    remedy: "Rename that table or move the schema to another database. If the system store names it already, delete its \
         row from `_system.ledgers` too.",
}];
