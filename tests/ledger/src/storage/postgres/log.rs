//! The layout of 1.3.2 to 1.7.8: every write is a row of `log`, and triggers fill transactions, accounts and volumes.

use super::error::PgError;
use super::rows::three;
use super::schema::Schema;
use super::session::{Query, Session, Sessions, sql};
use crate::clock;
use crate::go::{self, Numbers};
use crate::model::{Account, Draft, Metadata, Page, Target, Transaction, Volume, metadata_of, value_of};
use crate::storage::{LedgerStore, StoreError, Stored};
use serde_json::{Value, json};
use sqlx::Row;
use sqlx::postgres::PgRow;
use std::collections::BTreeMap;

/// The store over a schema; each call takes a session for its time.
pub(super) struct Log {
    pub(super) sessions: Sessions,
    pub(super) schema: Schema,
}

const COLUMNS: &str = "SELECT id, timestamp, reference, postings::text, metadata::text FROM LEDGER.transactions";

impl LedgerStore for Log {
    /// The last ids are read before the balances: whoever writes in between takes the next id first, and this ends as a conflict,
    /// not as an overdraft.
    fn commit(&mut self, drafts: &[Draft]) -> Stored<Vec<Transaction>> {
        self.sessions.take()?.transaction(|session| {
            let row = session.row(self.query("SELECT coalesce(max(id) + 1, 0) FROM LEDGER.transactions"))?;
            let first: i64 = row.map_or(Ok(0), |row| row.try_get(0)).map_err(PgError::from)?;
            let mut end = self.end(session)?;
            let timestamp = clock::seconds(clock::now());
            let mut written = Vec::new();
            for (txid, (index, draft)) in (first..).zip(drafts.iter().enumerate()) {
                self.funded(session, index, draft)?;
                let data = json!({
                    "metadata": value_of(draft.metadata.as_ref().unwrap_or(&Metadata::new())).map_err(unreadable)?,
                    "postings": draft.postings,
                    "reference": draft.reference,
                    "timestamp": timestamp,
                    "txid": txid,
                });
                end = self
                    .append(session, &end, "NEW_TRANSACTION", &data)
                    .map_err(|error| error.or_conflict(index, &draft.reference))?;
                written.push(Transaction {
                    postings: Some(draft.postings.clone()),
                    reference: draft.reference.clone(),
                    metadata: draft.metadata.clone(),
                    txid,
                    timestamp: timestamp.clone(),
                    hash: None,
                });
            }
            Ok(written)
        })
    }

    fn transactions(&self, after: Option<i64>, limit: u32) -> Stored<Page<Transaction>> {
        let session = &mut self.sessions.take()?;
        let query = self.query(&format!("{COLUMNS} WHERE id < $1 ORDER BY id DESC LIMIT $2"));
        let rows = session.rows(query.bind(after.unwrap_or(i64::MAX)).bind(i64::from(limit) + 1))?;
        let has_more = rows.len() > limit as usize;
        let items = rows.iter().take(limit as usize).map(whole).collect::<Stored<_>>()?;
        Ok(Page { items, has_more, total: self.count(session, "transactions")? })
    }

    fn transaction(&self, id: i64) -> Stored<Option<Transaction>> {
        let query = self.query(&format!("{COLUMNS} WHERE id = $1")).bind(id);
        self.sessions.take()?.row(query)?.as_ref().map(whole).transpose()
    }

    fn accounts(&self, after: Option<&str>, limit: u32) -> Stored<Page<Account>> {
        let session = &mut self.sessions.take()?;
        let query = self.query(
            "SELECT address, metadata::text FROM LEDGER.accounts WHERE ($1 IS NULL OR address < $1)
             ORDER BY address DESC LIMIT $2",
        );
        let rows = session.rows(query.bind(after.map(str::to_owned)).bind(i64::from(limit) + 1))?;
        let has_more = rows.len() > limit as usize;
        let mut items = Vec::new();
        for row in rows.iter().take(limit as usize) {
            let address: String = row.try_get(0).map_err(PgError::from)?;
            items.push(Account { metadata: metadata(row, 1)?, address, volumes: BTreeMap::new() });
        }
        Ok(Page { items, has_more, total: self.count(session, "accounts")? })
    }

    fn account(&self, address: &str) -> Stored<Option<Account>> {
        let session = &mut self.sessions.take()?;
        let query = self.query("SELECT metadata::text FROM LEDGER.accounts WHERE address = $1");
        let Some(row) = session.row(query.bind(address.to_owned()))? else { return Ok(None) };
        let query = self.query("SELECT asset, input, output FROM LEDGER.volumes WHERE account = $1");
        let mut volumes = BTreeMap::new();
        for row in session.rows(query.bind(address.to_owned()))? {
            let (asset, input, output) = three(&row)?;
            volumes.insert(asset, Volume { input, output });
        }
        Ok(Some(Account { address: address.to_owned(), volumes, metadata: metadata(&row, 0)? }))
    }

    fn stats(&self) -> Stored<(u64, u64)> {
        let session = &mut self.sessions.take()?;
        Ok((self.count(session, "transactions")?, self.count(session, "accounts")?))
    }

    fn set_metadata(&mut self, target: &Target, metadata: &Metadata) -> Stored<()> {
        let (id, kind) = match target {
            Target::Transaction(id) => (Value::from(*id), "TRANSACTION"),
            Target::Account(address) => (Value::from(address.as_str()), "ACCOUNT"),
        };
        let metadata = value_of(metadata).map_err(unreadable)?;
        let data = json!({ "metadata": metadata, "targetId": id, "targetType": kind });
        let written: Stored<()> = self.sessions.take()?.transaction(|session| {
            let end = self.end(session)?;
            self.append(session, &end, "SET_METADATA", &data).map(drop)
        });
        written.map_err(|error| error.or_conflict(0, ""))
    }
}

/// The last row of the log, as the next one's hash needs it.
struct End {
    next: i64,
    previous: String,
}

impl Log {
    fn query(&self, template: &str) -> Query {
        sql(self.schema.fill(template))
    }

    fn count(&self, session: &mut Session, table: &str) -> Stored<u64> {
        Ok(session.count(format!("SELECT count(*) FROM {}.{table}", self.schema))?)
    }

    fn funded(&self, session: &mut Session, index: usize, draft: &Draft) -> Stored<()> {
        for ((account, asset), needed) in draft.needs() {
            let query = self.query("SELECT input - output FROM LEDGER.volumes WHERE account = $1 AND asset = $2");
            let row = session.row(query.bind(account).bind(asset.clone()))?;
            let balance: i64 = row.map_or(Ok(0), |row| row.try_get(0)).map_err(PgError::from)?;
            if balance < needed {
                return Err(StoreError::InsufficientFund { index, asset });
            }
        }
        Ok(())
    }

    fn end(&self, session: &mut Session) -> Stored<End> {
        let query = self.query(
            r#"SELECT id, type, hash, to_char(date AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US'), data::text
               FROM LEDGER.log ORDER BY id DESC LIMIT 1"#,
        );
        let Some(row) = session.row(query)? else { return Ok(End { next: 0, previous: "null".to_owned() }) };
        let read = || -> Result<(i64, [String; 4]), PgError> {
            Ok((row.try_get(0)?, [row.try_get(1)?, row.try_get(2)?, row.try_get(3)?, row.try_get(4)?]))
        };
        let (id, [kind, hash, date, data]) = read()?;
        let data: Value = serde_json::from_str(&data).map_err(unreadable)?;
        let date = format!("{}Z", date.trim_end_matches('0').trim_end_matches('.'));
        let previous = go::log_entry(id, &kind, &date, &hash, &go::json(&data, Numbers::Exact));
        Ok(End { next: id + 1, previous })
    }

    fn append(&self, session: &mut Session, end: &End, kind: &'static str, data: &Value) -> Stored<End> {
        let data = go::json(data, Numbers::Exact);
        let date = clock::microseconds(clock::now());
        let hash = go::chain(&end.previous, &go::log_entry(end.next, kind, &date, "", &data));
        let previous = go::log_entry(end.next, kind, &date, &hash, &data);
        let insert = self.query(
            "INSERT INTO LEDGER.log (id, type, hash, date, data) VALUES ($1, $2, $3, $4::text::timestamptz, $5::text::jsonb)",
        );
        session.run(insert.bind(end.next).bind(kind).bind(hash).bind(date).bind(data))?;
        Ok(End { next: end.next + 1, previous })
    }
}

fn unreadable(error: serde_json::Error) -> StoreError {
    StoreError::Unreadable(error.to_string())
}

fn metadata(row: &PgRow, column: usize) -> Stored<Metadata> {
    metadata_of(row.try_get(column).map_err(PgError::from)?).map_err(unreadable)
}

fn whole(row: &PgRow) -> Stored<Transaction> {
    let read = || -> Result<(i64, String, Option<String>, Option<String>), PgError> {
        Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?))
    };
    let (txid, timestamp, reference, postings) = read()?;
    let postings = postings.map(|text| serde_json::from_str(&text)).transpose().map_err(unreadable)?;
    let metadata = Some(metadata(row, 4)?);
    Ok(Transaction { postings, reference: reference.unwrap_or_default(), metadata, txid, timestamp, hash: None })
}
