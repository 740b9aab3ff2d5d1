//! The layout of 1.0 to 1.3.1: a row a posting, a row a metadata entry, a hash chain over the transactions.

use super::count;
use crate::clock;
use crate::go;
use crate::model::{Account, Draft, Metadata, Page, Posting, Target, Transaction, Volume};
use crate::storage::{LedgerStore, StoreError, Stored};
use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior};
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// The store over an open file.
pub(super) struct Rows(pub(super) Connection);

/// A row of `transactions`, alone.
struct Head {
    id: i64,
    timestamp: String,
    reference: Option<String>,
    hash: String,
}

/// With a name for the table, which the errors of the release repeat: `no such column: t.hash`.
const HEAD: &str = "SELECT t.id, t.timestamp, t.reference, t.hash FROM transactions t";

fn head(row: &Row<'_>) -> rusqlite::Result<Head> {
    // A NULL hash stops the release here: `converting NULL to string`, which a newer instance's writes leave behind.
    Ok(Head { id: row.get(0)?, timestamp: row.get(1)?, reference: row.get(2)?, hash: row.get(3)? })
}

impl LedgerStore for Rows {
    fn commit(&mut self, drafts: &[Draft]) -> Stored<Vec<Transaction>> {
        let mut connection = self.0.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let last = connection.query_row(&format!("{HEAD} ORDER BY id DESC LIMIT 1"), [], head).optional()?;
        let mut last = last.map(|head| whole(&connection, head)).transpose()?;
        let timestamp = clock::seconds(clock::now());
        let mut written = Vec::new();
        connection.set_prepared_statement_cache_capacity(32);
        for (index, draft) in drafts.iter().enumerate() {
            for ((account, asset), needed) in draft.needs() {
                let sql = "SELECT coalesce(sum(CASE WHEN destination = ?1 THEN amount ELSE 0 END)
                                         - sum(CASE WHEN source = ?1 THEN amount ELSE 0 END), 0)
                           FROM postings WHERE asset = ?2 AND (source = ?1 OR destination = ?1)";
                let balance: i64 = connection.prepare_cached(sql)?.query_row((&account, &asset), |row| row.get(0))?;
                if balance < needed {
                    return Err(StoreError::InsufficientFund { index, asset });
                }
            }
            let mut transaction = Transaction {
                postings: Some(draft.postings.clone()),
                reference: draft.reference.clone(),
                metadata: draft.metadata.clone(),
                txid: last.as_ref().map_or(0, |last| last.txid + 1),
                timestamp: draft.timestamp.clone().unwrap_or_else(|| timestamp.clone()),
                hash: Some(String::new()),
                volumes: None,
            };
            let before = last.as_ref().map_or_else(|| "null".to_owned(), chained);
            transaction.hash = Some(go::chain(&before, &chained(&transaction)));
            insert(&connection, &transaction)
                .map_err(|error| StoreError::from(error).or_conflict(index, &draft.reference))?;
            if let Some(metadata) = &draft.metadata {
                add_metadata(&connection, &Target::Transaction(transaction.txid), metadata, &timestamp)?;
            }
            last = Some(transaction.clone());
            written.push(transaction);
        }
        connection.set_drop_behavior(rusqlite::DropBehavior::Rollback);
        connection.commit()?;
        Ok(written)
    }

    fn transactions(&self, after: Option<i64>, limit: u32) -> Stored<Page<Transaction>> {
        let sql = format!("{HEAD} WHERE id < ?1 ORDER BY id DESC LIMIT ?2");
        let mut statement = self.0.prepare(&sql)?;
        let heads: Vec<Head> =
            statement.query_map((after.unwrap_or(i64::MAX), limit + 1), head)?.collect::<Result<_, _>>()?;
        let has_more = heads.len() > limit as usize;
        let items = heads.into_iter().take(limit as usize).map(|head| whole(&self.0, head)).collect::<Stored<_>>()?;
        Ok(Page { items, has_more, total: count(&self.0, "SELECT count(*) FROM transactions")? })
    }

    fn transaction(&self, id: i64) -> Stored<Option<Transaction>> {
        let found = self.0.query_row(&format!("{HEAD} WHERE id = ?1"), [id], head).optional()?;
        found.map(|head| whole(&self.0, head)).transpose()
    }

    fn accounts(&self, after: Option<&str>, limit: u32, _address: Option<&str>) -> Stored<Page<Account>> {
        let sql = "SELECT address FROM addresses WHERE (?1 IS NULL OR address < ?1) ORDER BY address DESC LIMIT ?2";
        let mut statement = self.0.prepare(sql)?;
        let addresses: Vec<String> =
            statement.query_map((after, limit + 1), |row| row.get(0))?.collect::<Result<_, _>>()?;
        let has_more = addresses.len() > limit as usize;
        let mut items = Vec::new();
        for address in addresses.into_iter().take(limit as usize) {
            let metadata = metadata(&self.0, "account", &address)?;
            items.push(Account { address, volumes: BTreeMap::new(), metadata });
        }
        Ok(Page { items, has_more, total: count(&self.0, "SELECT count(*) FROM addresses")? })
    }

    fn account(&self, address: &str) -> Stored<Option<Account>> {
        let mut volumes: BTreeMap<String, Volume> = BTreeMap::new();
        for (sql, given) in [
            ("SELECT asset, sum(amount) FROM postings WHERE destination = ?1 GROUP BY asset", false),
            ("SELECT asset, sum(amount) FROM postings WHERE source = ?1 GROUP BY asset", true),
        ] {
            let mut statement = self.0.prepare(sql)?;
            let sums = statement.query_map([address], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)))?;
            for sum in sums {
                let (asset, amount) = sum?;
                let volume = volumes.entry(asset).or_default();
                if given { volume.output = amount } else { volume.input = amount }
            }
        }
        let metadata = metadata(&self.0, "account", address)?;
        if volumes.is_empty() && metadata.is_empty() {
            return Ok(None);
        }
        Ok(Some(Account { address: address.to_owned(), volumes, metadata }))
    }

    fn stats(&self) -> Stored<(u64, u64)> {
        Ok((count(&self.0, "SELECT count(*) FROM transactions")?, count(&self.0, "SELECT count(*) FROM addresses")?))
    }

    fn set_metadata(&mut self, target: &Target, metadata: &Metadata) -> Stored<()> {
        let connection = self.0.transaction_with_behavior(TransactionBehavior::Immediate)?;
        add_metadata(&connection, target, metadata, &clock::seconds(clock::now()))?;
        connection.commit()?;
        Ok(())
    }
}

fn insert(connection: &Connection, transaction: &Transaction) -> rusqlite::Result<()> {
    let reference = Some(&transaction.reference).filter(|reference| !reference.is_empty());
    connection
        .prepare_cached("INSERT INTO transactions (id, timestamp, reference, hash) VALUES (?1, ?2, ?3, ?4)")?
        .execute((transaction.txid, &transaction.timestamp, reference, &transaction.hash))?;
    let sql = "INSERT INTO postings (id, txid, source, destination, amount, asset) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let mut statement = connection.prepare_cached(sql)?;
    for (index, posting) in transaction.postings.iter().flatten().enumerate() {
        let Posting { source, destination, amount, asset } = posting;
        statement.execute((index as i64, transaction.txid, source, destination, amount, asset))?;
    }
    Ok(())
}

fn add_metadata(connection: &Connection, target: &Target, metadata: &Metadata, timestamp: &str) -> Stored<()> {
    let (kind, id) = match target {
        Target::Transaction(id) => ("transaction", id.to_string()),
        Target::Account(address) => ("account", address.clone()),
    };
    let first: i64 =
        connection.query_row("SELECT coalesce(max(meta_id) + 1, 0) FROM metadata", [], |row| row.get(0))?;
    let sql = "INSERT INTO metadata (meta_id, meta_target_type, meta_target_id, meta_key, meta_value, timestamp)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let mut statement = connection.prepare_cached(sql)?;
    for (meta_id, (key, value)) in (first..).zip(metadata) {
        statement.execute((meta_id, kind, &id, key, value.get(), timestamp))?;
    }
    Ok(())
}

fn whole(connection: &Connection, head: Head) -> Stored<Transaction> {
    let mut statement = connection
        .prepare_cached("SELECT source, destination, amount, asset FROM postings WHERE txid = ?1 ORDER BY id")?;
    let postings = statement
        .query_map([head.id], |row| {
            Ok(Posting { source: row.get(0)?, destination: row.get(1)?, amount: row.get(2)?, asset: row.get(3)? })
        })?
        .collect::<Result<_, _>>()?;
    Ok(Transaction {
        postings: Some(postings),
        reference: head.reference.unwrap_or_default(),
        metadata: Some(metadata(connection, "transaction", &head.id.to_string())?),
        txid: head.id,
        timestamp: head.timestamp,
        hash: Some(head.hash),
        volumes: None,
    })
}

fn metadata(connection: &Connection, kind: &str, id: &str) -> Stored<Metadata> {
    let sql = "SELECT meta_key, meta_value FROM metadata WHERE meta_target_type = ?1 AND meta_target_id = ?2 ORDER BY meta_id";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map((kind, id), |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
    let mut all = Metadata::new();
    for row in rows {
        let (key, value) = row?;
        let value = RawValue::from_string(value)
            .map_err(|error| StoreError::Unreadable(format!("metadata {key} of {kind} {id}: {error}")))?;
        all.insert(key, value);
    }
    Ok(all)
}

/// What the hash is taken over; without metadata it says `null`.
fn chained(transaction: &Transaction) -> String {
    let mut transaction = transaction.clone();
    transaction.metadata = transaction.metadata.filter(|metadata| !metadata.is_empty());
    serde_json::to_string(&transaction).unwrap_or_default()
}
