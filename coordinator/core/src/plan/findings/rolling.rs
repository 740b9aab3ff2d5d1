//! Why nothing may roll, said where an operator asked for it; with downtime it is allowed all the same.

use crate::plan::case::{Case, finding};
use crate::plan::make::StrategyAsk;
use crate::plan::verdict::{Reason, Refusal, Rolling};
use cutover_vocabulary::finding::{Finding, FindingSubject, Level, Source};

pub(super) fn check(case: &Case<'_>) -> Vec<Finding> {
    match case.ask.strategy {
        StrategyAsk::Auto | StrategyAsk::Downtime => return Vec::new(),
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
    title: "these versions cannot be moved one instance after the other",
    levels: &[Level::Block],
    sources: &[Source::Manual, Source::Measured, Source::ThisStorage],
    means: "While a fleet rolls, old and new instances write to one storage. Of some pairs the old one dies or acknowledges writes that \
         are lost, of others the new one misses accounts or refuses writes for good; a pair that was never measured counts as such where \
         the target has migrations that the storage lacks. Nothing of that shows in health checks.",
    found: "The manual's table, the measurements of pairs with the rules behind them, and the migrations that this storage records are \
         put side by side for every version that runs; the strictest holds.",
    remedy: "Plan with `--strategy downtime`, which is allowed wherever the path is.",
}];
