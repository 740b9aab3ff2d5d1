//! Ledgers from 1.3.2 on. Up to 1.7.8 every write is a row of `log`, and triggers fill transactions, accounts and volumes; from 1.8.0
//! on the release writes them itself ([`super::direct`]).

use super::{count, direct};
use crate::clock;
use crate::go::{self, Numbers};
use crate::model::{
    Account, CommitVolumes, Draft, LogEntry, Metadata, Page, Repeatable, Target, Transaction, Volume, metadata_of,
    value_of,
};
use crate::release::{AddressFilter, Layout, Release};
use crate::storage::books::{Counting, Place};
use crate::storage::memory::{End, Remembered};
use crate::storage::{LedgerStore, Stored, fits};
use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The store over an open file.
pub(super) struct Log {
    pub(super) connection: Connection,
    pub(super) release: &'static Release,
    pub(super) remembered: Remembered,
}

type Columns = (i64, String, Option<String>, Option<String>, Option<String>, Option<String>, Option<String>);

fn columns(row: &Row<'_>) -> rusqlite::Result<Columns> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?, row.get(6)?))
}

impl LedgerStore for Log {
    fn commit(&mut self, drafts: &[Draft]) -> Stored<Vec<Transaction>> {
        let (release, keeps) = (self.release, self.remembered.keeps_last());
        let mut kept = self.remembered.lock();
        let connection = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let first = match kept.next.filter(|_| keeps) {
            Some(next) => next,
            None => connection.query_row("SELECT coalesce(max(id) + 1, 0) FROM transactions", [], |row| row.get(0))?,
        };
        let mut end = match kept.end.clone().filter(|_| keeps) {
            Some(end) => end,
            None => end_of(&connection)?,
        };
        if keeps {
            (kept.next, kept.end) = (Some(first), Some(end.clone()));
        }
        let from_zero = self.remembered.volumes_from_zero();
        let read = |place: &Place| if from_zero { Ok(Volume::default()) } else { volume(&connection, place) };
        let mut counting = Counting::from(if from_zero { kept.volumes.clone() } else { BTreeMap::new() });
        let now = clock::seconds(clock::now());
        let mut written = Vec::new();
        for (txid, (index, draft)) in (first..).zip(drafts.iter().enumerate()) {
            if !release.commit_volumes {
                // What the triggers did is read again.
                counting = Counting::default();
            }
            counting.funded(index, draft, read)?;
            let timestamp = draft.timestamp.clone().unwrap_or_else(|| now.clone());
            let mut transaction = Transaction {
                postings: Some(draft.postings.clone()),
                reference: draft.reference.clone(),
                metadata: draft.metadata.clone(),
                txid,
                timestamp: timestamp.clone(),
                hash: None,
                volumes: None,
            };
            let metadata = value_of(draft.metadata.as_ref().unwrap_or(&Metadata::new()))?;
            let mut data = json!({
                "metadata": metadata,
                "postings": draft.postings,
                "reference": draft.reference,
                "timestamp": timestamp,
                "txid": txid,
            });
            if release.commit_volumes {
                let moved = counting.moved(&draft.postings, read)?;
                let shown = moved.shown();
                match release.layout {
                    Layout::Rows | Layout::Log => {
                        (data["preCommitVolumes"], data["postCommitVolumes"]) = (shown.pre.clone(), shown.post.clone());
                    }
                    Layout::Direct => direct::insert(&connection, &transaction, &moved)
                        .map_err(|error| error.or_conflict(index, &draft.reference))?,
                }
                transaction.volumes = Some(shown);
            }
            end = append(&connection, &end, "NEW_TRANSACTION", &data)
                .map_err(|error| error.or_conflict(index, &draft.reference))?;
            written.push(transaction);
        }
        connection.commit()?;
        if keeps {
            (kept.next, kept.end) = (written.last().map(|last| last.txid + 1).or(kept.next), Some(end));
        }
        kept.volumes = counting.known();
        Ok(written)
    }

    fn transactions(&self, after: Option<i64>, limit: u32) -> Stored<Page<Transaction>> {
        let mut statement =
            self.connection.prepare(&format!("{} WHERE id < ?1 ORDER BY id DESC LIMIT ?2", self.select()))?;
        let rows: Vec<Columns> =
            statement.query_map((after.unwrap_or(i64::MAX), limit + 1), columns)?.collect::<Result<_, _>>()?;
        let has_more = rows.len() > limit as usize;
        let items = rows.into_iter().take(limit as usize).map(whole).collect::<Stored<_>>()?;
        Ok(Page { items, has_more, total: count(&self.connection, "SELECT count(*) FROM transactions")? })
    }

    fn transaction(&self, id: i64) -> Stored<Option<Transaction>> {
        let sql = format!("{} WHERE id = ?1", self.select());
        self.connection.query_row(&sql, [id], columns).optional()?.map(whole).transpose()
    }

    fn accounts(&self, after: Option<&str>, limit: u32, address: Option<&str>) -> Stored<Page<Account>> {
        let sql = "SELECT address, metadata FROM accounts WHERE (?1 IS NULL OR address < ?1) ORDER BY address DESC";
        let mut statement = self.connection.prepare(sql)?;
        let address = match self.release.address_filter {
            AddressFilter::None => None,
            AddressFilter::Pattern | AddressFilter::Segments => address,
        };
        let mut items = Vec::new();
        let mut rows = statement.query([after])?;
        while let Some(row) = rows.next()? {
            let (found, metadata): (String, Option<String>) = (row.get(0)?, row.get(1)?);
            if address.is_none_or(|filter| fits(&found, filter)) {
                let metadata = metadata_of(metadata)?;
                items.push(Account { address: found, metadata, volumes: BTreeMap::new() });
            }
            if items.len() > limit as usize {
                break;
            }
        }
        let has_more = items.len() > limit as usize;
        items.truncate(limit as usize);
        Ok(Page { items, has_more, total: count(&self.connection, "SELECT count(*) FROM accounts")? })
    }

    fn account(&self, address: &str) -> Stored<Option<Account>> {
        let sql = "SELECT metadata FROM accounts WHERE address = ?1";
        let found: Option<Option<String>> = self.connection.query_row(sql, [address], |row| row.get(0)).optional()?;
        let Some(metadata) = found else { return Ok(None) };
        let mut statement = self.connection.prepare("SELECT asset, input, output FROM volumes WHERE account = ?1")?;
        let volumes = statement
            .query_map([address], |row| Ok((row.get(0)?, Volume { input: row.get(1)?, output: row.get(2)? })))?
            .collect::<Result<_, _>>()?;
        Ok(Some(Account { address: address.to_owned(), volumes, metadata: metadata_of(metadata)? }))
    }

    fn stats(&self) -> Stored<(u64, u64)> {
        let connection = &self.connection;
        Ok((
            count(connection, "SELECT count(*) FROM transactions")?,
            count(connection, "SELECT count(*) FROM accounts")?,
        ))
    }

    fn set_metadata(&mut self, target: &Target, metadata: &Metadata) -> Stored<()> {
        let keeps = self.remembered.keeps_last();
        let mut kept = self.remembered.lock();
        let connection = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let (id, kind) = match target {
            Target::Transaction(id) => (Value::from(*id), "TRANSACTION"),
            Target::Account(address) => (Value::from(address.as_str()), "ACCOUNT"),
        };
        let data = json!({ "metadata": value_of(metadata)?, "targetId": id, "targetType": kind });
        let end = match kept.end.clone().filter(|_| keeps) {
            Some(end) => end,
            None => end_of(&connection)?,
        };
        match self.release.layout {
            Layout::Rows | Layout::Log => {}
            Layout::Direct => direct::set_metadata(&connection, target, metadata)?,
        }
        let end = append(&connection, &end, "SET_METADATA", &data).map_err(|error| error.or_conflict(0, ""))?;
        connection.commit()?;
        if keeps {
            kept.end = Some(end);
        }
        Ok(())
    }

    fn volumes(&self) -> Stored<BTreeMap<String, BTreeMap<String, Volume>>> {
        let mut statement = self.connection.prepare("SELECT account, asset, input, output FROM volumes")?;
        let mut rows = statement.query([])?;
        let mut all: BTreeMap<String, BTreeMap<String, Volume>> = BTreeMap::new();
        while let Some(row) = rows.next()? {
            let volume = Volume { input: row.get(2)?, output: row.get(3)? };
            all.entry(row.get(0)?).or_default().insert(row.get(1)?, volume);
        }
        Ok(all)
    }

    fn log(&self, after: Option<i64>, limit: u32) -> Stored<Page<LogEntry>> {
        let sql = "SELECT id, type, data, hash, date FROM log WHERE id < ?1 ORDER BY id DESC LIMIT ?2";
        let mut statement = self.connection.prepare(sql)?;
        let mut rows = statement.query((after.unwrap_or(i64::MAX), limit + 1))?;
        let mut items = Vec::new();
        while let Some(row) = rows.next()? {
            let data: String = row.get(2)?;
            let (kind, hash, date) = (row.get(1)?, row.get(3)?, row.get(4)?);
            items.push(LogEntry { id: row.get(0)?, kind, data: serde_json::from_str(&data)?, hash, date });
        }
        let has_more = items.len() > limit as usize;
        items.truncate(limit as usize);
        Ok(Page { items, has_more, total: count(&self.connection, "SELECT count(*) FROM log")? })
    }

    fn migrations(&self) -> Stored<Vec<(String, String)>> {
        let sql = "SELECT version, date FROM migrations ORDER BY CAST(version AS INTEGER)";
        let mut statement = self.connection.prepare(sql)?;
        Ok(statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?)
    }

    fn recall(&self, key: &str) -> Stored<Option<Repeatable>> {
        let sql = "SELECT status_code, body, request_hash FROM idempotency WHERE key = ?1";
        let found = self.connection.query_row(sql, [key], |row| {
            Ok(Repeatable { status: row.get(0)?, body: row.get(1)?, request: row.get(2)? })
        });
        Ok(found.optional()?)
    }

    fn keep(&mut self, key: &str, answer: &Repeatable) -> Stored<()> {
        let sql = "INSERT INTO idempotency (key, date, status_code, headers, body, request_hash)
                   VALUES (?1, ?2, ?3, '{}', ?4, ?5) ON CONFLICT DO NOTHING";
        let date = clock::seconds(clock::now());
        self.connection.execute(sql, (key, date, answer.status, &answer.body, &answer.request))?;
        Ok(())
    }
}

impl Log {
    fn select(&self) -> String {
        let volumes =
            if self.release.commit_volumes { "pre_commit_volumes, post_commit_volumes" } else { "NULL, NULL" };
        format!("SELECT id, timestamp, reference, postings, metadata, {volumes} FROM transactions")
    }
}

fn volume(connection: &Connection, (account, asset): &Place) -> Stored<Volume> {
    let sql = "SELECT input, output FROM volumes WHERE account = ?1 AND asset = ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let found = statement
        .query_row((account, asset), |row| Ok(Volume { input: row.get(0)?, output: row.get(1)? }))
        .optional()?;
    Ok(found.unwrap_or_default())
}

fn end_of(connection: &Connection) -> Stored<End> {
    let sql = "SELECT id, type, hash, date, data FROM log ORDER BY id DESC LIMIT 1";
    let last = connection.prepare_cached(sql)?.query_row([], |row| {
        let (id, kind, hash, date, data): (i64, String, String, String, String) =
            (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?);
        Ok((id, kind, hash, date, data))
    });
    let Some((id, kind, hash, date, data)) = last.optional()? else { return Ok(End::empty()) };
    let data: Value = serde_json::from_str(&data)?;
    Ok(End::after(id, &kind, &date, &hash, &go::json(&data, Numbers::Exact)))
}

fn append(connection: &Connection, end: &End, kind: &str, data: &Value) -> Stored<End> {
    let data = go::json(data, Numbers::Exact);
    let date = clock::nanoseconds(clock::now());
    let (hash, after) = end.follow(kind, &date, &data);
    let sql = "INSERT INTO log (id, type, hash, date, data) VALUES (?1, ?2, ?3, ?4, ?5)";
    connection.prepare_cached(sql)?.execute((end.next, kind, hash, date, data))?;
    Ok(after)
}

fn whole((txid, timestamp, reference, postings, metadata, pre, post): Columns) -> Stored<Transaction> {
    let json = |text: Option<String>| text.map(|text| serde_json::from_str::<Value>(&text)).transpose();
    let volumes = json(pre)?.zip(json(post)?).map(|(pre, post)| CommitVolumes { pre, post });
    let postings = postings.map(|text| serde_json::from_str(&text)).transpose()?;
    let (metadata, reference) = (Some(metadata_of(metadata)?), reference.unwrap_or_default());
    Ok(Transaction { postings, reference, metadata, txid, timestamp, hash: None, volumes })
}
