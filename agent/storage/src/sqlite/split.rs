//! The layout of 1.0 to 1.3.1 as row streams, and which of its metadata the ledger's own migration will lose.

use super::rows::{amount, id, instant, plain, reference, stream, summed, text};
use crate::StorageError;
use crate::digest::rows::{
    BalanceRow, LoggedTransaction, MetadataRow, PostingRow, RowStream, Scope, Target, TransactionRow, Value,
};
use cutover_vocabulary::storage::LossClass;
use rusqlite::{Connection, Rows};
use std::path::Path;

const TRANSACTIONS: &str = "SELECT id, timestamp, reference FROM transactions ORDER BY id";

/// The place of a posting is not its `id`: see [`PostingRow`].
const POSTINGS: &str = "SELECT txid, \
    row_number() OVER (PARTITION BY txid ORDER BY source, destination, asset, amount) - 1, \
    source, destination, asset, amount FROM postings ORDER BY txid, 2";

/// The unary plus keeps SQLite from walking an index and jumping about in the table for every row: a sort is faster.
const MOVES: &str = "SELECT +source, +asset, 0, amount FROM postings \
    UNION ALL SELECT +destination, +asset, 1, amount FROM postings ORDER BY 1, 2";

/// A target id that is not the plain spelling of a number would compare equal to 0 in the second query; the third has it.
const PLAIN_NUMBER: &str = "CAST(CAST(meta_target_id AS INTEGER) AS TEXT) = CAST(meta_target_id AS TEXT)";

pub(super) fn transactions(
    connection: &Connection,
    path: &Path,
    scope: &mut Scope<'_, TransactionRow>,
) -> Result<(), StorageError> {
    stream(
        connection,
        path,
        TRANSACTIONS,
        |row| Ok(TransactionRow { id: id(row, 0)?, instant: instant(row, 1)?, reference: reference(row, 2)? }),
        scope,
    )
}

pub(super) fn postings(
    connection: &Connection,
    path: &Path,
    scope: &mut Scope<'_, PostingRow>,
) -> Result<(), StorageError> {
    stream(
        connection,
        path,
        POSTINGS,
        |row| {
            Ok(PostingRow {
                txid: id(row, 0)?,
                index: id(row, 1)?,
                source: plain(row, 2)?,
                destination: plain(row, 3)?,
                asset: plain(row, 4)?,
                amount: amount(row, 5)?,
            })
        },
        scope,
    )
}

pub(super) fn balances(
    connection: &Connection,
    path: &Path,
    scope: &mut Scope<'_, BalanceRow>,
) -> Result<(), StorageError> {
    summed(connection, path, MOVES, scope)
}

/// The transactions alone: the old layout has no log to compare them with.
pub(super) fn entered(
    connection: &Connection,
    path: &Path,
    scope: &mut Scope<'_, LoggedTransaction>,
) -> Result<(), StorageError> {
    stream(
        connection,
        path,
        TRANSACTIONS,
        |row| {
            let transaction =
                TransactionRow { id: id(row, 0)?, instant: instant(row, 1)?, reference: reference(row, 2)? };
            Ok(LoggedTransaction { transaction, postings: Some(Vec::new()) })
        },
        scope,
    )
}

pub(super) fn account_metadata(
    connection: &Connection,
    path: &Path,
    scope: &mut Scope<'_, MetadataRow>,
) -> Result<(), StorageError> {
    let failed = || StorageError::sqlite("query", path);
    let mut metadata = connection
        .prepare(
            "SELECT meta_target_id, meta_key, meta_id, meta_value FROM metadata \
             WHERE meta_target_type = 'account' ORDER BY +meta_target_id, meta_key, meta_id",
        )
        .map_err(failed())?;
    // Covering scans of the indexes posting_source and posting_destination, or sorts where somebody dropped them.
    let mut sources = connection.prepare("SELECT DISTINCT source FROM postings ORDER BY source").map_err(failed())?;
    let mut destinations =
        connection.prepare("SELECT DISTINCT destination FROM postings ORDER BY destination").map_err(failed())?;
    let mut stream = Latest::new(metadata.query([]).map_err(failed())?, path, |text| Target::Account(text.to_owned()));
    stream.used = Some([
        Names { rows: sources.query([]).map_err(failed())?, current: None, begun: false },
        Names { rows: destinations.query([]).map_err(failed())?, current: None, begun: false },
    ]);
    scope(&mut stream)
}

pub(super) fn transaction_metadata(
    connection: &Connection,
    path: &Path,
    scope: &mut Scope<'_, MetadataRow>,
) -> Result<(), StorageError> {
    let failed = || StorageError::sqlite("query", path);
    let mut numbered = connection
        .prepare(&format!(
            "SELECT meta_target_id, meta_key, meta_id, meta_value FROM metadata \
             WHERE meta_target_type = 'transaction' AND {PLAIN_NUMBER} \
             ORDER BY CAST(meta_target_id AS INTEGER), meta_key, meta_id"
        ))
        .map_err(failed())?;
    let mut strange = connection
        .prepare(&format!(
            "SELECT CASE WHEN meta_target_type = 'transaction' THEN meta_target_id \
                    ELSE coalesce(meta_target_type, '') || ':' || coalesce(meta_target_id, '') END AS target, \
                    meta_key, meta_id, meta_value FROM metadata \
             WHERE meta_target_type IS NULL OR meta_target_type NOT IN ('account', 'transaction') \
                OR (meta_target_type = 'transaction' AND ({PLAIN_NUMBER}) IS NOT TRUE) \
             ORDER BY 1, meta_key, meta_id"
        ))
        .map_err(failed())?;
    let mut first = Latest::new(numbered.query([]).map_err(failed())?, path, |text| {
        text.parse().map_or_else(|_| Target::Other(text.to_owned()), Target::Transaction)
    });
    let mut then = Latest::new(strange.query([]).map_err(failed())?, path, |text| Target::Other(text.to_owned()));
    scope(&mut Chained { first: &mut first, then: &mut then, in_first: true })
}

/// Sorted account names with a place in them.
struct Names<'s> {
    rows: Rows<'s>,
    current: Option<String>,
    begun: bool,
}

impl Names<'_> {
    /// Whether `wanted` is among them; asked in ascending order.
    fn has(&mut self, wanted: &str) -> Result<bool, rusqlite::Error> {
        while !self.begun || self.current.as_deref().is_some_and(|name| name < wanted) {
            self.begun = true;
            self.current = match self.rows.next()? {
                None => None,
                Some(row) => Some(plain(row, 0)?),
            };
        }
        Ok(self.current.as_deref() == Some(wanted))
    }
}

/// Of metadata entries sorted by target, key and `meta_id`, the last of each key: a later one overrides an earlier one.
struct Latest<'a, 's> {
    rows: Rows<'s>,
    target: fn(&str) -> Target,
    /// The accounts that appear in postings; only where the targets are accounts.
    used: Option<[Names<'s>; 2]>,
    ahead: Option<Entry>,
    begun: bool,
    current: Option<MetadataRow>,
    path: &'a Path,
}

struct Entry {
    target: String,
    key: String,
    meta_id: Option<i64>,
    value: Option<String>,
}

impl<'a, 's> Latest<'a, 's> {
    fn new(rows: Rows<'s>, path: &'a Path, target: fn(&str) -> Target) -> Self {
        Self { rows, target, used: None, ahead: None, begun: false, current: None, path }
    }

    fn pull(&mut self) -> Result<Option<Entry>, rusqlite::Error> {
        let Some(row) = self.rows.next()? else { return Ok(None) };
        Ok(Some(Entry { target: plain(row, 0)?, key: plain(row, 1)?, meta_id: row.get(2)?, value: text(row, 3)? }))
    }

    fn next(&mut self) -> Result<Option<MetadataRow>, rusqlite::Error> {
        if !self.begun {
            self.begun = true;
            self.ahead = self.pull()?;
        }
        let Some(mut last) = self.ahead.take() else { return Ok(None) };
        loop {
            match self.pull()? {
                Some(entry) if entry.target == last.target && entry.key == last.key => last = entry,
                other => {
                    self.ahead = other;
                    break;
                }
            }
        }
        let lost = self.fate(&last)?;
        Ok(Some(MetadataRow {
            target: (self.target)(&last.target),
            key: last.key,
            value: last.value.map_or_else(|| Value::Other("null".to_owned()), |value| Value::parse(&value)),
            lost,
        }))
    }

    /// The known losses, measured with the real binaries: the migration fills metadata of accounts from those that the
    /// postings created, and on SQLite skips the entry with `meta_id` 0. An entry that a later one overrides is no loss.
    fn fate(&mut self, entry: &Entry) -> Result<Option<LossClass>, rusqlite::Error> {
        if let Some([sources, destinations]) = &mut self.used {
            let in_sources = sources.has(&entry.target)?;
            let in_destinations = destinations.has(&entry.target)?;
            if !in_sources && !in_destinations {
                return Ok(Some(LossClass::AccountMetadataWithoutPosting));
            }
        }
        Ok((entry.meta_id == Some(0)).then_some(LossClass::SqliteFirstMetadata))
    }
}

impl RowStream<MetadataRow> for Latest<'_, '_> {
    fn advance(&mut self) -> Result<(), StorageError> {
        self.current = self.next().map_err(StorageError::sqlite("read", self.path))?;
        Ok(())
    }
    fn current(&self) -> Option<&MetadataRow> {
        self.current.as_ref()
    }
}

/// One stream behind another.
struct Chained<'c, R> {
    first: &'c mut dyn RowStream<R>,
    then: &'c mut dyn RowStream<R>,
    in_first: bool,
}

impl<R> RowStream<R> for Chained<'_, R> {
    fn advance(&mut self) -> Result<(), StorageError> {
        if self.in_first {
            self.first.advance()?;
            if self.first.current().is_some() {
                return Ok(());
            }
            self.in_first = false;
        }
        self.then.advance()
    }
    fn current(&self) -> Option<&R> {
        if self.in_first { self.first.current() } else { self.then.current() }
    }
}
