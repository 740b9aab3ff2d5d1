//! An instance whose version, settings or storage cannot be told.

use crate::plan::case::{Case, finding};
use cutover_vocabulary::InstanceName;
use cutover_vocabulary::finding::{Finding, FindingSubject, Level, Source};

pub(super) fn check(case: &Case<'_>) -> Vec<Finding> {
    let about = |instance: &InstanceName, evidence: String, remedy: &str| {
        let subject = FindingSubject::Instance(instance.clone());
        finding("instance-unreadable", Level::Block, subject, Source::ThisHost, evidence, remedy)
    };
    let mut findings = Vec::new();
    for (_, survey) in case.instances() {
        match &survey.inspection {
            Err(why) => findings.push(about(&survey.instance, why.clone(), "mend its settings, then plan again")),
            Ok(found) if case.rejoins() && case.version_of(survey).is_none() => findings.push(about(
                &survey.instance,
                "it does not answer, and its binary on disk does not tell its version".to_owned(),
                "let the agent run the binary that the service starts",
            )),
            Ok(found) if found.running.is_none() && !case.rejoins() => findings.push(about(
                &survey.instance,
                format!("it does not answer ({}), so the version it runs cannot be told", survey.report.run),
                "start it, or look at its log; an upgrade begins with an instance that works",
            )),
            Ok(found) if found.binary.is_none() => findings.push(about(
                &survey.instance,
                "its binary on disk cannot be read".to_owned(),
                "let the agent read the binary that the service starts",
            )),
            Ok(_) => {}
        }
        // Where settings lead to no storage, both say so in the same words; once is enough.
        if let Err(why) = &survey.storage
            && survey.inspection.as_ref().err() != Some(why)
        {
            findings.push(about(
                &survey.instance,
                format!("its storage cannot be used: {why}"),
                "mend that, then plan again",
            ));
        }
    }
    findings
}

/// The pages of its codes.
pub(super) const PAGES: &[super::Page] = &[super::Page {
    code: "instance-unreadable",
    title: "an instance whose version, settings or storage cannot be told",
    levels: &[Level::Block],
    sources: &[Source::ThisHost],
    means: "An upgrade begins with instances that work: only then is it known which version runs, which binary to go \
         back to, and which storage a migration would change.",
    found: "The agent resolves the service's settings by the ledger's own order (flags, environment, file, default), \
         asks the service over HTTP for its version, reads its binary and opens its storage. The evidence says which \
         of these failed.",
    remedy: "Do what the evidence names: mend the setting, start the service, or give the agent the right to read. Then \
         plan again.",
}];
