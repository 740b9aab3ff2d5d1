//! Writing from 1.8.0 on: no triggers, the release fills every table itself.

use crate::model::{Metadata, Target, Transaction, value_of};
use crate::storage::Stored;
use crate::storage::books::Moved;
use rusqlite::Connection;
use std::collections::BTreeSet;

/// A transaction's row first, so that its id or reference is what a second writer fails at.
pub(super) fn insert(connection: &Connection, transaction: &Transaction, moved: &Moved) -> Stored<()> {
    let postings = transaction.postings.as_deref().unwrap_or_default();
    let sources: BTreeSet<&str> = postings.iter().map(|posting| posting.source.as_str()).collect();
    let destinations: BTreeSet<&str> = postings.iter().map(|posting| posting.destination.as_str()).collect();
    let volumes = moved.shown();
    let reference = Some(&transaction.reference).filter(|reference| !reference.is_empty());
    let metadata = value_of(transaction.metadata.as_ref().unwrap_or(&Metadata::new()))?;
    connection
        .prepare_cached(
            "INSERT INTO transactions (id, timestamp, reference, postings, metadata, pre_commit_volumes, post_commit_volumes,
                                       sources, destinations)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?
        .execute((
            transaction.txid,
            &transaction.timestamp,
            reference,
            serde_json::to_string(postings)?,
            metadata.to_string(),
            volumes.pre.to_string(),
            volumes.post.to_string(),
            listed(&sources),
            listed(&destinations),
        ))?;
    let mut account = connection
        .prepare_cached("INSERT INTO accounts (address, metadata) VALUES (?1, '{}') ON CONFLICT DO NOTHING")?;
    for address in sources.union(&destinations) {
        account.execute([address])?;
    }
    let mut volume = connection.prepare_cached(
        "INSERT INTO volumes (account, asset, input, output) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (account, asset) DO UPDATE SET input = excluded.input, output = excluded.output",
    )?;
    for ((account, asset), sums) in &moved.after {
        volume.execute((account, asset, sums.input, sums.output))?;
    }
    Ok(())
}

/// `;bank;world;`.
fn listed(addresses: &BTreeSet<&str>) -> String {
    format!(";{};", addresses.iter().copied().collect::<Vec<_>>().join(";"))
}

/// Lays metadata over what is there.
pub(super) fn set_metadata(connection: &Connection, target: &Target, metadata: &Metadata) -> Stored<()> {
    let metadata = value_of(metadata)?.to_string();
    match target {
        Target::Transaction(id) => connection.execute(
            "UPDATE transactions SET metadata = json_patch(coalesce(metadata, '{}'), ?2) WHERE id = ?1",
            (id, metadata),
        )?,
        Target::Account(address) => connection.execute(
            "INSERT INTO accounts (address, metadata) VALUES (?1, ?2)
             ON CONFLICT (address) DO UPDATE SET metadata = json_patch(coalesce(metadata, '{}'), excluded.metadata)",
            (address, metadata),
        )?,
    };
    Ok(())
}
