//! Findings, one file a rule. To add one: a file with `check`, its line in `RULES`.

mod agent_not_seen;
mod bad_release;
mod bad_rows;
mod broken_upgrade;
mod db_name;
mod disk_and_running_differ;
mod disk_space;
mod inconsistent;
mod instance_unreadable;
mod losses;
mod manager;
mod mixed_versions;
mod not_yet;
mod one_storage;
mod path;
mod registered_ledgers;
mod release;
mod shared_sqlite;
mod skipped;
mod storage_access;
mod unknown_release;

use super::case::Case;
use cutover_vocabulary::Finding;

/// A rule looks at the case and says what it noticed.
type Rule = fn(&Case<'_>) -> Vec<Finding>;

/// Every rule. The order is the order on screens within a level.
const RULES: &[Rule] = &[
    agent_not_seen::check,
    instance_unreadable::check,
    release::check,
    path::check,
    unknown_release::check,
    bad_release::check,
    broken_upgrade::check,
    not_yet::check,
    one_storage::check,
    shared_sqlite::check,
    mixed_versions::check,
    disk_and_running_differ::check,
    storage_access::check,
    db_name::check,
    skipped::check,
    registered_ledgers::check,
    bad_rows::check,
    inconsistent::check,
    losses::check,
    disk_space::check,
    manager::check,
];

/// Everything that every rule noticed; what blocks first.
pub fn all(case: &Case<'_>) -> Vec<Finding> {
    let mut findings: Vec<Finding> = RULES.iter().flat_map(|rule| rule(case)).collect();
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.level));
    findings
}
