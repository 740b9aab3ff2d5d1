//! Instances of one deployment that run different versions.

use crate::plan::case::{Case, finding};
use cutover_vocabulary::finding::{Finding, FindingSubject, Level, Source};

pub(super) fn check(case: &Case<'_>) -> Vec<Finding> {
    let mut versions: Vec<_> =
        case.instances().filter_map(|(_, survey)| survey.inspection.as_ref().ok()?.running.as_ref()).collect();
    versions.sort();
    versions.dedup();
    if versions.len() < 2 {
        return Vec::new();
    }
    let list: Vec<String> = versions.iter().map(|version| version.to_string()).collect();
    vec![finding(
        "mixed-versions",
        Level::Approve,
        FindingSubject::Deployment(case.ask.deployment.clone()),
        Source::ThisHost,
        format!("its instances run {}", list.join(", ")),
        "find out why; going back would bring each instance to the version it runs now",
    )]
}
