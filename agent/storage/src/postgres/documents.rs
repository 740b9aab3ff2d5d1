//! The layouts from 1.3.2 on as row streams: postings and metadata are JSON documents.

use super::client;
use super::ident::Sql;
use super::ledger::Ledger;
use super::rows::Fields;
use super::split::sum;
use crate::StorageError;
use crate::digest::json::Json;
use crate::digest::rows::{
    Amount, BalanceRow, Instant, LoggedTransaction, MetadataRow, PostingRow, Scope, Target, TransactionRow, Value,
};
use std::collections::BTreeSet;

pub(super) fn postings(ledger: &Ledger, scope: &mut Scope<'_, PostingRow>) -> Result<(), StorageError> {
    ledger.stream(
        "SELECT id, postings FROM {0}.transactions ORDER BY id",
        |row: &Fields<'_>, out: &mut Vec<_>| {
            let txid = row.id(0)?;
            if let Some(document) = row.text(1)?.and_then(Json::parse)
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
pub(super) fn balances(ledger: &Ledger, scope: &mut Scope<'_, BalanceRow>) -> Result<(), StorageError> {
    ledger.stream(
        "SELECT account, asset, input, output FROM {0}.volumes \
         ORDER BY coalesce(account, '') COLLATE \"C\", coalesce(asset, '') COLLATE \"C\"",
        |row: &Fields<'_>, out: &mut Vec<_>| {
            out.push(BalanceRow {
                account: row.plain(0)?,
                asset: row.plain(1)?,
                input: row.amount(2)?,
                output: row.amount(3)?,
            });
            Ok(())
        },
        scope,
    )
}

/// An amount that is no whole number makes its sum unreadable. `->>` of a jsonb keeps every digit.
pub(super) fn balances_of_postings(ledger: &Ledger, scope: &mut Scope<'_, BalanceRow>) -> Result<(), StorageError> {
    ledger.stream(
        "SELECT account, asset, sum(input), sum(output), bool_or(unreadable_in), bool_or(unreadable_out) FROM ( \
           SELECT CASE side WHEN 0 THEN source ELSE destination END AS account, asset, \
                  CASE side WHEN 0 THEN 0 ELSE amount END AS input, CASE side WHEN 0 THEN amount ELSE 0 END AS output, \
                  side = 1 AND amount IS NULL AS unreadable_in, side = 0 AND amount IS NULL AS unreadable_out \
           FROM ( \
             SELECT coalesce(p ->> 'source', '') AS source, coalesce(p ->> 'destination', '') AS destination, \
                    coalesce(p ->> 'asset', '') AS asset, \
                    CASE WHEN jsonb_typeof(p -> 'amount') = 'number' THEN \
                      CASE WHEN (p ->> 'amount')::numeric % 1 = 0 THEN trunc((p ->> 'amount')::numeric) END END AS amount \
             FROM {0}.transactions t, \
                  jsonb_array_elements(CASE WHEN jsonb_typeof(t.postings) = 'array' THEN t.postings ELSE '[]' END) p \
           ) items, (VALUES (0), (1)) sides(side) \
         ) moves GROUP BY account, asset ORDER BY account COLLATE \"C\", asset COLLATE \"C\"",
        sum,
        scope,
    )
}

pub(super) fn transaction_metadata(ledger: &Ledger, scope: &mut Scope<'_, MetadataRow>) -> Result<(), StorageError> {
    ledger.stream(
        "SELECT id, metadata FROM {0}.transactions WHERE metadata IS NOT NULL AND metadata <> '{}' ORDER BY id",
        |row: &Fields<'_>, out: &mut Vec<_>| {
            entries(&Target::Transaction(row.id(0)?), row.text(1)?.unwrap_or_default(), out);
            Ok(())
        },
        scope,
    )
}

pub(super) fn account_metadata(ledger: &Ledger, scope: &mut Scope<'_, MetadataRow>) -> Result<(), StorageError> {
    ledger.stream(
        "SELECT address, metadata FROM {0}.accounts WHERE metadata IS NOT NULL AND metadata <> '{}' \
         ORDER BY coalesce(address, '') COLLATE \"C\"",
        |row: &Fields<'_>, out: &mut Vec<_>| {
            entries(&Target::Account(row.plain(0)?), row.text(1)?.unwrap_or_default(), out);
            Ok(())
        },
        scope,
    )
}

/// The members of a metadata document, sorted by key; a document that is no object is one row with an empty key.
fn entries(target: &Target, document: &str, out: &mut Vec<MetadataRow>) {
    let row = |key: String, value| MetadataRow { target: target.clone(), key, value, lost: None };
    match Json::parse(document) {
        Some(Json::Object(members)) => {
            out.extend(members.into_iter().map(|(key, value)| row(key, Value::from(&value))));
        }
        Some(Json::Null) => {}
        Some(Json::Bool(_) | Json::Number(_) | Json::Text(_) | Json::List(_)) | None => {
            out.push(row(String::new(), Value::Other(document.to_owned())));
        }
    }
}

pub(super) fn logged(ledger: &Ledger, scope: &mut Scope<'_, LoggedTransaction>) -> Result<(), StorageError> {
    ledger.stream(
        "SELECT data FROM {0}.log WHERE type::text = 'NEW_TRANSACTION' \
         ORDER BY CASE WHEN jsonb_typeof(data -> 'txid') = 'number' THEN (data ->> 'txid')::numeric END NULLS FIRST, id",
        |row: &Fields<'_>, out: &mut Vec<_>| {
            let document = row.text(0)?.and_then(Json::parse).unwrap_or(Json::Null);
            let txid = document.get("txid").and_then(Json::whole).and_then(|id| i64::try_from(id).ok());
            let instant = document.get("timestamp").and_then(Json::text).map_or(Instant::None, Instant::parse);
            let reference = document.get("reference").and_then(Json::text).filter(|text| !text.is_empty());
            // A log entry without a readable id sorts first and compares as transaction -1, which no ledger has.
            let id = txid.unwrap_or(-1);
            out.push(LoggedTransaction {
                transaction: TransactionRow { id, instant, reference: reference.map(str::to_owned) },
                postings: document.get("postings").and_then(|postings| postings_of(id, postings)),
            });
            Ok(())
        },
        scope,
    )
}

pub(super) fn entered(ledger: &Ledger, scope: &mut Scope<'_, LoggedTransaction>) -> Result<(), StorageError> {
    ledger.stream(
        "SELECT id, timestamp, reference, postings FROM {0}.transactions ORDER BY id",
        |row: &Fields<'_>, out: &mut Vec<_>| {
            let id = row.id(0)?;
            let document = row.text(3)?.and_then(Json::parse);
            out.push(LoggedTransaction {
                transaction: TransactionRow { id, instant: row.instant(1)?, reference: row.reference(2)? },
                postings: document.and_then(|document| postings_of(id, &document)),
            });
            Ok(())
        },
        scope,
    )
}

/// The postings of one document; `None` when it is not a list. A member that is missing reads as empty.
fn postings_of(txid: i64, document: &Json) -> Option<Vec<PostingRow>> {
    let Json::List(items) = document else { return None };
    let member = |item: &Json, key: &str| item.get(key).and_then(Json::text).unwrap_or_default().to_owned();
    let amount = |item: &Json| match item.get("amount") {
        None => Amount::Other("missing".to_owned()),
        Some(amount) => {
            amount.whole().map_or_else(|| Amount::Other(Value::from(amount).as_str().to_owned()), Amount::Whole)
        }
    };
    let mut postings: Vec<PostingRow> = items
        .iter()
        .map(|item| PostingRow {
            txid,
            index: 0,
            source: member(item, "source"),
            destination: member(item, "destination"),
            asset: member(item, "asset"),
            amount: amount(item),
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

/// Metadata that `log` says was set after an entry, by target and key.
pub(super) fn described_since(ledger: &Ledger, entry: i64) -> Result<BTreeSet<(Target, String)>, StorageError> {
    let doing = "read what was written since in";
    let connection = ledger.client();
    let sql = Sql::with(
        "SELECT data::text FROM {0}.log WHERE type::text = 'SET_METADATA' AND id > $1",
        &[ledger.schema().into()],
    );
    let mut described = BTreeSet::new();
    for row in connection.rows(doing, &sql, &[client::Value::Number(entry)])? {
        let text: String = connection.get(doing, &row, 0)?;
        let document = Json::parse(&text).unwrap_or(Json::Null);
        let (Some(kind), Some(Json::Object(members))) =
            (document.get("targetType").and_then(Json::text), document.get("metadata"))
        else {
            continue;
        };
        let target = match (kind, document.get("targetId")) {
            ("ACCOUNT", Some(Json::Text(address))) => Target::Account(address.clone()),
            (_, Some(id)) => match id.whole().and_then(|id| i64::try_from(id).ok()) {
                Some(id) => Target::Transaction(id),
                None => continue,
            },
            (_, None) => continue,
        };
        described.extend(members.iter().map(|(key, _)| (target.clone(), key.clone())));
    }
    Ok(described)
}

/// The highest number in `log`; none where it is empty.
pub(super) fn last_entry(ledger: &Ledger) -> Result<Option<i64>, StorageError> {
    let sql = Sql::with("SELECT max(id)::bigint FROM {0}.log", &[ledger.schema().into()]);
    ledger.client().one("read the last entry of the log in", &sql, &[])
}
