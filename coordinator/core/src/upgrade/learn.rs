//! What evidence shows, folded without judgement.

use super::state::{Drained, Upgrade};
use cutover_vocabulary::outcome::Evidence;
use cutover_vocabulary::storage::RecoveryItem;
use cutover_vocabulary::{Subject, Timestamp};

impl Upgrade {
    /// Learns what evidence shows.
    pub(super) fn learn(&mut self, subject: &Subject, evidence: &Evidence, at: Timestamp) {
        match (evidence, subject) {
            (Evidence::Inspected(found), Subject::Instance(name)) => {
                self.served.insert(name.clone(), found.served);
            }
            (Evidence::Staged(staged), Subject::Instance(name)) => {
                self.staged.insert(name.clone(), staged.clone());
            }
            (Evidence::Drained(proof), Subject::Instance(name)) => {
                let known = self.drained.entry(name.clone()).or_insert(Drained::Voided { since: at });
                let (Drained::Proved { since, .. } | Drained::Voided { since }) = *known;
                *known = Drained::Proved { at: proof.at, fence: proof.fence, since };
                self.stopping.remove(name);
            }
            (Evidence::Rehearsed(rehearsal), _) => {
                self.rehearsed = rehearsal.took.iter().cloned().collect();
                self.copies.clone_from(&rehearsal.migrations);
            }
            (Evidence::StorageAttested(attestation), _) => self.storage = Some(attestation.clone()),
            (Evidence::Secured(point), _) => {
                self.points.insert(point.item.clone(), (**point).clone());
            }
            (Evidence::Registered { .. }, _) => self.registered = true,
            (Evidence::Migrated(migrated), Subject::Ledger(name)) => {
                self.migrated.insert(name.clone(), migrated.clone());
            }
            (Evidence::Proved(proof), Subject::Ledger(name)) => {
                self.proofs.insert(name.clone(), proof.clone());
            }
            (Evidence::Opened { version, at: answered }, Subject::Instance(name)) => {
                self.up.insert(name.clone(), (*answered, version.clone()));
                if let Some((_, until)) = &mut self.shut_out {
                    until.get_or_insert(at);
                }
                self.drained.remove(name);
                self.stopping.remove(name);
            }
            (Evidence::Restored(restored), Subject::Ledger(name)) => {
                self.restored.insert(RecoveryItem::Ledger(name.clone()), restored.clone());
            }
            (Evidence::Restored(restored), Subject::Storage) => {
                self.restored.insert(RecoveryItem::System, restored.clone());
            }
            (
                Evidence::Inspected(_)
                | Evidence::Staged(_)
                | Evidence::Drained(_)
                | Evidence::Migrated(_)
                | Evidence::Proved(_)
                | Evidence::Switched { .. }
                | Evidence::StartedClosed { .. }
                | Evidence::Verified { .. }
                | Evidence::Opened { .. }
                | Evidence::Restored(_)
                | Evidence::Baked { .. },
                Subject::Instance(_) | Subject::Ledger(_) | Subject::Storage,
            ) => {}
        }
    }
}
