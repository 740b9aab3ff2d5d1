//! What a driver gives to the digest: sorted streams of rows, whatever the tables look like.

use crate::StorageError;
use cutover_vocabulary::storage::{LossClass, MetadataTarget};
use std::cmp::Ordering;

/// A whole number as the ledger stores amounts, or what stood there instead.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Amount {
    /// The usual case.
    Whole(i128),
    /// Something else, verbatim (SQLite turns a sum beyond 64 bits into a float).
    Other(String),
}
impl Default for Amount {
    fn default() -> Self {
        Self::Whole(0)
    }
}
impl std::fmt::Display for Amount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Whole(amount) => write!(f, "{amount}"),
            Self::Other(text) => f.write_str(text),
        }
    }
}

/// A transaction's time, or what stood there instead.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Instant {
    /// No time.
    #[default]
    None,
    /// Nanoseconds since 1970, UTC.
    At(i128),
    /// A text that is no time, verbatim.
    Other(String),
}
impl Instant {
    /// From any spelling that the ledger's releases use (RFC 3339, or with a space and an offset).
    pub fn parse(text: &str) -> Self {
        match text.parse::<jiff::Timestamp>() {
            Ok(at) => Self::At(at.as_nanosecond()),
            Err(_) => Self::Other(text.to_owned()),
        }
    }
}
impl std::fmt::Display for Instant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::None => f.write_str("no time"),
            Self::At(nanos) => match jiff::Timestamp::from_nanosecond(*nanos) {
                Ok(at) => write!(f, "{at}"),
                Err(_) => write!(f, "{nanos} ns"),
            },
            Self::Other(text) => write!(f, "{text:?}"),
        }
    }
}

/// A metadata value: canonical JSON, or a text that is not JSON, verbatim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Canonical JSON text.
    Json(String),
    /// Not JSON.
    Other(String),
}
impl Default for Value {
    fn default() -> Self {
        Self::Other(String::new())
    }
}
impl Value {
    /// Puts a text from the storage into canonical form.
    pub fn parse(text: &str) -> Self {
        match super::json::Json::parse(text) {
            Some(json) => Self::from(&json),
            None => Self::Other(text.to_owned()),
        }
    }
    /// As it is shown and kept in lists.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Json(text) | Self::Other(text) => text,
        }
    }
}
impl From<&super::json::Json> for Value {
    fn from(json: &super::json::Json) -> Self {
        let mut text = String::new();
        json.write(&mut text);
        Self::Json(text)
    }
}

/// Sorted by `id`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TransactionRow {
    /// `txid`.
    pub id: i64,
    /// When.
    pub instant: Instant,
    /// Its reference; an empty one is none.
    pub reference: Option<String>,
}

/// Sorted by `txid`, then `index`.
///
/// The order of postings within a transaction is not compared: the ledger's own migration of the old tables on SQLite
/// collects them without an ORDER BY, by an index on source and destination, and no balance depends on their order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PostingRow {
    /// Of which transaction.
    pub txid: i64,
    /// Place among its transaction's postings, sorted by source, destination, asset and amount; from 0.
    pub index: i64,
    /// From which account.
    pub source: String,
    /// To which account.
    pub destination: String,
    /// Of what.
    pub asset: String,
    /// How much.
    pub amount: Amount,
}

/// Sorted by `account`, then `asset`, by bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BalanceRow {
    /// Which account.
    pub account: String,
    /// Which asset.
    pub asset: String,
    /// Sum of what came in.
    pub input: Amount,
    /// Sum of what went out.
    pub output: Amount,
}

/// What metadata belongs to, in the order in which its rows are sorted: accounts by bytes; transactions by number; then
/// what stands for a transaction but is not the plain spelling of a number, by bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// An account's address.
    Account(String),
    /// A transaction's id.
    Transaction(i64),
    /// Anything else, verbatim.
    Other(String),
}
impl Default for Target {
    fn default() -> Self {
        Self::Transaction(0)
    }
}
impl From<&Target> for MetadataTarget {
    fn from(target: &Target) -> Self {
        match target {
            Target::Account(address) => Self::Account(address.clone()),
            Target::Transaction(id) => Self::Transaction(id.to_string()),
            Target::Other(text) => Self::Transaction(text.clone()),
        }
    }
}
impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        MetadataTarget::from(self).fmt(f)
    }
}

/// The latest value of one key. Sorted by `target`, then `key` by bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MetadataRow {
    /// What it belongs to.
    pub target: Target,
    /// The key.
    pub key: String,
    /// The value.
    pub value: Value,
    /// The known class by which the ledger's own migration will lose this row; only rows of the old layout have one.
    pub lost: Option<LossClass>,
}

/// Rows that can be told apart and put in order; what a merge of two streams needs.
pub trait Row: Clone + PartialEq {
    /// Compares what identifies the rows.
    fn order(&self, other: &Self) -> Ordering;
    /// Whether the content is the same too. What only one layout knows (`lost`) does not count.
    fn same(&self, other: &Self) -> bool {
        self == other
    }
    /// What identifies it, for people.
    fn name(&self) -> String;
    /// What it holds, for people.
    fn content(&self) -> String;
    /// The known class of loss that explains its disappearance.
    fn class(&self) -> Option<LossClass> {
        None
    }
}
impl Row for TransactionRow {
    fn order(&self, other: &Self) -> Ordering {
        self.id.cmp(&other.id)
    }
    fn name(&self) -> String {
        format!("transaction {}", self.id)
    }
    fn content(&self) -> String {
        match &self.reference {
            Some(reference) => format!("{} reference {reference:?}", self.instant),
            None => format!("{} without reference", self.instant),
        }
    }
}
impl Row for PostingRow {
    fn order(&self, other: &Self) -> Ordering {
        (self.txid, self.index).cmp(&(other.txid, other.index))
    }
    fn name(&self) -> String {
        format!("transaction {} posting {}", self.txid, self.index)
    }
    fn content(&self) -> String {
        format!("{} {} from {:?} to {:?}", self.amount, self.asset, self.source, self.destination)
    }
}
impl Row for BalanceRow {
    fn order(&self, other: &Self) -> Ordering {
        (&self.account, &self.asset).cmp(&(&other.account, &other.asset))
    }
    fn name(&self) -> String {
        format!(
            "account {} asset {}",
            cutover_vocabulary::name::shown(&self.account),
            cutover_vocabulary::name::shown(&self.asset)
        )
    }
    fn content(&self) -> String {
        format!("input {} output {}", self.input, self.output)
    }
}
impl Row for MetadataRow {
    fn order(&self, other: &Self) -> Ordering {
        (&self.target, &self.key).cmp(&(&other.target, &other.key))
    }
    fn same(&self, other: &Self) -> bool {
        self.value == other.value
    }
    fn name(&self) -> String {
        format!("{} key {}", self.target, cutover_vocabulary::name::shown(&self.key))
    }
    fn content(&self) -> String {
        self.value.as_str().to_owned()
    }
    fn class(&self) -> Option<LossClass> {
        self.lost
    }
}

/// A sorted stream that stands on one row at a time. Before the first [`advance`](RowStream::advance) and after the last row
/// it stands on none.
pub trait RowStream<R> {
    /// Goes to the next row.
    fn advance(&mut self) -> Result<(), StorageError>;
    /// The row it stands on.
    fn current(&self) -> Option<&R>;
}

/// What is done with a stream while the driver keeps its cursor open.
pub type Scope<'a, R> = dyn FnMut(&mut dyn RowStream<R>) -> Result<(), StorageError> + 'a;

/// A ledger as sorted streams. Two streams of different sources, or of one, can be open at once (scopes nest), which is how
/// two ledgers are merged in bounded memory. All streams of one source must show one snapshot.
pub trait RowSource {
    /// Every transaction.
    fn transactions(&self, scope: &mut Scope<'_, TransactionRow>) -> Result<(), StorageError>;
    /// Every posting.
    fn postings(&self, scope: &mut Scope<'_, PostingRow>) -> Result<(), StorageError>;
    /// What the ledger answers balances from: the sums over the postings in the old layout, the table `volumes` in the new one.
    fn balances(&self, scope: &mut Scope<'_, BalanceRow>) -> Result<(), StorageError>;
    /// Metadata of accounts.
    fn account_metadata(&self, scope: &mut Scope<'_, MetadataRow>) -> Result<(), StorageError>;
    /// Metadata of transactions.
    fn transaction_metadata(&self, scope: &mut Scope<'_, MetadataRow>) -> Result<(), StorageError>;
    /// Sums over the postings, by whatever means is not the table `volumes`.
    fn balances_of_postings(&self, scope: &mut Scope<'_, BalanceRow>) -> Result<(), StorageError>;
    /// Whether the source has a table `log`; without one [`logged`](RowSource::logged) has no rows.
    fn has_log(&self) -> bool;
    /// Every transaction as `log` tells it, sorted by `txid`; an id that stands there twice appears twice.
    fn logged(&self, scope: &mut Scope<'_, LoggedTransaction>) -> Result<(), StorageError>;
    /// The transactions with their postings together, sorted by id; to compare with [`logged`](RowSource::logged).
    fn entered(&self, scope: &mut Scope<'_, LoggedTransaction>) -> Result<(), StorageError>;
}

/// A transaction with its postings. Sorted by id.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LoggedTransaction {
    /// Id, instant, reference.
    pub transaction: TransactionRow,
    /// Its postings in order; `None` when they cannot be read (an old server wrote beside a new one: NULL).
    pub postings: Option<Vec<PostingRow>>,
}
