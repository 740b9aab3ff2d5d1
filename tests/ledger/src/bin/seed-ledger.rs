//! `seed-ledger CONNECTION-STRING|FILE LEDGER TRANSACTIONS [METADATA-EVERY]`: a ledger of 1.3.1 with that many transactions, in a
//! schema or a SQLite file, for benches. Without the last one every second transaction has metadata. The string can also come from
//! `NUMARY_STORAGE_POSTGRES_CONN_STRING`, with `-` in its place: it may hold a password.
#![expect(clippy::print_stderr, reason = "a command that talks to the person who ran it")]

use cutover_ledger_simulator::seed::{self, SeedError, Shape};
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let shape = |transactions: &str, every: &str| {
        Some(Shape { transactions: transactions.parse().ok()?, accounts: 1000, metadata_every: every.parse().ok()? })
    };
    let (place, ledger, shape) = match arguments.as_slice() {
        [place, ledger, transactions] => (place, ledger, shape(transactions, "2")),
        [place, ledger, transactions, every] => (place, ledger, shape(transactions, every)),
        _ => (&String::new(), &String::new(), None),
    };
    let Some(shape) = shape else {
        eprintln!("usage: seed-ledger CONNECTION-STRING|FILE|- LEDGER TRANSACTIONS [METADATA-EVERY]");
        return ExitCode::from(2);
    };
    match seed_at(place, ledger, shape) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("seed-ledger: {error}");
            ExitCode::FAILURE
        }
    }
}

fn seed_at(place: &str, ledger: &str, shape: Shape) -> Result<(), SeedError> {
    if place == "-" {
        let text = std::env::var("NUMARY_STORAGE_POSTGRES_CONN_STRING").unwrap_or_default();
        return seed::direct_postgres(&text, ledger, shape);
    }
    if place.contains("://") || place.contains('=') {
        return seed::direct_postgres(place, ledger, shape);
    }
    seed::direct(Path::new(place), shape)
}
