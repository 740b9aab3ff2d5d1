//! SQLite's cursors as row streams, and its values as ours. SQLite stores any type in any column, so each value is looked at.

use crate::StorageError;
use crate::digest::json::Json;
use crate::digest::rows::{Amount, BalanceRow, Instant, RowStream, Scope};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row, Rows};
use std::path::Path;

/// A column as text; `None` for NULL.
pub(super) fn text(row: &Row<'_>, column: usize) -> Result<Option<String>, rusqlite::Error> {
    Ok(match row.get_ref(column)? {
        ValueRef::Null => None,
        ValueRef::Integer(number) => Some(number.to_string()),
        ValueRef::Real(number) => Some(number.to_string()),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
    })
}

/// A column that must be a text: NULL reads as empty.
pub(super) fn plain(row: &Row<'_>, column: usize) -> Result<String, rusqlite::Error> {
    Ok(text(row, column)?.unwrap_or_default())
}

/// An id. A text or NULL where a number must stand sorts elsewhere than it compares, so it ends the reading.
pub(super) fn id(row: &Row<'_>, column: usize) -> Result<i64, rusqlite::Error> {
    row.get(column)
}

/// A column as an amount.
pub(super) fn amount(row: &Row<'_>, column: usize) -> Result<Amount, rusqlite::Error> {
    Ok(match row.get_ref(column)? {
        ValueRef::Integer(number) => Amount::Whole(i128::from(number)),
        ValueRef::Null => Amount::Other("null".to_owned()),
        ValueRef::Real(number) => Amount::Other(number.to_string()),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
            let spelt = String::from_utf8_lossy(bytes);
            Json::parse(&spelt)
                .and_then(|json| json.whole())
                .map_or_else(|| Amount::Other(spelt.into_owned()), Amount::Whole)
        }
    })
}

/// A column as a time.
pub(super) fn instant(row: &Row<'_>, column: usize) -> Result<Instant, rusqlite::Error> {
    Ok(text(row, column)?.map_or(Instant::None, |text| Instant::parse(&text)))
}

/// A reference: empty is none.
pub(super) fn reference(row: &Row<'_>, column: usize) -> Result<Option<String>, rusqlite::Error> {
    Ok(text(row, column)?.filter(|reference| !reference.is_empty()))
}

/// A stream whose rows are SQLite's rows, one by one.
struct Mapped<'a, 's, R> {
    rows: Rows<'s>,
    map: fn(&Row<'_>) -> Result<R, rusqlite::Error>,
    current: Option<R>,
    path: &'a Path,
}

impl<R> RowStream<R> for Mapped<'_, '_, R> {
    fn advance(&mut self) -> Result<(), StorageError> {
        let failed = StorageError::sqlite("read", self.path);
        let next = self.rows.next().and_then(|row| row.map(|row| (self.map)(row)).transpose());
        self.current = next.map_err(failed)?;
        Ok(())
    }
    fn current(&self) -> Option<&R> {
        self.current.as_ref()
    }
}

/// Runs a query and hands its rows to `scope`.
pub(super) fn stream<R>(
    connection: &Connection,
    path: &Path,
    sql: &str,
    map: fn(&Row<'_>) -> Result<R, rusqlite::Error>,
    scope: &mut Scope<'_, R>,
) -> Result<(), StorageError> {
    let mut statement = connection.prepare(sql).map_err(StorageError::sqlite("query", path))?;
    let rows = statement.query([]).map_err(StorageError::sqlite("query", path))?;
    scope(&mut Mapped { rows, map, current: None, path })
}

/// A stream in which one row of the query gives any number of rows (a JSON document that is taken apart).
struct Expanded<'a, 's, R> {
    rows: Rows<'s>,
    expand: fn(&Row<'_>, &mut Vec<R>) -> Result<(), rusqlite::Error>,
    /// The rows of one document, last first.
    waiting: Vec<R>,
    current: Option<R>,
    path: &'a Path,
}

impl<R> RowStream<R> for Expanded<'_, '_, R> {
    fn advance(&mut self) -> Result<(), StorageError> {
        while self.waiting.is_empty() {
            match self.rows.next().map_err(StorageError::sqlite("read", self.path))? {
                None => {
                    self.current = None;
                    return Ok(());
                }
                Some(row) => {
                    (self.expand)(row, &mut self.waiting).map_err(StorageError::sqlite("read", self.path))?;
                    self.waiting.reverse();
                }
            }
        }
        self.current = self.waiting.pop();
        Ok(())
    }
    fn current(&self) -> Option<&R> {
        self.current.as_ref()
    }
}

/// Runs a query and hands the rows that its rows expand to, to `scope`.
pub(super) fn expanded<R>(
    connection: &Connection,
    path: &Path,
    sql: &str,
    expand: fn(&Row<'_>, &mut Vec<R>) -> Result<(), rusqlite::Error>,
    scope: &mut Scope<'_, R>,
) -> Result<(), StorageError> {
    let mut statement = connection.prepare(sql).map_err(StorageError::sqlite("query", path))?;
    let rows = statement.query([]).map_err(StorageError::sqlite("query", path))?;
    scope(&mut Expanded { rows, expand, waiting: Vec::new(), current: None, path })
}

/// Adds up rows of (account, asset, input, output) that come sorted. SQLite's own `sum()` overflows at 64 bits.
struct Summed<'a, 's> {
    rows: Rows<'s>,
    ahead: Option<BalanceRow>,
    current: Option<BalanceRow>,
    begun: bool,
    path: &'a Path,
}

impl Summed<'_, '_> {
    fn pull(&mut self) -> Result<(), StorageError> {
        let failed = StorageError::sqlite("read", self.path);
        let next = self.rows.next().and_then(|row| {
            row.map(|row| {
                let moved = amount(row, 3)?;
                let incoming = row.get::<_, i64>(2)? == 1;
                let (input, output) = if incoming { (moved, Amount::Whole(0)) } else { (Amount::Whole(0), moved) };
                Ok(BalanceRow { account: plain(row, 0)?, asset: plain(row, 1)?, input, output })
            })
            .transpose()
        });
        self.ahead = next.map_err(failed)?;
        Ok(())
    }
}

impl RowStream<BalanceRow> for Summed<'_, '_> {
    fn advance(&mut self) -> Result<(), StorageError> {
        if !self.begun {
            self.begun = true;
            self.pull()?;
        }
        self.current = self.ahead.take();
        let Some(mut sum) = self.current.take() else { return Ok(()) };
        self.pull()?;
        while let Some(more) = self.ahead.take_if(|more| more.account == sum.account && more.asset == sum.asset) {
            add(&mut sum.input, more.input, &more.account, &more.asset)?;
            add(&mut sum.output, more.output, &more.account, &more.asset)?;
            self.pull()?;
        }
        self.current = Some(sum);
        Ok(())
    }
    fn current(&self) -> Option<&BalanceRow> {
        self.current.as_ref()
    }
}

fn add(sum: &mut Amount, more: Amount, account: &str, asset: &str) -> Result<(), StorageError> {
    *sum = match (&*sum, more) {
        (Amount::Whole(a), Amount::Whole(b)) => Amount::Whole(
            a.checked_add(b)
                .ok_or_else(|| StorageError::AmountTooLarge { account: account.to_owned(), asset: asset.to_owned() })?,
        ),
        // One unreadable amount makes the sum unreadable; which one comes first in the sort must not matter.
        (Amount::Other(_), _) | (_, Amount::Other(_)) => Amount::Other("unreadable".to_owned()),
    };
    Ok(())
}

/// Runs a query of (account, asset, 1 for incoming or 0 for outgoing, amount), sorted, and hands the sums to `scope`.
pub(super) fn summed(
    connection: &Connection,
    path: &Path,
    sql: &str,
    scope: &mut Scope<'_, BalanceRow>,
) -> Result<(), StorageError> {
    let mut statement = connection.prepare(sql).map_err(StorageError::sqlite("query", path))?;
    let rows = statement.query([]).map_err(StorageError::sqlite("query", path))?;
    scope(&mut Summed { rows, ahead: None, current: None, begun: false, path })
}
