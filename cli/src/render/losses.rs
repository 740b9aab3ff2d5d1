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

/// Whether rows are written out. They are where a person must judge them, once; elsewhere their number is enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rows {
    /// Every row that is known.
    Listed,
    /// How many.
    Counted,
}

/// One ledger's rows, class by class. `indent` is where the ledger's own line begins.
pub fn ledger(page: &mut Page, indent: usize, name: &LedgerName, losses: &Losses, rows: Rows) {
    match rows {
        Rows::Listed => listed(page, indent, name, losses),
        Rows::Counted => {
            let classes: Vec<String> =
                losses.by_class.iter().map(|(class, n)| format!("{} {class}", grouped(*n))).collect();
            let classes = if classes.is_empty() { String::new() } else { format!(" ({})", classes.join(", ")) };
            page.item(indent, format_args!("ledger {name}: {}{classes}", count(losses.count, "row", "rows")));
        }
    }
}

fn listed(page: &mut Page, indent: usize, name: &LedgerName, losses: &Losses) {
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

#[cfg(test)]
mod tests {
    use super::super::ink::Ink;
    use super::super::sample;
    use super::*;

    #[test]
    fn rows_that_are_listed_elsewhere_are_counted_class_by_class() {
        let plan = sample::plan();
        let survey = &plan.observed.ledgers[0];
        let mut page = Page::new(Ink::PLAIN);
        ledger(&mut page, 2, &survey.name, &survey.losses, Rows::Counted);
        let text = page.finish();
        assert!(text.starts_with("  - ledger main: 3 rows (2 account-metadata-without-posting, 1"), "{text}");
        assert!(!text.contains("vip:1"), "{text}");
    }
}
