//! What can go wrong with one order, and what its agent then tells.

use crate::support::{self, failure, without_effect};
use cutover_vocabulary::outcome::{FailureKind, StorageAttestation};
use cutover_vocabulary::storage::{Difference, Migrations, Opener, StorageIdentity};
use cutover_vocabulary::*;

/// One thing that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mishap {
    /// It fails before it did anything, and the agent knows.
    FailsBefore(FailureKind),
    /// It fails after it did what it should, and the agent does not know how far it came.
    FailsAfter(FailureKind),
    /// A drain finds that requests were cut.
    EndsBadly,
    /// An instance does not look as it was planned.
    Drifted,
    /// The settings name another storage.
    OtherStorage,
    /// Somebody has the storage open.
    Stranger,
    /// Something cannot be looked at.
    NotVisible,
    /// There is another ledger.
    LedgerAppeared,
    /// The migration would lose another row.
    OtherLosses,
    /// What was migrated differs from what it should be.
    Differs,
    /// What was migrated contradicts itself.
    Contradicts,
    /// It answers with another version than it should.
    OtherVersion,
}

impl Mishap {
    pub const ALL: &[Self] = &[
        Self::FailsBefore(FailureKind::Transient),
        Self::FailsBefore(FailureKind::Refused),
        Self::FailsBefore(FailureKind::Failed),
        Self::FailsBefore(FailureKind::Interrupted),
        Self::FailsBefore(FailureKind::TimedOut),
        Self::FailsAfter(FailureKind::Transient),
        Self::FailsAfter(FailureKind::Failed),
        Self::FailsAfter(FailureKind::Interrupted),
        Self::FailsAfter(FailureKind::TimedOut),
        Self::EndsBadly,
        Self::Drifted,
        Self::OtherStorage,
        Self::Stranger,
        Self::NotVisible,
        Self::LedgerAppeared,
        Self::OtherLosses,
        Self::Differs,
        Self::Contradicts,
        Self::OtherVersion,
    ];

    /// Whether it can happen to this work.
    pub fn fits(self, work: &Work) -> bool {
        match self {
            Self::FailsBefore(_) | Self::FailsAfter(_) => true,
            Self::EndsBadly => matches!(work, Work::Drain { .. }),
            Self::Drifted => matches!(work, Work::Inspect),
            Self::OtherStorage => matches!(work, Work::Inspect | Work::AttestStorage { .. }),
            Self::Stranger | Self::NotVisible | Self::LedgerAppeared => matches!(work, Work::AttestStorage { .. }),
            Self::OtherLosses => matches!(work, Work::Secure { item: storage::RecoveryItem::Ledger(_), .. }),
            Self::Differs => matches!(work, Work::Prove { .. } | Work::Rehearse { .. }),
            Self::Contradicts => matches!(work, Work::Prove { .. }),
            Self::OtherVersion => matches!(work, Work::Verify { .. } | Work::Open { .. } | Work::Bake { .. }),
        }
    }

    /// Whether it can happen to any work.
    pub fn is_common(self) -> bool {
        matches!(self, Self::FailsBefore(_) | Self::FailsAfter(_))
    }

    /// What is told instead of doing anything.
    pub fn instead(self) -> Option<Outcome> {
        match self {
            Self::FailsBefore(kind) => Some(without_effect(kind)),
            _ => None,
        }
    }

    /// What is told of what was done.
    pub fn told(self, outcome: Outcome) -> Outcome {
        let Outcome::Done(mut evidence) = outcome else { return outcome };
        match (self, &mut evidence) {
            (Self::FailsAfter(kind), _) => return failure(kind),
            (Self::EndsBadly, _) => return failure(FailureKind::Unclean),
            (Self::Drifted, Evidence::Inspected(found)) => found.running = None,
            (Self::OtherStorage, Evidence::Inspected(found)) => found.storage = elsewhere(),
            (_, Evidence::StorageAttested(attested)) => self.at_the_storage(attested),
            (Self::OtherLosses, Evidence::Secured(point)) => {
                point.losses = support::losses(point.losses.count + 1);
                if let storage::RecoveryItem::Ledger(name) = &point.item {
                    point.expected = Some(support::digest_of(name, point.losses.count));
                }
            }
            (Self::Differs, Evidence::Proved(proof)) => {
                proof.differences = vec![difference()];
                proof.difference_count = 1;
            }
            (Self::Differs, Evidence::Rehearsed(rehearsal)) => {
                rehearsal.differences = vec![(support::ledger("main"), difference())];
                rehearsal.difference_count = 1;
            }
            (Self::Contradicts, Evidence::Proved(proof)) => {
                proof.migrations = Migrations(Some(vec![0]));
                proof.inconsistencies = vec!["volumes of world do not add up".to_owned()];
            }
            (
                Self::OtherVersion,
                Evidence::Verified { version, .. } | Evidence::Opened { version, .. } | Evidence::Baked { version, .. },
            ) => *version = support::version((1, 0, 9)),
            _ => {}
        }
        Outcome::Done(evidence)
    }

    fn at_the_storage(self, attested: &mut StorageAttestation) {
        match self {
            Self::OtherStorage => attested.storage = elsewhere(),
            Self::Stranger => {
                attested.openers.push(Opener { pid: 9, command: "sqlite3".to_owned(), file: "main.db".to_owned() });
            }
            Self::NotVisible => attested.not_visible.push("/proc/9/fd".to_owned()),
            Self::LedgerAppeared => attested.ledgers.push(support::ledger("vault")),
            _ => {}
        }
    }
}

fn elsewhere() -> StorageIdentity {
    StorageIdentity::Postgres { system_identifier: "1".to_owned(), timeline: 9, database: "other".to_owned() }
}

fn difference() -> Difference {
    Difference {
        section: storage::Section::Transactions,
        row: "7".to_owned(),
        before: Some("10".to_owned()),
        after: Some("11".to_owned()),
        class: None,
    }
}
