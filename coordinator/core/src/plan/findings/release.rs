//! The target release as the hosts find it.

use crate::plan::case::{Case, finding};
use cutover_vocabulary::finding::{Finding, FindingSubject, Level, Source};
use cutover_vocabulary::survey::ReleaseProblem;

pub(super) fn check(case: &Case<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for host in case.surveys {
        if let Err(problem) = &host.target {
            let subject = host.instances.first().map(|survey| FindingSubject::Instance(survey.instance.clone()));
            findings.push(finding(
                "release-unusable",
                Level::Block,
                subject.unwrap_or(FindingSubject::Path),
                Source::ThisHost,
                format!("on the host of agent {}: {problem}", host.agent),
                remedy(problem),
            ));
        }
    }
    let mut found = case.surveys.iter().filter_map(|host| host.target.as_ref().ok());
    if let Some(first) = found.next()
        && found.any(|other| other != first)
    {
        findings.push(finding(
            "releases-differ",
            Level::Block,
            FindingSubject::Path,
            Source::ThisHost,
            format!("the hosts have different files for {}", first.version),
            "put one and the same archive on every host",
        ));
    }
    findings
}

fn remedy(problem: &ReleaseProblem) -> &'static str {
    match problem {
        ReleaseProblem::Missing { .. } | ReleaseProblem::NoChecksum { .. } => {
            "put the release's archive and its checksum file where the agent's `releases` setting points"
        }
        ReleaseProblem::Corrupt { .. } | ReleaseProblem::BadArchive { .. } => {
            "fetch the archive and its checksum file again, from a place that you trust; nothing of it was unpacked"
        }
    }
}
