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

/// The pages of its codes.
pub(super) const PAGES: &[super::Page] = &[
    super::Page {
        code: "account-metadata-without-posting",
        title: "metadata of accounts without a posting, which the migration loses",
        levels: &[Level::Approve],
        sources: &[Source::Measured],
        means: "The ledger's own migration to 1.3.2 and later drops the metadata of every account that appears in no \
         posting. The rows stay readable in `log`, so nothing but a comparison finds it.",
        found: "The agent reads every metadata row of ledgers in the old layout. The plan lists the rows, and the approval \
         is for exactly these.",
        remedy: "Approve exactly these rows, and write them again afterwards where they matter: their values are kept beside \
         the recovery point. Or give each account a posting first.",
    },
    super::Page {
        code: "sqlite-first-metadata",
        title: "the first metadata entry of a ledger, which the migration loses on SQLite",
        levels: &[Level::Approve],
        sources: &[Source::Measured],
        means: "On SQLite the ledger's own migration to 1.3.2 and later drops the metadata entry with `meta_id` 0: the first \
         that was ever written in that ledger.",
        found: "As for `account-metadata-without-posting`.",
        remedy: "Approve exactly this row and write it again afterwards: its value is kept beside the recovery point. Or \
         write the same key once more before the upgrade, which makes a second entry that survives.",
    },
];
