//! Every look at the file.

use super::SqliteStore;
use crate::page::{self, End};
use crate::{CoordinatorName, Key, Leader, Nonce, Revision, StoreError, Stored, UpgradeHead};
use cutover_vocabulary::{Digest, Epoch, UpgradeId};
use std::collections::BTreeMap;

impl SqliteStore {
    pub(super) async fn read_leader(&self) -> Result<Option<Leader>, StoreError> {
        let row: Option<(i64, String)> = sqlx::query_as("SELECT epoch, leader FROM leadership WHERE leads")
            .fetch_optional(&self.pools.readers)
            .await
            .map_err(self.failed("read who leads"))?;
        let Some((epoch, name)) = row else { return Ok(None) };
        let name = CoordinatorName::new(name).map_err(|why| self.damaged("the leader's name", why.to_string()))?;
        Ok(Some(Leader { epoch: Epoch(self.number("the epoch", epoch)?), name }))
    }

    pub(super) async fn read_epoch(&self) -> Result<Epoch, StoreError> {
        let epoch: i64 = sqlx::query_scalar("SELECT epoch FROM leadership")
            .fetch_one(&self.pools.readers)
            .await
            .map_err(self.failed("read the epoch"))?;
        Ok(Epoch(self.number("the epoch", epoch)?))
    }

    /// On the writer's connection: an append that was begun before is committed or rolled back before this is
    /// answered, even where its caller stopped waiting. A reader could look too early.
    pub(super) async fn read_nonce(&self, upgrade: &UpgradeId, nonce: &Nonce) -> Result<Option<u64>, StoreError> {
        let seq: Option<i64> = sqlx::query_scalar("SELECT last_seq FROM batch WHERE upgrade = ? AND nonce = ?")
            .bind(upgrade.as_str())
            .bind(nonce.to_string())
            .fetch_optional(&self.pools.writer)
            .await
            .map_err(self.failed("look for a batch"))?;
        seq.map(|seq| self.number("a batch", seq)).transpose()
    }

    /// Head and texts are read in one transaction, so that an append in between cannot look like damage.
    pub(super) async fn read_page(
        &self,
        upgrade: &UpgradeId,
        after_seq: u64,
        limit: usize,
    ) -> Result<Vec<Stored>, StoreError> {
        let mut snapshot = self.pools.readers.begin().await.map_err(self.failed("begin a read"))?;
        let end: Option<(i64, Vec<u8>, Option<i64>)> = sqlx::query_as(
            "SELECT last_seq, last_hash, (SELECT max(seq) FROM fact WHERE upgrade = id) FROM upgrade WHERE id = ?",
        )
        .bind(upgrade.as_str())
        .fetch_optional(&mut *snapshot)
        .await
        .map_err(self.failed("read an upgrade's head"))?;
        let Some((seq, hash, present)) = end else { return Ok(Vec::new()) };
        let end = End {
            seq: self.number("a head", seq)?,
            hash: self.digest(upgrade, hash)?,
            present: self.number("a fact", present.unwrap_or(0))?,
        };
        let last = after_seq.saturating_add(u64::try_from(limit).unwrap_or(u64::MAX));
        // As bytes: a text that is no UTF-8 is one foreign fact, not a failed read of all.
        let rows: Vec<(i64, Vec<u8>)> =
            sqlx::query_as("SELECT seq, CAST(json AS BLOB) FROM fact WHERE upgrade = ? AND seq BETWEEN ? AND ?")
                .bind(upgrade.as_str())
                .bind(self.stored(after_seq))
                .bind(self.stored(last))
                .fetch_all(&mut *snapshot)
                .await
                .map_err(self.failed("read facts"))?;
        let mut texts = BTreeMap::new();
        for (seq, text) in rows {
            texts.insert(self.number("a fact", seq)?, text);
        }
        Ok(page::judge(after_seq, limit, end, &texts))
    }

    pub(super) async fn read_texts(
        &self,
        upgrade: &UpgradeId,
        after_seq: u64,
        limit: usize,
    ) -> Result<Vec<(u64, Vec<u8>)>, StoreError> {
        let rows: Vec<(i64, Vec<u8>)> = sqlx::query_as(
            "SELECT seq, CAST(json AS BLOB) FROM fact WHERE upgrade = ? AND seq > ? ORDER BY seq LIMIT ?",
        )
        .bind(upgrade.as_str())
        .bind(self.stored(after_seq))
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(&self.pools.readers)
        .await
        .map_err(self.failed("read facts"))?;
        rows.into_iter().map(|(seq, text)| Ok((self.number("a fact", seq)?, text))).collect()
    }

    pub(super) async fn read_heads(&self) -> Result<Vec<UpgradeHead>, StoreError> {
        let rows: Vec<(String, i64, Vec<u8>)> =
            sqlx::query_as("SELECT id, last_seq, last_hash FROM upgrade ORDER BY id")
                .fetch_all(&self.pools.readers)
                .await
                .map_err(self.failed("list the upgrades"))?;
        rows.into_iter().map(|row| self.head_of(row)).collect()
    }

    pub(super) async fn read_head(&self, upgrade: &UpgradeId) -> Result<Option<UpgradeHead>, StoreError> {
        let row: Option<(String, i64, Vec<u8>)> =
            sqlx::query_as("SELECT id, last_seq, last_hash FROM upgrade WHERE id = ?")
                .bind(upgrade.as_str())
                .fetch_optional(&self.pools.readers)
                .await
                .map_err(self.failed("read an upgrade's head"))?;
        row.map(|row| self.head_of(row)).transpose()
    }

    fn head_of(&self, (id, seq, hash): (String, i64, Vec<u8>)) -> Result<UpgradeHead, StoreError> {
        let id = UpgradeId::new(id).map_err(|why| self.damaged("an upgrade's id", why.to_string()))?;
        let hash = self.digest(&id, hash)?;
        Ok(UpgradeHead { seq: self.number("a head", seq)?, hash, id })
    }

    pub(super) async fn read_document(&self, key: &Key) -> Result<Option<(Revision, Vec<u8>)>, StoreError> {
        let row: Option<(i64, Vec<u8>)> = sqlx::query_as("SELECT revision, value FROM document WHERE key = ?")
            .bind(key.as_str())
            .fetch_optional(&self.pools.readers)
            .await
            .map_err(self.failed("read a document"))?;
        row.map(|(revision, value)| Ok((Revision(self.number("a revision", revision)?), value))).transpose()
    }

    /// The range uses the key's index; `substr` rather than LIKE or GLOB, whose special characters keys may contain.
    pub(super) async fn read_documents(&self, prefix: &str) -> Result<Vec<(Key, Revision, Vec<u8>)>, StoreError> {
        let rows: Vec<(String, i64, Vec<u8>)> = sqlx::query_as(
            "SELECT key, revision, value FROM document WHERE key >= ?1 AND substr(key, 1, length(?1)) = ?1 ORDER BY key",
        )
        .bind(prefix)
        .fetch_all(&self.pools.readers)
        .await
        .map_err(self.failed("list documents"))?;
        let document = |(key, revision, value)| {
            let key = Key::new(key).map_err(|why| self.damaged("a document's key", why.to_string()))?;
            Ok((key, Revision(self.number("a revision", revision)?), value))
        };
        rows.into_iter().map(document).collect()
    }

    pub(super) async fn read_chunk_names(&self) -> Result<Vec<Digest>, StoreError> {
        let names: Vec<Vec<u8>> = sqlx::query_scalar("SELECT sha256 FROM chunk ORDER BY sha256")
            .fetch_all(&self.pools.readers)
            .await
            .map_err(self.failed("list the chunks"))?;
        let digest = |bytes: Vec<u8>| {
            let bytes = <[u8; 32]>::try_from(bytes).map_err(|bytes| {
                self.damaged("a chunk's digest", format!("it has {} bytes instead of 32", bytes.len()))
            })?;
            Ok(Digest::from_bytes(bytes))
        };
        names.into_iter().map(digest).collect()
    }

    pub(super) async fn read_chunk(&self, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        let bytes: Option<Vec<u8>> = sqlx::query_scalar("SELECT bytes FROM chunk WHERE sha256 = ?")
            .bind(digest.as_bytes().as_slice())
            .fetch_optional(&self.pools.readers)
            .await
            .map_err(self.failed("read a chunk"))?;
        match bytes {
            Some(bytes) if Digest::of(&bytes) != *digest => {
                Err(self.damaged(format!("chunk {digest}"), format!("its bytes have digest {}", Digest::of(&bytes))))
            }
            found => Ok(found),
        }
    }
}
