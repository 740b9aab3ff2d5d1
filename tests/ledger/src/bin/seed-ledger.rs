//! `seed-ledger CONNECTION-STRING|FILE LEDGER TRANSACTIONS [METADATA-EVERY] [--release VERSION]`: a ledger with that many transactions
//! as that release would have written it (without one, 1.3.1), in a schema or a SQLite file, for benches and scenarios. Without
//! METADATA-EVERY every second transaction has metadata. The string can also come from `NUMARY_STORAGE_POSTGRES_CONN_STRING`, with `-`
//! in its place: it may hold a password.
#![expect(clippy::print_stderr, reason = "a command that talks to the person who ran it")]

use cutover_ledger_simulator::seed::{self, SeedError, Shape};
use std::path::Path;
use std::process::ExitCode;

const USAGE: &str =
    "usage: seed-ledger CONNECTION-STRING|FILE|- LEDGER TRANSACTIONS [METADATA-EVERY] [--release VERSION]";

fn main() -> ExitCode {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let version = match arguments.iter().position(|argument| argument == "--release") {
        Some(at) if at + 1 < arguments.len() => {
            let version = arguments.remove(at + 1);
            arguments.remove(at);
            version
        }
        Some(_) => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
        None => "1.3.1".to_owned(),
    };
    let shape = |transactions: &str, every: &str| {
        Some(Shape { transactions: transactions.parse().ok()?, accounts: 1000, metadata_every: every.parse().ok()? })
    };
    let (place, ledger, shape) = match arguments.as_slice() {
        [place, ledger, transactions] => (place, ledger, shape(transactions, "2")),
        [place, ledger, transactions, every] => (place, ledger, shape(transactions, every)),
        _ => (&String::new(), &String::new(), None),
    };
    let Some(shape) = shape else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match seed_at(&version, place, ledger, shape) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("seed-ledger: {error}");
            ExitCode::FAILURE
        }
    }
}

fn seed_at(version: &str, place: &str, ledger: &str, shape: Shape) -> Result<(), SeedError> {
    if place == "-" {
        let text = std::env::var("NUMARY_STORAGE_POSTGRES_CONN_STRING").unwrap_or_default();
        return seed::direct_postgres_as(version, &text, ledger, shape);
    }
    if place.contains("://") || place.contains('=') {
        return seed::direct_postgres_as(version, place, ledger, shape);
    }
    seed::direct_as(version, Path::new(place), shape)
}
