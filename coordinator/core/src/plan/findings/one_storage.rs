//! All instances of a deployment must use one and the same storage.

use crate::plan::case::{Case, finding};
use cutover_vocabulary::finding::{Finding, FindingSubject, Level, Source};
use cutover_vocabulary::survey::InstanceSurvey;

pub(super) fn check(case: &Case<'_>) -> Vec<Finding> {
    let storages = case.storages();
    if storages.len() < 2 {
        return Vec::new();
    }
    let list: Vec<String> = storages
        .iter()
        .map(|storage| {
            let uses =
                |survey: &InstanceSurvey| survey.storage.as_ref().is_ok_and(|it| it.identity == storage.identity);
            let users =
                case.instances().filter(|(_, survey)| uses(survey)).map(|(_, survey)| survey.instance.to_string());
            format!("{} by {}", storage.identity, users.collect::<Vec<_>>().join(", "))
        })
        .collect();
    vec![finding(
        "several-storages",
        Level::Block,
        FindingSubject::Deployment(case.ask.deployment.clone()),
        Source::ThisHost,
        format!("its instances use {} storages: {}", storages.len(), list.join("; ")),
        "a deployment is what shares one storage: make one deployment for each",
    )]
}
