//! What a process keeps of its ledgers between requests. From 1.10.6 on that is the last transaction, which makes two instances
//! conflict, and in 1.10.6 and 1.10.7 the volumes, counted from zero (disaster 11).

use super::LockStrategy;
use super::books::Place;
use crate::go;
use crate::model::Volume;
use crate::release::{self, KeepsLast};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The end of a log, as the next entry's hash needs it.
#[derive(Clone, Debug)]
pub(super) struct End {
    /// The next entry's id.
    pub(super) next: i64,
    previous: String,
}

impl End {
    /// Of an empty log.
    pub(super) fn empty() -> Self {
        Self { next: 0, previous: "null".to_owned() }
    }

    /// After this entry.
    pub(super) fn after(id: i64, kind: &str, date: &str, hash: &str, data: &str) -> Self {
        Self { next: id + 1, previous: go::log_entry(id, kind, date, hash, data) }
    }

    /// The hash of the entry that follows, and the end after it.
    pub(super) fn follow(&self, kind: &str, date: &str, data: &str) -> (String, Self) {
        let hash = go::chain(&self.previous, &go::log_entry(self.next, kind, date, "", data));
        let end = Self::after(self.next, kind, date, &hash, data);
        (hash, end)
    }
}

/// What is kept of one ledger.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// The next transaction's id.
    pub(super) next: Option<i64>,
    /// The end of the log.
    pub(super) end: Option<End>,
    /// Volumes since the process began.
    pub(super) volumes: BTreeMap<Place, Volume>,
    /// The types of the columns that prepared statements read, as they were when they were prepared.
    pub(super) types: Option<Vec<String>>,
}

/// What a process keeps.
#[derive(Clone, Debug)]
pub(super) struct Memory {
    keeps: release::Memory,
    strategy: LockStrategy,
    ledgers: Arc<Mutex<BTreeMap<String, Arc<Mutex<Kept>>>>>,
}

impl Memory {
    pub(super) fn new(keeps: release::Memory) -> Self {
        Self { keeps, strategy: LockStrategy::Own, ledgers: Arc::default() }
    }

    pub(super) fn locked(self, strategy: LockStrategy) -> Self {
        Self { strategy, ..self }
    }

    /// Of a ledger.
    pub(super) fn of(&self, ledger: &str) -> Remembered {
        let mut ledgers = self.ledgers.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = Arc::clone(ledgers.entry(ledger.to_owned()).or_default());
        Remembered { keeps: self.keeps, strategy: self.strategy, kept }
    }
}

/// What a process keeps of one ledger, and by which rule.
#[derive(Clone, Debug)]
pub(super) struct Remembered {
    keeps: release::Memory,
    pub(super) strategy: LockStrategy,
    kept: Arc<Mutex<Kept>>,
}

impl Remembered {
    pub(super) fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the last transaction is not read again.
    pub(super) fn keeps_last(&self) -> bool {
        match (self.keeps.last, self.strategy) {
            (KeepsLast::Never, _) | (KeepsLast::UnlessLockedByRedis, LockStrategy::Redis) => false,
            (KeepsLast::Always, _) | (KeepsLast::UnlessLockedByRedis, LockStrategy::Own) => true,
        }
    }

    /// Whether volumes count from zero.
    pub(super) fn volumes_from_zero(&self) -> bool {
        self.keeps.volumes_from_zero
    }
}
