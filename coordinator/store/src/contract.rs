//! What a store promises. `conformance` holds every implementation to it.

use crate::{CoordinatorName, Key, Nonce, Revision, StoreError};
use cutover_vocabulary::{Digest, Epoch, Recorded, UpgradeId};

/// Most bytes of one batch of several facts as it is stored: each fact's JSON on one line, lines joined by a newline.
/// etcd takes requests up to 1.5 MiB and answers with at most 4 MiB; this leaves room for pages of several batches.
pub const MAX_BATCH_BYTES: usize = 256 * 1024;

/// Most bytes of one fact, which is a batch of its own if it is larger than [`MAX_BATCH_BYTES`]. The first fact of an upgrade holds
/// its plan: some 600 bytes for each instance, and every row that will be lost. A store cuts it where its values are smaller.
pub const MAX_FACT_BYTES: usize = 4 * 1024 * 1024;

/// Most bytes of one document of the registry; the same reason as [`MAX_BATCH_BYTES`].
pub const MAX_DOCUMENT_BYTES: usize = 256 * 1024;

/// Most bytes of one chunk. Evidence that is larger is cut by its writer into several chunks.
pub const MAX_CHUNK_BYTES: usize = 1024 * 1024;

/// Keeps facts, documents and chunks, and says who leads.
///
/// One value of this trait is one *handle*. Leadership belongs to the handle that won it and ends at the latest when
/// the handle is dropped or its process dies. Reading needs no leadership.
#[async_trait::async_trait]
pub trait Store: Send + Sync + 'static {
    /// Tries to become the leader.
    ///
    /// `Some` is an epoch strictly greater than any that this store gave before; from then on every lower epoch is
    /// fenced. `None`: another handle leads. A handle that leads already gets a new epoch, which fences its former one,
    /// so that an answer that got lost can be asked for again.
    async fn lead(&self, who: &CoordinatorName) -> Result<Option<Epoch>, StoreError>;

    /// Gives leadership up, so that another need not wait. Idempotent; does nothing unless this handle leads with
    /// `epoch`.
    async fn resign(&self, epoch: Epoch) -> Result<(), StoreError>;

    /// Who was elected last and has not resigned; it may be dead by now. For people and for redirecting them.
    async fn leader(&self) -> Result<Option<Leader>, StoreError>;

    /// The highest epoch that was given, or that the next one was raised above; zero where there was none.
    async fn latest_epoch(&self) -> Result<Epoch, StoreError>;

    /// Makes the next epoch greater than `floor`, and ends the present leadership. For a store that was restored or made anew:
    /// agents have seen the epochs that were given since, and refuse whoever leads with a lower one.
    async fn raise_epochs(&self, floor: Epoch) -> Result<(), StoreError>;

    /// Whether this handle may rely on leading with `epoch` now; no I/O. Once false for an epoch, it stays false. Where it is
    /// false, writes under that epoch are refused. A store whose leadership ends with the handle alone says yes: its fence
    /// decides at each write.
    fn may_lead(&self, epoch: Epoch) -> bool {
        let _ = epoch;
        true
    }

    /// Completes as soon as [`Store::may_lead`] is false: the lease was not renewed in time, with a margin before another can be
    /// elected; it is gone; another leads. Never, where there is no lease.
    async fn lost(&self, epoch: Epoch) {
        let _ = epoch;
        std::future::pending().await
    }

    /// Completes when nobody leads any more since this handle tried to, so that trying again is worth it. A hint: whoever
    /// follows tries now and then without it. Never, where the store does not tell.
    async fn leadership_changed(&self) {
        std::future::pending().await
    }

    /// Says that this coordinator is there, and where it is reached, for as long as the handle lives. Another coordinator of the
    /// same name that is there is not replaced: [`StoreError::NameTaken`], and it is tried again until the name is free. Nothing
    /// to do where one machine has the store to itself.
    async fn announce(&self, who: &CoordinatorName, address: &str) -> Result<(), StoreError> {
        let _ = (who, address);
        Ok(())
    }

    /// Takes back what was announced: this coordinator ends, and one that is started again under its name need not wait for it.
    /// Best effort, and bounded in time; it resigns before.
    async fn depart(&self) {}

    /// The coordinators that are there, by name. Where none is announced, the leader alone.
    async fn coordinators(&self) -> Result<Vec<Present>, StoreError> {
        Ok(self.leader().await?.map(|leader| Present { name: leader.name, address: None }).into_iter().collect())
    }

    /// Appends a batch after `expected_seq` (0 for a new upgrade): all of it or nothing, and only while `epoch` leads.
    ///
    /// The batch must continue the stored chain without a gap: sequence numbers from `expected_seq + 1`, and each
    /// fact's `prev` the hash of the text stored before it. Once `Committed` is answered the batch survives power cuts.
    async fn append(&self, epoch: Epoch, upgrade: &UpgradeId, expected_seq: u64, batch: &Batch) -> Appended;

    /// Whether the batch with this nonce is stored: the sequence number of its last fact. Resolves
    /// [`Appended::Unknown`]: `None` is final for appends that were begun through this handle before.
    async fn find_batch(&self, upgrade: &UpgradeId, nonce: &Nonce) -> Result<Option<u64>, StoreError>;

    /// At most `limit` facts after `after_seq`, in order, without gaps: a fact that is missing or damaged appears as
    /// [`Stored::Foreign`]. Empty at the end, and for an upgrade that does not exist. The sequence that pages add up to
    /// does not depend on their size.
    async fn load(&self, upgrade: &UpgradeId, after_seq: u64, limit: usize) -> Result<Vec<Stored>, StoreError>;

    /// At most `limit` facts after `after_seq` as they are stored, unjudged, by number: for copying them to another store. Empty at
    /// the end. A page may be shorter.
    async fn texts(&self, upgrade: &UpgradeId, after_seq: u64, limit: usize)
    -> Result<Vec<(u64, Vec<u8>)>, StoreError>;

    /// Appends facts of another store as they are stored there, also ones that this version does not understand. Otherwise as
    /// [`Store::append`]: each must follow the one before it, but for the epoch, which is the one that it was stored under there.
    async fn restore(
        &self,
        epoch: Epoch,
        upgrade: &UpgradeId,
        expected_seq: u64,
        nonce: &Nonce,
        texts: &[String],
    ) -> Appended;

    /// Every upgrade there is, by id.
    async fn upgrades(&self) -> Result<Vec<UpgradeHead>, StoreError>;

    /// Where one upgrade's chain ends; `None` when it does not exist.
    async fn head(&self, upgrade: &UpgradeId) -> Result<Option<UpgradeHead>, StoreError>;

    /// Writes a document if its present revision is `expected` ([`Revision::NONE`]: it must not exist yet) and `epoch`
    /// leads.
    async fn put(&self, epoch: Epoch, key: &Key, expected: Revision, value: &[u8]) -> Put;

    /// One document with its revision.
    async fn get(&self, key: &Key) -> Result<Option<(Revision, Vec<u8>)>, StoreError>;

    /// Every document whose key begins with `prefix`, by key. No character of the prefix has a special meaning.
    async fn list(&self, prefix: &str) -> Result<Vec<(Key, Revision, Vec<u8>)>, StoreError>;

    /// Stores evidence under its digest, which is returned. Idempotent. Durable when it returns, so that a fact may
    /// name it afterwards. At most [`MAX_CHUNK_BYTES`].
    async fn put_chunk(&self, epoch: Epoch, bytes: &[u8]) -> Result<Digest, StoreError>;

    /// The digest of every chunk, in order.
    async fn chunks(&self) -> Result<Vec<Digest>, StoreError>;

    /// The evidence with that digest, checked against it.
    async fn get_chunk(&self, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError>;
}

/// Facts that are stored together or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// What it is found by when the answer to its append was lost. Never used twice in one upgrade.
    pub nonce: Nonce,
    /// Its facts, in order; at least one.
    pub facts: Vec<Recorded>,
}

/// What came of an append.
#[derive(Debug)]
#[must_use]
pub enum Appended {
    /// Stored, durably.
    Committed,
    /// Not stored: `epoch` does not lead.
    Fenced {
        /// The highest epoch the store has given; the caller's own if it resigned.
        by: Epoch,
    },
    /// Not stored: the chain does not end where the batch begins, or the batch's nonce is stored already.
    Conflict {
        /// Where the chain ends.
        seq: u64,
    },
    /// Not stored: the batch is too large.
    TooLarge {
        /// Its size as it would be stored.
        bytes: usize,
        /// What would be allowed.
        limit: usize,
    },
    /// It may or may not be stored; [`Store::find_batch`] tells. When [`StoreError::nothing_was_stored`] it is known
    /// not to be.
    Unknown(StoreError),
}

/// What came of writing a document.
#[derive(Debug)]
#[must_use]
pub enum Put {
    /// Stored, durably; this is its revision now.
    Stored(Revision),
    /// Not stored: `epoch` does not lead.
    Fenced {
        /// The highest epoch the store has given; the caller's own if it resigned.
        by: Epoch,
    },
    /// Not stored: the document has another revision than expected.
    Conflict {
        /// Its revision; [`Revision::NONE`] when it does not exist.
        present: Revision,
    },
    /// Not stored: the value is too large.
    TooLarge {
        /// Its size.
        bytes: usize,
        /// What would be allowed.
        limit: usize,
    },
    /// It may or may not be stored; [`Store::get`] tells.
    Unknown(StoreError),
}

/// A fact as a load finds it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "nearly every one is the large variant; a box each would only cost")]
pub enum Stored {
    /// A fact that this version understands, where it belongs in the chain.
    Known(Recorded),
    /// One that it does not, or that breaks the chain. The upgrade is to be left alone: whoever does not know all that
    /// happened cannot say what may happen next.
    Foreign {
        /// Its place.
        seq: u64,
        /// What is wrong with it, for people.
        why: String,
    },
}
impl Stored {
    /// Its place in the upgrade.
    pub fn seq(&self) -> u64 {
        match self {
            Self::Known(fact) => fact.seq,
            Self::Foreign { seq, .. } => *seq,
        }
    }
}

/// Where an upgrade's chain ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpgradeHead {
    /// Which upgrade.
    pub id: UpgradeId,
    /// Its last fact's number.
    pub seq: u64,
    /// SHA-256 of its last fact's stored text: the next fact's `prev`. It is not always [`Recorded::hash`] of the loaded
    /// fact: one that was written by another version of Cutover may serialise differently today.
    pub hash: Digest,
}

/// A coordinator that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Present {
    /// Its name.
    pub name: CoordinatorName,
    /// Where it is reached, as it announced it.
    pub address: Option<String>,
}

/// Who was elected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leader {
    /// Its leadership.
    pub epoch: Epoch,
    /// Its name.
    pub name: CoordinatorName,
}
