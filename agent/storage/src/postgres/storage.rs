//! PostgreSQL as a [`Storage`].

use super::{PostgresStorage, recovery, rehearsal, restore};
use crate::points;
use crate::storage::{Copied, CopyAsk, Lock, Look, Secure, Storage};
use crate::{StorageError, digest};
use cutover_vocabulary::LedgerName;
use cutover_vocabulary::outcome::{Proof, Restored, StorageAttestation};
use cutover_vocabulary::storage::{Migrations, RecoveryItem, RecoveryPoint, StorageIdentity};
use cutover_vocabulary::survey::StorageSurvey;
use secrecy::SecretString;
use std::path::{Path, PathBuf};

fn not_yet() -> StorageError {
    StorageError::Settings("not yet".to_owned())
}

impl Storage for PostgresStorage {
    fn identity(&self) -> &StorageIdentity {
        Self::identity(self)
    }
    fn survey(&self, _look: &Look<'_>) -> Result<StorageSurvey, StorageError> {
        Err(not_yet())
    }
    fn attest(&self, _look: &Look<'_>) -> Result<StorageAttestation, StorageError> {
        Err(not_yet())
    }
    fn lock(&self, _item: Option<&RecoveryItem>, _holder: &str) -> Result<Box<dyn Lock>, StorageError> {
        Err(not_yet())
    }
    fn quiet(&self, _item: Option<&RecoveryItem>) -> Result<(), StorageError> {
        Err(not_yet())
    }
    fn exists(&self, ledger: &LedgerName) -> Result<bool, StorageError> {
        self.has_table(ledger.as_str(), "transactions")
    }
    fn migrations(&self, ledger: &LedgerName, _scratch: &Path) -> Result<Migrations, StorageError> {
        self.ledger(ledger)?.migrations()
    }
    fn secure(&self, ask: &Secure<'_>) -> Result<RecoveryPoint, StorageError> {
        recovery::secure(self, ask)
    }
    fn prove(&self, point: &RecoveryPoint, _scratch: &Path) -> Result<Proof, StorageError> {
        let RecoveryItem::Ledger(name) = &point.item else {
            let path = PathBuf::from(&point.place);
            return Err(StorageError::Refused { path, why: format!("the {} has no digest to prove", point.item) });
        };
        let ledger = self.ledger(name)?;
        let migrations = ledger.migrations()?;
        points::prove(point, &ledger, migrations, |manifest| {
            let before = recovery::unpack(self, manifest)?;
            let compared = before.storage.ledger(name).and_then(|original| digest::compare(&original, &ledger));
            let removed = before.remove();
            let compared = compared?;
            removed?;
            Ok(compared)
        })
    }
    fn restore(&self, point: &RecoveryPoint, aside: &Path) -> Result<Restored, StorageError> {
        restore::restore(self, point, aside)
    }
    fn copy(&self, ask: &CopyAsk<'_>) -> Result<Box<dyn Copied>, StorageError> {
        rehearsal::copy(self, ask)
    }
    fn environment(&self, task: &str) -> Result<Vec<(String, SecretString)>, StorageError> {
        Self::environment(self, task)
    }
    fn stagger(&self) -> Result<(), StorageError> {
        Ok(())
    }
    fn mark(&self, ledger: &LedgerName, _scratch: &Path) -> Result<String, StorageError> {
        self.ledger(ledger)?.mark()
    }
    fn growth(&self, _ledger: &LedgerName) -> Result<u64, StorageError> {
        Ok(0)
    }
    fn analyse(&self, _ledger: &LedgerName) -> Result<(), StorageError> {
        Ok(())
    }
}
