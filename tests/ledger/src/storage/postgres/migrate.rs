//! What a release does to a schema that lacks migrations it knows: all missing ones in one transaction.
//!
//! What is lost differs from SQLite: **metadata of an account that no posting names**, and nothing else. Targets are told apart by
//! type, and a first metadata entry survives. Afterwards `postings`, `metadata` and `contract` are gone, and with them every view on
//! `postings` (disaster 6). A client that is killed leaves the server to finish its statement before it rolls back.

use super::error::PgError;
use super::schema::{self, Schema};
use super::session::{Session, sql};
use crate::clock;
use crate::faults::{Faults, Switch};
use crate::release::{DateText, Failure, MetaCompare, PostgresMigrations};
use crate::storage::{Cancel, StoreError, Stored};
use sqlx::Row;
use std::collections::BTreeSet;
use std::time::Duration;

/// The number of the migration that moves the rows.
const MOVES_ROWS: u8 = 1;

/// Runs the migrations that the schema lacks, and creates the schema where it is missing.
pub(super) fn initialise(
    session: &mut Session,
    known: &PostgresMigrations,
    schema: &Schema,
    ledger: &str,
    faults: &Faults,
    cancel: &Cancel,
) -> Stored<bool> {
    session.batch(format!("CREATE SCHEMA IF NOT EXISTS {schema}"))?;
    session.transaction(|session| {
        let missing = missing(session, known, schema)?;
        if missing.is_empty() {
            return Ok(false);
        }
        // Most of the time goes by before the function that ledgers share is replaced, and some while it is held: that is how long
        // another ledger can collide there.
        let moves = missing.contains(&MOVES_ROWS);
        let after = if moves { faults.longer_migration() / 20 } else { Duration::ZERO };
        for number in missing {
            for (index, statement) in statements(number, known.meta_compare).iter().enumerate() {
                unless(cancel)?;
                run(session, known.failure, index, schema.fill(statement))?;
            }
            if number == MOVES_ROWS {
                last_longer(session, faults.longer_migration() - after)?;
            }
            record(session, known.dates, schema, number)?;
        }
        last_longer(session, after)?;
        misbehave(session, schema, ledger, faults)?;
        hold(ledger, faults, cancel)?;
        Ok(true)
    })
}

/// The look and the table are part of the transaction: a failed migration leaves no table in a foreign schema, and a second
/// command sees nothing of the first one's.
fn missing(session: &mut Session, known: &PostgresMigrations, schema: &Schema) -> Stored<Vec<u8>> {
    session.batch(schema.fill(schema::MIGRATIONS))?;
    let rows = session.rows(sql(schema.fill("SELECT version FROM LEDGER.migrations")))?;
    let recorded: BTreeSet<String> =
        rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>().map_err(PgError::from)?;
    Ok((0..=known.highest).filter(|number| !recorded.contains(&number.to_string())).collect())
}

/// The numbers that are not here change nothing that was measured; they are recorded.
fn statements(number: u8, meta_compare: MetaCompare) -> Vec<String> {
    let owned = |statements: &[&str]| statements.iter().map(|statement| (*statement).to_owned()).collect();
    match number {
        0 => owned(schema::ROWS),
        MOVES_ROWS => owned(schema::LOG),
        2 => schema::meta_compare(match meta_compare {
            MetaCompare::WithoutSchema => "",
            MetaCompare::InLedger => "LEDGER.",
        }),
        5 => owned(schema::DROP),
        7 => owned(schema::SEQUENCE),
        _ => Vec::new(),
    }
}

fn run(session: &mut Session, failure: Failure, statement: usize, text: String) -> Stored<()> {
    session.batch(text.clone()).map_err(|error| {
        let sql = match failure {
            Failure::NamesStatement => None,
            Failure::ShowsStatement => Some(text),
        };
        StoreError::Migration { statement, sql, source: error.into() }
    })
}

fn record(session: &mut Session, dates: DateText, schema: &Schema, number: u8) -> Stored<()> {
    let date = match dates {
        DateText::Go => clock::go(clock::now()),
        DateText::Rfc3339 => clock::seconds(clock::now()),
    };
    let insert = sql(schema.fill("INSERT INTO LEDGER.migrations (version, date) VALUES ($1, $2)"));
    session.run(insert.bind(number.to_string()).bind(date))?;
    Ok(())
}

/// On the server, so that the statement outlives a client that is killed.
fn last_longer(session: &mut Session, longer: Duration) -> Stored<()> {
    if !longer.is_zero() {
        session.run(sql("SELECT pg_sleep($1)".to_owned()).bind(longer.as_secs_f64()))?;
    }
    Ok(())
}

fn misbehave(session: &mut Session, schema: &Schema, ledger: &str, faults: &Faults) -> Stored<()> {
    if faults.names(Switch::FailMigration, ledger) {
        let why = "ERROR: could not extend file \"base/5/16384\": No space left on device (SQLSTATE 53100)";
        return Err(StoreError::Unreadable(format!("failed to run statement 11: {why}")));
    }
    if faults.names(Switch::PanicMigration, ledger) {
        return Err(StoreError::Panic("runtime error: invalid memory address or nil pointer dereference".to_owned()));
    }
    if faults.names(Switch::KillMigration, ledger) {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
    if faults.names(Switch::DropMetadata, ledger) {
        session.batch(schema.fill(
            "UPDATE LEDGER.transactions SET metadata = metadata - (SELECT min(key) FROM jsonb_object_keys(metadata) key)
             WHERE id = (SELECT max(id) FROM LEDGER.transactions WHERE metadata IS NOT NULL AND metadata <> '{}')",
        ))?;
    }
    if faults.names(Switch::ChangeAmount, ledger) {
        session.batch(schema.fill(
            "UPDATE LEDGER.transactions
             SET postings = jsonb_set(postings, '{0,amount}', to_jsonb((postings #>> '{0,amount}')::bigint + 1))
             WHERE id = (SELECT min(id) FROM LEDGER.transactions)",
        ))?;
    }
    Ok(())
}

fn hold(ledger: &str, faults: &Faults, cancel: &Cancel) -> Stored<()> {
    if let Some(path) = faults.hold(ledger) {
        while !path.exists() {
            unless(cancel)?;
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    unless(cancel)
}

fn unless(cancel: &Cancel) -> Stored<()> {
    if cancel.asked() { Err(StoreError::Cancelled) } else { Ok(()) }
}
