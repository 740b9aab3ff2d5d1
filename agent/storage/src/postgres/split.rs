//! The layout of 1.0 to 1.3.1 as row streams, and which of its metadata the ledger's own migration will lose.
//!
//! The server sorts, by bytes (`COLLATE "C"`), as UTF-8 sorts in Rust.

use super::ledger::Ledger;
use super::rows::Fields;
use crate::StorageError;
use crate::digest::rows::{
    Amount, BalanceRow, LoggedTransaction, MetadataRow, PostingRow, Scope, Target, TransactionRow, Value,
};
use cutover_vocabulary::storage::LossClass;

const TRANSACTIONS: &str = "SELECT id, timestamp, reference FROM {0}.transactions ORDER BY id";

/// The place of a posting is not its `id`: see [`PostingRow`].
const POSTINGS: &str = "SELECT txid, source, destination, asset, amount FROM {0}.postings \
    ORDER BY txid, coalesce(source, '') COLLATE \"C\", coalesce(destination, '') COLLATE \"C\", \
             coalesce(asset, '') COLLATE \"C\", amount NULLS FIRST";

/// Sums are `numeric`, so they cannot overflow. A NULL among the amounts makes its sum unreadable, not smaller.
const BALANCES: &str = "SELECT account, asset, sum(input), sum(output), bool_or(unreadable_in), bool_or(unreadable_out) FROM ( \
      SELECT coalesce(source, '') AS account, coalesce(asset, '') AS asset, 0 AS input, amount AS output, \
             false AS unreadable_in, amount IS NULL AS unreadable_out FROM {0}.postings \
      UNION ALL SELECT coalesce(destination, ''), coalesce(asset, ''), amount, 0, amount IS NULL, false FROM {0}.postings \
    ) moves GROUP BY account, asset ORDER BY account COLLATE \"C\", asset COLLATE \"C\"";

/// A later `meta_id` overrides an earlier one of the same key. The last column: whether the account appears in a posting; only
/// postings of accounts that have metadata are collected for that.
const ACCOUNT_METADATA: &str = "WITH latest AS MATERIALIZED ( \
      SELECT DISTINCT ON (meta_target_id COLLATE \"C\", meta_key COLLATE \"C\") \
             coalesce(meta_target_id, '') AS target, coalesce(meta_key, '') AS key, meta_value AS value FROM {0}.metadata \
      WHERE meta_target_type = 'account' \
      ORDER BY meta_target_id COLLATE \"C\", meta_key COLLATE \"C\", meta_id DESC NULLS LAST \
    ), used AS ( \
      SELECT source AS account FROM {0}.postings WHERE source IN (SELECT target FROM latest) \
      UNION SELECT destination FROM {0}.postings WHERE destination IN (SELECT target FROM latest) \
    ) SELECT m.target, m.key, m.value, u.account IS NOT NULL FROM latest m LEFT JOIN used u ON u.account = m.target \
      ORDER BY m.target COLLATE \"C\", m.key COLLATE \"C\"";

/// Targets that are a number's plain spelling by number, then whatever else is there by bytes. Up to
/// eighteen digits always fit, and the plain pattern for them takes a third of the time of one that counts. `OFFSET 0` has
/// each number worked out once, not once for each comparison.
const TRANSACTION_METADATA: &str = "SELECT DISTINCT ON (number, other COLLATE \"C\", key COLLATE \"C\") number, other, key, value FROM ( \
      SELECT number, CASE WHEN number IS NULL THEN \
               CASE WHEN type = 'transaction' THEN target ELSE type || ':' || target END END AS other, key, value, meta_id \
      FROM ( \
        SELECT CASE WHEN meta_target_type IS DISTINCT FROM 'transaction' THEN NULL \
                 WHEN meta_target_id ~ '^[1-9][0-9]*$' AND length(meta_target_id) <= 18 THEN meta_target_id::bigint \
                 WHEN meta_target_id = '0' THEN 0 \
                 WHEN meta_target_id ~ '^-?[1-9][0-9]{0,18}$' THEN \
                 CASE WHEN meta_target_id::numeric BETWEEN -9223372036854775808 AND 9223372036854775807 \
                      THEN meta_target_id::bigint END END AS number, \
               coalesce(meta_target_type, '') AS type, coalesce(meta_target_id, '') AS target, \
               coalesce(meta_key, '') AS key, meta_value AS value, meta_id FROM {0}.metadata \
        WHERE meta_target_type IS DISTINCT FROM 'account' OFFSET 0 \
      ) plain OFFSET 0 \
    ) numbered ORDER BY number NULLS LAST, other COLLATE \"C\", key COLLATE \"C\", meta_id DESC NULLS LAST";

fn transaction(row: &Fields<'_>) -> Result<TransactionRow, StorageError> {
    Ok(TransactionRow { id: row.id(0)?, instant: row.instant(1)?, reference: row.reference(2)? })
}

pub(super) fn transactions(ledger: &Ledger, scope: &mut Scope<'_, TransactionRow>) -> Result<(), StorageError> {
    ledger.stream(
        TRANSACTIONS,
        |row: &Fields<'_>, out: &mut Vec<_>| {
            out.push(transaction(row)?);
            Ok(())
        },
        scope,
    )
}

pub(super) fn postings(ledger: &Ledger, scope: &mut Scope<'_, PostingRow>) -> Result<(), StorageError> {
    let mut last = (i64::MIN, 0);
    ledger.stream(
        POSTINGS,
        |row: &Fields<'_>, out: &mut Vec<_>| {
            let txid = row.id(0)?;
            last = if last.0 == txid { (txid, last.1 + 1) } else { (txid, 0) };
            out.push(PostingRow {
                txid,
                index: last.1,
                source: row.plain(1)?,
                destination: row.plain(2)?,
                asset: row.plain(3)?,
                amount: row.amount(4)?,
            });
            Ok(())
        },
        scope,
    )
}

/// Rows of (account, asset, input, output, input unreadable, output unreadable).
pub(super) fn sum(row: &Fields<'_>, out: &mut Vec<BalanceRow>) -> Result<(), StorageError> {
    let (account, asset) = (row.plain(0)?, row.plain(1)?);
    let amount = |value, unreadable| {
        if row.text(unreadable)? == Some("t") {
            return Ok(Amount::Other("unreadable".to_owned()));
        }
        match row.amount(value)? {
            Amount::Whole(amount) => Ok(Amount::Whole(amount)),
            Amount::Other(_) => Err(StorageError::AmountTooLarge { account: account.clone(), asset: asset.clone() }),
        }
    };
    let (input, output) = (amount(2, 4)?, amount(3, 5)?);
    out.push(BalanceRow { account, asset, input, output });
    Ok(())
}

pub(super) fn balances(ledger: &Ledger, scope: &mut Scope<'_, BalanceRow>) -> Result<(), StorageError> {
    ledger.stream(BALANCES, sum, scope)
}

/// The transactions alone: the old layout has no log to compare them with.
pub(super) fn entered(ledger: &Ledger, scope: &mut Scope<'_, LoggedTransaction>) -> Result<(), StorageError> {
    ledger.stream(
        TRANSACTIONS,
        |row: &Fields<'_>, out: &mut Vec<_>| {
            out.push(LoggedTransaction { transaction: transaction(row)?, postings: Some(Vec::new()) });
            Ok(())
        },
        scope,
    )
}

fn value(row: &Fields<'_>, column: usize) -> Result<Value, StorageError> {
    Ok(row.text(column)?.map_or_else(|| Value::Other("null".to_owned()), Value::parse))
}

/// The one loss on PostgreSQL, measured with the real binaries: metadata of an account that no posting names.
pub(super) fn account_metadata(ledger: &Ledger, scope: &mut Scope<'_, MetadataRow>) -> Result<(), StorageError> {
    ledger.stream(
        ACCOUNT_METADATA,
        |row: &Fields<'_>, out: &mut Vec<_>| {
            let used = row.text(3)? == Some("t");
            out.push(MetadataRow {
                target: Target::Account(row.plain(0)?),
                key: row.plain(1)?,
                value: value(row, 2)?,
                lost: (!used).then_some(LossClass::AccountMetadataWithoutPosting),
            });
            Ok(())
        },
        scope,
    )
}

pub(super) fn transaction_metadata(ledger: &Ledger, scope: &mut Scope<'_, MetadataRow>) -> Result<(), StorageError> {
    ledger.stream(
        TRANSACTION_METADATA,
        |row: &Fields<'_>, out: &mut Vec<_>| {
            let target = match row.text(0)? {
                Some(_) => Target::Transaction(row.id(0)?),
                None => Target::Other(row.plain(1)?),
            };
            out.push(MetadataRow { target, key: row.plain(2)?, value: value(row, 3)?, lost: None });
            Ok(())
        },
        scope,
    )
}
