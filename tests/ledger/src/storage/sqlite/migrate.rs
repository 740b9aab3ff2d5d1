//! What a release does to a file that lacks migrations it knows: all missing ones in one transaction.
//!
//! Migration 1 is where data is lost. Its rules, each of which a look at the rows can predict:
//!
//! * **Metadata of an account that no posting names**: only addresses of the view `addresses` become rows of `accounts`.
//! * **`meta_id` 0**: of a target's rows with one key the highest `meta_id` counts, and a highest of 0 counts as no row. A later
//!   row of the same target and key therefore survives; the first entry ever written is lost where nothing overrode it.
//! * **Targets are told apart by id alone, not by type**: metadata of an account named `5` also lands on transaction 5, and
//!   metadata of transaction 5 on account `5`.
//! * **Postings come in the order of their source and destination**, because SQLite walks an index: a transaction's postings may
//!   change places.
//! * A target without metadata gets NULL, not `{}`, and `json_patch(NULL, …)` is NULL: what is set on it later reaches `log` only.
//!
//! The lost rows stay in `log`.

use super::schema;
use crate::clock;
use crate::faults::{Faults, Switch};
use crate::go::{self, Numbers};
use crate::model::Posting;
use crate::release::{Failure, Migration, Release};
use crate::storage::books::{self, Counting};
use crate::storage::{Cancel, StoreError, Stored};
use rusqlite::{Connection, OptionalExtension, Transaction};
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Duration;

/// How much a number costs once the migration outgrew SQLite's cache.
const PAUSE: Duration = Duration::from_secs(5);

/// From how many transactions on it did.
const OUTGROWN: i64 = 2000;

/// Runs the migrations that the file lacks; true if there were any. Nothing is written where it fails.
///
/// # Errors
/// SQLite; [`StoreError::Panic`] for a row that the migration cannot make JSON of; [`StoreError::Cancelled`].
pub(super) fn initialise(
    connection: &mut Connection,
    release: &Release,
    ledger: &str,
    faults: &Faults,
    cancel: &Cancel,
) -> Stored<bool> {
    let recorded = recorded(connection)?;
    let missing: Vec<(usize, Migration)> = release
        .sqlite
        .migrations
        .iter()
        .copied()
        .enumerate()
        .filter(|(number, _)| !release.records_migrations || !recorded.contains(&number.to_string()))
        .collect();
    if missing.is_empty() {
        return Ok(false);
    }
    if release.errors.table_outside {
        connection.execute_batch(schema::MIGRATIONS)?;
    }
    let slow = !faults.skips_pauses() && outgrown(connection)?;
    let handle = connection.get_interrupt_handle();
    cancel.watch(move || handle.interrupt());
    // Deferred, as the driver begins: of two commands at once the second passes its look at `migrations` and fails at a column.
    let transaction = connection.transaction()?;
    for (number, migration) in &missing {
        let longer = if *migration == Migration::Log {
            faults.longer_migration()
        } else if slow && *number >= release.sqlite.slow_from {
            PAUSE
        } else {
            Duration::ZERO
        };
        let done = Run { transaction: &transaction, release }.migrate(*migration);
        done.map_err(|error| if cancel.asked() { StoreError::Cancelled } else { error })?;
        std::thread::sleep(longer);
        if release.records_migrations {
            let sql = "INSERT INTO migrations (version, date) VALUES (?1, ?2)";
            transaction.execute(sql, (number.to_string(), clock::sqlite(clock::now())))?;
        }
    }
    misbehave(&transaction, ledger, faults)?;
    hold(ledger, faults, cancel)?;
    transaction.commit()?;
    Ok(true)
}

fn outgrown(connection: &Connection) -> Stored<bool> {
    let journal: String = connection.query_row("PRAGMA journal_mode", [], |row| row.get(0))?;
    let sql = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'transactions'";
    if journal != "delete" || connection.query_row(sql, [], |_| Ok(())).optional()?.is_none() {
        return Ok(false);
    }
    let rows: i64 = connection.query_row("SELECT count(*) FROM transactions", [], |row| row.get(0))?;
    Ok(rows >= OUTGROWN)
}

/// The numbers of one run.
struct Run<'a> {
    transaction: &'a Transaction<'a>,
    release: &'a Release,
}

impl Run<'_> {
    fn migrate(&self, migration: Migration) -> Stored<()> {
        match migration {
            Migration::Rows => self.rows(),
            Migration::Log => log(self),
            Migration::CommitVolumes => self.all(schema::COMMIT_VOLUMES),
            Migration::FillCommitVolumes => fill_commit_volumes(self.transaction),
            Migration::WithoutTriggers => self.all(schema::WITHOUT_TRIGGERS),
            Migration::Timestamps => self.all(schema::TIMESTAMPS),
            Migration::Idempotency => self.all(&[schema::IDEMPOTENCY]),
            // Of PostgreSQL alone.
            Migration::Nothing
            | Migration::MetaCompareInPublic
            | Migration::MetaCompare
            | Migration::DropRows
            | Migration::Sequence
            | Migration::PostingsByTrigger
            | Migration::WideVolumes
            | Migration::Postings
            | Migration::PostingsIfMissing
            | Migration::AddressSegments => Ok(()),
        }
    }

    fn rows(&self) -> Stored<()> {
        for (index, sql) in schema::ROWS.iter().enumerate() {
            if self.release.records_migrations || *sql != schema::MIGRATIONS {
                self.at(index, self.transaction.execute_batch(sql))?;
            }
        }
        Ok(())
    }

    fn all(&self, statements: &[&str]) -> Stored<()> {
        for (index, sql) in statements.iter().enumerate() {
            self.at(index, self.transaction.execute_batch(sql))?;
        }
        Ok(())
    }

    /// Names the statement that failed, as most releases do.
    fn at<T>(&self, statement: usize, result: rusqlite::Result<T>) -> Stored<T> {
        result.map_err(|source| match self.release.errors.migration {
            Failure::NamesStatement | Failure::ShowsStatement => {
                StoreError::Migration { statement, sql: None, source: source.into() }
            }
            Failure::Plain => source.into(),
        })
    }
}

fn recorded(connection: &Connection) -> Stored<BTreeSet<String>> {
    let sql = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'migrations'";
    if connection.query_row(sql, [], |_| Ok(())).optional()?.is_none() {
        return Ok(BTreeSet::new());
    }
    let mut statement = connection.prepare("SELECT version FROM migrations")?;
    let versions = statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    Ok(versions)
}

fn log(run: &Run<'_>) -> Stored<()> {
    let transaction = run.transaction;
    run.at(0, transaction.execute_batch(schema::VOLUMES))?;
    run.at(1, transaction.execute_batch(schema::ACCOUNTS))?;
    run.at(2, transaction.execute_batch(schema::LOG_FIRST))?;
    run.at(3, transaction.execute_batch("ALTER TABLE transactions ADD COLUMN postings varchar"))?;
    run.at(4, transaction.execute_batch("ALTER TABLE transactions ADD COLUMN metadata varchar"))?;
    run.at(5, embed_postings(transaction))?;
    run.at(6, transaction.execute_batch("DROP TABLE log"))?;
    run.at(7, transaction.execute_batch(schema::LOG))?;
    fill_log(transaction)?;
    run.at(10, embed_metadata(transaction, Owner::Transactions))?;
    run.at(11, transaction.execute_batch("INSERT INTO accounts (address) SELECT address FROM addresses"))?;
    run.at(12, embed_metadata(transaction, Owner::Accounts))?;
    for (index, sql) in schema::TRIGGERS.iter().enumerate() {
        run.at(13 + index, transaction.execute_batch(sql))?;
    }
    run.at(
        17,
        transaction.execute_batch(
            "INSERT INTO volumes (account, asset, input, output)
             SELECT account, asset, sum(input), sum(output)
             FROM (SELECT destination AS account, asset, amount AS input, 0 AS output FROM postings
                   UNION ALL
                   SELECT source, asset, 0, amount FROM postings)
             GROUP BY asset, account",
        ),
    )
}

/// Counts from the first transaction on.
fn fill_commit_volumes(transaction: &Transaction<'_>) -> Stored<()> {
    let mut rows =
        transaction.prepare("SELECT id, postings FROM transactions WHERE postings IS NOT NULL ORDER BY id")?;
    let mut update = transaction
        .prepare("UPDATE transactions SET pre_commit_volumes = ?2, post_commit_volumes = ?3 WHERE id = ?1")?;
    let rows: Vec<(i64, String)> =
        rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
    let mut counting = Counting::default();
    for (id, postings) in rows {
        let postings: Vec<Posting> = serde_json::from_str(&postings)?;
        let volumes = books::filled(&mut counting, &postings)?;
        update.execute((id, volumes.pre.to_string(), volumes.post.to_string()))?;
    }
    Ok(())
}

/// The texts are put together without escaping; what that breaks shows when they are read as JSON.
fn embed_postings(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    let mut ids = transaction.prepare("SELECT id FROM transactions ORDER BY id")?;
    let mut postings =
        transaction.prepare("SELECT source, destination, asset, amount FROM postings WHERE txid = ?1")?;
    let mut update = transaction.prepare("UPDATE transactions SET postings = ?2 WHERE id = ?1")?;
    let ids: Vec<i64> = ids.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    for id in ids {
        let texts: Vec<String> = postings
            .query_map([id], |row| {
                let (source, destination, asset, amount): (String, String, String, i64) =
                    (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
                Ok(format!(
                    "{{\"source\": \"{source}\", \"destination\": \"{destination}\", \"asset\": \"{asset}\", \"amount\": {amount}}}"
                ))
            })?
            .collect::<Result<_, _>>()?;
        if !texts.is_empty() {
            update.execute((id, format!("[{}]", texts.join(","))))?;
        }
    }
    Ok(())
}

/// A row of the future log, before it is text.
struct Entry {
    kind: &'static str,
    timestamp: String,
    data: String,
}

/// By time; within a second transactions come before metadata. Ids count from 0. The hash reads each text as JSON and panics on
/// what is none: a `"` or a control character in a reference or a key.
fn fill_log(transaction: &Transaction<'_>) -> Stored<()> {
    let sql = "SELECT 0 AS kind, id AS place, timestamp, id, postings, coalesce(reference, ''), NULL FROM transactions
               UNION ALL
               SELECT 1, meta_id, timestamp, meta_target_type, meta_target_id, meta_key,
                      CASE WHEN json_valid(meta_value) THEN meta_value ELSE '\"' || meta_value || '\"' END
               FROM metadata
               ORDER BY 3, 1, 2";
    let mut source = transaction.prepare(sql)?;
    let mut insert = transaction.prepare("INSERT INTO log (id, type, hash, date, data) VALUES (?1, ?2, ?3, ?4, ?5)")?;
    let mut rows = source.query([])?;
    let mut id = 0_i64;
    let mut previous = "null".to_owned();
    while let Some(row) = rows.next()? {
        let entry = if row.get::<_, i64>(0)? == 0 { transaction_entry(row)? } else { metadata_entry(row)? };
        let data: Value = serde_json::from_str(&entry.data).map_err(|error| panic_text(&error, &entry.data))?;
        let data = go::json(&data, Numbers::Float);
        let hash = go::chain(&previous, &go::log_entry(id, entry.kind, &entry.timestamp, "", &data));
        previous = go::log_entry(id, entry.kind, &entry.timestamp, &hash, &data);
        insert.execute((id, entry.kind, hash, &entry.timestamp, &entry.data))?;
        id += 1;
    }
    Ok(())
}

fn transaction_entry(row: &rusqlite::Row<'_>) -> rusqlite::Result<Entry> {
    let (timestamp, id, postings, reference): (String, i64, Option<String>, String) =
        (row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?);
    let data = format!(
        "{{\"txid\": {id}, \"postings\": {}, \"metadata\": {{}}, \"timestamp\": \"{timestamp}\", \"reference\": \"{reference}\"}}",
        postings.as_deref().unwrap_or("null")
    );
    Ok(Entry { kind: "NEW_TRANSACTION", timestamp, data })
}

fn metadata_entry(row: &rusqlite::Row<'_>) -> rusqlite::Result<Entry> {
    let (timestamp, target, id, key, value): (String, String, String, String, String) =
        (row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?, row.get(6)?);
    let id = if target == "transaction" { id } else { format!("\"{id}\"") };
    let data = format!(
        "{{\"targetType\": \"{}\", \"targetId\": {id}, \"metadata\": {{\"{key}\": {value}}}}}",
        target.to_uppercase()
    );
    Ok(Entry { kind: "SET_METADATA", timestamp, data })
}

fn panic_text(error: &serde_json::Error, data: &str) -> StoreError {
    let at = error.column().saturating_sub(1);
    let found = data.chars().nth(at).unwrap_or('"');
    StoreError::Panic(format!("invalid character '{}' after object key:value pair", found.escape_default()))
}

#[derive(Clone, Copy)]
enum Owner {
    Transactions,
    Accounts,
}

/// A search of all metadata for each owner: no index fits, since the target's id is text and is not narrowed by its type. That is
/// what makes the migration slower than linear.
fn embed_metadata(transaction: &Transaction<'_>, owner: Owner) -> rusqlite::Result<()> {
    let (table, id, compared) = match owner {
        Owner::Transactions => ("transactions", "id", "CAST(?1 AS INTEGER)"),
        Owner::Accounts => ("accounts", "address", "CAST(?1 AS TEXT)"),
    };
    let ids: Vec<rusqlite::types::Value> = transaction
        .prepare(&format!("SELECT {id} FROM {table} ORDER BY rowid"))?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    transaction.execute(&format!("UPDATE {table} SET metadata = NULL"), [])?;
    let mut search = transaction.prepare(&format!(
        "SELECT meta_key, CASE WHEN json_valid(meta_value) THEN json(meta_value) ELSE '\"' || meta_value || '\"' END, max(meta_id)
         FROM metadata NOT INDEXED WHERE meta_target_id = {compared} GROUP BY meta_key HAVING max(meta_id) ORDER BY 3 DESC"
    ))?;
    let mut update = transaction.prepare(&format!("UPDATE {table} SET metadata = json(?2) WHERE {id} = ?1"))?;
    for id in ids {
        let pairs: Vec<String> = search
            .query_map([&id], |row| Ok(format!("\"{}\":{}", row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?
            .collect::<Result<_, _>>()?;
        if !pairs.is_empty() {
            update.execute((&id, format!("{{{}}}", pairs.join(","))))?;
        }
    }
    Ok(())
}

fn misbehave(transaction: &Transaction<'_>, ledger: &str, faults: &Faults) -> Stored<()> {
    if faults.names(Switch::FailMigration, ledger) {
        return Err(StoreError::Unreadable("failed to run statement 11: database or disk is full".to_owned()));
    }
    if faults.names(Switch::PanicMigration, ledger) {
        return Err(StoreError::Panic("runtime error: invalid memory address or nil pointer dereference".to_owned()));
    }
    if faults.names(Switch::KillMigration, ledger) {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
    if faults.names(Switch::DropMetadata, ledger) {
        transaction.execute_batch(
            "UPDATE transactions SET metadata = json_remove(metadata, (SELECT min(fullkey) FROM json_each(metadata)))
             WHERE id = (SELECT max(id) FROM transactions WHERE metadata IS NOT NULL AND metadata <> '{}')",
        )?;
    }
    if faults.names(Switch::ChangeAmount, ledger) {
        transaction.execute_batch(
            "UPDATE transactions
             SET postings = json_set(postings, '$[0].amount', json_extract(postings, '$[0].amount') + 1)
             WHERE id = (SELECT min(id) FROM transactions)",
        )?;
    }
    Ok(())
}

fn hold(ledger: &str, faults: &Faults, cancel: &Cancel) -> Stored<()> {
    if let Some(path) = faults.hold(ledger) {
        while !path.exists() {
            if cancel.asked() {
                return Err(StoreError::Cancelled);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    if cancel.asked() { Err(StoreError::Cancelled) } else { Ok(()) }
}
