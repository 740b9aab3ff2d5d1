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
    // What a rejoin brings in must be what the others got, as far as theirs still lies there.
    let mut found = case.surveys.iter().chain(case.others).filter_map(|host| host.target.as_ref().ok());
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

/// The pages of its codes.
pub(super) const PAGES: &[super::Page] = &[
    super::Page {
        code: "release-unusable",
        title: "the target's files are missing, or not what their checksum file says",
        levels: &[Level::Block],
        sources: &[Source::ThisHost],
        means: "A binary is only ever installed out of an archive whose SHA-256 is the one that its checksum file names. \
         Nothing of any other archive is unpacked.",
        found: "Each host's agent looks for the archive and the checksum file below its setting `releases.place`, and \
         compares them.",
        remedy: "Put both files where the agent looks, from a place that you trust. If the archive is corrupt, fetch it \
         again; if it is corrupt again, ask who changed it before anything else.",
    },
    super::Page {
        code: "releases-differ",
        title: "the hosts have different files for one version",
        levels: &[Level::Block],
        sources: &[Source::ThisHost],
        means: "One version, one binary: with two different archives it would hang on the host which program serves your \
         clients, and the rehearsal would have proved only one of them.",
        found: "Each host reports the SHA-256 of the archive that it verified. They are compared.",
        remedy: "Find out which archive is the right one, put it on every host with its checksum file, and plan again.",
    },
];
