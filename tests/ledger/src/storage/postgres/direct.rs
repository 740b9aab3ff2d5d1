//! Writing from 1.8.0 on: no triggers, the release fills every table itself.

use super::schema::Schema;
use super::session::{Session, sql};
use crate::model::{Metadata, Target, Transaction, value_of};
use crate::release::{AddressFilter, Release};
use crate::storage::Stored;
use crate::storage::books::Moved;
use std::collections::BTreeSet;

/// The column with an address in parts, and the value that goes there: releases without the filter know nothing of it.
fn segments(release: &Release, column: &'static str, address: &'static str) -> (String, String) {
    match release.address_filter {
        AddressFilter::None | AddressFilter::Pattern => (String::new(), String::new()),
        AddressFilter::Segments => (format!(", {column}"), format!(", to_jsonb(string_to_array({address}, ':'))")),
    }
}

/// A transaction's row first, so that its id or reference is what a second writer fails at.
pub(super) fn insert(
    session: &mut Session,
    schema: &Schema,
    release: &Release,
    transaction: &Transaction,
    moved: &Moved,
) -> Stored<()> {
    let query = |template: &str| sql(schema.fill(template));
    let postings = transaction.postings.as_deref().unwrap_or_default();
    let volumes = moved.shown();
    let reference = Some(transaction.reference.clone()).filter(|reference| !reference.is_empty());
    let metadata = value_of(transaction.metadata.as_ref().unwrap_or(&Metadata::new()))?;
    let insert = query(
        "INSERT INTO LEDGER.transactions (id, timestamp, reference, postings, metadata, pre_commit_volumes, post_commit_volumes)
         VALUES ($1, $2::text::timestamptz, $3, $4::text::jsonb, $5::text::jsonb, $6::text::jsonb, $7::text::jsonb)",
    );
    let insert = insert.bind(transaction.txid).bind(transaction.timestamp.clone()).bind(reference);
    let insert = insert.bind(serde_json::to_string(postings)?).bind(metadata.to_string());
    session.run(insert.bind(volumes.pre.to_string()).bind(volumes.post.to_string()))?;

    let addresses: BTreeSet<String> =
        postings.iter().flat_map(|posting| [posting.source.clone(), posting.destination.clone()]).collect();
    let (column, value) = segments(release, "address_json", "address");
    let accounts = query(&format!(
        "INSERT INTO LEDGER.accounts (address, metadata{column}) SELECT address, '{{}}'{value} FROM unnest($1::text[]) address
         ON CONFLICT (address) DO NOTHING"
    ));
    session.run(accounts.bind(addresses.into_iter().collect::<Vec<_>>()))?;

    let (column, value) = segments(release, "account_json", "account");
    let sums = query(&format!(
        "INSERT INTO LEDGER.volumes (account, asset, input, output{column})
         SELECT account, asset, input, output{value}
         FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[]) moved (account, asset, input, output)
         ON CONFLICT (account, asset) DO UPDATE SET input = excluded.input, output = excluded.output"
    ));
    let (accounts, assets): (Vec<String>, Vec<String>) = moved.after.keys().cloned().unzip();
    let (inputs, outputs): (Vec<i64>, Vec<i64>) =
        moved.after.values().map(|volume| (volume.input, volume.output)).unzip();
    session.run(sums.bind(accounts).bind(assets).bind(inputs).bind(outputs))?;

    let rows = query(
        "INSERT INTO LEDGER.postings (txid, posting_index, source, destination)
         SELECT $1, place - 1, to_jsonb(string_to_array(source, ':')), to_jsonb(string_to_array(destination, ':'))
         FROM unnest($2::text[], $3::text[]) WITH ORDINALITY moved (source, destination, place)",
    );
    let (sources, destinations): (Vec<String>, Vec<String>) =
        postings.iter().map(|posting| (posting.source.clone(), posting.destination.clone())).unzip();
    session.run(rows.bind(transaction.txid).bind(sources).bind(destinations))?;
    Ok(())
}

/// Lays metadata over what is there.
pub(super) fn set_metadata(
    session: &mut Session,
    schema: &Schema,
    release: &Release,
    target: &Target,
    metadata: &Metadata,
) -> Stored<()> {
    let metadata = value_of(metadata)?.to_string();
    let query = match target {
        Target::Transaction(id) => sql(schema.fill(
            "UPDATE LEDGER.transactions SET metadata = coalesce(metadata, '{}') || $2::text::jsonb WHERE id = $1",
        ))
        .bind(*id),
        Target::Account(address) => {
            let (column, value) = segments(release, "address_json", "$1");
            sql(schema.fill(&format!(
                "INSERT INTO LEDGER.accounts (address, metadata{column}) VALUES ($1, $2::text::jsonb{value})
                 ON CONFLICT (address) DO UPDATE SET metadata = coalesce(accounts.metadata, '{{}}') || excluded.metadata"
            )))
            .bind(address.clone())
        }
    };
    session.run(query.bind(metadata))?;
    Ok(())
}
