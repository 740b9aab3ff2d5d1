//! SQLite as a [`Storage`].

use super::backup::backup;
use super::inventory::{Inventory, Problem, ProblemKind};
use super::lock::{Locking, StorageLock};
use super::open::Ledger;
use super::place::{SqlitePlace, free_bytes};
use super::recovery::{self, needed_bytes};
use super::restore;
use crate::digest::{self, Comparison};
use crate::points;
use crate::settings::{Key, Resolved};
use crate::storage::{Copied, CopyAsk, Lock, Look, Secure, Storage};
use crate::{StorageError, clock, files};
use cutover_vocabulary::outcome::{Proof, Restored, StorageAttestation};
use cutover_vocabulary::storage::{Migrations, RecoveryItem, RecoveryPoint, StorageIdentity};
use cutover_vocabulary::survey::StorageSurvey;
use cutover_vocabulary::{LedgerName, UpgradeId};
use secrecy::SecretString;
use std::fs;
use std::path::{Path, PathBuf};

/// The files of one directory.
#[derive(Debug)]
pub struct SqliteStorage {
    place: SqlitePlace,
    identity: StorageIdentity,
}

impl SqliteStorage {
    /// The storage that a service's settings lead to. `machine` is the host's machine id.
    ///
    /// # Errors
    /// As [`SqlitePlace::find`].
    pub fn open(resolved: &Resolved, machine: &str) -> Result<Self, StorageError> {
        Self::at(SqlitePlace::find(&resolved.directory()?, resolved.db_name())?, machine)
    }

    /// The storage at a place.
    ///
    /// # Errors
    /// [`StorageError::Io`] when the directory cannot be looked at.
    pub fn at(place: SqlitePlace, machine: &str) -> Result<Self, StorageError> {
        let identity = place.identity(machine)?;
        Ok(Self { place, identity })
    }

    /// Its directory and names.
    pub fn place(&self) -> &SqlitePlace {
        &self.place
    }

    fn ledger(&self, name: &LedgerName, scratch: &Path) -> Result<Ledger, StorageError> {
        Ledger::open(&self.place.ledger(name)?, scratch)
    }

    /// The file of an item, by its name in the directory.
    fn file_name(&self, item: &RecoveryItem) -> Result<String, StorageError> {
        let file = self.place.file(item)?;
        Ok(file.file_name().unwrap_or_default().to_string_lossy().into_owned())
    }
}

impl Storage for SqliteStorage {
    fn identity(&self) -> &StorageIdentity {
        &self.identity
    }

    fn survey(&self, look: &Look<'_>) -> Result<StorageSurvey, StorageError> {
        let quiet = self.place.quiet(look.own)?;
        let inventory = self.place.inventory(look.scratch)?;
        let (ledgers, more) = self.place.survey(&inventory, look.scratch)?;
        let Inventory { registered, problems, ledgers: _ } = inventory;
        let (skipped, unusable): (Vec<Problem>, Vec<Problem>) =
            problems.into_iter().chain(more).partition(|problem| problem.kind == ProblemKind::Skipped);
        self.refuse_unusable(&unusable)?;
        let system_bytes = fs::metadata(self.place.system()).map_or(0, |data| data.len());
        let needed = ledgers.iter().map(|ledger| ledger.bytes).chain([system_bytes]).map(needed_bytes);
        Ok(StorageSurvey {
            identity: self.identity.clone(),
            needed_bytes: needed.fold(0, u64::saturating_add),
            registered,
            skipped: skipped.into_iter().map(|problem| (problem.file, problem.reason)).collect(),
            strangers: quiet.openers,
            free_bytes: free_bytes(look.recovery)?,
            read_only: self.place.read_only(),
            ledgers,
            sessions: Vec::new(),
            obstacles: Vec::new(),
            session_settings: Vec::new(),
        })
    }

    fn attest(&self, look: &Look<'_>) -> Result<StorageAttestation, StorageError> {
        // Before the files are opened here: this process is the one opener that is accounted for.
        let quiet = self.place.quiet(look.own)?;
        let inventory = self.place.inventory(look.scratch)?;
        let declared = |uid: &u32| look.unseen_users.contains(uid);
        let unseen = quiet.not_visible.iter().filter(|unseen| unseen.could_reach && !declared(&unseen.uid));
        let mut not_visible: Vec<String> = unseen.map(ToString::to_string).collect();
        for problem in &inventory.problems {
            match problem.kind {
                ProblemKind::Corrupt | ProblemKind::Unreadable => {
                    not_visible.push(format!("{}: {}", problem.file, problem.reason));
                }
                // Known to the plan as skipped, and no ledger's data.
                ProblemKind::Skipped | ProblemKind::Empty | ProblemKind::Foreign | ProblemKind::NotAFile => {}
            }
        }
        Ok(StorageAttestation {
            storage: self.identity.clone(),
            ledgers: inventory.ledgers.iter().map(|ledger| ledger.name.clone()).collect(),
            migrations: inventory.ledgers.into_iter().map(|ledger| (ledger.name, ledger.migrations)).collect(),
            openers: quiet.openers,
            sessions: Vec::new(),
            not_visible,
            at: clock::wall(),
        })
    }

    /// By `flock`, handed down to the ledger commands that are started from now on: one that outlives its worker keeps it.
    fn lock(&self, item: Option<&RecoveryItem>, holder: &str) -> Result<Box<dyn Lock>, StorageError> {
        let whole = self.place.directory().join(".cutover.lock");
        let locking = match item {
            None => StorageLock::acquire(&whole, holder)?,
            Some(item) => {
                let path = self.place.directory().join(format!(".cutover-{}.lock", self.file_name(item)?));
                StorageLock::acquire_item(&whole, &path, holder)?
            }
        };
        match locking {
            Locking::Ours(lock) => {
                lock.inherit()?;
                Ok(Box::new(lock))
            }
            Locking::Held { by } => Err(StorageError::Busy {
                what: self.identity.to_string(),
                by: format!("another runner: {}", by.as_deref().unwrap_or("it left no name")),
            }),
        }
    }

    /// A lane looks at its own ledger only: beside it the others' commands have theirs and the system store open.
    fn quiet(&self, item: Option<&RecoveryItem>) -> Result<(), StorageError> {
        let mut openers = self.place.quiet(&[std::process::id()])?.openers;
        if let Some(item) = item {
            let name = self.file_name(item)?;
            // With what SQLite keeps beside it, and the file itself when it was deleted while it was open.
            openers.retain(|opener| opener.file.starts_with(&name));
        }
        match openers.first() {
            None => Ok(()),
            Some(opener) => Err(StorageError::NotQuiet {
                what: self.identity.to_string(),
                who: format!(
                    "process {} ({}) has {} open, {} in all",
                    opener.pid,
                    opener.command,
                    opener.file,
                    openers.len()
                ),
            }),
        }
    }

    /// No instance serves beside us: they are all on this host, and are stopped together.
    fn ours_ended(&self, item: Option<&RecoveryItem>) -> Result<(), StorageError> {
        self.quiet(item)
    }

    fn exists(&self, ledger: &LedgerName) -> Result<bool, StorageError> {
        Ok(self.place.ledger(ledger)?.exists())
    }

    fn migrations(&self, ledger: &LedgerName, scratch: &Path) -> Result<Migrations, StorageError> {
        // Closed again before any command runs.
        self.ledger(ledger, scratch)?.migrations()
    }

    fn prepare(&self, _upgrade: &UpgradeId) -> Result<(), StorageError> {
        Ok(())
    }

    fn tidy(&self, _upgrade: &UpgradeId) -> Result<(), StorageError> {
        Ok(())
    }

    fn secure(&self, ask: &Secure<'_>) -> Result<RecoveryPoint, StorageError> {
        recovery::secure(&self.place, ask)
    }

    fn prove(&self, point: &RecoveryPoint, scratch: &Path) -> Result<Proof, StorageError> {
        let RecoveryItem::Ledger(name) = &point.item else {
            let path = PathBuf::from(&point.place);
            return Err(StorageError::Refused { path, why: format!("the {} has no digest to prove", point.item) });
        };
        let ledger = self.ledger(name, scratch)?;
        let migrations = ledger.migrations()?;
        points::prove(point, &ledger, migrations, |_| {
            digest::compare(&Ledger::open(Path::new(&point.place), scratch)?, &ledger)
        })
    }

    fn prove_since(&self, point: &RecoveryPoint, _scratch: &Path) -> Result<Proof, StorageError> {
        let why = "instances on SQLite are stopped together, so none can have written since it was taken".to_owned();
        Err(StorageError::Refused { path: PathBuf::from(&point.place), why })
    }

    fn restore(&self, point: &RecoveryPoint, aside: &Path, unrecorded: bool) -> Result<Restored, StorageError> {
        restore::restore(&self.place, point, aside, unrecorded)
    }

    /// Clients are served meanwhile, so the ledger's file is read for its pages alone; what a copy holds is read from the copy.
    fn copy(&self, ask: &CopyAsk<'_>) -> Result<Box<dyn Copied>, StorageError> {
        let (storage, points) = (ask.folder.join("storage"), ask.folder.join("points"));
        for folder in [&storage, &points] {
            files::private_folder(folder)?;
            self.place.refuse_inside(folder)?;
        }
        let there = SqlitePlace::find(&storage, self.place.db_name())?;
        for name in ask.ledgers {
            let original = self.place.ledger(name)?;
            self.place.refuse_a_link(&original)?;
            let before = recovery::copy_path(&points, &RecoveryItem::Ledger(name.clone()));
            backup(Ledger::open(&original, &points)?.connection, &original, &before, &points)?;
            files::copy(&before, &there.ledger(name)?)?;
        }
        let machine = match &self.identity {
            StorageIdentity::Sqlite { machine, .. } => machine.as_str(),
            StorageIdentity::Postgres { .. } => "",
        };
        Ok(Box::new(SqliteCopy { storage: Self::at(there, machine)?, points }))
    }

    fn environment(&self, _task: &str) -> Result<Vec<(String, SecretString)>, StorageError> {
        let variable = |key: Key, value: &str| (key.variable(), SecretString::from(value));
        Ok(vec![
            variable(Key::Driver, "sqlite"),
            variable(Key::Directory, &self.place.directory().to_string_lossy()),
            variable(Key::DbName, self.place.db_name()),
        ])
    }

    fn stagger(&self) -> Result<(), StorageError> {
        Ok(())
    }

    fn mark(&self, ledger: &LedgerName, scratch: &Path) -> Result<String, StorageError> {
        self.ledger(ledger, scratch)?.mark()
    }

    fn growth(&self, ledger: &LedgerName) -> Result<u64, StorageError> {
        Ok(files::bytes(&self.place.ledger(ledger)?))
    }

    /// The ledger's statements on SQLite are chosen without statistics.
    fn analyse(&self, _ledger: &LedgerName) -> Result<(), StorageError> {
        Ok(())
    }
}

impl SqliteStorage {
    /// What `storage scan` passes over is a finding that a person can approve. A file that scan would take for a ledger and
    /// that cannot be one is more: the storage commands would fail on it or make it anew, in the window.
    fn refuse_unusable(&self, problems: &[Problem]) -> Result<(), StorageError> {
        if problems.is_empty() {
            return Ok(());
        }
        // Most reasons name the file already.
        let text = |Problem { file, reason, .. }: &Problem| {
            if reason.contains(file.as_str()) { reason.clone() } else { format!("{file}: {reason}") }
        };
        let why = problems.iter().map(text).collect::<Vec<_>>().join("; ");
        Err(StorageError::Refused { path: self.place.directory().to_owned(), why })
    }
}

/// Copies of some ledgers in a directory of their own, and what they were copied from.
struct SqliteCopy {
    storage: SqliteStorage,
    points: PathBuf,
}

impl Copied for SqliteCopy {
    fn storage(&self) -> &dyn Storage {
        &self.storage
    }
    fn flags(&self) -> Vec<String> {
        let flag = |key: Key, value: &str| format!("--{key}={value}");
        vec![
            flag(Key::Driver, "sqlite"),
            flag(Key::Directory, &self.storage.place.directory().to_string_lossy()),
            flag(Key::DbName, self.storage.place.db_name()),
        ]
    }
    fn by_environment_only(&self) -> &'static [Key] {
        &[]
    }
    fn compare(&self, ledger: &LedgerName, scratch: &Path) -> Result<Comparison, StorageError> {
        let original = recovery::copy_path(&self.points, &RecoveryItem::Ledger(ledger.clone()));
        digest::compare(&Ledger::open(&original, scratch)?, &self.storage.ledger(ledger, scratch)?)
    }
    fn remove(self: Box<Self>) -> Result<(), StorageError> {
        Ok(())
    }
}
