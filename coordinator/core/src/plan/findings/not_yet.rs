//! What this version of Cutover does not do yet, said before the night.

use crate::plan::case::{Case, finding};
use crate::plan::make::StrategyAsk;
use cutover_vocabulary::finding::{Finding, FindingSubject, Level, Source};
use cutover_vocabulary::storage::Driver;

pub(super) fn check(case: &Case<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    if case.driver() == Some(Driver::Postgres) {
        findings.push(finding(
            "driver-not-supported",
            Level::Block,
            FindingSubject::Storage,
            Source::ThisStorage,
            "its storage is PostgreSQL, which this version of Cutover cannot upgrade yet",
            "use a later version",
        ));
    }
    if case.ask.strategy == StrategyAsk::Rolling {
        findings.push(finding(
            "rolling-not-supported",
            Level::Block,
            FindingSubject::Deployment(case.ask.deployment.clone()),
            Source::Manual,
            "this version of Cutover cannot roll yet",
            "plan it with downtime: `--strategy downtime`, which is always allowed",
        ));
    }
    findings
}
