//! Faults on demand: what a crash harness drives, one append after the other.

use crate::Batch;
use cutover_vocabulary::UpgradeId;
use std::fmt;

/// How one append goes wrong. An append that would be refused anyway is refused, whatever was to happen after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AppendFault {
    /// Nothing is stored, and the error says so.
    Fails,
    /// Nothing is stored, but the error does not tell.
    UnknownNotStored,
    /// It is stored, but the answer is lost.
    UnknownStored,
    /// It is stored, the answer is lost, and another leader was elected since.
    UnknownStoredAndDeposed,
    /// Another leader was elected before it: the answer is `Fenced`.
    DeposedBefore,
    /// It is committed; another leader was elected right after it.
    DeposedAfter,
    /// Nothing is stored and no answer ever comes: the point to drop the caller, as a crash before the append.
    HangsBefore,
    /// It is stored and no answer ever comes: the point to drop the caller, as a crash after the append.
    HangsAfter,
}

impl AppendFault {
    /// Every fault, so that a harness covers a new one by itself.
    pub const ALL: &[Self] = &[
        Self::Fails,
        Self::UnknownNotStored,
        Self::UnknownStored,
        Self::UnknownStoredAndDeposed,
        Self::DeposedBefore,
        Self::DeposedAfter,
        Self::HangsBefore,
        Self::HangsAfter,
    ];
}

/// An append that is about to happen.
#[derive(Debug)]
pub struct AppendAttempt<'a> {
    /// Which of all appends to this store, from 1, refused ones included.
    pub number: u64,
    /// To which upgrade.
    pub upgrade: &'a UpgradeId,
    /// What is to be appended.
    pub batch: &'a Batch,
}

type Script = Box<dyn FnMut(&AppendAttempt<'_>) -> Option<AppendFault> + Send>;

/// The script and how far it has come.
#[derive(Default)]
pub(super) struct Faults {
    script: Option<Script>,
    appends: u64,
}

impl Faults {
    pub(super) fn set(&mut self, script: Script) {
        self.script = Some(script);
    }
    pub(super) fn clear(&mut self) {
        self.script = None;
    }
    pub(super) fn appends(&self) -> u64 {
        self.appends
    }
    pub(super) fn next(&mut self, upgrade: &UpgradeId, batch: &Batch) -> Option<AppendFault> {
        self.appends += 1;
        let attempt = AppendAttempt { number: self.appends, upgrade, batch };
        self.script.as_mut().and_then(|script| script(&attempt))
    }
}
impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faults").field("scripted", &self.script.is_some()).field("appends", &self.appends).finish()
    }
}
