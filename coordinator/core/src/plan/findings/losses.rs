//! Metadata that the official migration loses, row by row. Both classes were measured with the real binaries; the rows stay visible in
//! `log`, so nobody notices without a comparison.

use crate::plan::case::{Case, finding};
use cutover_vocabulary::finding::{Finding, FindingSubject, Level, Source};
use cutover_vocabulary::name::shown;
use cutover_vocabulary::storage::LISTED_ROWS;

pub(super) fn check(case: &Case<'_>) -> Vec<Finding> {
    let Some(driver) = case.driver() else { return Vec::new() };
    let classes = case.catalogue.losses_to(&case.ask.target, driver);
    let mut findings = Vec::new();
    for ledger in case.storages().into_iter().flat_map(|storage| &storage.ledgers).filter(|l| l.legacy_layout) {
        for class in &classes {
            let rows: Vec<_> = ledger.losses.rows.iter().filter(|row| row.class == *class).collect();
            if rows.is_empty() {
                continue;
            }
            let some: Vec<String> =
                rows.iter().take(3).map(|row| format!("{} {}", row.target, shown(&row.key))).collect();
            let more = if rows.len() > some.len() { ", …" } else { "" };
            let listed = (rows.len() as u64) < ledger.losses.count && rows.len() >= LISTED_ROWS;
            let count = if listed { format!("at least {}", rows.len()) } else { rows.len().to_string() };
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
