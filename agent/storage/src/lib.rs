//! The storages of the ledger: identify, inventory, quiet, lock, recovery point, restore, digest.
//!
//! Everything here is synchronous and runs inside a worker process, never in the daemon: a worker may be killed at any
//! moment, so every function that changes something looks first, and says in its documentation what a half-done run
//! leaves behind and what running it again does.
//!
//! [`digest`] knows nothing of SQL: it reads sorted streams of rows ([`digest::RowSource`]) that a driver provides.
//! [`settings`] finds out which storage a service really uses. [`storage`] is what every driver can do, [`sqlite`] the driver
//! for SQLite, [`postgres`] the one for PostgreSQL.

pub mod clock;
pub mod digest;
pub mod error;
mod files;
pub mod points;
pub mod postgres;
pub mod settings;
pub mod sqlite;
pub mod storage;

pub use error::StorageError;
pub use storage::{Storage, open};
