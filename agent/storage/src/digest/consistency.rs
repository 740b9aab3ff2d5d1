//! Whether a storage agrees with itself. Past damage shows here: lost volumes, a log that knows other transactions.

use super::compare::merge;
use super::rows::{
    BalanceRow, Instant, LoggedTransaction, MetadataRow, Row, RowSource, RowStream, Target, TransactionRow,
};
use crate::StorageError;
use cutover_vocabulary::storage::{Damage, DamageKind};
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;

/// One place where a ledger contradicts itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Inconsistency {
    /// The table `volumes` and the sum over the postings differ for an account and asset.
    Volumes {
        /// Account and asset.
        row: String,
        /// What `volumes` says; none if it has no such row.
        volumes: Option<String>,
        /// What the postings add up to; none if there are none.
        postings: Option<String>,
    },
    /// `log` and `transactions` differ in one transaction.
    Log {
        /// Which transaction.
        row: String,
        /// What `log` says; none if it has no such entry.
        log: Option<String>,
        /// What `transactions` says; none if it has no such row.
        transactions: Option<String>,
    },
    /// Postings or metadata of a transaction that does not exist. The ledger's own migration would drop them.
    Orphan {
        /// What it is.
        row: String,
    },
    /// A transaction whose postings cannot be read (an old server wrote beside a new one).
    PostingsUnreadable {
        /// Which transaction.
        row: String,
    },
    /// A transaction whose time cannot be read.
    TimeUnreadable {
        /// Which transaction.
        row: String,
        /// What stands there.
        text: String,
    },
}
impl fmt::Display for Inconsistency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or_none = |side: &Option<String>| side.clone().unwrap_or_else(|| "nothing".to_owned());
        match self {
            Self::Volumes { row, volumes, postings } => {
                write!(f, "{row}: volumes say {}, the postings add up to {}", or_none(volumes), or_none(postings))
            }
            Self::Log { row, log, transactions } => {
                write!(f, "{row}: log says {}, transactions say {}", or_none(log), or_none(transactions))
            }
            Self::Orphan { row } => write!(f, "{row}: there is no such transaction"),
            Self::PostingsUnreadable { row } => write!(f, "{row}: its postings cannot be read"),
            Self::TimeUnreadable { row, text } => write!(f, "{row}: its time {text:?} cannot be read"),
        }
    }
}

/// Every contradiction counted, the first `cap` of them listed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SelfCheck {
    /// How many, listed or not.
    pub count: u64,
    /// The first ones.
    pub listed: Vec<Inconsistency>,
    /// All of them by what they look like, with a few of each: many of one kind must not hide the first of another.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub damage: BTreeMap<DamageKind, Damage>,
}

/// How many of each kind of damage are told in words.
const SOME: usize = 5;

/// Compares volumes with postings and `log` with transactions, by merge, in bounded memory. Changes nothing.
///
/// In the old layout there is no table `volumes` and no `log`; there postings and metadata are held against the transactions.
pub fn check(source: &dyn RowSource, cap: usize) -> Result<SelfCheck, StorageError> {
    let mut found = SelfCheck::default();
    let mut note = |kind: DamageKind, inconsistency: Inconsistency| {
        found.count += 1;
        let damage = found.damage.entry(kind).or_default();
        damage.count += 1;
        if damage.some.len() < SOME {
            damage.some.push(inconsistency.to_string());
        }
        if found.listed.len() < cap {
            found.listed.push(inconsistency);
        }
    };
    source.entered(&mut |rows| {
        rows.advance()?;
        while let Some(row) = rows.current() {
            if row.postings.is_none() {
                note(DamageKind::Other, Inconsistency::PostingsUnreadable { row: row.transaction.name() });
            }
            if let Instant::Other(text) = &row.transaction.instant {
                note(
                    DamageKind::Other,
                    Inconsistency::TimeUnreadable { row: row.transaction.name(), text: text.clone() },
                );
            }
            rows.advance()?;
        }
        Ok(())
    })?;
    if !source.has_log() {
        source.transactions(&mut |transactions| {
            source.postings(&mut |postings| {
                orphans(transactions, postings, &|posting| Some(posting.txid), &mut |posting| {
                    note(DamageKind::Other, Inconsistency::Orphan { row: posting.name() });
                })
            })
        })?;
        source.transactions(&mut |transactions| {
            source.transaction_metadata(&mut |metadata| {
                let owner = |row: &MetadataRow| match &row.target {
                    Target::Transaction(id) => Some(*id),
                    Target::Account(_) | Target::Other(_) => None,
                };
                orphans(transactions, metadata, &owner, &mut |row| {
                    note(DamageKind::Other, Inconsistency::Orphan { row: row.name() })
                })
            })
        })?;
    }
    if source.has_log() {
        source.balances(&mut |volumes| {
            source.balances_of_postings(&mut |sums| {
                merge::<BalanceRow>(volumes, sums, &mut |volumes, sums| {
                    let Some(either) = volumes.or(sums) else { return };
                    note(
                        DamageKind::Balances,
                        Inconsistency::Volumes {
                            row: either.name(),
                            volumes: volumes.map(Row::content),
                            postings: sums.map(Row::content),
                        },
                    );
                })
            })
        })?;
        source.logged(&mut |log| {
            source.entered(&mut |entered| {
                merge::<LoggedTransaction>(log, entered, &mut |log, entered| {
                    let Some(either) = log.or(entered) else { return };
                    note(
                        kind_of(log, entered),
                        Inconsistency::Log {
                            row: either.name(),
                            log: log.map(Row::content),
                            transactions: entered.map(Row::content),
                        },
                    );
                })
            })
        })?;
    }
    Ok(found)
}

/// What made `log` and `transactions` differ in a transaction, by how they differ.
fn kind_of(log: Option<&LoggedTransaction>, entered: Option<&LoggedTransaction>) -> DamageKind {
    match (log, entered) {
        (Some(_), None) => DamageKind::OnlyInLog,
        (Some(log), Some(entered)) => {
            let instant = entered.transaction.instant.clone();
            let transaction = TransactionRow { instant, ..log.transaction.clone() };
            let but_for_its_time = LoggedTransaction { transaction, ..log.clone() };
            if but_for_its_time == *entered { DamageKind::Times } else { DamageKind::Other }
        }
        (None, Some(_) | None) => DamageKind::Other,
    }
}

/// Rows that belong to a transaction which the other stream lacks; `None` as owner is no transaction at all.
fn orphans<R>(
    transactions: &mut dyn RowStream<TransactionRow>,
    rows: &mut dyn RowStream<R>,
    owner: &dyn Fn(&R) -> Option<i64>,
    orphan: &mut dyn FnMut(&R),
) -> Result<(), StorageError> {
    transactions.advance()?;
    rows.advance()?;
    while let Some(row) = rows.current() {
        let wanted = owner(row);
        while let (Some(id), Some(transaction)) = (wanted, transactions.current())
            && transaction.id < id
        {
            transactions.advance()?;
        }
        if wanted.is_none() || transactions.current().map(|transaction| transaction.id) != wanted {
            orphan(row);
        }
        rows.advance()?;
    }
    Ok(())
}

impl Row for LoggedTransaction {
    fn order(&self, other: &Self) -> Ordering {
        self.transaction.id.cmp(&other.transaction.id)
    }
    fn name(&self) -> String {
        self.transaction.name()
    }
    fn content(&self) -> String {
        let postings = match &self.postings {
            None => "postings that cannot be read".to_owned(),
            Some(postings) => postings.iter().map(Row::content).collect::<Vec<_>>().join(", "),
        };
        format!("{}: {postings}", self.transaction.content())
    }
}
