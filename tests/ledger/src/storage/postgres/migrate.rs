//! What a release does to a schema that lacks migrations it knows: all missing ones in one transaction.
//!
//! What is lost differs from SQLite: **metadata of an account that no posting names**, and nothing else. Targets are told apart by
//! type, and a first metadata entry survives. Afterwards `postings`, `metadata` and `contract` are gone, and with them every view on
//! `postings` (disaster 6). A client that is killed leaves the server to finish its statement before it rolls back.

use super::error::PgError;
use super::schema::{self, Schema};
use super::session::{Session, sql};
use super::{fill, later};
use crate::clock;
use crate::faults::{Faults, Switch};
use crate::release::{DateText, Failure, Migration, Release};
use crate::storage::{Cancel, StoreError, Stored};
use sqlx::Row;
use std::collections::BTreeSet;
use std::time::Duration;

/// Runs the migrations that the schema lacks, and creates the schema where it is missing.
pub(super) fn initialise(
    session: &mut Session,
    release: &Release,
    schema: &Schema,
    ledger: &str,
    faults: &Faults,
    cancel: &Cancel,
) -> Stored<bool> {
    session.batch(format!("CREATE SCHEMA IF NOT EXISTS {schema}"))?;
    if release.errors.table_outside {
        session.batch(schema.fill(schema::MIGRATIONS))?;
    }
    session.transaction(|session| {
        let missing = missing(session, release, schema)?;
        if missing.is_empty() {
            return Ok(false);
        }
        // Most of the time goes by before the function that ledgers share is replaced, and some while it is held: that is how long
        // another ledger can collide there.
        let moves = missing.iter().any(|(_, migration)| *migration == Migration::Log);
        let after = if moves { faults.longer_migration() / 20 } else { Duration::ZERO };
        for (number, migration) in missing {
            for (index, statement) in statements(migration).iter().enumerate() {
                unless(cancel)?;
                run(session, release.errors.migration, index, schema.fill(statement))?;
            }
            match migration {
                Migration::Log => last_longer(session, faults.longer_migration() - after)?,
                Migration::FillCommitVolumes => fill::commit_volumes(session, schema, cancel)?,
                Migration::Nothing
                | Migration::Rows
                | Migration::MetaCompareInPublic
                | Migration::MetaCompare
                | Migration::DropRows
                | Migration::Sequence
                | Migration::CommitVolumes
                | Migration::PostingsByTrigger
                | Migration::WithoutTriggers
                | Migration::WideVolumes
                | Migration::Timestamps
                | Migration::Postings
                | Migration::PostingsIfMissing
                | Migration::Idempotency
                | Migration::AddressSegments => {}
            }
            if release.records_migrations {
                record(session, release.postgres.dates, schema, number)?;
            }
        }
        last_longer(session, after)?;
        misbehave(session, schema, ledger, faults)?;
        hold(ledger, faults, cancel)?;
        Ok(true)
    })
}

/// Up to 1.6.1 the look and the table are part of the transaction: a failed migration leaves no table in a foreign schema, and a
/// second command sees nothing of the first one's.
fn missing(session: &mut Session, release: &Release, schema: &Schema) -> Stored<Vec<(usize, Migration)>> {
    let known = release.postgres.migrations.iter().copied().enumerate();
    if !release.records_migrations {
        return Ok(known.collect());
    }
    session.batch(schema.fill(schema::MIGRATIONS))?;
    let rows = session.rows(sql(schema.fill("SELECT version FROM LEDGER.migrations")))?;
    let recorded: BTreeSet<String> =
        rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>().map_err(PgError::from)?;
    Ok(known.filter(|(number, _)| !recorded.contains(&number.to_string())).collect())
}

fn statements(migration: Migration) -> Vec<String> {
    let owned = |statements: &[&str]| statements.iter().map(|statement| (*statement).to_owned()).collect();
    match migration {
        Migration::Nothing | Migration::FillCommitVolumes => Vec::new(),
        Migration::Rows => owned(schema::ROWS),
        Migration::Log => schema::log(),
        Migration::MetaCompareInPublic => schema::meta_compare(""),
        Migration::MetaCompare => schema::meta_compare("LEDGER."),
        Migration::DropRows => owned(schema::DROP),
        Migration::Sequence => owned(schema::SEQUENCE),
        Migration::CommitVolumes => later::commit_volumes(),
        Migration::PostingsByTrigger => later::postings_by_trigger(),
        Migration::WithoutTriggers => owned(later::WITHOUT_TRIGGERS),
        Migration::WideVolumes => owned(later::WIDE_VOLUMES),
        Migration::Timestamps => owned(later::TIMESTAMPS),
        Migration::Postings => later::postings(""),
        Migration::PostingsIfMissing => later::postings("IF NOT EXISTS"),
        Migration::Idempotency => owned(later::IDEMPOTENCY),
        Migration::AddressSegments => owned(later::ADDRESS_SEGMENTS),
    }
}

fn run(session: &mut Session, failure: Failure, statement: usize, text: String) -> Stored<()> {
    session.batch(text.clone()).map_err(|error| match failure {
        Failure::NamesStatement => StoreError::Migration { statement, sql: None, source: error.into() },
        Failure::ShowsStatement => StoreError::Migration { statement, sql: Some(text), source: error.into() },
        Failure::Plain => error.into(),
    })
}

fn record(session: &mut Session, dates: DateText, schema: &Schema, number: usize) -> Stored<()> {
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
