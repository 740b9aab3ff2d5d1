//! A target, or a present version, of which nothing is known.

use crate::plan::case::{Case, finding};
use crate::plan::verdict::Obstacle;
use cutover_vocabulary::finding::{Finding, FindingSubject, Level, Source};

pub(super) fn check(case: &Case<'_>) -> Vec<Finding> {
    let mut findings = case.obstacles(Obstacle::UnknownRelease, "unknown-release");
    if case.target().is_some() {
        return findings;
    }
    let mut mute = Vec::new();
    for host in case.surveys.iter().filter(|host| host.target.is_ok()) {
        let said = match &host.about {
            Some(Ok(about)) if about.version == case.ask.target => continue,
            Some(Ok(about)) => format!("its binary says that it is {}", about.version),
            Some(Err(why)) => format!("its binary could not be asked: {why}"),
            None => "its binary was not asked, because the agent there is an older one".to_owned(),
        };
        mute.extend(host.instances.iter().map(|instance| {
            finding(
                "unknown-release",
                Level::Block,
                FindingSubject::Instance(instance.instance.clone()),
                Source::ThisStorage,
                format!("nothing is known of {}, and on the host of {} {said}", case.ask.target, host.agent),
                "put a release there whose binary runs on this host and says its version, then plan again",
            )
        }));
    }
    // Nothing to approve where it could not even be asked.
    if !mute.is_empty() {
        return mute;
    }
    // What the binary says of itself goes where nothing else is known of it.
    if let (Some(about), Some(unknown)) = (case.about_target(), findings.first_mut()) {
        let has = if about.storage_commands { "has storage commands" } else { "has no storage commands" };
        unknown.evidence = format!("{}; asked itself, it {has}", unknown.evidence);
    }
    findings
}

/// The pages of its codes.
pub(super) const PAGES: &[super::Page] = &[super::Page {
    code: "unknown-release",
    title: "a release of which nothing is known",
    levels: &[Level::Block, Level::Approve],
    sources: &[Source::Measured, Source::ThisStorage, Source::CompanyFile],
    means: "Nobody has measured what such a release does. Of a target nobody knows which migrations it has, so the plan cannot \
             say what a ledger must record afterwards: what its copy recorded when it was rehearsed is then what it must record, \
             and a copy that lost a migration holds the upgrade before anything is stopped. It goes with downtime and in one \
             lane, and a person must approve it; so must a present version that is not known, and a release that only the \
             company's own file describes. A target whose binary does not say its version on every host is blocked.",
    found: "The target and every version that runs are looked up in the catalogue of releases. The binary of a target that is \
             not there is asked itself on every host: `numary version` and `numary storage --help`.",
    remedy: "Choose a release of the catalogue, use a Cutover that knows the new one, or describe it in the company's own file: \
             the setting `catalogue` of the coordinator, a table `[[release]]` with its migrations. Where you go on, the rehearsal \
             on a copy comes before anything is stopped, and holds where a copy shows a loss that nobody approved.",
}];
