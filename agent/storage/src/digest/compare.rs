//! Two ledgers side by side: every row that differs, in memory that does not grow with them.

use super::rows::{MetadataRow, Row, RowSource, RowStream, Scope, Target};
use crate::StorageError;
use cutover_vocabulary::storage::{Difference, LISTED_ROWS, LossClass, Section};
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

/// All differences between a ledger before and after: counted in full, listed up to [`LISTED_ROWS`] of each kind.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Comparison {
    /// Rows missing afterwards, by the known class that explains them.
    pub known: BTreeMap<LossClass, u64>,
    /// Rows missing, added or changed that no known class explains. Anything but 0 must stop an upgrade.
    pub unexplained: u64,
    /// The first differences of a known class.
    pub known_rows: Vec<Difference>,
    /// The first unexplained differences.
    pub unexplained_rows: Vec<Difference>,
}

impl Comparison {
    fn note(&mut self, difference: Difference) {
        match difference.class {
            Some(class) => {
                *self.known.entry(class).or_default() += 1;
                if self.known_rows.len() < LISTED_ROWS {
                    self.known_rows.push(difference);
                }
            }
            None => {
                self.unexplained += 1;
                if self.unexplained_rows.len() < LISTED_ROWS {
                    self.unexplained_rows.push(difference);
                }
            }
        }
    }
}

/// Compares two ledgers of any two layouts by a merge of their sorted rows. Changes nothing.
///
/// A row that is missing afterwards has a class if the source before says that the ledger's own migration loses it; a row
/// that was added or changed never has one.
pub fn compare(before: &dyn RowSource, after: &dyn RowSource) -> Result<Comparison, StorageError> {
    let mut found = Comparison::default();
    section(Section::Transactions, &|s| before.transactions(s), &|s| after.transactions(s), &mut found)?;
    section(Section::Postings, &|s| before.postings(s), &|s| after.postings(s), &mut found)?;
    section(Section::Balances, &|s| before.balances(s), &|s| after.balances(s), &mut found)?;
    section::<MetadataRow>(
        Section::TransactionMetadata,
        &|s| before.transaction_metadata(s),
        &|s| after.transaction_metadata(s),
        &mut found,
    )?;
    section(Section::AccountMetadata, &|s| before.account_metadata(s), &|s| after.account_metadata(s), &mut found)?;
    Ok(found)
}

/// [`compare`] for a ledger that was written to since: what was there before must still be there as it was.
///
/// Left out are transactions behind the last one from before with all that is theirs, and metadata that was `described` since,
/// by target and key. Balances move with every write: that they are what the postings sum up to, the ledger's check of itself
/// says.
pub fn compare_since(
    before: &dyn RowSource,
    after: &dyn RowSource,
    described: &BTreeSet<(Target, String)>,
) -> Result<Comparison, StorageError> {
    let mut last = None;
    before.transactions(&mut |rows| {
        rows.advance()?;
        while let Some(row) = rows.current() {
            last = Some(row.id);
            rows.advance()?;
        }
        Ok(())
    })?;
    let newer = |id: i64| last.is_none_or(|last| id > last);
    let later = |row: &MetadataRow| {
        matches!(row.target, Target::Transaction(id) if newer(id))
            || described.contains(&(row.target.clone(), row.key.clone()))
    };
    let mut found = Comparison::default();
    let found = &mut found;
    section_but(Section::Transactions, &|s| before.transactions(s), &|s| after.transactions(s), found, &|row| {
        newer(row.id)
    })?;
    section_but(Section::Postings, &|s| before.postings(s), &|s| after.postings(s), found, &|row| newer(row.txid))?;
    section_but(
        Section::TransactionMetadata,
        &|s| before.transaction_metadata(s),
        &|s| after.transaction_metadata(s),
        found,
        &later,
    )?;
    section_but(
        Section::AccountMetadata,
        &|s| before.account_metadata(s),
        &|s| after.account_metadata(s),
        found,
        &later,
    )?;
    Ok(std::mem::take(found))
}

type Open<'a, R> = dyn Fn(&mut Scope<'_, R>) -> Result<(), StorageError> + 'a;

fn section<R: Row>(
    section: Section,
    before: &Open<'_, R>,
    after: &Open<'_, R>,
    found: &mut Comparison,
) -> Result<(), StorageError> {
    section_but(section, before, after, found, &|_| false)
}

/// A section without the differences that are left out.
fn section_but<R: Row>(
    section: Section,
    before: &Open<'_, R>,
    after: &Open<'_, R>,
    found: &mut Comparison,
    left_out: &dyn Fn(&R) -> bool,
) -> Result<(), StorageError> {
    before(&mut |before| {
        after(&mut |after| {
            merge(before, after, &mut |old, new| {
                let Some(either) = old.or(new).filter(|row| !left_out(row)) else { return };
                found.note(Difference {
                    section,
                    row: either.name(),
                    before: old.map(R::content),
                    after: new.map(R::content),
                    class: if new.is_none() { old.and_then(R::class) } else { None },
                });
            })
        })
    })
}

/// Walks two sorted streams together; `differs` gets what stands on one side only, and pairs whose content differs.
pub(super) fn merge<R: Row>(
    before: &mut dyn RowStream<R>,
    after: &mut dyn RowStream<R>,
    differs: &mut dyn FnMut(Option<&R>, Option<&R>),
) -> Result<(), StorageError> {
    before.advance()?;
    after.advance()?;
    loop {
        let order = match (before.current(), after.current()) {
            (None, None) => return Ok(()),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(old), Some(new)) => old.order(new),
        };
        match order {
            Ordering::Less => {
                differs(before.current(), None);
                before.advance()?;
            }
            Ordering::Greater => {
                differs(None, after.current());
                after.advance()?;
            }
            Ordering::Equal => {
                if let (Some(old), Some(new)) = (before.current(), after.current())
                    && !old.same(new)
                {
                    differs(Some(old), Some(new));
                }
                before.advance()?;
                after.advance()?;
            }
        }
    }
}
