//! The layouts from 1.3.2 on as row streams: postings and metadata are JSON documents.

use super::rows::{amount, expanded, id, instant, plain, reference, stream, summed, text};
use crate::StorageError;
use crate::digest::json::Json;
use crate::digest::rows::{
    Amount, BalanceRow, Instant, LoggedTransaction, MetadataRow, PostingRow, Scope, Target, TransactionRow, Value,
};
use rusqlite::{Connection, Row};
use std::path::Path;

pub(super) fn postings(
    connection: &Connection,
    path: &Path,
    scope: &mut Scope<'_, PostingRow>,
) -> Result<(), StorageError> {
    expanded(
        connection,
        path,
        "SELECT id, postings FROM transactions ORDER BY id",
        |row, out| {
            let txid = id(row, 0)?;
            if let Some(document) = text(row, 1)?.as_deref().and_then(Json::parse)
                && let Some(postings) = postings_of(txid, &document)
            {
                out.extend(postings);
            }
            Ok(())
        },
        scope,
    )
}

/// The ledger answers balances from this table, so this is what must not change. That it agrees with the postings is the
/// business of the self-check.
pub(super) fn balances(
    connection: &Connection,
    path: &Path,
    scope: &mut Scope<'_, BalanceRow>,
) -> Result<(), StorageError> {
    stream(
        connection,
        path,
        "SELECT account, asset, input, output FROM volumes ORDER BY +account, +asset",
        |row| {
            Ok(BalanceRow {
                account: plain(row, 0)?,
                asset: plain(row, 1)?,
                input: amount(row, 2)?,
                output: amount(row, 3)?,
            })
        },
        scope,
    )
}

/// `->` keeps an amount's digits as text; `->>` and `json_extract` would make a float of one beyond 64 bits.
pub(super) fn balances_of_postings(
    connection: &Connection,
    path: &Path,
    scope: &mut Scope<'_, BalanceRow>,
) -> Result<(), StorageError> {
    summed(
        connection,
        path,
        "SELECT p.value ->> '$.source', p.value ->> '$.asset', 0, p.value -> '$.amount' \
           FROM transactions t, json_each(t.postings) p WHERE json_valid(t.postings) \
         UNION ALL SELECT p.value ->> '$.destination', p.value ->> '$.asset', 1, p.value -> '$.amount' \
           FROM transactions t, json_each(t.postings) p WHERE json_valid(t.postings) ORDER BY 1, 2",
        scope,
    )
}

pub(super) fn transaction_metadata(
    connection: &Connection,
    path: &Path,
    scope: &mut Scope<'_, MetadataRow>,
) -> Result<(), StorageError> {
    expanded(
        connection,
        path,
        "SELECT id, metadata FROM transactions WHERE metadata IS NOT NULL AND metadata NOT IN ('', '{}') ORDER BY id",
        |row, out| {
            let target = Target::Transaction(id(row, 0)?);
            entries(&target, &plain(row, 1)?, out);
            Ok(())
        },
        scope,
    )
}

pub(super) fn account_metadata(
    connection: &Connection,
    path: &Path,
    scope: &mut Scope<'_, MetadataRow>,
) -> Result<(), StorageError> {
    expanded(
        connection,
        path,
        "SELECT address, metadata FROM accounts WHERE metadata IS NOT NULL AND metadata NOT IN ('', '{}') ORDER BY +address",
        |row, out| {
            let target = Target::Account(plain(row, 0)?);
            entries(&target, &plain(row, 1)?, out);
            Ok(())
        },
        scope,
    )
}

/// The members of a metadata document, sorted by key; a document that is no object is one row with an empty key.
fn entries(target: &Target, document: &str, out: &mut Vec<MetadataRow>) {
    match Json::parse(document) {
        Some(Json::Object(members)) => out.extend(members.iter().map(|(key, value)| MetadataRow {
            target: target.clone(),
            key: key.clone(),
            value: Value::from(value),
            lost: None,
        })),
        Some(Json::Null) => {}
        Some(Json::Bool(_) | Json::Number(_) | Json::Text(_) | Json::List(_)) | None => out.push(MetadataRow {
            target: target.clone(),
            key: String::new(),
            value: Value::Other(document.to_owned()),
            lost: None,
        }),
    }
}

pub(super) fn logged(
    connection: &Connection,
    path: &Path,
    scope: &mut Scope<'_, LoggedTransaction>,
) -> Result<(), StorageError> {
    stream(
        connection,
        path,
        "SELECT id, data FROM log WHERE type = 'NEW_TRANSACTION' \
         ORDER BY CASE WHEN json_valid(data) THEN CAST(data ->> '$.txid' AS INTEGER) END, id",
        |row| {
            let document = text(row, 1)?.as_deref().and_then(Json::parse).unwrap_or(Json::Null);
            let txid = document.get("txid").and_then(Json::whole).and_then(|id| i64::try_from(id).ok());
            let instant = document.get("timestamp").and_then(Json::text).map_or(Instant::None, Instant::parse);
            let reference = document.get("reference").and_then(Json::text).filter(|text| !text.is_empty());
            // A log entry without a readable id sorts first and compares as transaction -1, which no ledger has.
            let id = txid.unwrap_or(-1);
            Ok(LoggedTransaction {
                transaction: TransactionRow { id, instant, reference: reference.map(str::to_owned) },
                postings: document.get("postings").and_then(|postings| postings_of(id, postings)),
            })
        },
        scope,
    )
}

pub(super) fn entered(
    connection: &Connection,
    path: &Path,
    scope: &mut Scope<'_, LoggedTransaction>,
) -> Result<(), StorageError> {
    stream(
        connection,
        path,
        "SELECT id, timestamp, reference, postings FROM transactions ORDER BY id",
        |row: &Row<'_>| {
            let id = id(row, 0)?;
            let document = text(row, 3)?.as_deref().and_then(Json::parse);
            Ok(LoggedTransaction {
                transaction: TransactionRow { id, instant: instant(row, 1)?, reference: reference(row, 2)? },
                postings: document.and_then(|document| postings_of(id, &document)),
            })
        },
        scope,
    )
}

/// The postings of one document; `None` when it is not a list. A member that is missing reads as empty.
fn postings_of(txid: i64, document: &Json) -> Option<Vec<PostingRow>> {
    let Json::List(items) = document else { return None };
    let member = |item: &Json, key: &str| item.get(key).and_then(Json::text).unwrap_or_default().to_owned();
    let mut postings: Vec<PostingRow> = items
        .iter()
        .map(|item| PostingRow {
            txid,
            index: 0,
            source: member(item, "source"),
            destination: member(item, "destination"),
            asset: member(item, "asset"),
            amount: item.get("amount").map_or_else(
                || Amount::Other("missing".to_owned()),
                |amount| {
                    amount.whole().map_or_else(|| Amount::Other(Value::from(amount).as_str().to_owned()), Amount::Whole)
                },
            ),
        })
        .collect();
    postings.sort_by(|a, b| {
        (&a.source, &a.destination, &a.asset, &a.amount).cmp(&(&b.source, &b.destination, &b.asset, &b.amount))
    });
    for (index, posting) in (0_i64..).zip(&mut postings) {
        posting.index = index;
    }
    Some(postings)
}
