//! All instances of a deployment must use one and the same storage, and those of no other may.

use crate::plan::case::{Case, finding};
use cutover_vocabulary::DeploymentName;
use cutover_vocabulary::finding::{Finding, FindingSubject, Level, Source};
use cutover_vocabulary::storage::StorageIdentity;
use cutover_vocabulary::survey::InstanceSurvey;

pub(super) fn check(case: &Case<'_>) -> Vec<Finding> {
    several(case).into_iter().chain(shared(case)).collect()
}

fn several(case: &Case<'_>) -> Option<Finding> {
    let storages = case.storages();
    if storages.len() < 2 {
        return None;
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
    Some(finding(
        "several-storages",
        Level::Block,
        FindingSubject::Deployment(case.ask.deployment.clone()),
        Source::ThisHost,
        format!("its instances use {} storages: {}", storages.len(), list.join("; ")),
        "a deployment is what shares one storage: make one deployment for each",
    ))
}

/// Instances of another deployment would be nobody's members: they would go on, or start, while the storage is migrated under them.
/// A copy of a whole cluster has its identifier too, so a person may say that it is one.
fn shared(case: &Case<'_>) -> Vec<Finding> {
    let ours = |storage: &StorageIdentity| case.storages().iter().any(|survey| survey.identity.leads_to(storage));
    let found = |(other, storage): (&DeploymentName, &StorageIdentity)| {
        finding(
            "storage-of-another-deployment",
            Level::Approve,
            FindingSubject::Deployment(other.clone()),
            Source::ThisStorage,
            format!("it used {storage} too when it was planned for last, and has instances"),
            format!(
                "a deployment is what shares one storage: name one deployment for all of them in the agents' settings; where {other} \
             uses another one by now, plan for it once (`cutover plan {other} --to VERSION`), which looks again; approve where one of \
             the two is a copy of the whole server, which has the same identifier"
            ),
        )
    };
    case.ask.elsewhere.iter().filter(|(_, storage)| ours(storage)).map(found).collect()
}

/// The pages of its codes.
pub(super) const PAGES: &[super::Page] = &[
    super::Page {
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
    },
    super::Page {
        code: "storage-of-another-deployment",
        title: "another deployment uses the same storage",
        levels: &[Level::Approve],
        sources: &[Source::ThisStorage],
        means: "A deployment is what shares one storage. Instances of another one are no members: nobody drains them, and one that is \
             idle or off at the moment is seen by nobody. It goes on, or starts, on a storage that was migrated under it; from 1.8 \
             on what its clients write then is lost.",
        found: "The storage that was found when each other deployment with registered instances was planned for last is compared with \
             this one's, by who it is and not by its name. A deployment that was never planned for is not known here; what its \
             instances do on the storage at the moment, the survey and the drain see.",
        remedy: "Name one deployment for all of them in the agents' settings. Where the other one uses another storage by now, plan for \
                 it once: that looks again. A copy of a whole server, as a staging fleet may run on, has the server's identifier: \
                 approve where you know that it is one.",
    },
];
