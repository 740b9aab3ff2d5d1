//! Storages to work on: through a running instance, as its clients would fill it ([`over_http`]), or at once into a file
//! ([`direct`]) or a schema ([`direct_postgres`]).

mod postgres;
mod rows;
mod sqlite;

pub use postgres::{direct_postgres, direct_postgres_as};
pub use rows::Shape;
pub use sqlite::{direct, direct_as};

use crate::faults::Faults;
use crate::model::{Draft, Metadata, Posting};
use crate::release::{Layout, Release};
use crate::storage::{Cancel, Driver, Storage, StoreError, Stored};
use crate::wire;
use serde_json::value::RawValue;
use serde_json::{Value, json};

/// Why seeding failed.
#[derive(Debug, thiserror::Error)]
pub enum SeedError {
    /// No answer.
    #[error("cannot seed ledger {ledger} at {address}: {method} {path}: {source}")]
    Unreachable {
        /// Host and port.
        address: String,
        /// The ledger.
        ledger: String,
        /// The request.
        method: &'static str,
        /// The request.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// A refusal.
    #[error("cannot seed ledger {ledger}: {path} answered {status}: {body}")]
    Refused {
        /// The ledger.
        ledger: String,
        /// The request.
        path: String,
        /// Its status.
        status: u16,
        /// What it said.
        body: String,
    },
    /// No such release.
    #[error("cannot seed a storage of {version}: the simulator knows no such release")]
    UnknownRelease {
        /// What was asked for.
        version: String,
    },
    /// SQLite.
    #[error("cannot seed {path}: {source}")]
    Sqlite {
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// PostgreSQL.
    #[error("cannot seed the schema of ledger {ledger}: {source}")]
    Postgres {
        /// The ledger.
        ledger: String,
        /// Why.
        source: Box<crate::storage::StoreError>,
    },
}

/// What seeding wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seeded {
    /// How many transactions, all told.
    pub transactions: u64,
    /// All references.
    pub references: Vec<String>,
    /// What a migration of this storage from 1.3.1 or earlier to 1.3.2 or later loses: `account vip:00000 kyc`, and on SQLite
    /// `transaction 0 order`. Sorted. Empty part by part where the ledger was not empty before.
    pub lost_by_migrating: Vec<String>,
}

/// Transactions a request.
const BATCH: u64 = 200;

/// The release whose layout is seeded where none is named.
const ROWS: &str = "1.3.1";

fn release(version: &str) -> Result<&'static Release, SeedError> {
    Release::find(version).ok_or_else(|| SeedError::UnknownRelease { version: version.to_owned() })
}

/// Fills an empty ledger as its release does.
fn through_store(storage: &dyn Storage, ledger: &str, shape: Shape) -> Stored<()> {
    storage.system()?.register(ledger)?;
    let mut opened = storage.ledger(ledger)?;
    opened.migrate(&Faults::default(), &Cancel::default())?;
    let mut store = opened.store();
    let there = store.stats()?.0;
    if there > 0 {
        return Err(StoreError::Unreadable(format!("ledger {ledger} holds {there} transactions already")));
    }
    let mut drafts = Vec::new();
    for row in shape.rows() {
        let metadata = row.order.map(|(_, order)| RawValue::from_string(order)).transpose()?;
        drafts.push(Draft {
            postings: vec![Posting {
                source: "world".to_owned(),
                destination: row.account,
                amount: row.amount,
                asset: "USD/2".to_owned(),
            }],
            reference: row.reference.unwrap_or_default(),
            metadata: metadata.map(|order| Metadata::from([("order".to_owned(), order)])),
            timestamp: Some(row.timestamp),
        });
        if drafts.len() == 500 {
            store.commit(&drafts)?;
            drafts.clear();
        }
    }
    store.commit(&drafts).map(drop)
}

/// Writes `transactions` transactions into `ledger` through the instance at `address` (`host:port`): from `world` to users, a
/// reference on every third, a second posting on every fifth, a payment between users on every seventh, metadata on every fourth;
/// then metadata on accounts with postings, one key of it overridden, and metadata of the classes that migrating loses where the
/// instance is of 1.3.1 or earlier: the ledger's first entry (SQLite), and three accounts that no posting names. May be run again: it counts on from what is there.
///
/// # Errors
/// When the instance does not answer or refuses.
pub fn over_http(address: &str, ledger: &str, transactions: u64) -> Result<Seeded, SeedError> {
    let client = Client { address, ledger };
    let stats = client.get("stats")?;
    let first = stats["data"]["transactions"].as_u64().unwrap_or(0);
    let mut seeded = Seeded { transactions, ..Seeded::default() };
    let mut at = first;
    while at < first + transactions {
        let end = (at + BATCH).min(first + transactions);
        let batch: Vec<Value> = (at..end).map(|id| transaction(ledger, id, &mut seeded.references)).collect();
        client.post("transactions/batch", &json!({ "transactions": batch }))?;
        at = end;
    }
    if transactions > 0 {
        client.post(
            &format!("accounts/{}/metadata", user(first)),
            &json!({ "tier": "silver", "limits": { "daily": 1000 } }),
        )?;
        client.post(&format!("accounts/{}/metadata", user(first)), &json!({ "tier": "gold" }))?;
    }
    for number in 0..3 {
        let account = format!("vip:{first:04}{number}");
        client.post(&format!("accounts/{account}/metadata"), &json!({ "kyc": { "level": number } }))?;
        seeded.lost_by_migrating.push(format!("account {account} kyc"));
    }
    let info = client.ask("GET", "/_info".to_owned(), None)?;
    let driver = info["data"]["config"]["storage"]["driver"].as_str().and_then(Driver::find);
    let version = info["data"]["version"].as_str().and_then(Release::find);
    if version.is_some_and(|release| release.layout != Layout::Rows) {
        seeded.lost_by_migrating.clear();
        return Ok(seeded);
    }
    if first == 0 && transactions > 0 && driver != Some(Driver::Postgres) {
        seeded.lost_by_migrating.push("transaction 0 order".to_owned());
    }
    seeded.lost_by_migrating.sort();
    Ok(seeded)
}

fn user(id: u64) -> String {
    format!("users:{:04}", id * 7919 % 997)
}

/// The first transaction has one metadata key, so that the entry with `meta_id` 0 is known.
fn transaction(ledger: &str, id: u64, references: &mut Vec<String>) -> Value {
    let asset = ["USD/2", "EUR/2", "JPY", "BTC/8"][usize::try_from(id % 4).unwrap_or(0)];
    let amount = id * 7907 % 100_000 + 1000;
    let mut postings = vec![json!({ "source": "world", "destination": user(id), "amount": amount, "asset": asset })];
    if id.is_multiple_of(5) {
        postings.push(json!({ "source": "world", "destination": "fees", "amount": id % 50 + 1, "asset": asset }));
    }
    if id % 7 == 3 {
        postings.push(json!({ "source": user(id), "destination": "shop:main", "amount": amount / 2, "asset": asset }));
    }
    let mut transaction = json!({ "postings": postings });
    if id.is_multiple_of(3) {
        let reference = format!("ref-{ledger}-{id}");
        transaction["reference"] = json!(reference);
        references.push(reference);
    }
    if id == 0 {
        transaction["metadata"] = json!({ "order": "o0" });
    } else if id.is_multiple_of(4) {
        transaction["metadata"] =
            json!({ "order": format!("o{id}"), "note": "café ☕ \"q\"", "lines": [1, 2.5, true, null] });
    }
    transaction
}

struct Client<'a> {
    address: &'a str,
    ledger: &'a str,
}

impl Client<'_> {
    fn get(&self, path: &str) -> Result<Value, SeedError> {
        self.send("GET", path, None)
    }

    fn post(&self, path: &str, body: &Value) -> Result<Value, SeedError> {
        self.send("POST", path, Some(&body.to_string()))
    }

    fn send(&self, method: &'static str, path: &str, body: Option<&str>) -> Result<Value, SeedError> {
        self.ask(method, format!("/{}/{path}", self.ledger), body)
    }

    fn ask(&self, method: &'static str, path: String, body: Option<&str>) -> Result<Value, SeedError> {
        let reply = wire::request(self.address, method, &path, body).map_err(|source| SeedError::Unreachable {
            address: self.address.to_owned(),
            ledger: self.ledger.to_owned(),
            method,
            path: path.clone(),
            source,
        })?;
        if reply.status >= 300 {
            let ledger = self.ledger.to_owned();
            return Err(SeedError::Refused { ledger, path, status: reply.status, body: reply.body });
        }
        Ok(reply.json())
    }
}
