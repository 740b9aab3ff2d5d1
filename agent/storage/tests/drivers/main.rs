//! What every driver promises, each promise held to SQLite and to PostgreSQL by the same test.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "../support/mod.rs"]
mod files;
#[path = "../support/postgres.rs"]
mod server;

mod bed;
mod points;
