//! An append as the coordinator does it: with a nonce, and never left unknown.

use super::BACK_OFF;
use crate::faults::Point;
use crate::leadership::Leadership;
use cutover_store::{Appended, Batch, Nonce};
use cutover_vocabulary::{Recorded, UpgradeId};
use tracing::{error, warn};

/// What an append came to, once it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Committed,
    NotStored,
    /// This coordinator does not lead any more.
    Lost,
}

impl Leadership {
    /// Stores facts behind those that there are, under this leadership's epoch, and finds out what it came to.
    pub(crate) async fn append(&self, id: &UpgradeId, after_seq: u64, sealed: &[Recorded]) -> Verdict {
        let (upgrade, facts): (_, Vec<_>) = (id.clone(), sealed.iter().map(|fact| fact.fact.kind()).collect());
        self.faults.reach(Point::BeforeAppend { upgrade: upgrade.clone(), after_seq, facts: facts.clone() }).await;
        let batch = Batch { nonce: nonce(), facts: sealed.to_vec() };
        let appended = self.store.append(self.epoch, id, after_seq, &batch).await;
        self.faults.reach(Point::AfterAppend { upgrade, after_seq, facts }).await;
        self.judge(id, &batch, appended).await
    }

    /// A lost answer is resolved by the batch's nonce, as long as this leads.
    async fn judge(&self, id: &UpgradeId, batch: &Batch, appended: Appended) -> Verdict {
        let error = match appended {
            Appended::Committed => return Verdict::Committed,
            Appended::Fenced { by } => {
                self.lost(&format!("an append was refused because of epoch {by}"));
                return Verdict::Lost;
            }
            Appended::Conflict { seq } => {
                warn!(stored = seq, "the upgrade's chain ends elsewhere than here; loading it again");
                return Verdict::NotStored;
            }
            Appended::TooLarge { bytes, limit } => {
                error!(bytes, limit, "a batch was larger than the store takes");
                return Verdict::NotStored;
            }
            Appended::Unknown(error) => error,
        };
        warn!(error = &error as &dyn std::error::Error, "the store did not say whether facts were stored");
        if error.nothing_was_stored() {
            return Verdict::NotStored;
        }
        loop {
            match self.store.find_batch(id, &batch.nonce).await {
                Ok(found) if !self.still_leads().await => {
                    self.lost(&format!("another leader was elected; the last batch is stored: {}", found.is_some()));
                    return Verdict::Lost;
                }
                Ok(Some(_)) => return Verdict::Committed,
                Ok(None) => return Verdict::NotStored,
                Err(error) => warn!(error = &error as &dyn std::error::Error, "could not look for a batch; trying on"),
            }
            tokio::select! {
                () = self.ended.cancelled() => return Verdict::Lost,
                () = tokio::time::sleep(BACK_OFF) => {}
            }
        }
    }
}

/// The one place where randomness enters.
#[expect(clippy::disallowed_methods, reason = "the edge: a batch's nonce must never have been used before")]
fn nonce() -> Nonce {
    Nonce::new(uuid::Uuid::new_v4().as_u128())
}
