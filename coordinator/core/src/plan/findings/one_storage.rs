//! All instances of a deployment must use one and the same storage.

use crate::plan::case::{Case, finding};
use cutover_vocabulary::finding::{Finding, FindingSubject, Level, Source};

pub(super) fn check(case: &Case<'_>) -> Vec<Finding> {
    let storages = case.storages();
    if storages.len() < 2 {
        return Vec::new();
    }
    let list: Vec<String> = storages.iter().map(|storage| storage.identity.to_string()).collect();
    vec![finding(
        "several-storages",
        Level::Block,
        FindingSubject::Deployment(case.ask.deployment.clone()),
        Source::ThisHost,
        format!("its instances use {} storages: {}", storages.len(), list.join("; ")),
        "a deployment is what shares one storage: make one deployment for each",
    )]
}
