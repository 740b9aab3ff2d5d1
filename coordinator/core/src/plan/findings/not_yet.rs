//! What this version of Cutover does not do yet, said before the night.

use crate::plan::case::{Case, finding};
use crate::plan::make::StrategyAsk;
use cutover_vocabulary::finding::{Finding, FindingSubject, Level, Source};

pub(super) fn check(case: &Case<'_>) -> Vec<Finding> {
    match case.ask.strategy {
        StrategyAsk::Auto | StrategyAsk::Downtime => Vec::new(),
        StrategyAsk::Rolling if measured_to_work(case) => Vec::new(),
        StrategyAsk::Rolling => vec![finding(
            "rolling-not-supported",
            Level::Block,
            FindingSubject::Deployment(case.ask.deployment.clone()),
            Source::Manual,
            "this version of Cutover cannot roll yet",
            "plan it with downtime: `--strategy downtime`, which is always allowed",
        )],
    }
}

fn measured_to_work(case: &Case<'_>) -> bool {
    let pair = case.from().map(|from| case.catalogue.side_by_side(from, &case.ask.target));
    pair == Some(Some(crate::catalogue::SideBySideResult::Works)) && case.instances().count() > 1
}

/// The pages of its codes.
pub(super) const PAGES: &[super::Page] = &[super::Page {
    code: "rolling-not-supported",
    title: "rolling upgrades are not there yet",
    levels: &[Level::Block],
    sources: &[Source::Manual],
    means: "This version of Cutover takes all instances down for the migration. Downtime where the manual asks for none \
         is always allowed.",
    found: "The plan was asked for with `--strategy rolling`.",
    remedy: "Plan with `--strategy downtime`.",
}];
