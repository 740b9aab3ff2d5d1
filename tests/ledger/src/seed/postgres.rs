//! Large storages in seconds: rows of the layout of 1.3.1, copied into a schema in one transaction.

use super::{SeedError, Shape};
use crate::storage::StoreError;
use crate::storage::postgres::{self, Table};
use std::fmt::Write;

/// Creates the ledger's schema in the layout of 1.3.1 in the database that `connection` leads to (any connection string that the
/// ledger takes), fills it, and analyses it, as a storage that has been used for a while is. The same shape gives the same rows as
/// [`super::direct`]. May be called from anywhere, asynchronous code too, which it blocks.
///
/// # Errors
/// When the schema holds rows, or PostgreSQL refuses.
pub fn direct_postgres(connection: &str, ledger: &str, shape: Shape) -> Result<(), SeedError> {
    let fill = || postgres::load_rows(connection, ledger, &tables(shape));
    // A thread of its own: a session's runtime cannot begin inside another one.
    let filled = std::thread::scope(|scope| scope.spawn(fill).join());
    let filled = filled.unwrap_or_else(|_| Err(StoreError::Unreadable("the thread that seeds panicked".to_owned())));
    filled.map_err(|source| SeedError::Postgres { ledger: ledger.to_owned(), source: Box::new(source) })
}

fn tables(shape: Shape) -> [Table; 3] {
    let [mut transactions, mut postings, mut metadata] = [const { String::new() }; 3];
    for row in shape.rows() {
        let reference = row.reference.as_deref().unwrap_or("\\N");
        // Writing into a String cannot fail.
        let _ = writeln!(transactions, "{}\t{}\t{reference}\t{}", row.id, row.timestamp, row.hash);
        let _ = writeln!(postings, "0\t{}\tworld\t{}\t{}\tUSD/2", row.id, row.account, row.amount);
        if let Some((meta_id, order)) = row.order {
            let _ = writeln!(metadata, "{meta_id}\ttransaction\t{}\torder\t{order}\t{}", row.id, row.timestamp);
        }
    }
    [
        Table { name: "transactions", rows: transactions },
        Table { name: "postings", rows: postings },
        Table { name: "metadata", rows: metadata },
    ]
}
