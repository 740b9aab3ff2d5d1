//! Why nothing may roll, said where an operator asked for it; with downtime it is allowed all the same.

use crate::plan::case::{Case, finding};
use crate::plan::make::StrategyAsk;
use crate::plan::verdict::{Reason, Refusal, Rolling};
use cutover_vocabulary::finding::{Finding, FindingSubject, Level, Source};

pub(super) fn check(case: &Case<'_>) -> Vec<Finding> {
    match case.ask.strategy {
        StrategyAsk::Auto | StrategyAsk::Downtime | StrategyAsk::Rejoin => return Vec::new(),
        StrategyAsk::Rolling => {}
    }
    let mut findings: Vec<Finding> = Vec::new();
    for verdict in case.verdicts() {
        let reasons = match verdict.rolling {
            Rolling::Refused(reasons) => reasons,
            Rolling::AsItIs | Rolling::MigrateFirst(_) => Vec::new(),
        };
        // What blocks the path has a finding of its own, and downtime would not help.
        for Reason { source, evidence, remedy, .. } in
            reasons.into_iter().filter(|reason| reason.why != Refusal::PathBlocked)
        {
            if !findings.iter().any(|known| known.evidence == evidence) {
                let subject = FindingSubject::Path;
                findings.push(finding("rolling-refused", Level::Block, subject, source, evidence, remedy));
            }
        }
    }
    findings
}

/// The pages of its codes.
pub(super) const PAGES: &[super::Page] = &[super::Page {
    code: "rolling-refused",
    title: "the instances cannot be moved one after the other",
    levels: &[Level::Block],
    sources: &[Source::Manual, Source::Measured],
    means: "While it rolls, old and new instances work on one storage. One finding a reason: the manual's table demands downtime or \
         does not name the path; the pair was measured, or a rule behind the measurements covers it, and harm comes of it (the \
         old one is dead, loses writes, leaves accounts out of address filters, or both refuse each other's writes); the \
         target has migrations that the storage lacks and the pair was never measured; there is only one instance.",
    found: "The verdict on the path: the table, the measurements and what this storage records, side by side; the strictest holds. \
         `coordinator/core/tests/verdicts` has the verdict on every pair of releases.",
    remedy: "Plan it with `--strategy downtime`, which is always allowed where the path is; or leave the strategy away: then it \
         rolls only where that is safe. A pair that you measured yourself can be told in the company's own file of the catalogue.",
}];
