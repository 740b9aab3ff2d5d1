//! What every driver can do; the one test suite in `tests/drivers` holds both to it.

use crate::StorageError;
use crate::settings::{Key, Resolved};
use cutover_vocabulary::outcome::{Proof, Restored, StorageAttestation};
use cutover_vocabulary::storage::{Migrations, RecoveryItem, RecoveryPoint, StorageIdentity};
use cutover_vocabulary::survey::StorageSurvey;
use cutover_vocabulary::{LedgerName, UpgradeId};
use secrecy::SecretString;
use std::collections::BTreeMap;
use std::path::Path;

/// A storage, as one service uses it.
///
/// Synchronous: it runs in a worker process, which may be killed at any moment, so everything that changes something looks
/// first. Values that hold connections or locks may be dropped anywhere, in a runtime's context too.
pub trait Storage: Send {
    /// Which storage it is.
    fn identity(&self) -> &StorageIdentity;

    /// Everything that a plan needs to know, read row by row while services run. Changes nothing.
    fn survey(&self, look: &Look<'_>) -> Result<StorageSurvey, StorageError>;

    /// Who is on it at this moment, and what is in it. Changes nothing.
    fn attest(&self, look: &Look<'_>) -> Result<StorageAttestation, StorageError>;

    /// Takes the runner's lock on one item, or on the storage as a whole; lanes of different ledgers have a lock each, and
    /// none beside one for the whole. `holder` is told to whoever comes second. It goes with the process at the latest.
    ///
    /// # Errors
    /// [`StorageError::Busy`] where another runner has it.
    fn lock(&self, item: Option<&RecoveryItem>, holder: &str) -> Result<Box<dyn Lock>, StorageError>;

    /// That nobody but us works on an item, or on anything of the storage, at this moment. A command of ours that its worker
    /// left behind is somebody too: it is waited for, and [`StorageError::Busy`] if it does not end.
    ///
    /// # Errors
    /// [`StorageError::NotQuiet`], which names whom.
    fn quiet(&self, item: Option<&RecoveryItem>) -> Result<(), StorageError>;

    /// That no work of ours that a worker left behind is under way: what is left of [`quiet`](Self::quiet) beside instances that
    /// serve.
    ///
    /// # Errors
    /// [`StorageError::Busy`] where it does not end.
    fn ours_ended(&self, item: Option<&RecoveryItem>) -> Result<(), StorageError>;

    /// Whether a ledger is there. Quick, and opens nothing.
    fn exists(&self, ledger: &LedgerName) -> Result<bool, StorageError>;

    /// Which migrations a ledger records.
    fn migrations(&self, ledger: &LedgerName, scratch: &Path) -> Result<Migrations, StorageError>;

    /// Makes beforehand what [`secure`](Self::secure) would otherwise make in the downtime of this upgrade, and removes what
    /// was left of earlier ones. Again makes it anew.
    fn prepare(&self, upgrade: &UpgradeId) -> Result<(), StorageError>;

    /// Removes what [`prepare`](Self::prepare) made for this upgrade, or [`secure`](Self::secure) where nobody did. Again does
    /// nothing.
    fn tidy(&self, upgrade: &UpgradeId) -> Result<(), StorageError>;

    /// Takes a recovery point and proves it by restoring it elsewhere. Nothing in the storage changes.
    ///
    /// Idempotent by folder and item: a point whose manifest and digests fit is returned as it is, even after the ledger was
    /// migrated; but never where the ledger was written to since. Half done: there is no manifest, so nothing counts; again
    /// starts over.
    fn secure(&self, ask: &Secure<'_>) -> Result<RecoveryPoint, StorageError>;

    /// Compares a ledger with what its point expects after the migration; a difference is listed row by row.
    fn prove(&self, point: &RecoveryPoint, scratch: &Path) -> Result<Proof, StorageError>;

    /// [`prove`](Self::prove) for a ledger that instances have written to since the point was taken: what the point holds must
    /// still be there, and what was written since is left out.
    ///
    /// # Errors
    /// [`StorageError::Refused`] where no instance can have: SQLite's are on one host, and are stopped together.
    fn prove_since(&self, point: &RecoveryPoint, scratch: &Path) -> Result<Proof, StorageError>;

    /// Puts back what a point holds, if it changed. What was there is moved aside and kept, where `storage scan` does not find
    /// it. Half done: what was there is whole or what is restored is; again does the rest.
    ///
    /// A ledger that records what it recorded and holds something else was not migrated but written to, and stays as it is;
    /// unless the migration may have changed what it does not record (`unrecorded`): then that is moved aside like any other.
    fn restore(&self, point: &RecoveryPoint, aside: &Path, unrecorded: bool) -> Result<Restored, StorageError>;

    /// Copies ledgers elsewhere for a rehearsal. What a killed run left is removed first.
    fn copy(&self, ask: &CopyAsk<'_>) -> Result<Box<dyn Copied>, StorageError>;

    /// Every storage key as an environment variable, for ledger commands of ours on this storage. `task` makes their sessions
    /// recognisable as ours, and as this task's.
    fn environment(&self, task: &str) -> Result<Vec<(String, SecretString)>, StorageError>;

    /// Waits until another lane's command has passed what two at once would collide in. At once where nothing collides.
    fn stagger(&self) -> Result<(), StorageError>;

    /// What every write through an instance changes: numbers and highest ids of the tables that a write adds to. Quick, beside
    /// a digest; two equal marks of one ledger mean that no instance wrote in between.
    fn mark(&self, ledger: &LedgerName, scratch: &Path) -> Result<String, StorageError>;

    /// Bytes of a ledger, which grow while it migrates.
    fn growth(&self, ledger: &LedgerName) -> Result<u64, StorageError>;

    /// What makes a migrated storage fast again before clients come: statistics. At once where there is nothing to do.
    fn analyse(&self, ledger: &LedgerName) -> Result<(), StorageError>;
}

/// The storage is ours as long as this lives.
pub trait Lock: Send {
    /// Whether it is still held; a lock in a database goes with its session.
    fn is_held(&self) -> bool;
}

/// A rehearsal's copy of a storage. The next rehearsal removes what a killed one left.
pub trait Copied: Send {
    /// The copy as a storage of its own.
    fn storage(&self) -> &dyn Storage;
    /// Flags that lead a service to the copy, whatever else its arguments say: of a repeated one the last counts. None of
    /// them holds a secret.
    fn flags(&self) -> Vec<String>;
    /// Settings that lead a service to the copy by the copy's [`Storage::environment`] alone, because they are secrets: flags
    /// win over the environment, so a service that has them among its own arguments is started without these.
    fn by_environment_only(&self) -> &'static [Key];
    /// Compares a ledger of the copy, migrated meanwhile, with what was copied.
    fn compare(&self, ledger: &LedgerName, scratch: &Path) -> Result<crate::digest::Comparison, StorageError>;
    /// Removes it. What lies in the folder that the caller gave is the caller's to remove.
    fn remove(self: Box<Self>) -> Result<(), StorageError>;
}

/// For looks at a storage.
#[derive(Debug, Clone, Copy)]
pub struct Look<'a> {
    /// Processes of this host that are known and accounted for.
    pub own: &'a [u32],
    /// Users, by number, whose processes are declared not to open the storage.
    pub unseen_users: &'a [u32],
    /// Roles or `application_name`s on the database that are declared not to write: a monitor, a replica.
    pub exceptions: &'a [String],
    /// Where recovery points go.
    pub recovery: &'a Path,
    /// Takes temporary files.
    pub scratch: &'a Path,
}

/// What is to be kept, and where.
#[derive(Debug, Clone, Copy)]
pub struct Secure<'a> {
    /// Which ledger, or the system store.
    pub item: &'a RecoveryItem,
    /// Its storage as planned for; recorded in the manifest.
    pub storage: &'a StorageIdentity,
    /// For which upgrade; a folder that holds another upgrade's points is refused.
    pub upgrade: &'a UpgradeId,
    /// The folder of this upgrade's recovery points. Made if missing.
    pub folder: &'a Path,
    /// Whether the target's migration loses the known classes; decides what the ledger is expected to hold afterwards.
    pub lossy: bool,
    /// Whether instances serve meanwhile: then a point that is there stays one although the ledger was written to since.
    pub serving: bool,
}

/// What is to be copied for a rehearsal.
#[derive(Debug, Clone, Copy)]
pub struct CopyAsk<'a> {
    /// For which upgrade.
    pub upgrade: &'a UpgradeId,
    /// Which ledgers.
    pub ledgers: &'a [LedgerName],
    /// A folder of its own, which the caller removes.
    pub folder: &'a Path,
}

/// The storage that a service's settings lead to. `environment` is the service's own: PostgreSQL's library reads `PGHOST` and
/// the like from it.
///
/// # Errors
/// [`StorageError`] when the settings lead to none, or it cannot be reached.
pub fn open(
    resolved: &Resolved,
    environment: &BTreeMap<String, SecretString>,
    machine: &str,
) -> Result<Box<dyn Storage>, StorageError> {
    use cutover_vocabulary::storage::Driver;
    match resolved.driver()? {
        Driver::Sqlite => Ok(Box::new(crate::sqlite::SqliteStorage::open(resolved, machine)?)),
        Driver::Postgres => Ok(Box::new(crate::postgres::PostgresStorage::open(resolved, environment)?)),
    }
}
