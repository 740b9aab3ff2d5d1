//! Progress of a migration: it is one transaction, so no row shows it, but the files grow.

use super::files;
use super::place::SqlitePlace;
use crate::StorageError;
use cutover_vocabulary::LedgerName;

impl SqlitePlace {
    /// Bytes of a ledger's database, write-ahead log and journal. Only asks for sizes, so it disturbs nobody's locks.
    pub fn growth(&self, ledger: &LedgerName) -> Result<u64, StorageError> {
        Ok(files::bytes(&self.ledger(ledger)?))
    }
}
