//! The driver for SQLite: a directory with one file a ledger, `{db_name}_{ledger}.db`, and from 1.4 the system store
//! `{db_name}__system.db`.

pub mod documents;

pub mod layout;
pub mod open;
pub mod rows;
pub mod source;
pub mod split;

pub use layout::Layout;
pub use open::Ledger;
