//! A target that nobody should run: 1.10.6 and 1.10.7 destroy balances at every start.

use crate::plan::case::{Case, finding};
use crate::plan::verdict::Obstacle;
use cutover_vocabulary::finding::{Finding, FindingSubject, Level, Source};

pub(super) fn check(case: &Case<'_>) -> Vec<Finding> {
    let mut findings = case.obstacles(Obstacle::BadRelease, "bad-release");
    findings.extend(ran_on_it(case));
    findings
}

/// What such a release stored wrongly stays wrong. The survey holds balances against postings in any case; what it finds is a
/// finding of its own, and this one says why to look.
fn ran_on_it(case: &Case<'_>) -> Option<Finding> {
    let bad = case.running().into_iter().find_map(|from| Some((from, case.catalogue.bad_release(from)?)));
    let (from, bad) = bad?;
    let ledgers: Vec<_> = case.storages().into_iter().flat_map(|storage| &storage.ledgers).collect();
    let disagree: Vec<&str> =
        ledgers.iter().filter(|it| !it.inconsistencies.is_empty()).map(|it| it.name.as_str()).collect();
    let found = match disagree.as_slice() {
        [] => format!("in none of {} ledger(s) they disagree", ledgers.len()),
        some => format!("they disagree in {} of {} ledger(s): {}", some.len(), ledgers.len(), some.join(", ")),
    };
    Some(finding(
        "ran-on-bad-release",
        // Where they disagree, a finding of its own needs approval.
        Level::Info,
        FindingSubject::Storage,
        bad.source.source(),
        format!("{from} runs now: {}; balances were held against postings, {found}", bad.reason),
        "compare balances with your own books before the upgrade; restart no instance of that release meanwhile",
    ))
}

/// The pages of its codes.
pub(super) const PAGES: &[super::Page] = &[
    super::Page {
        code: "ran-on-bad-release",
        title: "a release runs that damages what it stores",
        levels: &[Level::Info],
        sources: &[Source::Measured],
        means: "An instance runs a release that stores wrong balances after each of its starts. What it has stored stays wrong after \
         the upgrade: every later release reads it as it is.",
        found: "Every version that runs is looked up in the catalogue's list of bad releases. The agent holds `volumes` against the \
         postings of every ledger in any case; where they differ, `balances-disagree` says so and needs approval.",
        remedy: "Compare balances with your own books before the upgrade. Restart no instance of that release meanwhile: each start \
         does more damage.",
    },
    super::Page {
        code: "bad-release",
        title: "a release that nobody should run",
        levels: &[Level::Block],
        sources: &[Source::Measured],
        means: "Releases that damage what they store, whatever one does: 1.10.6 and 1.10.7 count an account's balances from \
         zero after each start and store the wrong sums.",
        found: "The target is looked up in the catalogue's list of bad releases, which says what each of them does.",
        remedy: "Choose the release before or after it.",
    },
];
