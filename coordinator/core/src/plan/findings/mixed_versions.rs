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
            if let Some(harm) = case.catalogue.side_by_side(old, new).and_then(harm) {
                evidence.push_str(&format!("; {old} beside {new} was measured: {harm}"));
                source = Source::Measured;
            }
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

fn harm(result: SideBySideResult) -> Option<&'static str> {
    match result {
        SideBySideResult::Works => None,
        SideBySideResult::OldDead => Some("the old one answers 503 on migrated ledgers"),
        SideBySideResult::OldLosesWrites => {
            Some("the old one answers 200 and its transactions reach nothing but `log`: take it out of rotation NOW")
        }
        SideBySideResult::AddressFiltersMissAccounts => {
            Some("accounts first used through the old one are missing from address filters for good")
        }
        SideBySideResult::Conflict => Some("each refuses the other's writes with 409 for good"),
    }
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
