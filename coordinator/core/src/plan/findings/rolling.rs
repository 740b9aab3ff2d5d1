//! Why nothing may roll, said where an operator asked for it; with downtime it is allowed all the same.

use crate::plan::case::{Case, finding};
use crate::plan::make::StrategyAsk;
use crate::plan::verdict::{Reason, Refusal, Rolling};
use cutover_vocabulary::finding::{Finding, FindingSubject, Level};

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
