//! Instances of one deployment that run different versions. The manual's downtime strategies stop all of them, so it is no
//! obstacle; but on one storage some pairs destroy what clients write, and then it is urgent.

use crate::catalogue::SideBySideResult;
use crate::plan::case::{Case, finding};
use cutover_vocabulary::finding::{Finding, FindingSubject, Level, Source};

pub(super) fn check(case: &Case<'_>) -> Vec<Finding> {
    let versions = case.running();
    if versions.len() < 2 {
        return Vec::new();
    }
    let list: Vec<String> = versions.iter().map(ToString::to_string).collect();
    let mut evidence = format!("its instances run {}", list.join(", "));
    let mut source = Source::ThisHost;
    for (at, old) in versions.iter().enumerate() {
        for new in &versions[at + 1..] {
            let Some(worst) = case.catalogue.worst_beside(old, new, case.locks()) else { continue };
            let Some(harm) = worst.result.harm() else { continue };
            evidence.push_str(&format!("; of {old} beside {new} it is known ({}): {harm}", worst.source));
            match worst.result {
                SideBySideResult::OldLosesWrites => evidence.push_str(": take it out of rotation NOW"),
                SideBySideResult::Works
                | SideBySideResult::OldDead
                | SideBySideResult::AddressFiltersMissAccounts
                | SideBySideResult::Conflict => {}
            }
            source = worst.source.source();
        }
    }
    vec![finding(
        "mixed-versions",
        Level::Approve,
        FindingSubject::Deployment(case.ask.deployment.clone()),
        source,
        evidence,
        "find out why; going back would bring each instance to the version it runs now",
    )]
}

/// The pages of its codes.
pub(super) const PAGES: &[super::Page] = &[super::Page {
    code: "mixed-versions",
    title: "instances of one deployment run different versions",
    levels: &[Level::Approve],
    sources: &[Source::ThisHost, Source::Measured],
    means: "The upgrade stops all of them, so it is no obstacle. But somebody began something: find out what. On one \
         storage some pairs destroy what clients write, and then the evidence says so: **take the older instance out \
         of rotation at once**, plan or no plan.",
    found: "The versions that the instances answer with are compared, and each pair is looked up in what was measured \
         with two releases on one PostgreSQL.",
    remedy: "Find out how it came about before you approve. Going back would bring each instance to the version that it \
         runs now.",
}];
