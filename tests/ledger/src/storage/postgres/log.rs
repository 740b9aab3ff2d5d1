//! Ledgers from 1.3.2 on. Up to 1.7.8 every write is a row of `log`, and triggers fill transactions, accounts and volumes; from 1.8.0
//! on the release writes them itself ([`super::direct`]).

use super::direct;
use super::error::PgError;
use super::rows::three;
use super::schema::Schema;
use super::session::{Query, Session, Sessions, sql};
use crate::clock;
use crate::go::{self, Numbers};
use crate::model::{
    Account, CommitVolumes, Draft, LogEntry, Metadata, Page, Repeatable, Target, Transaction, Volume, metadata_of,
    value_of,
};
use crate::release::{AddressFilter, Layout, Release};
use crate::storage::books::{Counting, Place};
use crate::storage::memory::{End, Kept, Remembered};
use crate::storage::{LedgerStore, LockStrategy, Stored, fits};
use serde_json::{Value, json};
use sqlx::Row;
use sqlx::postgres::PgRow;
use std::cell::RefCell;
use std::collections::BTreeMap;

/// The store over a schema; each call takes a session for its time.
pub(super) struct Log {
    pub(super) sessions: Sessions,
    pub(super) schema: Schema,
    pub(super) release: &'static Release,
    pub(super) remembered: Remembered,
}

/// What a commit leaves behind.
struct Committed {
    written: Vec<Transaction>,
    end: End,
    counting: Counting,
}

impl LedgerStore for Log {
    /// The last ids are read before the balances: whoever writes in between takes the next id first, and this ends as a conflict,
    /// not as an overdraft.
    fn commit(&mut self, drafts: &[Draft]) -> Stored<Vec<Transaction>> {
        let mut kept = self.remembered.lock();
        let done = self.sessions.take()?.transaction(|session| self.commit_with(session, &mut kept, drafts))?;
        if self.remembered.keeps_last() {
            (kept.next, kept.end) = (done.written.last().map(|last| last.txid + 1).or(kept.next), Some(done.end));
        }
        kept.volumes = done.counting.known();
        Ok(done.written)
    }

    fn transactions(&self, after: Option<i64>, limit: u32) -> Stored<Page<Transaction>> {
        let session = &mut self.sessions.take()?;
        let query = self.query(&format!("{} WHERE id < $1 ORDER BY id DESC LIMIT $2", self.select()));
        let rows = session.rows(query.bind(after.unwrap_or(i64::MAX)).bind(i64::from(limit) + 1))?;
        let has_more = rows.len() > limit as usize;
        let items = rows.iter().take(limit as usize).map(whole).collect::<Stored<_>>()?;
        Ok(Page { items, has_more, total: self.count(session, "transactions")? })
    }

    fn transaction(&self, id: i64) -> Stored<Option<Transaction>> {
        let query = self.query(&format!("{} WHERE id = $1", self.select())).bind(id);
        self.sessions.take()?.row(query)?.as_ref().map(whole).transpose()
    }

    fn accounts(&self, after: Option<&str>, limit: u32, address: Option<&str>) -> Stored<Page<Account>> {
        let session = &mut self.sessions.take()?;
        // Accounts that a release without this column wrote are missing here, and nothing repairs it.
        let (address, known) = match (self.release.address_filter, address) {
            (AddressFilter::None, _) | (AddressFilter::Pattern | AddressFilter::Segments, None) => (None, "true"),
            (AddressFilter::Pattern, Some(address)) => (Some(address), "true"),
            (AddressFilter::Segments, Some(address)) => (Some(address), "address_json IS NOT NULL"),
        };
        let query = self.query(&format!(
            "SELECT address, metadata::text FROM LEDGER.accounts WHERE ($1 IS NULL OR address < $1) AND {known}
             ORDER BY address DESC",
        ));
        let mut items = Vec::new();
        for row in session.rows(query.bind(after.map(str::to_owned)))? {
            let found: String = row.try_get(0).map_err(PgError::from)?;
            if address.is_none_or(|filter| fits(&found, filter)) {
                items.push(Account { metadata: metadata(&row, 1)?, address: found, volumes: BTreeMap::new() });
            }
            if items.len() > limit as usize {
                break;
            }
        }
        let has_more = items.len() > limit as usize;
        items.truncate(limit as usize);
        Ok(Page { items, has_more, total: self.count(session, "accounts")? })
    }

    fn account(&self, address: &str) -> Stored<Option<Account>> {
        let session = &mut self.sessions.take()?;
        let query = self.query("SELECT metadata::text FROM LEDGER.accounts WHERE address = $1");
        let Some(row) = session.row(query.bind(address.to_owned()))? else { return Ok(None) };
        let query = self.query("SELECT asset, input::bigint, output::bigint FROM LEDGER.volumes WHERE account = $1");
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
        let data = json!({ "metadata": value_of(metadata)?, "targetId": id, "targetType": kind });
        let keeps = self.remembered.keeps_last();
        let mut kept = self.remembered.lock();
        let written: Stored<End> = self.sessions.take()?.transaction(|session| {
            self.wait_for_turn(session)?;
            let end = match kept.end.clone().filter(|_| keeps) {
                Some(end) => end,
                None => self.end(session)?,
            };
            match self.release.layout {
                Layout::Rows | Layout::Log => {}
                Layout::Direct => direct::set_metadata(session, &self.schema, self.release, target, metadata)?,
            }
            self.append(session, &end, "SET_METADATA", &data)
        });
        let end = written.map_err(|error| error.or_conflict(0, ""))?;
        if keeps {
            kept.end = Some(end);
        }
        Ok(())
    }

    fn volumes(&self) -> Stored<BTreeMap<String, BTreeMap<String, Volume>>> {
        let query = self.query("SELECT asset, input::bigint, output::bigint, account FROM LEDGER.volumes");
        let mut all: BTreeMap<String, BTreeMap<String, Volume>> = BTreeMap::new();
        for row in self.sessions.take()?.rows(query)? {
            let (asset, input, output) = three(&row)?;
            let account = row.try_get(3).map_err(PgError::from)?;
            all.entry(account).or_default().insert(asset, Volume { input, output });
        }
        Ok(all)
    }

    fn log(&self, after: Option<i64>, limit: u32) -> Stored<Page<LogEntry>> {
        let session = &mut self.sessions.take()?;
        let query = self.query(
            r#"SELECT id, type, data::text, hash, to_char(date AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
               FROM LEDGER.log WHERE id < $1 ORDER BY id DESC LIMIT $2"#,
        );
        let mut items = Vec::new();
        for row in session.rows(query.bind(after.unwrap_or(i64::MAX)).bind(i64::from(limit) + 1))? {
            let read = || -> Result<(i64, [String; 4]), PgError> {
                Ok((row.try_get(0)?, [row.try_get(1)?, row.try_get(2)?, row.try_get(3)?, row.try_get(4)?]))
            };
            let (id, [kind, data, hash, date]) = read()?;
            items.push(LogEntry { id, kind, data: serde_json::from_str(&data)?, hash, date });
        }
        let has_more = items.len() > limit as usize;
        items.truncate(limit as usize);
        Ok(Page { items, has_more, total: self.count(session, "log")? })
    }

    fn migrations(&self) -> Stored<Vec<(String, String)>> {
        let query = self.query("SELECT version, date FROM LEDGER.migrations ORDER BY version::int");
        let rows = self.sessions.take()?.rows(query)?;
        let read = |row: &PgRow| -> Result<(String, String), PgError> { Ok((row.try_get(0)?, row.try_get(1)?)) };
        Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
    }

    fn recall(&self, key: &str) -> Stored<Option<Repeatable>> {
        let query = self.query("SELECT status_code, body, request_hash FROM LEDGER.idempotency WHERE key = $1");
        let Some(row) = self.sessions.take()?.row(query.bind(key.to_owned()))? else { return Ok(None) };
        let read =
            || -> Result<(i32, String, String), PgError> { Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?)) };
        let (status, body, request) = read()?;
        Ok(Some(Repeatable { status: u16::try_from(status).unwrap_or(200), body, request }))
    }

    fn keep(&mut self, key: &str, answer: &Repeatable) -> Stored<()> {
        let insert = self.query(
            "INSERT INTO LEDGER.idempotency (key, date, status_code, headers, body, request_hash)
             VALUES ($1, $2, $3, '{}', $4, $5) ON CONFLICT DO NOTHING",
        );
        let insert = insert.bind(key.to_owned()).bind(clock::seconds(clock::now())).bind(i32::from(answer.status));
        self.sessions.take()?.run(insert.bind(answer.body.clone()).bind(answer.request.clone()))?;
        Ok(())
    }
}

impl Log {
    fn query(&self, template: &str) -> Query {
        sql(self.schema.fill(template))
    }

    fn select(&self) -> String {
        let volumes = if self.release.commit_volumes {
            "pre_commit_volumes::text, post_commit_volumes::text"
        } else {
            "NULL::text, NULL::text"
        };
        // As text whatever its type: an older release reads what a newer one has changed.
        format!(
            "SELECT id, timestamp::text, reference, postings::text, metadata::text, {volumes} FROM LEDGER.transactions"
        )
    }

    fn count(&self, session: &mut Session, table: &str) -> Stored<u64> {
        Ok(session.count(format!("SELECT count(*) FROM {}.{table}", self.schema))?)
    }

    fn commit_with(&self, session: &mut Session, kept: &mut Kept, drafts: &[Draft]) -> Stored<Committed> {
        let (release, keeps) = (self.release, self.remembered.keeps_last());
        self.wait_for_turn(session)?;
        self.mind_prepared_statements(session, kept)?;
        let first = match kept.next.filter(|_| keeps) {
            Some(next) => next,
            None => {
                let row = session.row(self.query("SELECT coalesce(max(id) + 1, 0) FROM LEDGER.transactions"))?;
                row.map_or(Ok(0), |row| row.try_get(0)).map_err(PgError::from)?
            }
        };
        let mut end = match kept.end.clone().filter(|_| keeps) {
            Some(end) => end,
            None => self.end(session)?,
        };
        if keeps {
            (kept.next, kept.end) = (Some(first), Some(end.clone()));
        }
        let from_zero = self.remembered.volumes_from_zero();
        let mut counting = Counting::from(if from_zero { kept.volumes.clone() } else { BTreeMap::new() });
        let shared = RefCell::new(session);
        let read = |place: &Place| {
            if from_zero { Ok(Volume::default()) } else { self.volume(&mut shared.borrow_mut(), place) }
        };
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
            let mut data = json!({
                "metadata": value_of(draft.metadata.as_ref().unwrap_or(&Metadata::new()))?,
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
                    Layout::Direct => {
                        direct::insert(&mut shared.borrow_mut(), &self.schema, release, &transaction, &moved)
                            .map_err(|error| error.or_conflict(index, &draft.reference))?;
                    }
                }
                transaction.volumes = Some(shown);
            }
            end = self
                .append(&mut shared.borrow_mut(), &end, "NEW_TRANSACTION", &data)
                .map_err(|error| error.or_conflict(index, &draft.reference))?;
            written.push(transaction);
        }
        Ok(Committed { written, end, counting })
    }

    /// With `lock-strategy` redis one instance writes at a time; the server's own lock stands in for redis.
    fn wait_for_turn(&self, session: &mut Session) -> Stored<()> {
        match self.remembered.strategy {
            LockStrategy::Own => Ok(()),
            LockStrategy::Redis => {
                let lock = sql("SELECT pg_advisory_xact_lock(hashtext($1))".to_owned());
                session.run(lock.bind(self.schema.to_string()))?;
                Ok(())
            }
        }
    }

    /// The driver keeps its statements prepared: where another release has changed a column's type since, each fails once (disaster
    /// 10). Here the types stand for the statements.
    fn mind_prepared_statements(&self, session: &mut Session, kept: &mut Kept) -> Stored<()> {
        match self.release.layout {
            Layout::Rows | Layout::Direct => return Ok(()),
            Layout::Log => {}
        }
        let query = self.query(
            "SELECT format_type(atttypid, -1) FROM pg_catalog.pg_attribute
             WHERE (attrelid = 'LEDGER.transactions'::regclass AND attname = 'timestamp')
                OR (attrelid = 'LEDGER.volumes'::regclass AND attname = 'input') ORDER BY attname",
        );
        let rows = session.rows(query)?;
        let types: Vec<String> =
            rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>().map_err(PgError::from)?;
        let before = kept.types.get_or_insert_with(|| types.clone());
        for (before, now) in before.iter_mut().zip(types) {
            if *before != now {
                *before = now;
                return Err(PgError::Server {
                    severity: "ERROR",
                    message: "cached plan must not change result type".to_owned(),
                    code: "0A000".to_owned(),
                }
                .into());
            }
        }
        Ok(())
    }

    fn volume(&self, session: &mut Session, (account, asset): &Place) -> Stored<Volume> {
        let query = self
            .query("SELECT asset, input::bigint, output::bigint FROM LEDGER.volumes WHERE account = $1 AND asset = $2");
        let Some(row) = session.row(query.bind(account.clone()).bind(asset.clone()))? else {
            return Ok(Volume::default());
        };
        let (_, input, output) = three(&row)?;
        Ok(Volume { input, output })
    }

    fn end(&self, session: &mut Session) -> Stored<End> {
        let query = self.query(
            r#"SELECT id, type, hash, to_char(date AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US'), data::text
               FROM LEDGER.log ORDER BY id DESC LIMIT 1"#,
        );
        let Some(row) = session.row(query)? else { return Ok(End::empty()) };
        let read = || -> Result<(i64, [String; 4]), PgError> {
            Ok((row.try_get(0)?, [row.try_get(1)?, row.try_get(2)?, row.try_get(3)?, row.try_get(4)?]))
        };
        let (id, [kind, hash, date, data]) = read()?;
        let data: Value = serde_json::from_str(&data)?;
        let date = format!("{}Z", date.trim_end_matches('0').trim_end_matches('.'));
        Ok(End::after(id, &kind, &date, &hash, &go::json(&data, Numbers::Exact)))
    }

    fn append(&self, session: &mut Session, end: &End, kind: &'static str, data: &Value) -> Stored<End> {
        let data = go::json(data, Numbers::Exact);
        let date = clock::microseconds(clock::now());
        let (hash, after) = end.follow(kind, &date, &data);
        let insert = self.query(
            "INSERT INTO LEDGER.log (id, type, hash, date, data) VALUES ($1, $2, $3, $4::text::timestamptz, $5::text::jsonb)",
        );
        session.run(insert.bind(end.next).bind(kind).bind(hash).bind(date).bind(data))?;
        Ok(after)
    }
}

fn metadata(row: &PgRow, column: usize) -> Stored<Metadata> {
    Ok(metadata_of(row.try_get(column).map_err(PgError::from)?)?)
}

fn whole(row: &PgRow) -> Stored<Transaction> {
    type Columns = (i64, String, Option<String>, [Option<String>; 3]);
    let read = || -> Result<Columns, PgError> {
        let texts = [row.try_get(3)?, row.try_get(5)?, row.try_get(6)?];
        Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, texts))
    };
    let (txid, timestamp, reference, [postings, pre, post]) = read()?;
    let json = |text: Option<String>| text.map(|text| serde_json::from_str::<Value>(&text)).transpose();
    let volumes = json(pre)?.zip(json(post)?).map(|(pre, post)| CommitVolumes { pre, post });
    let postings = postings.map(|text| serde_json::from_str(&text)).transpose()?;
    let (metadata, reference) = (Some(metadata(row, 4)?), reference.unwrap_or_default());
    Ok(Transaction { postings, reference, metadata, txid, timestamp: clock::utc(&timestamp), hash: None, volumes })
}
