//! A store in memory: for tests and simulations. It keeps the same texts as a real one, so hashes, pages and foreign
//! facts behave alike, and it fails on demand ([`AppendFault`]). No clock, no randomness: the same calls give the same
//! answers.

mod faults;
mod state;

pub use faults::{AppendAttempt, AppendFault};

use crate::contract::{Appended, Batch, Leader, MAX_CHUNK_BYTES, MAX_DOCUMENT_BYTES, Put, Store, Stored, UpgradeHead};
use crate::{CoordinatorName, Key, Nonce, Revision, StoreError, page, seal};
use cutover_vocabulary::{Digest, Epoch, UpgradeId};
use state::State;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// One handle on data that its other handles share. Dropping it ends its leadership, as the death of a process does.
#[derive(Debug)]
pub struct MemoryStore {
    shared: Arc<Mutex<State>>,
    handle: u64,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryStore {
    /// An empty store and the first handle on it.
    pub fn new() -> Self {
        Self { shared: Arc::default(), handle: 0 }
    }

    /// Another handle on the same data: another coordinator, or the same one after it died.
    pub fn another_handle(&self) -> Self {
        let mut state = self.state();
        state.handles += 1;
        Self { shared: Arc::clone(&self.shared), handle: state.handles }
    }

    /// Asks `script` before each append, through whatever handle, whether it shall go wrong. Replaces the script that
    /// was there.
    pub fn fail_appends(&self, script: impl FnMut(&AppendAttempt<'_>) -> Option<AppendFault> + Send + 'static) {
        self.state().faults.set(Box::new(script));
    }

    /// Lets only the append with this number go wrong; the first after the store was made is number 1.
    pub fn fail_append(&self, number: u64, fault: AppendFault) {
        self.fail_appends(move |attempt| (attempt.number == number).then_some(fault));
    }

    /// Appends work again.
    pub fn heal(&self) {
        self.state().faults.clear();
    }

    /// How many appends were tried so far: a crash harness runs once to count, then once for each number.
    pub fn appends(&self) -> u64 {
        self.state().faults.appends()
    }

    /// Ends the present leadership without telling the leader, as a lost lease does.
    pub fn depose(&self) {
        self.state().depose();
    }

    /// Puts a text where a fact belongs, past all checks, as a newer Cutover or a damaged disk would. Replaces the
    /// fact at `seq`, or adds it right behind the last one; elsewhere it does nothing.
    pub fn plant(&self, upgrade: &UpgradeId, seq: u64, text: &[u8]) {
        self.state().plant(upgrade, seq, text);
    }

    /// A panic while the lock was held leaves whole values behind: every change below is made after its last check.
    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The whole append but for waiting: what to answer, and whether to answer at all.
    fn append_now(&self, epoch: Epoch, upgrade: &UpgradeId, expected_seq: u64, batch: &Batch) -> Option<Appended> {
        let mut state = self.state();
        let fault = state.faults.next(upgrade, batch);
        let lost = |fault| Some(Appended::Unknown(StoreError::Injected { fault }));
        match fault {
            Some(AppendFault::HangsBefore) => return None,
            Some(fault @ (AppendFault::Fails | AppendFault::UnknownNotStored)) => return lost(fault),
            Some(AppendFault::DeposedBefore) => state.succeed_nobody(),
            Some(
                AppendFault::UnknownStored
                | AppendFault::DeposedAfter
                | AppendFault::UnknownStoredAndDeposed
                | AppendFault::HangsAfter,
            )
            | None => {}
        }
        let sealed = match seal::seal(epoch, expected_seq, batch) {
            Ok(sealed) => sealed,
            Err(refused) => return Some(refused),
        };
        let appended = state.append(epoch, upgrade, expected_seq, batch.nonce, sealed);
        let Appended::Committed = appended else { return Some(appended) };
        match fault {
            Some(AppendFault::HangsAfter) => None,
            Some(fault @ AppendFault::UnknownStored) => lost(fault),
            Some(fault @ AppendFault::UnknownStoredAndDeposed) => {
                state.succeed_nobody();
                lost(fault)
            }
            Some(AppendFault::DeposedAfter) => {
                state.succeed_nobody();
                Some(appended)
            }
            Some(
                AppendFault::HangsBefore
                | AppendFault::Fails
                | AppendFault::UnknownNotStored
                | AppendFault::DeposedBefore,
            )
            | None => Some(appended),
        }
    }
}

impl Drop for MemoryStore {
    fn drop(&mut self) {
        self.state().release(self.handle);
    }
}

#[async_trait::async_trait]
impl Store for MemoryStore {
    async fn lead(&self, who: &CoordinatorName) -> Result<Option<Epoch>, StoreError> {
        Ok(self.state().lead(self.handle, who))
    }

    async fn resign(&self, epoch: Epoch) -> Result<(), StoreError> {
        self.state().resign(self.handle, epoch);
        Ok(())
    }

    async fn leader(&self) -> Result<Option<Leader>, StoreError> {
        Ok(self.state().leader())
    }

    async fn latest_epoch(&self) -> Result<Epoch, StoreError> {
        Ok(self.state().latest_epoch())
    }

    async fn raise_epochs(&self, floor: Epoch) -> Result<(), StoreError> {
        self.state().raise_epochs(floor);
        Ok(())
    }

    async fn append(&self, epoch: Epoch, upgrade: &UpgradeId, expected_seq: u64, batch: &Batch) -> Appended {
        match self.append_now(epoch, upgrade, expected_seq, batch) {
            Some(answer) => answer,
            None => std::future::pending().await,
        }
    }

    async fn find_batch(&self, upgrade: &UpgradeId, nonce: &Nonce) -> Result<Option<u64>, StoreError> {
        Ok(self.state().upgrades.get(upgrade).and_then(|upgrade| upgrade.nonces.get(nonce).copied()))
    }

    async fn load(&self, upgrade: &UpgradeId, after_seq: u64, limit: usize) -> Result<Vec<Stored>, StoreError> {
        let state = self.state();
        let Some(upgrade) = state.upgrades.get(upgrade) else { return Ok(Vec::new()) };
        Ok(page::judge(after_seq, limit, upgrade.end(), &upgrade.texts_around(after_seq, limit)))
    }

    async fn texts(
        &self,
        upgrade: &UpgradeId,
        after_seq: u64,
        limit: usize,
    ) -> Result<Vec<(u64, Vec<u8>)>, StoreError> {
        Ok(self.state().upgrades.get(upgrade).map(|upgrade| upgrade.texts_after(after_seq, limit)).unwrap_or_default())
    }

    async fn restore(
        &self,
        epoch: Epoch,
        upgrade: &UpgradeId,
        expected_seq: u64,
        nonce: &Nonce,
        texts: &[String],
    ) -> Appended {
        match seal::reseal(expected_seq, texts) {
            Ok(sealed) => self.state().append(epoch, upgrade, expected_seq, *nonce, sealed),
            Err(refused) => refused,
        }
    }

    async fn upgrades(&self) -> Result<Vec<UpgradeHead>, StoreError> {
        let state = self.state();
        Ok(state.upgrades.iter().map(|(id, upgrade)| upgrade.head(id)).collect())
    }

    async fn head(&self, upgrade: &UpgradeId) -> Result<Option<UpgradeHead>, StoreError> {
        Ok(self.state().upgrades.get(upgrade).map(|found| found.head(upgrade)))
    }

    async fn put(&self, epoch: Epoch, key: &Key, expected: Revision, value: &[u8]) -> Put {
        if value.len() > MAX_DOCUMENT_BYTES {
            return Put::TooLarge { bytes: value.len(), limit: MAX_DOCUMENT_BYTES };
        }
        self.state().put(epoch, key, expected, value)
    }

    async fn get(&self, key: &Key) -> Result<Option<(Revision, Vec<u8>)>, StoreError> {
        Ok(self.state().documents.get(key).cloned())
    }

    async fn list(&self, prefix: &str) -> Result<Vec<(Key, Revision, Vec<u8>)>, StoreError> {
        let state = self.state();
        let matching = state.documents.iter().filter(|(key, _document)| key.as_str().starts_with(prefix));
        Ok(matching.map(|(key, (revision, value))| (key.clone(), *revision, value.clone())).collect())
    }

    async fn put_chunk(&self, epoch: Epoch, bytes: &[u8]) -> Result<Digest, StoreError> {
        if bytes.len() > MAX_CHUNK_BYTES {
            return Err(StoreError::TooLarge { what: "chunk", bytes: bytes.len(), limit: MAX_CHUNK_BYTES });
        }
        self.state().put_chunk(epoch, bytes)
    }

    async fn chunks(&self) -> Result<Vec<Digest>, StoreError> {
        Ok(self.state().chunks.keys().copied().collect())
    }

    async fn get_chunk(&self, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.state().chunks.get(digest).cloned())
    }
}
