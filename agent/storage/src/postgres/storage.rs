//! PostgreSQL as a [`Storage`].

use super::ledger::Ledger;
use super::proving::Proving;
use super::quiet::Beside;
use super::{PostgresStorage, recovery, rehearsal, restore};
use crate::points::{self, Manifest};
use crate::storage::{Copied, CopyAsk, Lock, Look, Secure, Storage};
use crate::{StorageError, digest};
use cutover_vocabulary::outcome::{Proof, Restored, StorageAttestation};
use cutover_vocabulary::storage::{Migrations, RecoveryItem, RecoveryPoint, StorageIdentity};
use cutover_vocabulary::survey::StorageSurvey;
use cutover_vocabulary::{LedgerName, UpgradeId};
use secrecy::SecretString;
use std::path::{Path, PathBuf};

impl Storage for PostgresStorage {
    fn identity(&self) -> &StorageIdentity {
        &self.identity
    }

    fn survey(&self, look: &Look<'_>) -> Result<StorageSurvey, StorageError> {
        self.look_closely(look)
    }

    fn attest(&self, look: &Look<'_>) -> Result<StorageAttestation, StorageError> {
        self.look_quickly(look)
    }

    fn lock(&self, item: Option<&RecoveryItem>, holder: &str) -> Result<Box<dyn Lock>, StorageError> {
        self.acquire(item, holder)
    }

    fn quiet(&self, item: Option<&RecoveryItem>) -> Result<(), StorageError> {
        self.wait_until_quiet(item, Beside::Nobody)
    }

    fn ours_ended(&self, item: Option<&RecoveryItem>) -> Result<(), StorageError> {
        self.wait_until_quiet(item, Beside::Instances)
    }

    fn exists(&self, ledger: &LedgerName) -> Result<bool, StorageError> {
        self.has_table(ledger.as_str(), "transactions")
    }

    fn migrations(&self, ledger: &LedgerName, _scratch: &Path) -> Result<Migrations, StorageError> {
        self.reading(ledger, Ledger::migrations)
    }

    fn prepare(&self, upgrade: &UpgradeId) -> Result<(), StorageError> {
        Proving::prepare(self, upgrade)
    }

    fn tidy(&self, upgrade: &UpgradeId) -> Result<(), StorageError> {
        Proving::tidy(self, upgrade)
    }

    fn secure(&self, ask: &Secure<'_>) -> Result<RecoveryPoint, StorageError> {
        recovery::secure(self, ask)
    }

    fn prove(&self, point: &RecoveryPoint, _scratch: &Path) -> Result<Proof, StorageError> {
        let name = ledger_of(point)?;
        self.reading(name, |ledger| {
            points::prove(point, ledger, ledger.migrations()?, |manifest| {
                self.with_original(name, manifest, |original| digest::compare(original, ledger))
            })
        })
    }

    fn prove_since(&self, point: &RecoveryPoint, _scratch: &Path) -> Result<Proof, StorageError> {
        let name = ledger_of(point)?;
        self.reading(name, |ledger| {
            points::prove_since(point, ledger, ledger.migrations()?, |manifest| {
                self.with_original(name, manifest, |original| {
                    digest::compare_since(original, ledger, &ledger.described_since(original)?)
                })
            })
        })
    }

    fn restore(&self, point: &RecoveryPoint, aside: &Path, unrecorded: bool) -> Result<Restored, StorageError> {
        restore::restore(self, point, aside, unrecorded)
    }

    fn copy(&self, ask: &CopyAsk<'_>) -> Result<Box<dyn Copied>, StorageError> {
        rehearsal::copy(self, ask)
    }

    fn environment(&self, task: &str) -> Result<Vec<(String, SecretString)>, StorageError> {
        self.variables(task)
    }

    fn stagger(&self) -> Result<(), StorageError> {
        self.begin_apart()
    }

    fn mark(&self, ledger: &LedgerName, _scratch: &Path) -> Result<String, StorageError> {
        self.reading(ledger, Ledger::mark)
    }

    fn growth(&self, _ledger: &LedgerName) -> Result<u64, StorageError> {
        self.bytes_of_database()
    }

    fn analyse(&self, ledger: &LedgerName) -> Result<(), StorageError> {
        self.analyse_tables(ledger)
    }
}

impl PostgresStorage {
    /// Restores a point's dump elsewhere for as long as its ledger is looked at.
    fn with_original<T>(
        &self,
        name: &LedgerName,
        manifest: &Manifest,
        look: impl FnOnce(&Ledger) -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        let before = recovery::unpack(self, manifest)?;
        let looked = before.storage.ledger(name).and_then(|original| look(&original));
        let removed = before.remove();
        let looked = looked?;
        removed?;
        Ok(looked)
    }
}

fn ledger_of(point: &RecoveryPoint) -> Result<&LedgerName, StorageError> {
    match &point.item {
        RecoveryItem::Ledger(name) => Ok(name),
        RecoveryItem::System => {
            let path = PathBuf::from(&point.place);
            Err(StorageError::Refused { path, why: format!("the {} has no digest to prove", point.item) })
        }
    }
}
