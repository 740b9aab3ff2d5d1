//! An instance has another release than the one that the deployment's latest upgrade left: its host was away, or somebody
//! changed it by hand.

use crate::plan::case::{Case, finding};
use cutover_vocabulary::finding::{Finding, FindingSubject, Level, Source};

pub(super) fn check(case: &Case<'_>) -> Vec<Finding> {
    let Some(allowed) = &case.ask.allowed else { return Vec::new() };
    let others = case.instances().filter_map(|(_, survey)| {
        let report = &survey.report;
        let (verb, version) = match (&report.running, &report.on_disk) {
            (Some(running), _) => ("runs", running),
            (None, Some(on_disk)) => ("would start", on_disk),
            (None, None) => return None,
        };
        (version != allowed).then_some((survey, verb, version))
    });
    others
        .map(|(survey, verb, version)| {
            finding(
                "other-release-than-allowed",
                Level::Approve,
                FindingSubject::Instance(survey.instance.clone()),
                Source::ThisHost,
                format!("it {verb} {version}, and the deployment's latest upgrade left {allowed}"),
                format!(
                    "stop it unless it is known that both releases can work on one storage, and find out since when it runs: what \
                     clients wrote through it may be lost. `cutover rejoin {}` brings it alone to {allowed}; this upgrade brings it to \
                     the target with all others",
                    survey.instance
                ),
            )
        })
        .collect()
}

/// The pages of its codes.
pub(super) const PAGES: &[super::Page] = &[super::Page {
    code: "other-release-than-allowed",
    title: "an instance has another release than the latest upgrade left",
    levels: &[Level::Approve],
    sources: &[Source::ThisHost],
    means: "Its host was off during the upgrade and came back with what it had, or somebody changed it by hand. On a storage that \
         was migrated since, most old releases answer 503, and some answer 200 and lose what they are given (measured, any 1.3.2 to \
         1.7.8 beside 1.8 or later).",
    found: "The release that the deployment's latest upgrade left is known from its facts; it is compared with the version that \
         answers, or with the one that would start.",
    remedy: "Keep it down: `cutover-agent local fence INSTANCE` on its host, then stop its unit. `cutover rejoin INSTANCE` brings it to \
         the release that the others run, while they serve; or the next upgrade of the deployment, to whichever version, brings it to \
         the target with all others. Look up what clients were answered by it meanwhile.",
}];
