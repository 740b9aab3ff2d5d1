//! Transactions, postings, accounts and metadata, as the ledger's JSON shows them.

use crate::go::{self, Numbers};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// Metadata: each value is the JSON text that was sent, because up to 1.3.1 it is stored and answered unchanged.
pub type Metadata = BTreeMap<String, Box<RawValue>>;

/// As it goes into a row of `log`.
///
/// # Errors
/// A value that is no JSON.
pub(crate) fn value_of(metadata: &Metadata) -> serde_json::Result<Value> {
    serde_json::to_value(metadata)
}

/// As it comes from the column `metadata`, which holds NULL for none.
///
/// # Errors
/// A text that is no JSON.
pub(crate) fn metadata_of(column: Option<String>) -> serde_json::Result<Metadata> {
    let Some(text) = column else { return Ok(Metadata::new()) };
    let value: Value = serde_json::from_str(&text)?;
    serde_json::from_str(&go::json(&value, Numbers::Exact))
}

/// One movement of money.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Posting {
    /// Where it comes from.
    pub source: String,
    /// Where it goes.
    pub destination: String,
    /// How much; SQLite holds 64 bits.
    pub amount: i64,
    /// Of what.
    pub asset: String,
}

/// A transaction; the order of the fields is that of the answers.
#[derive(Clone, Debug, Serialize)]
pub struct Transaction {
    /// Absent (`null`) where an old instance wrote into a migrated storage.
    pub postings: Option<Vec<Posting>>,
    /// Empty where there is none.
    pub reference: String,
    /// `null` in the answer to a write without metadata.
    pub metadata: Option<Metadata>,
    /// Counts from 0.
    pub txid: i64,
    /// RFC 3339, whole seconds.
    pub timestamp: String,
    /// Up to 1.3.1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
    /// From 1.6.0 on, where it was written by such a release; no part of the hash.
    #[serde(skip)]
    pub volumes: Option<CommitVolumes>,
}

/// The volumes of the accounts in a transaction, by account and asset.
#[derive(Clone, Debug, PartialEq)]
pub struct CommitVolumes {
    /// Before it.
    pub pre: Value,
    /// After it.
    pub post: Value,
}

/// A transaction before it has an id.
#[derive(Clone, Debug)]
pub struct Draft {
    /// At least one.
    pub postings: Vec<Posting>,
    /// Empty where there is none.
    pub reference: String,
    /// Nothing, or what was sent.
    pub metadata: Option<Metadata>,
    /// When it happened; now, where none is given.
    pub timestamp: Option<String>,
}

impl Draft {
    /// What the transaction takes from each account and asset, net; `world` may overdraw.
    #[must_use]
    pub fn needs(&self) -> BTreeMap<(String, String), i64> {
        let mut net: BTreeMap<(String, String), i64> = BTreeMap::new();
        for posting in &self.postings {
            *net.entry((posting.source.clone(), posting.asset.clone())).or_default() += posting.amount;
            *net.entry((posting.destination.clone(), posting.asset.clone())).or_default() -= posting.amount;
        }
        net.retain(|(account, _), amount| account != "world" && *amount > 0);
        net
    }
}

/// What an account received and gave of one asset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Volume {
    /// Received.
    pub input: i64,
    /// Given.
    pub output: i64,
}

/// An account.
#[derive(Clone, Debug, Default)]
pub struct Account {
    /// Its address.
    pub address: String,
    /// By asset; empty where no posting names it.
    pub volumes: BTreeMap<String, Volume>,
    /// Nothing where it has none.
    pub metadata: Metadata,
}

/// One page of a list, newest or last first.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// At most as many as were asked for.
    pub items: Vec<T>,
    /// Whether older ones follow.
    pub has_more: bool,
    /// Of how many in all.
    pub total: u64,
}

/// An entry of `log`.
#[derive(Clone, Debug, Serialize)]
pub struct LogEntry {
    /// Counts from 0.
    pub id: i64,
    /// `NEW_TRANSACTION`, `SET_METADATA`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What it says.
    pub data: Value,
    /// Over it and the one before.
    pub hash: String,
    /// As the driver writes it.
    pub date: String,
}

/// An answer that is given again for the same `Idempotency-Key`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repeatable {
    /// Its status.
    pub status: u16,
    /// Its body.
    pub body: String,
    /// Over the request.
    pub request: String,
}

/// What metadata is set on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A transaction.
    Transaction(i64),
    /// An account.
    Account(String),
}
