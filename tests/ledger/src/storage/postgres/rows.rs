//! The layout of 1.0 to 1.3.1: a row a posting, a row a metadata entry, a hash chain over the transactions.

use super::error::PgError;
use super::schema::Schema;
use super::session::{Query, Session, Sessions, sql};
use crate::clock;
use crate::go;
use crate::model::{Account, Draft, Metadata, Page, Posting, Target, Transaction, Volume};
use crate::storage::{LedgerStore, StoreError, Stored};
use serde_json::value::RawValue;
use sqlx::Row;
use sqlx::postgres::PgRow;
use std::collections::BTreeMap;

/// The store over a schema; each call takes a session for its time.
pub(super) struct Rows {
    pub(super) sessions: Sessions,
    pub(super) schema: Schema,
}

/// A row of `transactions`, alone.
struct Head {
    id: i64,
    timestamp: String,
    reference: Option<String>,
    hash: String,
}

fn head(row: &PgRow) -> Result<Head, PgError> {
    Ok(Head { id: row.try_get(0)?, timestamp: row.try_get(1)?, reference: row.try_get(2)?, hash: row.try_get(3)? })
}

const HEAD: &str = "SELECT id, timestamp, reference, hash FROM LEDGER.transactions";

impl LedgerStore for Rows {
    /// The last id is read before the balances: whoever writes in between takes the next id first, and this ends as a conflict, not
    /// as an overdraft.
    fn commit(&mut self, drafts: &[Draft]) -> Stored<Vec<Transaction>> {
        self.sessions.take()?.transaction(|session| {
            let mut last = match session.row(self.query(&format!("{HEAD} ORDER BY id DESC LIMIT 1")))? {
                Some(row) => Some(self.whole(session, head(&row)?)?),
                None => None,
            };
            let timestamp = clock::seconds(clock::now());
            let mut written = Vec::new();
            for (index, draft) in drafts.iter().enumerate() {
                self.funded(session, index, draft)?;
                let mut transaction = Transaction {
                    postings: Some(draft.postings.clone()),
                    reference: draft.reference.clone(),
                    metadata: draft.metadata.clone(),
                    txid: last.as_ref().map_or(0, |last: &Transaction| last.txid + 1),
                    timestamp: draft.timestamp.clone().unwrap_or_else(|| timestamp.clone()),
                    hash: Some(String::new()),
                    volumes: None,
                };
                let before = last.as_ref().map_or_else(|| "null".to_owned(), chained);
                transaction.hash = Some(go::chain(&before, &chained(&transaction)));
                self.insert(session, &transaction).map_err(|error| error.or_conflict(index, &draft.reference))?;
                last = Some(transaction.clone());
                written.push(transaction);
            }
            Ok(written)
        })
    }

    fn transactions(&self, after: Option<i64>, limit: u32) -> Stored<Page<Transaction>> {
        let session = &mut self.sessions.take()?;
        let query = self.query(&format!("{HEAD} WHERE id < $1 ORDER BY id DESC LIMIT $2"));
        let rows = session.rows(query.bind(after.unwrap_or(i64::MAX)).bind(i64::from(limit) + 1))?;
        let has_more = rows.len() > limit as usize;
        let mut items = Vec::new();
        for row in rows.iter().take(limit as usize) {
            items.push(self.whole(session, head(row)?)?);
        }
        Ok(Page { items, has_more, total: self.count(session, "transactions")? })
    }

    fn transaction(&self, id: i64) -> Stored<Option<Transaction>> {
        let session = &mut self.sessions.take()?;
        match session.row(self.query(&format!("{HEAD} WHERE id = $1")).bind(id))? {
            Some(row) => Ok(Some(self.whole(session, head(&row)?)?)),
            None => Ok(None),
        }
    }

    fn accounts(&self, after: Option<&str>, limit: u32, _address: Option<&str>) -> Stored<Page<Account>> {
        let session = &mut self.sessions.take()?;
        let query = self.query(
            "SELECT address FROM LEDGER.addresses WHERE ($1 IS NULL OR address < $1) ORDER BY address DESC LIMIT $2",
        );
        let rows = session.rows(query.bind(after.map(str::to_owned)).bind(i64::from(limit) + 1))?;
        let has_more = rows.len() > limit as usize;
        let mut items = Vec::new();
        for row in rows.iter().take(limit as usize) {
            let address: String = row.try_get(0).map_err(PgError::from)?;
            let metadata = self.metadata(session, "account", &address)?;
            items.push(Account { address, volumes: BTreeMap::new(), metadata });
        }
        Ok(Page { items, has_more, total: self.count(session, "addresses")? })
    }

    fn account(&self, address: &str) -> Stored<Option<Account>> {
        let session = &mut self.sessions.take()?;
        let query = self.query(
            "SELECT asset, coalesce(sum(amount) FILTER (WHERE destination = $1), 0)::bigint,
                    coalesce(sum(amount) FILTER (WHERE source = $1), 0)::bigint
             FROM LEDGER.postings WHERE source = $1 OR destination = $1 GROUP BY asset",
        );
        let mut volumes = BTreeMap::new();
        for row in session.rows(query.bind(address.to_owned()))? {
            let (asset, input, output) = three(&row)?;
            volumes.insert(asset, Volume { input, output });
        }
        let metadata = self.metadata(session, "account", address)?;
        if volumes.is_empty() && metadata.is_empty() {
            return Ok(None);
        }
        Ok(Some(Account { address: address.to_owned(), volumes, metadata }))
    }

    fn stats(&self) -> Stored<(u64, u64)> {
        let session = &mut self.sessions.take()?;
        Ok((self.count(session, "transactions")?, self.count(session, "addresses")?))
    }

    fn set_metadata(&mut self, target: &Target, metadata: &Metadata) -> Stored<()> {
        let timestamp = clock::seconds(clock::now());
        let written: Stored<()> =
            self.sessions.take()?.transaction(|session| self.add_metadata(session, target, metadata, &timestamp));
        written.map_err(|error| error.or_conflict(0, ""))
    }
}

pub(super) fn three(row: &PgRow) -> Result<(String, i64, i64), PgError> {
    Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?))
}

impl Rows {
    fn query(&self, template: &str) -> Query {
        sql(self.schema.fill(template))
    }

    fn count(&self, session: &mut Session, table: &str) -> Stored<u64> {
        Ok(session.count(format!("SELECT count(*) FROM {}.{table}", self.schema))?)
    }

    fn funded(&self, session: &mut Session, index: usize, draft: &Draft) -> Stored<()> {
        for ((account, asset), needed) in draft.needs() {
            let query = self.query(
                "SELECT coalesce(sum(CASE WHEN destination = $1 THEN amount ELSE 0 END)
                               - sum(CASE WHEN source = $1 THEN amount ELSE 0 END), 0)::bigint
                 FROM LEDGER.postings WHERE asset = $2 AND (source = $1 OR destination = $1)",
            );
            let row = session.row(query.bind(account).bind(asset.clone()))?;
            let balance: i64 = row.map_or(Ok(0), |row| row.try_get(0)).map_err(PgError::from)?;
            if balance < needed {
                return Err(StoreError::InsufficientFund { index, asset });
            }
        }
        Ok(())
    }

    fn insert(&self, session: &mut Session, transaction: &Transaction) -> Stored<()> {
        let reference = Some(transaction.reference.clone()).filter(|reference| !reference.is_empty());
        let insert =
            self.query("INSERT INTO LEDGER.transactions (id, timestamp, reference, hash) VALUES ($1, $2, $3, $4)");
        let (id, timestamp) = (transaction.txid, &transaction.timestamp);
        session.run(insert.bind(id).bind(timestamp.clone()).bind(reference).bind(transaction.hash.clone()))?;
        for (index, posting) in (0_i16..).zip(transaction.postings.iter().flatten()) {
            let Posting { source, destination, amount, asset } = posting.clone();
            let insert = self.query(
                "INSERT INTO LEDGER.postings (id, txid, source, destination, amount, asset) VALUES ($1, $2, $3, $4, $5, $6)",
            );
            session.run(insert.bind(index).bind(id).bind(source).bind(destination).bind(amount).bind(asset))?;
        }
        match &transaction.metadata {
            Some(metadata) => self.add_metadata(session, &Target::Transaction(id), metadata, timestamp),
            None => Ok(()),
        }
    }

    fn add_metadata(&self, session: &mut Session, target: &Target, metadata: &Metadata, timestamp: &str) -> Stored<()> {
        let (kind, id) = match target {
            Target::Transaction(id) => ("transaction", id.to_string()),
            Target::Account(address) => ("account", address.clone()),
        };
        let row = session.row(self.query("SELECT coalesce(max(meta_id) + 1, 0) FROM LEDGER.metadata"))?;
        let first: i64 = row.map_or(Ok(0), |row| row.try_get(0)).map_err(PgError::from)?;
        for (meta_id, (key, value)) in (first..).zip(metadata) {
            let insert = self.query(
                "INSERT INTO LEDGER.metadata (meta_id, meta_target_type, meta_target_id, meta_key, meta_value, timestamp)
                 VALUES ($1, $2, $3, $4, $5, $6)",
            );
            let insert = insert.bind(meta_id).bind(kind).bind(id.clone()).bind(key.clone());
            session.run(insert.bind(value.get().to_owned()).bind(timestamp.to_owned()))?;
        }
        Ok(())
    }

    fn whole(&self, session: &mut Session, head: Head) -> Stored<Transaction> {
        let query =
            self.query("SELECT source, destination, amount, asset FROM LEDGER.postings WHERE txid = $1 ORDER BY id");
        let mut postings = Vec::new();
        for row in session.rows(query.bind(head.id))? {
            postings.push(posting(&row)?);
        }
        Ok(Transaction {
            postings: Some(postings),
            reference: head.reference.unwrap_or_default(),
            metadata: Some(self.metadata(session, "transaction", &head.id.to_string())?),
            txid: head.id,
            timestamp: head.timestamp,
            hash: Some(head.hash),
            volumes: None,
        })
    }

    fn metadata(&self, session: &mut Session, kind: &'static str, id: &str) -> Stored<Metadata> {
        let query = self.query(
            "SELECT meta_key, meta_value FROM LEDGER.metadata
             WHERE meta_target_type = $1 AND meta_target_id = $2 ORDER BY meta_id",
        );
        let mut all = Metadata::new();
        for row in session.rows(query.bind(kind).bind(id.to_owned()))? {
            let key: String = row.try_get(0).map_err(PgError::from)?;
            let value: String = row.try_get(1).map_err(PgError::from)?;
            let value = RawValue::from_string(value)
                .map_err(|error| StoreError::Unreadable(format!("metadata {key} of {kind} {id}: {error}")))?;
            all.insert(key, value);
        }
        Ok(all)
    }
}

fn posting(row: &PgRow) -> Result<Posting, PgError> {
    let (source, destination) = (row.try_get(0)?, row.try_get(1)?);
    Ok(Posting { source, destination, amount: row.try_get(2)?, asset: row.try_get(3)? })
}

/// What the hash is taken over; without metadata it says `null`.
fn chained(transaction: &Transaction) -> String {
    let mut transaction = transaction.clone();
    transaction.metadata = transaction.metadata.filter(|metadata| !metadata.is_empty());
    serde_json::to_string(&transaction).unwrap_or_default()
}
