//! Views, foreign keys and functions that others built on a ledger's tables. The migration drops those on `postings` with
//! CASCADE, in any schema and of any owner, and digests stay equal; it fails on others. Which, by which migration, is data.

use crate::catalogue::{DependentEffect, DependentFate};
use crate::plan::case::{Case, finding};
use cutover_vocabulary::finding::{Finding, FindingSubject, Level, Source};
use cutover_vocabulary::name::shown;
use cutover_vocabulary::storage::{Dependent, LedgerSurvey};
use std::collections::BTreeSet;

pub(super) fn check(case: &Case<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (ledger, driver) in case.storages().into_iter().flat_map(|storage| {
        let driver = storage.identity.driver();
        storage.ledgers.iter().map(move |ledger| (ledger, driver))
    }) {
        let Some(highest) = case.target().and_then(|facts| facts.highest_migration(driver)) else { continue };
        let runs = |fate: &&DependentFate| {
            let recorded = |number| ledger.migrations.0.as_ref().is_some_and(|numbers| numbers.contains(number));
            fate.migration <= highest && !recorded(&fate.migration)
        };
        let fates: Vec<&DependentFate> = case.catalogue.dependents.iter().filter(runs).collect();
        findings.extend(about(ledger, &fates, DependentEffect::Stops));
        findings.extend(about(ledger, &fates, DependentEffect::Dropped));
    }
    findings
}

fn about(ledger: &LedgerSurvey, fates: &[&DependentFate], effect: DependentEffect) -> Option<Finding> {
    let (mut hit, mut because) = (Vec::new(), BTreeSet::new());
    for dependent in &ledger.dependents {
        if let Some(fate) = fates.iter().find(|fate| fate.effect == effect && meets(fate, dependent)) {
            let Dependent { what, name, owner, on, definition: _ } = dependent;
            hit.push(format!("{} {} of {} on {}", shown(what), shown(name), shown(owner), shown(on)));
            because.insert(fate.because.as_str());
        }
    }
    if hit.is_empty() {
        return None;
    }
    let because = because.into_iter().collect::<Vec<_>>().join("; ");
    let (code, level, remedy) = match effect {
        DependentEffect::Dropped => (
            "dependents-dropped",
            Level::Approve,
            "they vanish without an error; their definitions are kept with the recovery point and in the plan (`--json`); \
             make them again afterwards on the new tables, and from the definition after a rollback",
        ),
        DependentEffect::Stops => (
            "dependents-stop-the-migration",
            Level::Block,
            "keep their definitions (in the plan: `--json`), drop them before the upgrade, and make them again on the new \
             tables afterwards",
        ),
    };
    Some(finding(
        code,
        level,
        FindingSubject::Ledger(ledger.name.clone()),
        Source::Measured,
        format!("{}: {because}", super::listed(hit.into_iter())),
        remedy,
    ))
}

/// Whether a migration meets a dependent. One that names a table alone may depend on any of its columns; a view's
/// definition, as PostgreSQL writes it, spells out each that it uses, so one that spells out neither the column nor a whole
/// row is not met.
fn meets(fate: &DependentFate, dependent: &Dependent) -> bool {
    let view = dependent.what.contains("view") || dependent.what.contains("rule");
    if fate.views_only && !view {
        return false;
    }
    fate.on.iter().any(|on| match on.split_once('.') {
        Some((table, column)) => {
            let spelt = || dependent.definition.contains(column) || dependent.definition.contains(".*");
            dependent.on == *on || (dependent.on == table && spelt())
        }
        None => dependent.on == *on || dependent.on.split_once('.').is_some_and(|(table, _)| table == on),
    })
}

/// The pages of its codes.
pub(super) const PAGES: &[super::Page] = &[
    super::Page {
        code: "dependents-dropped",
        title: "views and other things of others that the migration drops",
        levels: &[Level::Approve],
        sources: &[Source::Measured],
        means: "Migration 5 on PostgreSQL drops the table `postings` with CASCADE. A reporting view on it, in any schema and \
         of any owner, goes with no more than a NOTICE, and no digest of the ledger shows it.",
        found: "By `pg_depend`: everything that depends on a ledger's tables and is not the ledger's, compared with what \
         each missing migration of the target does.",
        remedy: "Tell the owners. Their definitions are in the plan (`cutover plan --json`) and beside the recovery point: \
         make the views again afterwards, on the new tables. After a rollback make them again from the definition.",
    },
    super::Page {
        code: "dependents-stop-the-migration",
        title: "views and other things of others that make the migration fail",
        levels: &[Level::Block],
        sources: &[Source::Measured],
        means: "A view on `metadata` or `contract` makes a migration end with `2BP01`; one on `transactions.timestamp` or \
         `volumes` makes the one to 1.8 and later end with `0A000`. The ledgers before it are migrated by then.",
        found: "By `pg_depend`, as for `dependents-dropped`. A view that uses none of the columns that change is left alone \
         and not listed.",
        remedy: "Keep their definitions (`cutover plan --json` has them), drop them before the upgrade, and make them again \
         on the new tables afterwards.",
    },
];
