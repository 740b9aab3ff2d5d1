//! Server-side cursors as row streams, and the server's texts as our values.

use super::client::Client;
use super::ident::{Ident, Part, Sql};
use crate::StorageError;
use crate::digest::json::Json;
use crate::digest::rows::{Amount, Instant, RowStream, Scope};
use sqlx::postgres::PgRow;
use sqlx::{Row as _, ValueRef as _};

const DOING: &str = "read the rows of";

/// How many bytes of one cursor's rows are held at once, as far as rows are alike.
const BATCH_BYTES: usize = 512 * 1024;
/// A batch's least and most rows: one row may be a document of megabytes, and a thousand small ones cost one round trip.
const BATCH_ROWS: std::ops::RangeInclusive<u64> = 8..=4096;
/// The first batch, when nothing is known of the rows.
const FIRST_ROWS: u64 = 256;

/// One row, every value a text or NULL.
pub(super) struct Fields<'r> {
    row: &'r PgRow,
    client: &'r Client,
}

impl Fields<'_> {
    /// NULL is none.
    pub(super) fn text(&self, column: usize) -> Result<Option<&str>, StorageError> {
        let strange = |what: String| super::error::strange(DOING, self.client.place(), what);
        let value = self.row.try_get_raw(column).map_err(|error| strange(error.to_string()))?;
        if value.is_null() {
            return Ok(None);
        }
        value.as_str().map(Some).map_err(|error| strange(error.to_string()))
    }

    /// A text; NULL reads as empty.
    pub(super) fn plain(&self, column: usize) -> Result<String, StorageError> {
        Ok(self.text(column)?.unwrap_or_default().to_owned())
    }

    /// An id. NULL where a number must stand sorts elsewhere than it compares, so it ends the reading.
    pub(super) fn id(&self, column: usize) -> Result<i64, StorageError> {
        let text = self.text(column)?;
        text.and_then(|text| text.parse().ok()).ok_or_else(|| StorageError::Postgres {
            doing: DOING,
            what: self.client.place().what.clone(),
            message: format!("{} stands where a transaction's number must", text.unwrap_or("NULL")),
            remedy: "look at the ledger's tables: what writes such a row is no ledger; mend it before an upgrade",
            transient: false,
        })
    }

    /// An amount.
    pub(super) fn amount(&self, column: usize) -> Result<Amount, StorageError> {
        let Some(text) = self.text(column)? else { return Ok(Amount::Other("null".to_owned())) };
        let whole = text.parse().ok().or_else(|| Json::parse(text).and_then(|json| json.whole()));
        Ok(whole.map_or_else(|| Amount::Other(text.to_owned()), Amount::Whole))
    }

    /// A time.
    pub(super) fn instant(&self, column: usize) -> Result<Instant, StorageError> {
        Ok(self.text(column)?.map_or(Instant::None, Instant::parse))
    }

    /// A reference: empty is none.
    pub(super) fn reference(&self, column: usize) -> Result<Option<String>, StorageError> {
        Ok(self.text(column)?.filter(|reference| !reference.is_empty()).map(str::to_owned))
    }
}

/// Turns one row of the server into any number of ours.
pub(super) trait Expand<R>: FnMut(&Fields<'_>, &mut Vec<R>) -> Result<(), StorageError> {}
impl<R, F: FnMut(&Fields<'_>, &mut Vec<R>) -> Result<(), StorageError>> Expand<R> for F {}

/// A cursor of one transaction. Several may be open at once; batches are asked for as they are needed.
struct Cursor<'c, R, F> {
    client: &'c Client,
    name: &'c Ident,
    batch: std::vec::IntoIter<PgRow>,
    ask: u64,
    ended: bool,
    expand: F,
    /// The rows of one row of the server, last first.
    waiting: Vec<R>,
    current: Option<R>,
}

impl<R, F: Expand<R>> Cursor<'_, R, F> {
    fn pull(&mut self) -> Result<Option<PgRow>, StorageError> {
        if let Some(row) = self.batch.next() {
            return Ok(Some(row));
        }
        if self.ended {
            return Ok(None);
        }
        let fetch = Sql::with("FETCH FORWARD {0} FROM {1}", &[Part::Number(self.ask), self.name.into()]);
        let rows = self.client.texts(DOING, &fetch)?;
        let count = u64::try_from(rows.len()).unwrap_or(u64::MAX);
        self.ended = count < self.ask;
        let bytes: usize = rows.iter().map(size).sum();
        let fitting = u64::try_from(BATCH_BYTES * rows.len() / bytes.max(1)).unwrap_or(u64::MAX);
        self.ask = fitting.clamp(*BATCH_ROWS.start(), *BATCH_ROWS.end());
        self.batch = rows.into_iter();
        Ok(self.batch.next())
    }
}

/// What a row takes here, about.
fn size(row: &PgRow) -> usize {
    let values = (0..row.len()).filter_map(|column| row.try_get_raw(column).ok());
    64 + values.map(|value| value.as_bytes().map_or(0, <[u8]>::len) + 24).sum::<usize>()
}

impl<R, F: Expand<R>> RowStream<R> for Cursor<'_, R, F> {
    fn advance(&mut self) -> Result<(), StorageError> {
        while self.waiting.is_empty() {
            let Some(row) = self.pull()? else {
                self.current = None;
                return Ok(());
            };
            (self.expand)(&Fields { row: &row, client: self.client }, &mut self.waiting)?;
            self.waiting.reverse();
        }
        self.current = self.waiting.pop();
        Ok(())
    }
    fn current(&self) -> Option<&R> {
        self.current.as_ref()
    }
}

/// Opens a cursor for a query and hands the rows that its rows expand to, to `scope`. The connection must be in a transaction.
pub(super) fn stream<R>(
    client: &Client,
    name: &Ident,
    query: &Sql,
    expand: impl Expand<R>,
    scope: &mut Scope<'_, R>,
) -> Result<(), StorageError> {
    let declare = Sql::with("DECLARE {0} NO SCROLL CURSOR FOR {1}", &[name.into(), query.into()]);
    client.run(DOING, &declare)?;
    let mut cursor = Cursor {
        client,
        name,
        batch: Vec::new().into_iter(),
        ask: FIRST_ROWS,
        ended: false,
        expand,
        waiting: Vec::new(),
        current: None,
    };
    // After an error the transaction is over, and the cursor with it.
    scope(&mut cursor)?;
    client.run(DOING, &Sql::with("CLOSE {0}", &[name.into()]))
}
