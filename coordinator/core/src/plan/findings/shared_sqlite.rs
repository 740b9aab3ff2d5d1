//! SQLite is local: several instances cannot share it, whatever a network file system says of locks.

use crate::plan::case::{Case, finding};
use cutover_vocabulary::finding::{Finding, FindingSubject, Level, Source};
use cutover_vocabulary::storage::Driver;

pub(super) fn check(case: &Case<'_>) -> Vec<Finding> {
    if case.driver() != Some(Driver::Sqlite) || case.registered.len().max(case.instances().count()) < 2 {
        return Vec::new();
    }
    vec![finding(
        "sqlite-shared",
        Level::Block,
        FindingSubject::Deployment(case.ask.deployment.clone()),
        Source::Manual,
        format!("{} instances are registered on one SQLite storage", case.registered.len()),
        "run one instance on SQLite, or move to PostgreSQL",
    )]
}

/// The pages of its codes.
pub(super) const PAGES: &[super::Page] = &[super::Page {
    code: "sqlite-shared",
    title: "several instances on one SQLite storage",
    levels: &[Level::Block],
    sources: &[Source::Manual],
    means: "SQLite is one host's: instances on several hosts cannot share it, and several writers on one host take each \
         other's locks.",
    found: "The deployment's storage is SQLite, and more than one instance is registered.",
    remedy: "Run one instance, or move to PostgreSQL.",
}];
