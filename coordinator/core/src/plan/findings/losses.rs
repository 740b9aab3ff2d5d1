//! Metadata that the official migration loses, row by row. Both classes were measured with the real binaries; the rows stay visible in
//! `log`, so nobody notices without a comparison.

use crate::plan::case::{Case, finding};
use cutover_vocabulary::finding::{Finding, FindingSubject, Level, Source};
use cutover_vocabulary::name::shown;

pub(super) fn check(case: &Case<'_>) -> Vec<Finding> {
    let Some(driver) = case.driver() else { return Vec::new() };
    let classes = case.catalogue.losses_to(&case.ask.target, driver);
    let mut findings = Vec::new();
    for ledger in case.storages().into_iter().flat_map(|storage| &storage.ledgers).filter(|l| l.legacy_layout) {
        for class in &classes {
            let Some(count) = ledger.losses.by_class.get(class).filter(|count| **count > 0) else { continue };
            let rows = ledger.losses.rows.iter().filter(|row| row.class == *class);
            let some: Vec<String> = rows.take(3).map(|row| format!("{} {}", row.target, shown(&row.key))).collect();
            let more = if *count > some.len() as u64 { ", …" } else { "" };
            findings.push(finding(
                class.code(),
                Level::Approve,
                FindingSubject::Ledger(ledger.name.clone()),
                Source::Measured,
                format!("the migration loses {count} metadata row(s): {}{more}", some.join(", ")),
                "approve exactly these rows (write them again afterwards where they matter), or copy them elsewhere first",
            ));
        }
    }
    findings
}
