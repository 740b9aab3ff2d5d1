//! One pass over a ledger: its digest, what a migration will lose, and what it must hold afterwards.

use super::canonical::{Canonical, SectionHasher, VERSION};
use super::rows::{MetadataRow, RowSource, RowStream};
use crate::StorageError;
use cutover_vocabulary::Digest;
use cutover_vocabulary::storage::{LISTED_ROWS, LedgerDigest, LossClass, Losses, LostRow, MetadataTarget, Section};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;

/// What a ledger holds now and what it must hold after the ledger's own migration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// What it holds.
    pub digest: LedgerDigest,
    /// The same without the rows in `losses`. Equal to `digest` where nothing will be lost, and in every new layout.
    pub expected: LedgerDigest,
    /// The rows that a migration from below 1.3.2 to 1.3.2 or later loses.
    pub losses: Losses,
}

/// Digest of a ledger, in memory that does not grow with it.
///
/// Changes nothing, so it can be run again at any time; killed half way it leaves nothing behind.
/// `lost` is called for every row that will be lost, also beyond the cap of the list; its error ends the reading.
///
/// # Errors
/// [`StorageError::Corrupt`] for a damaged file, [`StorageError::AmountTooLarge`] for sums beyond 127 bits.
pub fn read(
    source: &dyn RowSource,
    lost: &mut dyn FnMut(&LostRow) -> Result<(), StorageError>,
) -> Result<Reading, StorageError> {
    let mut sections = BTreeMap::new();

    let mut hasher = SectionHasher::new(Section::Transactions);
    source.transactions(&mut |rows| hash(rows, &mut hasher))?;
    sections.insert(Section::Transactions, hasher.finish());

    let mut hasher = SectionHasher::new(Section::Postings);
    source.postings(&mut |rows| hash(rows, &mut hasher))?;
    sections.insert(Section::Postings, hasher.finish());

    let mut hasher = SectionHasher::new(Section::Balances);
    source.balances(&mut |rows| hash(rows, &mut hasher))?;
    sections.insert(Section::Balances, hasher.finish());

    let mut expected = sections.clone();
    let mut list = LossList::default();

    let mut pair = Pair::new(Section::TransactionMetadata);
    source.transaction_metadata(&mut |rows| pair.hash(rows, &mut list, lost))?;
    pair.finish(Section::TransactionMetadata, &mut sections, &mut expected);

    let mut pair = Pair::new(Section::AccountMetadata);
    source.account_metadata(&mut |rows| pair.hash(rows, &mut list, lost))?;
    pair.finish(Section::AccountMetadata, &mut sections, &mut expected);

    Ok(Reading {
        digest: LedgerDigest { version: VERSION, sections },
        expected: LedgerDigest { version: VERSION, sections: expected },
        losses: list.finish(),
    })
}

/// [`read`] for those who need only the digest.
pub fn digest(source: &dyn RowSource) -> Result<LedgerDigest, StorageError> {
    Ok(read(source, &mut |_| Ok(()))?.digest)
}

fn hash<R: Canonical>(rows: &mut dyn RowStream<R>, hasher: &mut SectionHasher) -> Result<(), StorageError> {
    rows.advance()?;
    while let Some(row) = rows.current() {
        hasher.row(row);
        rows.advance()?;
    }
    Ok(())
}

/// A metadata section as it is, and as it will be.
struct Pair {
    now: SectionHasher,
    after: SectionHasher,
}

impl Pair {
    fn new(section: Section) -> Self {
        Self { now: SectionHasher::new(section), after: SectionHasher::new(section) }
    }

    fn hash(
        &mut self,
        rows: &mut dyn RowStream<MetadataRow>,
        list: &mut LossList,
        lost: &mut dyn FnMut(&LostRow) -> Result<(), StorageError>,
    ) -> Result<(), StorageError> {
        rows.advance()?;
        while let Some(row) = rows.current() {
            self.now.row(row);
            match row.lost {
                None => self.after.row(row),
                Some(class) => {
                    let gone = LostRow {
                        class,
                        target: MetadataTarget::from(&row.target),
                        key: row.key.clone(),
                        value: row.value.as_str().to_owned(),
                    };
                    lost(&gone)?;
                    list.add(class, row, gone);
                }
            }
            rows.advance()?;
        }
        Ok(())
    }

    fn finish(
        self,
        section: Section,
        now: &mut BTreeMap<Section, cutover_vocabulary::storage::SectionDigest>,
        after: &mut BTreeMap<Section, cutover_vocabulary::storage::SectionDigest>,
    ) {
        now.insert(section, self.now.finish());
        after.insert(section, self.after.finish());
    }
}

/// Counts and hashes every lost row; lists the first ones.
#[derive(Default)]
struct LossList {
    count: u64,
    hasher: Sha256,
    rows: Vec<LostRow>,
    by_class: BTreeMap<LossClass, u64>,
}

impl LossList {
    fn add(&mut self, class: LossClass, row: &MetadataRow, gone: LostRow) {
        let mut one = SectionHasher::new(match gone.target {
            MetadataTarget::Account(_) => Section::AccountMetadata,
            MetadataTarget::Transaction(_) => Section::TransactionMetadata,
        });
        one.row(row);
        self.hasher.update(class.code().as_bytes());
        self.hasher.update(b"\0");
        self.hasher.update(one.finish().sha256.as_bytes());
        self.count += 1;
        *self.by_class.entry(class).or_default() += 1;
        if self.rows.len() < LISTED_ROWS {
            self.rows.push(gone);
        }
    }

    fn finish(self) -> Losses {
        let sha256 = (self.count > 0).then(|| Digest::from_bytes(self.hasher.finalize().into()));
        Losses { count: self.count, sha256, rows: self.rows, by_class: self.by_class }
    }
}
