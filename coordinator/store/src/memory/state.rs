//! What the memory store holds, and every change to it.

use super::faults::Faults;
use crate::page::End;
use crate::seal::Sealed;
use crate::{Appended, CoordinatorName, Key, Leader, Nonce, Put, Revision, StoreError, UpgradeHead};
use cutover_vocabulary::{Digest, Epoch, UpgradeId};
use std::collections::BTreeMap;

#[derive(Debug, Default)]
pub(super) struct State {
    /// The highest epoch given so far.
    epoch: Epoch,
    /// Who leads with it, through which handle; none after a resignation or the handle's end.
    holder: Option<(u64, CoordinatorName)>,
    /// How many handles were made after the first.
    pub(super) handles: u64,
    pub(super) upgrades: BTreeMap<UpgradeId, Chain>,
    pub(super) documents: BTreeMap<Key, (Revision, Vec<u8>)>,
    pub(super) chunks: BTreeMap<Digest, Vec<u8>>,
    pub(super) faults: Faults,
}

/// One upgrade's facts.
#[derive(Debug)]
pub(super) struct Chain {
    /// Text of fact `n` at `n - 1`.
    texts: Vec<Vec<u8>>,
    hash: Digest,
    pub(super) nonces: BTreeMap<Nonce, u64>,
}

impl Default for Chain {
    fn default() -> Self {
        Self { texts: Vec::new(), hash: crate::seal::start_of_chain(), nonces: BTreeMap::new() }
    }
}

impl Chain {
    fn seq(&self) -> u64 {
        self.texts.len() as u64
    }
    pub(super) fn end(&self) -> End {
        End { seq: self.seq(), hash: self.hash, present: self.seq() }
    }
    pub(super) fn head(&self, id: &UpgradeId) -> UpgradeHead {
        UpgradeHead { id: id.clone(), seq: self.seq(), hash: self.hash }
    }
    pub(super) fn texts_after(&self, after_seq: u64, limit: usize) -> Vec<(u64, Vec<u8>)> {
        let skipped = usize::try_from(after_seq).unwrap_or(usize::MAX);
        let wanted = self.texts.iter().skip(skipped).take(limit);
        (after_seq.saturating_add(1)..).zip(wanted.cloned()).collect()
    }
    /// The page's texts by number, and the one before it.
    pub(super) fn texts_around(&self, after_seq: u64, limit: usize) -> BTreeMap<u64, Vec<u8>> {
        let skipped = usize::try_from(after_seq.saturating_sub(1)).unwrap_or(usize::MAX);
        let wanted = self.texts.iter().skip(skipped).take(limit.saturating_add(1));
        (after_seq.max(1)..).zip(wanted.cloned()).collect()
    }
}

impl State {
    pub(super) fn lead(&mut self, handle: u64, who: &CoordinatorName) -> Option<Epoch> {
        if self.holder.as_ref().is_some_and(|(holder, _name)| *holder != handle) {
            return None;
        }
        self.epoch = Epoch(self.epoch.0 + 1);
        self.holder = Some((handle, who.clone()));
        Some(self.epoch)
    }

    pub(super) fn resign(&mut self, handle: u64, epoch: Epoch) {
        if epoch == self.epoch {
            self.release(handle);
        }
    }

    /// Ends the handle's leadership, if it has it.
    pub(super) fn release(&mut self, handle: u64) {
        if self.holder.as_ref().is_some_and(|(holder, _name)| *holder == handle) {
            self.holder = None;
        }
    }

    pub(super) fn latest_epoch(&self) -> Epoch {
        self.epoch
    }

    pub(super) fn raise_epochs(&mut self, floor: Epoch) {
        self.epoch = self.epoch.max(floor);
        self.holder = None;
    }

    pub(super) fn depose(&mut self) {
        self.holder = None;
    }

    /// Another leader was elected and is gone again: what the deposed one sees when it comes back late.
    pub(super) fn succeed_nobody(&mut self) {
        self.epoch = Epoch(self.epoch.0 + 1);
        self.holder = None;
    }

    pub(super) fn leader(&self) -> Option<Leader> {
        self.holder.as_ref().map(|(_handle, name)| Leader { epoch: self.epoch, name: name.clone() })
    }

    fn leads(&self, epoch: Epoch) -> bool {
        self.holder.is_some() && self.epoch == epoch
    }

    pub(super) fn append(
        &mut self,
        epoch: Epoch,
        upgrade: &UpgradeId,
        expected_seq: u64,
        nonce: Nonce,
        sealed: Sealed,
    ) -> Appended {
        if !self.leads(epoch) {
            return Appended::Fenced { by: self.epoch };
        }
        let (seq, hash, known) = match self.upgrades.get(upgrade) {
            Some(chain) => (chain.seq(), chain.hash, chain.nonces.contains_key(&nonce)),
            None => (0, crate::seal::start_of_chain(), false),
        };
        if seq != expected_seq || hash != sealed.first_prev || known {
            return Appended::Conflict { seq };
        }
        let chain = self.upgrades.entry(upgrade.clone()).or_default();
        chain.texts.extend(sealed.texts.into_iter().map(String::into_bytes));
        chain.hash = sealed.last_hash;
        chain.nonces.insert(nonce, sealed.last_seq);
        Appended::Committed
    }

    pub(super) fn plant(&mut self, upgrade: &UpgradeId, seq: u64, text: &[u8]) {
        let chain = self.upgrades.entry(upgrade.clone()).or_default();
        let Some(place) = seq.checked_sub(1).and_then(|place| usize::try_from(place).ok()) else { return };
        if place == chain.texts.len() {
            chain.texts.push(text.to_vec());
        } else if let Some(present) = chain.texts.get_mut(place) {
            *present = text.to_vec();
        } else {
            return;
        }
        if place + 1 == chain.texts.len() {
            chain.hash = Digest::of(text);
        }
    }

    pub(super) fn put(&mut self, epoch: Epoch, key: &Key, expected: Revision, value: &[u8]) -> Put {
        if !self.leads(epoch) {
            return Put::Fenced { by: self.epoch };
        }
        let present = self.documents.get(key).map_or(Revision::NONE, |(revision, _value)| *revision);
        if present != expected {
            return Put::Conflict { present };
        }
        let next = Revision(present.0 + 1);
        self.documents.insert(key.clone(), (next, value.to_vec()));
        Put::Stored(next)
    }

    pub(super) fn put_chunk(&mut self, epoch: Epoch, bytes: &[u8]) -> Result<Digest, StoreError> {
        if !self.leads(epoch) {
            return Err(StoreError::Fenced { epoch, by: self.epoch });
        }
        let digest = Digest::of(bytes);
        self.chunks.entry(digest).or_insert_with(|| bytes.to_vec());
        Ok(digest)
    }
}
