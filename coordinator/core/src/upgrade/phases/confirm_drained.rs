//! Confirm drained: a fresh round of attestations over all members and the storage. Stands before every stage that must
//! not run beside a writer; what was proved earlier does not count here.

use super::{Rules, Verdict};
use crate::upgrade::state::{Drained, Upgrade};
use cutover_vocabulary::hold::HoldReason;
use cutover_vocabulary::outcome::StorageAttestation;
use cutover_vocabulary::storage::{SessionKind, StorageSession};
use cutover_vocabulary::{Evidence, LedgerName, Subject, Work};
use std::collections::BTreeSet;

pub(super) struct ConfirmDrained;

impl Rules for ConfirmDrained {
    fn subjects(&self, upgrade: &Upgrade) -> Vec<Subject> {
        let mut subjects = upgrade.instances();
        // Beside instances that serve, who else is on the storage says nothing.
        if !upgrade.rolling() {
            subjects.push(Subject::Storage);
        }
        subjects
    }
    /// The storage is looked at last: an instance that is not down would show there as a stranger.
    fn may_begin(&self, upgrade: &Upgrade, subject: &Subject) -> bool {
        match subject {
            Subject::Instance(_) | Subject::Ledger(_) => true,
            Subject::Storage => upgrade.open_steps == 1,
        }
    }
    fn work(&self, upgrade: &Upgrade, subject: &Subject) -> Option<Work> {
        Some(match subject {
            Subject::Instance(_) | Subject::Ledger(_) => Work::Attest,
            Subject::Storage => Work::AttestStorage { storage: upgrade.plan.binding.storage.clone() },
        })
    }
    fn judge(&self, upgrade: &Upgrade, subject: &Subject, evidence: &Evidence) -> Verdict {
        match (evidence, subject) {
            (Evidence::Drained(proof), Subject::Instance(name)) => match upgrade.drained.get(name) {
                // Its fence was lifted and set again: it may have been up in between, seen by nobody.
                Some(Drained::Proved { fence, .. }) if *fence != proof.fence => {
                    let seen = format!("the fence of {name} was lifted and set again since it was proved down");
                    Verdict::Hold(HoldReason::ProofVoided { instance: name.clone(), seen })
                }
                Some(Drained::Proved { .. } | Drained::Voided { .. }) | None => Verdict::Enough,
            },
            (Evidence::StorageAttested(attestation), Subject::Storage) => judge_storage(upgrade, attestation),
            (
                Evidence::Inspected(_)
                | Evidence::Staged(_)
                | Evidence::Rehearsed(_)
                | Evidence::Drained(_)
                | Evidence::StorageAttested(_)
                | Evidence::Secured(_)
                | Evidence::Registered { .. }
                | Evidence::Migrated(_)
                | Evidence::Proved(_)
                | Evidence::Switched { .. }
                | Evidence::StartedClosed { .. }
                | Evidence::Verified { .. }
                | Evidence::Opened { .. }
                | Evidence::Restored(_)
                | Evidence::Baked { .. },
                Subject::Instance(_) | Subject::Ledger(_) | Subject::Storage,
            ) => Verdict::Wrong,
        }
    }
}

fn judge_storage(upgrade: &Upgrade, attestation: &StorageAttestation) -> Verdict {
    let binding = &upgrade.plan.binding;
    if attestation.storage != binding.storage {
        let (planned, found) = (binding.storage.clone(), attestation.storage.clone());
        return Verdict::Hold(HoldReason::OtherStorage { planned, found });
    }
    // A session that may only read and holds no lock is in nobody's way.
    let in_the_way = |session: &&StorageSession| match session.kind {
        SessionKind::Ledger | SessionKind::LockHolder | SessionKind::Writer => true,
        SessionKind::Reader => false,
    };
    let sessions: Vec<_> = attestation.sessions.iter().filter(in_the_way).cloned().collect();
    if !attestation.openers.is_empty() || !attestation.not_visible.is_empty() || !sessions.is_empty() {
        return Verdict::Hold(HoldReason::Strangers {
            openers: attestation.openers.clone(),
            not_visible: attestation.not_visible.clone(),
            storage: (!sessions.is_empty()).then(|| attestation.storage.clone()),
            sessions,
        });
    }
    let found: BTreeSet<&LedgerName> = attestation.ledgers.iter().collect();
    let planned: BTreeSet<&LedgerName> = binding.ledgers.keys().collect();
    if found == planned {
        return Verdict::Enough;
    }
    let list = |names: BTreeSet<&&LedgerName>| names.into_iter().map(|name| (*name).clone()).collect();
    Verdict::Hold(HoldReason::LedgersChanged {
        appeared: list(found.difference(&planned).collect()),
        vanished: list(planned.difference(&found).collect()),
    })
}
