//! Where everything lies in etcd, below the prefix.

use crate::{CoordinatorName, Key, Nonce};
use cutover_vocabulary::{Digest, UpgradeId};

/// Most bytes of one value: a document has at most as many, and what is larger is cut into pieces.
pub(super) const MAX_VALUE_BYTES: usize = 256 * 1024;

/// The names of all keys below one prefix.
#[derive(Debug, Clone)]
pub(super) struct Keys(String);

impl Keys {
    pub(super) fn new(prefix: &str) -> Self {
        Self(prefix.to_owned())
    }
    fn key(&self, rest: impl std::fmt::Display) -> String {
        format!("{}{rest}", self.0)
    }
    /// Who leads, under its lease. Its revision is the leadership.
    pub(super) fn leader(&self) -> String {
        self.key("leader")
    }
    /// Who was elected last, under no lease.
    pub(super) fn elected(&self) -> String {
        self.key("elected")
    }
    /// What is added to revisions to make epochs.
    pub(super) fn base(&self) -> String {
        self.key("base")
    }
    /// What a leader writes to void its own writes whose fate it does not know.
    pub(super) fn fence(&self) -> String {
        self.key("fence")
    }
    /// Below it lies the end of each upgrade's chain.
    pub(super) fn heads(&self) -> String {
        self.key("h/")
    }
    pub(super) fn head(&self, upgrade: &UpgradeId) -> String {
        self.key(format_args!("h/{upgrade}"))
    }
    /// Below it lie an upgrade's batches, in order.
    pub(super) fn batches(&self, upgrade: &UpgradeId) -> String {
        self.key(format_args!("u/{upgrade}/b/"))
    }
    /// The batch whose last fact has that number. Twenty digits hold every `u64`, so keys sort as numbers do.
    pub(super) fn batch(&self, upgrade: &UpgradeId, last_seq: u64) -> String {
        self.key(format_args!("u/{upgrade}/b/{last_seq:020}"))
    }
    /// Below it lie the pieces of a batch that is larger than a value, in order.
    pub(super) fn large_batch(&self, upgrade: &UpgradeId, digest: &Digest) -> String {
        self.key(format_args!("u/{upgrade}/p/{digest}/"))
    }
    pub(super) fn nonce(&self, upgrade: &UpgradeId, nonce: &Nonce) -> String {
        self.key(format_args!("u/{upgrade}/n/{nonce}"))
    }
    /// Below it lie the documents.
    pub(super) fn documents(&self) -> String {
        self.key("d/")
    }
    pub(super) fn document(&self, key: &Key) -> String {
        self.key(format_args!("d/{key}"))
    }
    /// Below it lie the chunks.
    pub(super) fn chunks(&self) -> String {
        self.key("c/")
    }
    /// How large a chunk is. Written last: pieces without it are no chunk.
    pub(super) fn chunk(&self, digest: &Digest) -> String {
        self.key(format_args!("c/{digest}"))
    }
    /// Below it lie a chunk's pieces, in order.
    pub(super) fn pieces(&self, digest: &Digest) -> String {
        self.key(format_args!("c/{digest}/"))
    }
    pub(super) fn piece(&self, digest: &Digest, number: usize) -> String {
        self.key(format_args!("c/{digest}/{number}"))
    }
    /// Below it lies who is there.
    pub(super) fn members(&self) -> String {
        self.key("m/")
    }
    pub(super) fn member(&self, name: &CoordinatorName) -> String {
        self.key(format_args!("m/{name}"))
    }
}

/// The first key behind all that begin with `prefix`: the end of a range.
pub(super) fn behind(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    // Keys are ASCII, so the last byte can be counted up.
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end
}
