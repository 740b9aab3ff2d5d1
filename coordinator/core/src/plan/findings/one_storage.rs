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

/// The pages of its codes.
pub(super) const PAGES: &[super::Page] = &[super::Page {
    code: "several-storages",
    title: "instances of one deployment that use different storages",
    levels: &[Level::Block],
    sources: &[Source::ThisHost],
    means: "A deployment is what shares one storage; its storage is secured, migrated and proved once. With two of them \
         one would stay behind unmigrated, or be migrated without a recovery point. Often the cause is an instance \
         whose settings lead elsewhere than people think: a variable that is missing, or a `numary.yaml` that an old \
         release wrote.",
    found: "Each agent resolves which storage its instances really use and asks that storage who it is: a database its \
         cluster's system identifier, a folder its device and inode. Names and spellings are not compared.",
    remedy: "If the instances belong apart, make a deployment of each. If not, mend the settings of the one that is \
         wrong; the evidence says who uses what.",
}];
