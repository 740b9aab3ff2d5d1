//! An upgrade out of the store.

use cutover_core::upgrade::{BrokenChain, Upgrade};
use cutover_store::{Store, StoreError, Stored};
use cutover_vocabulary::{Digest, Recorded, UpgradeId};

/// How many facts are read at once: some megabytes, and an answer of etcd stays below its limit by the store's own pages.
pub(crate) const PAGE: usize = 256;

/// An upgrade as far as it is stored, and what the next fact has to follow.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) upgrade: Upgrade,
    /// Hash of the last fact's stored text.
    pub(crate) hash: Digest,
}

/// Why an upgrade cannot be led.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CannotLoad {
    #[error("there is no upgrade {0}")]
    Missing(UpgradeId),
    /// What happened is not known in full, so nobody here may say what happens next.
    #[error("fact {seq} of upgrade {id} is not understood: {why}")]
    Foreign { id: UpgradeId, seq: u64, why: String, before: Option<Box<Upgrade>> },
    #[error("the store could not be read")]
    Store(#[from] StoreError),
}

/// Reads all facts and folds them. The store checks the chain of hashes fact by fact and shows a break as foreign.
pub(crate) async fn load(store: &dyn Store, id: &UpgradeId) -> Result<Loaded, CannotLoad> {
    let mut facts: Vec<Recorded> = Vec::new();
    loop {
        let after = facts.last().map_or(0, |fact| fact.seq);
        let page = store.load(id, after, PAGE).await?;
        let ended = page.is_empty();
        for stored in page {
            match stored {
                Stored::Known(fact) => facts.push(fact),
                Stored::Foreign { seq, why } => {
                    let before = Upgrade::replay(id.clone(), &facts).ok().map(Box::new);
                    return Err(CannotLoad::Foreign { id: id.clone(), seq, why, before });
                }
            }
        }
        if !ended {
            continue;
        }
        let Some(head) = store.head(id).await? else { return Err(CannotLoad::Missing(id.clone())) };
        // Somebody appended in between: read on.
        if head.seq > facts.len() as u64 {
            continue;
        }
        let upgrade = Upgrade::replay(id.clone(), &facts).map_err(|broken| {
            let seq = match broken {
                BrokenChain::Empty => 0,
                BrokenChain::NoStart(_) => 1,
                BrokenChain::Broken { seq } => seq,
            };
            CannotLoad::Foreign { id: id.clone(), seq, why: broken.to_string(), before: None }
        })?;
        return Ok(Loaded { upgrade, hash: head.hash });
    }
}
