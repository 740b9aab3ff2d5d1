//! Rows that a migration loses: every listed one, with the total where more exist than are listed.

use super::page::Page;
use super::words::{count, grouped};
use cutover_vocabulary::LedgerName;
use cutover_vocabulary::storage::{LossClass, Losses, LostRow};

/// What a class of losses means, in one line.
pub fn explain(class: LossClass) -> &'static str {
    match class {
        LossClass::AccountMetadataWithoutPosting => "metadata of an account that appears in no posting",
        LossClass::SqliteFirstMetadata => "the first metadata entry ever written in this ledger",
    }
}

/// One ledger's rows, class by class. `indent` is where the ledger's own line begins.
pub fn ledger(page: &mut Page, indent: usize, name: &LedgerName, losses: &Losses) {
    page.paragraph(indent, format_args!("ledger {name}: {}", count(losses.count, "row", "rows")));
    for class in [LossClass::AccountMetadataWithoutPosting, LossClass::SqliteFirstMetadata] {
        let rows: Vec<&LostRow> = losses.rows.iter().filter(|row| row.class == class).collect();
        let number = losses.by_class.get(&class).copied().unwrap_or(rows.len() as u64);
        if number == 0 {
            continue;
        }
        page.paragraph(indent + 2, format_args!("{class} ({}): {}", grouped(number), explain(class)));
        for row in rows {
            page.item(indent + 4, format_args!("{}: {} = {}", row.target, row.key, row.value));
        }
    }
    let listed = losses.rows.len() as u64;
    if losses.count > listed {
        page.paragraph(
            indent + 2,
            format_args!(
                "{} of {} rows are listed; all of them will lie beside the recovery point",
                grouped(listed),
                grouped(losses.count)
            ),
        );
    }
}
