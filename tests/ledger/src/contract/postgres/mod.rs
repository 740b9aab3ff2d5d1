//! What only PostgreSQL storages do.

pub(super) mod commands;
mod connection;
mod data;
mod dependents;
mod instances;
mod meetings;
mod migration;
mod sessions;

use super::http::pay;
use super::subject::{Home, Ran, Server, Subject, output};
use super::{Bench, Check, Step, Verdict, expect, tried};
use crate::seed::{self, Shape};
use crate::storage::postgres::Looker;
use std::time::Duration;

pub(super) fn checks() -> Vec<Check> {
    [
        commands::CHECKS,
        connection::CHECKS,
        sessions::CHECKS,
        instances::CHECKS,
        data::CHECKS,
        migration::CHECKS,
        meetings::CHECKS,
        dependents::CHECKS,
    ]
    .concat()
}

/// Reads from a home's database; NULL is `NULL`.
pub(super) fn rows(home: &Home, sql: &str) -> Step<Vec<Vec<String>>> {
    tried(format!("run {sql}"), home.database()?.look()?.rows(sql))
}

/// The first column of the first row.
pub(super) fn value(home: &Home, sql: &str) -> Step<String> {
    tried(format!("run {sql}"), home.database()?.look()?.value(sql))
}

/// Changes a home's database.
pub(super) fn run(home: &Home, sql: &str) -> Step {
    tried(format!("run {sql}"), home.database()?.look()?.run(sql))
}

/// Whether the ledger was migrated.
fn has_log(home: &Home, ledger: &str) -> Step<bool> {
    Ok(value(home, &format!("SELECT to_regclass('{ledger}.log') IS NOT NULL"))? == "t")
}

fn upgrade(subject: &Subject, home: &Home, ledger: &str) -> Step<Ran> {
    subject.run(home, &["storage", "upgrade", ledger])
}

/// Starts a command and does not wait for it.
fn start(bench: &Bench, home: &Home, ledger: &str) -> Step<std::process::Child> {
    tried("start upgrade", bench.subject.command(home, &["storage", "upgrade", ledger]).spawn())
}

/// How a command that was started ended.
fn ended(child: std::process::Child) -> Step<Ran> {
    let output = output(child, "upgrade")?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(Ran { status: output.status, out: text(&output.stdout), err: text(&output.stderr) })
}

/// Waits for a condition, for no longer than any check needs on a busy machine.
fn until(what: &str, mut holds: impl FnMut() -> Step<bool>) -> Step {
    for _ in 0..2000 {
        if holds()? {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Err(Verdict::Differs { expected: what.to_owned(), saw: "nothing of it for 20 s".to_owned() })
}

/// As many sessions of others as wait for a lock.
fn waiting(home: &Home) -> Step<u64> {
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    Ok(value(home, sql)?.parse().unwrap_or(0))
}

/// Somebody who reads the table, so that a migration comes to its end and no further.
fn reader(home: &Home, table: &str) -> Step<Looker> {
    let mut session = home.database()?.look()?;
    tried("read a table in a transaction", session.run(&format!("BEGIN; LOCK TABLE {table} IN ACCESS SHARE MODE")))?;
    Ok(session)
}

/// A storage of the older binary with what `fill` writes.
fn written(bench: &Bench, fill: impl Fn(&Server) -> Step) -> Step<Home> {
    let from = bench.older()?;
    let home = bench.home()?;
    let server = from.serve(&home, &[])?;
    fill(&server)?;
    server.stop()?;
    Ok(home)
}

/// A storage of the older binary with one transaction in each of these ledgers.
fn small(bench: &Bench, ledgers: &[&str]) -> Step<Home> {
    written(bench, |server| {
        for ledger in ledgers {
            server.write(&format!("/{ledger}/transactions"), &pay("bank", 1))?;
        }
        Ok(())
    })
}

/// A ledger in the layout of 1.3.1 whose migration takes long enough to meet it.
fn seeded(bench: &Bench, home: &Home, ledger: &str, transactions: u64) -> Step {
    bench.older()?;
    let shape = Shape { transactions, accounts: 500, metadata_every: 2 };
    tried("seed a ledger", seed::direct_postgres(&home.database()?.url(), ledger, shape))
}

/// What depends on a release's wording: the text of a statement that failed in a migration.
fn fails_at_a_statement(bench: &Bench, ran: &Ran, message: &str) -> Step {
    use super::Number;
    ran.ends(1)?;
    ran.complains(message)?;
    let number = bench.subject.number;
    if number < Number(1, 7, 0) {
        ran.complains("failed to run statement ")?;
        ran.complains("level=error")?;
    }
    let shows = number < Number(1, 4, 0) || (Number(1, 5, 0)..Number(1, 7, 0)).contains(&number);
    expect(ran.err.contains("statement: ") == shows, format!("the statement itself shown: {shows}"), &ran.err)
}
