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
