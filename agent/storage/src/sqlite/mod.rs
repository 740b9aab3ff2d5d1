//! The driver for SQLite: a directory with one file a ledger, `{db_name}_{ledger}.db`, and from 1.4 the system store
//! `{db_name}__system.db`.

mod backup;
mod bad_rows;
mod documents;
pub mod inventory;
mod layout;
pub mod lock;
mod open;
mod place;
pub mod quiet;
pub mod recovery;
pub mod restore;
mod rows;
mod source;
mod split;
pub mod storage;
pub mod survey;

pub use layout::Layout;
pub use open::Ledger;
pub use place::{SqlitePlace, free_bytes};
pub use storage::SqliteStorage;
