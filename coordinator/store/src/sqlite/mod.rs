//! A store in one SQLite file, for one machine.
//!
//! Beside `FILE` lie `FILE-wal` and `FILE-shm` (SQLite's), `FILE.leader` (locked by the leader for as long as it leads)
//! and `FILE.opening` (locked while a handle opens). The lock says who may become leader; what fences a former leader is
//! the epoch in the file, compared in the transaction of each write. All of it must lie on a local disk: WAL and flock do
//! not work over NFS.

mod lock;
mod read;
mod schema;
mod write;

use crate::contract::{Appended, Batch, Leader, MAX_CHUNK_BYTES, MAX_DOCUMENT_BYTES, Put, Store, Stored, UpgradeHead};
use crate::{CoordinatorName, Key, Nonce, Revision, StoreError, seal};
use cutover_vocabulary::{Digest, Epoch, UpgradeId};
use lock::LeaderLock;
use schema::Pools;
use std::path::{Path, PathBuf};
use tokio::sync::Mutex;

/// One handle on a file. Several, in one or more processes, may have it open; one of them leads.
#[derive(Debug)]
pub struct SqliteStore {
    path: PathBuf,
    pools: Pools,
    held: Mutex<Option<Held>>,
}

/// What the leading handle holds.
#[derive(Debug)]
struct Held {
    lock: LeaderLock,
    /// The epoch that was won with it; `None` while the answer is not known.
    epoch: Option<Epoch>,
}

impl SqliteStore {
    /// Opens a store, creating the file (not its folder) where there is none. Brings an older schema up to date;
    /// refuses a newer one and files of other programs without changing them.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let path = path.as_ref().to_owned();
        let pools = schema::open(&path).await?;
        Ok(Self { path, pools, held: Mutex::new(None) })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Ends leadership and closes the file, after what is under way. Dropping the store does the same without waiting.
    pub async fn close(self) {
        self.pools.readers.close().await;
        self.pools.writer.close().await;
    }

    fn failed(&self, doing: &'static str) -> impl FnOnce(sqlx::Error) -> StoreError {
        move |source| StoreError::Database { doing, path: self.path.clone(), source }
    }

    fn damaged(&self, what: impl Into<String>, why: impl Into<String>) -> StoreError {
        StoreError::Damaged { what: format!("{} in {}", what.into(), self.path.display()), why: why.into() }
    }

    /// Numbers are stored as SQLite's signed integers; ours are never negative.
    fn number(&self, what: &str, stored: i64) -> Result<u64, StoreError> {
        u64::try_from(stored).map_err(|_negative| self.damaged(what, format!("{stored} is negative")))
    }
}

#[async_trait::async_trait]
impl Store for SqliteStore {
    async fn lead(&self, who: &CoordinatorName) -> Result<Option<Epoch>, StoreError> {
        let mut held = self.held.lock().await;
        if held.as_ref().is_some_and(|held| !held.lock.is_in_place()) {
            *held = None;
        }
        if held.is_none() {
            let Some(lock) = LeaderLock::try_take(&self.path)? else { return Ok(None) };
            *held = Some(Held { lock, epoch: None });
        }
        match self.next_epoch(who).await {
            Ok(epoch) => {
                if let Some(held) = held.as_mut() {
                    held.epoch = Some(epoch);
                }
                Ok(Some(epoch))
            }
            Err(error) => {
                *held = None;
                Err(error)
            }
        }
    }

    async fn resign(&self, epoch: Epoch) -> Result<(), StoreError> {
        let mut held = self.held.lock().await;
        if held.as_ref().and_then(|held| held.epoch) != Some(epoch) {
            return Ok(());
        }
        self.end_leadership(epoch).await?;
        *held = None;
        Ok(())
    }

    async fn leader(&self) -> Result<Option<Leader>, StoreError> {
        self.read_leader().await
    }

    async fn latest_epoch(&self) -> Result<Epoch, StoreError> {
        self.read_epoch().await
    }

    async fn raise_epochs(&self, floor: Epoch) -> Result<(), StoreError> {
        self.write_floor(floor).await
    }

    async fn append(&self, epoch: Epoch, upgrade: &UpgradeId, expected_seq: u64, batch: &Batch) -> Appended {
        let sealed = match seal::seal(epoch, expected_seq, batch) {
            Ok(sealed) => sealed,
            Err(refused) => return refused,
        };
        match self.write_batch(epoch, upgrade, expected_seq, batch.nonce, &sealed).await {
            Ok(appended) => appended,
            Err(error) => Appended::Unknown(error),
        }
    }

    async fn find_batch(&self, upgrade: &UpgradeId, nonce: &Nonce) -> Result<Option<u64>, StoreError> {
        self.read_nonce(upgrade, nonce).await
    }

    async fn load(&self, upgrade: &UpgradeId, after_seq: u64, limit: usize) -> Result<Vec<Stored>, StoreError> {
        self.read_page(upgrade, after_seq, limit).await
    }

    async fn texts(
        &self,
        upgrade: &UpgradeId,
        after_seq: u64,
        limit: usize,
    ) -> Result<Vec<(u64, Vec<u8>)>, StoreError> {
        self.read_texts(upgrade, after_seq, limit).await
    }

    async fn restore(
        &self,
        epoch: Epoch,
        upgrade: &UpgradeId,
        expected_seq: u64,
        nonce: &Nonce,
        texts: &[String],
    ) -> Appended {
        let sealed = match seal::reseal(expected_seq, texts) {
            Ok(sealed) => sealed,
            Err(refused) => return refused,
        };
        match self.write_batch(epoch, upgrade, expected_seq, *nonce, &sealed).await {
            Ok(appended) => appended,
            Err(error) => Appended::Unknown(error),
        }
    }

    async fn upgrades(&self) -> Result<Vec<UpgradeHead>, StoreError> {
        self.read_heads().await
    }

    async fn head(&self, upgrade: &UpgradeId) -> Result<Option<UpgradeHead>, StoreError> {
        self.read_head(upgrade).await
    }

    async fn put(&self, epoch: Epoch, key: &Key, expected: Revision, value: &[u8]) -> Put {
        if value.len() > MAX_DOCUMENT_BYTES {
            return Put::TooLarge { bytes: value.len(), limit: MAX_DOCUMENT_BYTES };
        }
        match self.write_document(epoch, key, expected, value).await {
            Ok(put) => put,
            Err(error) => Put::Unknown(error),
        }
    }

    async fn get(&self, key: &Key) -> Result<Option<(Revision, Vec<u8>)>, StoreError> {
        self.read_document(key).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<(Key, Revision, Vec<u8>)>, StoreError> {
        self.read_documents(prefix).await
    }

    async fn put_chunk(&self, epoch: Epoch, bytes: &[u8]) -> Result<Digest, StoreError> {
        if bytes.len() > MAX_CHUNK_BYTES {
            return Err(StoreError::TooLarge { what: "chunk", bytes: bytes.len(), limit: MAX_CHUNK_BYTES });
        }
        self.write_chunk(epoch, bytes).await
    }

    async fn chunks(&self) -> Result<Vec<Digest>, StoreError> {
        self.read_chunk_names().await
    }

    async fn get_chunk(&self, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        self.read_chunk(digest).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_disk_that_was_full_once_is_written_to_again() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(folder.path().join("store.db")).await.unwrap();
        let epoch = store.lead(&CoordinatorName::new("c1").unwrap()).await.unwrap().unwrap();
        let key = Key::new("a/b").unwrap();
        // Every transaction fails as on a full disk, at whatever point it meets that.
        sqlx::query("PRAGMA max_page_count = 1").execute(&store.pools.writer).await.unwrap();
        let put = store.put(epoch, &key, Revision(0), &[7; 100_000]).await;
        assert!(matches!(&put, Put::Unknown(error) if format!("{error:?}").contains("full")), "{put:?}");
        sqlx::query("PRAGMA max_page_count = 1000000").execute(&store.pools.writer).await.unwrap();
        let put = store.put(epoch, &key, Revision(0), &[7; 100_000]).await;
        assert!(matches!(put, Put::Stored(Revision(1))), "{put:?}");
    }
}
