//! Number 9: volumes before and after the transactions that are there, counted from the first one on.

use super::error::PgError;
use super::schema::Schema;
use super::session::{Session, sql};
use crate::model::Posting;
use crate::storage::books::{self, Counting};
use crate::storage::{Cancel, StoreError, Stored};
use sqlx::Row;

/// Rows a statement.
const CHUNK: i64 = 1000;

/// Fills both columns, some rows at a time.
pub(super) fn commit_volumes(session: &mut Session, schema: &Schema, cancel: &Cancel) -> Stored<()> {
    let mut counting = Counting::default();
    let mut last = -1_i64;
    loop {
        if cancel.asked() {
            return Err(StoreError::Cancelled);
        }
        let query = sql(schema.fill(
            "SELECT id, coalesce(postings, '[]')::text FROM LEDGER.transactions WHERE id > $1 ORDER BY id LIMIT $2",
        ));
        let rows = session.rows(query.bind(last).bind(CHUNK))?;
        let (mut ids, mut pre, mut post) = (Vec::new(), Vec::new(), Vec::new());
        for row in rows {
            let read = || -> Result<(i64, String), PgError> { Ok((row.try_get(0)?, row.try_get(1)?)) };
            let (id, postings) = read()?;
            let postings: Vec<Posting> = serde_json::from_str(&postings)?;
            let volumes = books::filled(&mut counting, &postings)?;
            ids.push(id);
            pre.push(volumes.pre.to_string());
            post.push(volumes.post.to_string());
        }
        let Some(end) = ids.last().copied() else { return Ok(()) };
        last = end;
        let update = sql(schema.fill(
            "UPDATE LEDGER.transactions SET pre_commit_volumes = pre::jsonb, post_commit_volumes = post::jsonb
             FROM unnest($1::bigint[], $2::text[], $3::text[]) filled (txid, pre, post) WHERE id = txid",
        ));
        session.run(update.bind(ids).bind(pre).bind(post))?;
    }
}
