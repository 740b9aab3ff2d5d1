//! Large storages in seconds: rows of the layout of 1.3.1, copied into a schema in one transaction.

use super::{ROWS, SeedError, Shape, release, through_store};
use crate::release::Layout;
use crate::storage::StoreError;
use crate::storage::postgres::{self, Schemas, Table};
use std::fmt::Write;

/// Creates the ledger's schema in the layout of 1.3.1 in the database that `connection` leads to (any connection string that the
/// ledger takes), fills it, and analyses it, as a storage that has been used for a while is. The same shape gives the same rows as
/// [`super::direct`]. May be called from anywhere, asynchronous code too, which it blocks.
///
/// # Errors
/// When the schema holds rows, or PostgreSQL refuses.
pub fn direct_postgres(connection: &str, ledger: &str, shape: Shape) -> Result<(), SeedError> {
    direct_postgres_as(ROWS, connection, ledger, shape)
}

/// As [`direct_postgres`], in the layout of any release. From 1.3.2 on the ledger is registered in the system store, and written as the
/// release itself writes, some hundred transactions a second.
///
/// # Errors
/// As [`direct_postgres`], and for a version that the simulator does not know.
pub fn direct_postgres_as(version: &str, connection: &str, ledger: &str, shape: Shape) -> Result<(), SeedError> {
    let release = release(version)?;
    let fill = || match release.layout {
        Layout::Rows => postgres::load_rows(release, connection, ledger, &tables(shape)),
        Layout::Log | Layout::Direct => {
            let schemas = Schemas::new(release, connection).map_err(StoreError::Unreadable)?;
            through_store(&schemas, ledger, shape)
        }
    };
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
