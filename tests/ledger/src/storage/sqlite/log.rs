//! The layout of 1.3.2 to 1.7.8: every write is a row of `log`, and triggers fill transactions, accounts and volumes.

use super::count;
use crate::clock;
use crate::go::{self, Numbers};
use crate::model::{Account, Draft, Metadata, Page, Target, Transaction, Volume, metadata_of, value_of};
use crate::storage::{LedgerStore, StoreError, Stored};
use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The store over an open file.
pub(super) struct Log(pub(super) Connection);

const COLUMNS: &str = "SELECT id, timestamp, reference, postings, metadata FROM transactions";

type Columns = (i64, String, Option<String>, Option<String>, Option<String>);

fn columns(row: &Row<'_>) -> rusqlite::Result<Columns> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?))
}

impl LedgerStore for Log {
    fn commit(&mut self, drafts: &[Draft]) -> Stored<Vec<Transaction>> {
        let connection = self.0.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let last: Option<i64> = connection.query_row("SELECT max(id) FROM transactions", [], |row| row.get(0))?;
        let first = last.map_or(0, |last| last + 1);
        let timestamp = clock::seconds(clock::now());
        let mut written = Vec::new();
        for (txid, (index, draft)) in (first..).zip(drafts.iter().enumerate()) {
            for ((account, asset), needed) in draft.needs() {
                let sql = "SELECT input - output FROM volumes WHERE account = ?1 AND asset = ?2";
                let mut statement = connection.prepare_cached(sql)?;
                let balance: Option<i64> = statement.query_row((&account, &asset), |row| row.get(0)).optional()?;
                if balance.unwrap_or(0) < needed {
                    return Err(StoreError::InsufficientFund { index, asset });
                }
            }
            let transaction = Transaction {
                postings: Some(draft.postings.clone()),
                reference: draft.reference.clone(),
                metadata: draft.metadata.clone(),
                txid,
                timestamp: timestamp.clone(),
                hash: None,
            };
            let metadata = value_of(draft.metadata.as_ref().unwrap_or(&Metadata::new())).map_err(unreadable)?;
            let data = json!({
                "metadata": metadata,
                "postings": draft.postings,
                "reference": draft.reference,
                "timestamp": timestamp,
                "txid": txid,
            });
            append(&connection, "NEW_TRANSACTION", &data)
                .map_err(|error| error.or_conflict(index, &draft.reference))?;
            written.push(transaction);
        }
        connection.commit()?;
        Ok(written)
    }

    fn transactions(&self, after: Option<i64>, limit: u32) -> Stored<Page<Transaction>> {
        let mut statement = self.0.prepare(&format!("{COLUMNS} WHERE id < ?1 ORDER BY id DESC LIMIT ?2"))?;
        let rows: Vec<Columns> =
            statement.query_map((after.unwrap_or(i64::MAX), limit + 1), columns)?.collect::<Result<_, _>>()?;
        let has_more = rows.len() > limit as usize;
        let items = rows.into_iter().take(limit as usize).map(whole).collect::<Stored<_>>()?;
        Ok(Page { items, has_more, total: count(&self.0, "SELECT count(*) FROM transactions")? })
    }

    fn transaction(&self, id: i64) -> Stored<Option<Transaction>> {
        self.0.query_row(&format!("{COLUMNS} WHERE id = ?1"), [id], columns).optional()?.map(whole).transpose()
    }

    fn accounts(&self, after: Option<&str>, limit: u32) -> Stored<Page<Account>> {
        let sql =
            "SELECT address, metadata FROM accounts WHERE (?1 IS NULL OR address < ?1) ORDER BY address DESC LIMIT ?2";
        let mut statement = self.0.prepare(sql)?;
        let rows: Vec<(String, Option<String>)> =
            statement.query_map((after, limit + 1), |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
        let has_more = rows.len() > limit as usize;
        let mut items = Vec::new();
        for (address, metadata) in rows.into_iter().take(limit as usize) {
            items.push(Account {
                metadata: metadata_of(metadata).map_err(unreadable)?,
                address,
                volumes: BTreeMap::new(),
            });
        }
        Ok(Page { items, has_more, total: count(&self.0, "SELECT count(*) FROM accounts")? })
    }

    fn account(&self, address: &str) -> Stored<Option<Account>> {
        let sql = "SELECT metadata FROM accounts WHERE address = ?1";
        let found: Option<Option<String>> = self.0.query_row(sql, [address], |row| row.get(0)).optional()?;
        let Some(metadata) = found else { return Ok(None) };
        let mut statement = self.0.prepare("SELECT asset, input, output FROM volumes WHERE account = ?1")?;
        let volumes = statement
            .query_map([address], |row| Ok((row.get(0)?, Volume { input: row.get(1)?, output: row.get(2)? })))?
            .collect::<Result<_, _>>()?;
        Ok(Some(Account { address: address.to_owned(), volumes, metadata: metadata_of(metadata).map_err(unreadable)? }))
    }

    fn stats(&self) -> Stored<(u64, u64)> {
        Ok((count(&self.0, "SELECT count(*) FROM transactions")?, count(&self.0, "SELECT count(*) FROM accounts")?))
    }

    fn set_metadata(&mut self, target: &Target, metadata: &Metadata) -> Stored<()> {
        let connection = self.0.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let (id, kind) = match target {
            Target::Transaction(id) => (Value::from(*id), "TRANSACTION"),
            Target::Account(address) => (Value::from(address.as_str()), "ACCOUNT"),
        };
        let data = json!({ "metadata": value_of(metadata).map_err(unreadable)?, "targetId": id, "targetType": kind });
        append(&connection, "SET_METADATA", &data)?;
        connection.commit()?;
        Ok(())
    }
}

fn append(connection: &Connection, kind: &str, data: &Value) -> Stored<()> {
    let sql = "SELECT id, type, hash, date, data FROM log ORDER BY id DESC LIMIT 1";
    let last = connection.prepare_cached(sql)?.query_row([], |row| {
        let (id, kind, hash, date, data): (i64, String, String, String, String) =
            (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?);
        Ok((id, kind, hash, date, data))
    });
    let (id, previous) = match last.optional()? {
        None => (0, "null".to_owned()),
        Some((id, kind, hash, date, data)) => {
            let data: Value = serde_json::from_str(&data).map_err(|error| StoreError::Unreadable(error.to_string()))?;
            (id + 1, go::log_entry(id, &kind, &date, &hash, &go::json(&data, Numbers::Exact)))
        }
    };
    let data = go::json(data, Numbers::Exact);
    let date = clock::nanoseconds(clock::now());
    let hash = go::chain(&previous, &go::log_entry(id, kind, &date, "", &data));
    let sql = "INSERT INTO log (id, type, hash, date, data) VALUES (?1, ?2, ?3, ?4, ?5)";
    connection.prepare_cached(sql)?.execute((id, kind, hash, date, data))?;
    Ok(())
}

fn unreadable(error: serde_json::Error) -> StoreError {
    StoreError::Unreadable(error.to_string())
}

fn whole((txid, timestamp, reference, postings, metadata): Columns) -> Stored<Transaction> {
    let postings = postings.map(|text| serde_json::from_str(&text)).transpose().map_err(unreadable)?;
    let metadata = Some(metadata_of(metadata).map_err(unreadable)?);
    Ok(Transaction { postings, reference: reference.unwrap_or_default(), metadata, txid, timestamp, hash: None })
}
