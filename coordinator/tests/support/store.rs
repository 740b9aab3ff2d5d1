//! A store in memory that a test meddles with where a document is read or written.

use cutover_store::{
    Appended, Batch, CoordinatorName, Key, Leader, MemoryStore, Nonce, Put, Revision, Store, StoreError, Stored,
    UpgradeHead,
};
use cutover_vocabulary::{Digest, Epoch, UpgradeId};

/// How documents are read and written.
#[async_trait::async_trait]
pub trait Meddles: Send + Sync + 'static {
    async fn put(&self, store: &MemoryStore, epoch: Epoch, key: &Key, expected: Revision, value: &[u8]) -> Put {
        store.put(epoch, key, expected, value).await
    }
    async fn get(&self, store: &MemoryStore, key: &Key) -> Result<Option<(Revision, Vec<u8>)>, StoreError> {
        store.get(key).await
    }
}

/// A store with such documents.
#[derive(Debug, Default)]
pub struct Meddled<M>(pub MemoryStore, pub M);

#[async_trait::async_trait]
impl<M: Meddles> Store for Meddled<M> {
    async fn put(&self, epoch: Epoch, key: &Key, expected: Revision, value: &[u8]) -> Put {
        self.1.put(&self.0, epoch, key, expected, value).await
    }
    async fn lead(&self, who: &CoordinatorName) -> Result<Option<Epoch>, StoreError> {
        self.0.lead(who).await
    }
    async fn resign(&self, epoch: Epoch) -> Result<(), StoreError> {
        self.0.resign(epoch).await
    }
    async fn leader(&self) -> Result<Option<Leader>, StoreError> {
        self.0.leader().await
    }
    async fn latest_epoch(&self) -> Result<Epoch, StoreError> {
        self.0.latest_epoch().await
    }
    async fn raise_epochs(&self, floor: Epoch) -> Result<(), StoreError> {
        self.0.raise_epochs(floor).await
    }
    async fn texts(
        &self,
        upgrade: &UpgradeId,
        after_seq: u64,
        limit: usize,
    ) -> Result<Vec<(u64, Vec<u8>)>, StoreError> {
        self.0.texts(upgrade, after_seq, limit).await
    }
    async fn restore(
        &self,
        epoch: Epoch,
        upgrade: &UpgradeId,
        expected_seq: u64,
        nonce: &Nonce,
        texts: &[String],
    ) -> Appended {
        self.0.restore(epoch, upgrade, expected_seq, nonce, texts).await
    }
    async fn chunks(&self) -> Result<Vec<Digest>, StoreError> {
        self.0.chunks().await
    }
    async fn append(&self, epoch: Epoch, upgrade: &UpgradeId, expected_seq: u64, batch: &Batch) -> Appended {
        self.0.append(epoch, upgrade, expected_seq, batch).await
    }
    async fn find_batch(&self, upgrade: &UpgradeId, nonce: &Nonce) -> Result<Option<u64>, StoreError> {
        self.0.find_batch(upgrade, nonce).await
    }
    async fn load(&self, upgrade: &UpgradeId, after_seq: u64, limit: usize) -> Result<Vec<Stored>, StoreError> {
        self.0.load(upgrade, after_seq, limit).await
    }
    async fn upgrades(&self) -> Result<Vec<UpgradeHead>, StoreError> {
        self.0.upgrades().await
    }
    async fn head(&self, upgrade: &UpgradeId) -> Result<Option<UpgradeHead>, StoreError> {
        self.0.head(upgrade).await
    }
    async fn get(&self, key: &Key) -> Result<Option<(Revision, Vec<u8>)>, StoreError> {
        self.1.get(&self.0, key).await
    }
    async fn list(&self, prefix: &str) -> Result<Vec<(Key, Revision, Vec<u8>)>, StoreError> {
        self.0.list(prefix).await
    }
    async fn put_chunk(&self, epoch: Epoch, bytes: &[u8]) -> Result<Digest, StoreError> {
        self.0.put_chunk(epoch, bytes).await
    }
    async fn get_chunk(&self, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        self.0.get_chunk(digest).await
    }
}
