//! A rehearsal's copies: two databases in the same cluster, one as it was and one to migrate.

use super::PostgresStorage;
use super::scratch::{self, Scratch};
use crate::digest::{self, Comparison};
use crate::settings::Key;
use crate::storage::{Copied, CopyAsk, Storage};
use crate::{StorageError, files};
use cutover_vocabulary::LedgerName;
use std::path::Path;

/// The copies.
struct PostgresCopy {
    before: Scratch,
    after: Scratch,
}

/// Copies ledgers by a dump each. Needs as much of the server's disk again, twice.
pub(super) fn copy(storage: &PostgresStorage, ask: &CopyAsk<'_>) -> Result<Box<dyn Copied>, StorageError> {
    let unique = format!("{}/{}", storage.database(), ask.upgrade);
    let points = ask.folder.join("points");
    files::private_folder(&points)?;
    let before = Scratch::make(storage, &scratch::name("rehearse_before", &unique))?;
    let filled = ask.ledgers.iter().try_for_each(|name| {
        let dump = super::recovery::plain_dump(storage, name, &points)?;
        before.unpack(&dump)?;
        files::remove(&dump)
    });
    let after = filled.and_then(|()| Scratch::like(&before, &scratch::name("rehearse", &unique)));
    match after {
        Ok(after) => Ok(Box::new(PostgresCopy { before, after })),
        Err(error) => {
            let _ = before.remove();
            Err(error)
        }
    }
}

impl Copied for PostgresCopy {
    fn storage(&self) -> &dyn Storage {
        &self.after.storage
    }
    fn flags(&self) -> Vec<String> {
        vec![format!("--{}=postgres", Key::Driver)]
    }
    fn by_environment_only(&self) -> &'static [Key] {
        &[Key::ConnString]
    }
    fn compare(&self, ledger: &LedgerName, _scratch: &Path) -> Result<Comparison, StorageError> {
        digest::compare(&self.before.storage.ledger(ledger)?, &self.after.storage.ledger(ledger)?)
    }
    fn remove(self: Box<Self>) -> Result<(), StorageError> {
        let Self { before, after } = *self;
        after.remove().and(before.remove())
    }
}
