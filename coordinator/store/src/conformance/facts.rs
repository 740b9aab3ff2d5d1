//! Facts and batches to test with.

use crate::{Appended, Batch, Nonce, Store, Stored};
use cutover_vocabulary::fact::Cause;
use cutover_vocabulary::{Digest, Elapsed, Epoch, Fact, InstanceName, Recorded, Timestamp, UpgradeId};

/// Makes the next facts of one upgrade.
#[derive(Debug, Clone)]
pub struct Writer {
    /// Under which leadership.
    pub epoch: Epoch,
    /// The last fact's number.
    pub seq: u64,
    /// Its hash.
    pub hash: Digest,
    /// The last nonce that was given.
    pub nonce: u128,
}

impl Writer {
    /// At the beginning of a new upgrade.
    pub fn new(epoch: Epoch) -> Self {
        Self { epoch, seq: 0, hash: Digest::of(b""), nonce: u128::from(epoch.0) << 64 }
    }

    /// Where a store's chain ends.
    pub async fn at_the_end_of(store: &dyn Store, epoch: Epoch, upgrade: &UpgradeId) -> Self {
        match store.head(upgrade).await.expect("reading the head works") {
            Some(head) => Self::new(epoch).moved_to(head.seq, head.hash),
            None => Self::new(epoch),
        }
    }

    /// Somewhere else in the chain, with other nonces than a writer from the beginning.
    fn moved_to(self, seq: u64, hash: Digest) -> Self {
        Self { seq, hash, nonce: self.nonce + (u128::from(seq) << 16), ..self }
    }

    /// The next fact; `seen` is free text that only makes it this long.
    pub fn fact(&mut self, seen: impl Into<String>) -> Recorded {
        let instance = InstanceName::new("ledger-a").expect("a test's name is valid");
        let fact = Recorded {
            v: Recorded::V,
            seq: self.seq + 1,
            at: Timestamp::from_millis(1_700_000_000_000),
            epoch: self.epoch,
            leading_for: Elapsed(self.seq),
            by: Cause::Machine,
            prev: self.hash,
            fact: Fact::ProofVoided { instance, seen: seen.into() },
        };
        self.seq = fact.seq;
        self.hash = fact.hash();
        fact
    }

    /// The next `count` facts as a batch with a nonce of its own.
    pub fn batch(&mut self, count: usize) -> Batch {
        let facts = (0..count).map(|number| self.fact(format!("\"no. {number}\" \u{1b}[2J \u{0} ü"))).collect();
        Batch { nonce: self.nonce(), facts }
    }

    /// A nonce that this writer gives once.
    pub fn nonce(&mut self) -> Nonce {
        self.nonce += 1;
        Nonce::new(self.nonce)
    }

    /// Appends the next `count` facts and returns them.
    pub async fn append(&mut self, store: &dyn Store, upgrade: &UpgradeId, count: usize) -> Vec<Recorded> {
        let before = self.seq;
        let batch = self.batch(count);
        committed(store.append(self.epoch, upgrade, before, &batch).await);
        batch.facts
    }
}

/// Panics unless the batch was committed.
#[track_caller]
pub fn committed(appended: Appended) {
    assert!(matches!(appended, Appended::Committed), "{appended:?}");
}

/// Everything from `after_seq` on, in pages of `limit`.
pub async fn load_in_pages(store: &dyn Store, upgrade: &UpgradeId, limit: usize) -> Vec<Stored> {
    let mut all: Vec<Stored> = Vec::new();
    loop {
        let after = all.last().map_or(0, Stored::seq);
        let page = store.load(upgrade, after, limit).await.expect("loading works");
        assert!(page.len() <= limit, "a page of {} facts where {limit} were asked for", page.len());
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}

/// Everything, which must be known.
#[track_caller]
pub fn all_known(stored: Vec<Stored>) -> Vec<Recorded> {
    let known = |stored| match stored {
        Stored::Known(fact) => fact,
        Stored::Foreign { seq, why } => panic!("fact {seq} is foreign: {why}"),
    };
    stored.into_iter().map(known).collect()
}
