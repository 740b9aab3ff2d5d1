//! Every change to the file: one transaction each, which compares the epoch before anything else. `BEGIN IMMEDIATE`
//! takes the write lock first, so what was compared still holds at the commit.

use super::SqliteStore;
use crate::seal::{Sealed, start_of_chain};
use crate::{Appended, CoordinatorName, Key, Nonce, Put, Revision, StoreError};
use cutover_vocabulary::{Digest, Epoch, UpgradeId};
use sqlx::{Sqlite, Transaction};

/// Whether the writer leads.
enum Fence {
    Leads,
    Fenced { by: Epoch },
}

impl SqliteStore {
    pub(super) async fn next_epoch(&self, who: &CoordinatorName) -> Result<Epoch, StoreError> {
        let epoch: i64 =
            sqlx::query_scalar("UPDATE leadership SET epoch = epoch + 1, leader = ?, leads = 1 RETURNING epoch")
                .bind(who.as_str())
                .fetch_one(&self.pools.writer)
                .await
                .map_err(self.failed("count the epoch"))?;
        Ok(Epoch(self.number("the epoch", epoch)?))
    }

    pub(super) async fn write_floor(&self, floor: Epoch) -> Result<(), StoreError> {
        let floor = i64::try_from(floor.0).map_err(|_too_large| StoreError::Damaged {
            what: "the epoch to begin after".to_owned(),
            why: format!("{floor} is larger than this store can count"),
        })?;
        sqlx::query("UPDATE leadership SET epoch = max(epoch, ?), leads = 0")
            .bind(floor)
            .execute(&self.pools.writer)
            .await
            .map_err(self.failed("raise the epoch"))?;
        Ok(())
    }

    pub(super) async fn end_leadership(&self, epoch: Epoch) -> Result<(), StoreError> {
        sqlx::query("UPDATE leadership SET leads = 0 WHERE epoch = ?")
            .bind(self.stored(epoch.0))
            .execute(&self.pools.writer)
            .await
            .map_err(self.failed("resign"))?;
        Ok(())
    }

    pub(super) async fn write_batch(
        &self,
        epoch: Epoch,
        upgrade: &UpgradeId,
        expected_seq: u64,
        nonce: Nonce,
        sealed: &Sealed,
    ) -> Result<Appended, StoreError> {
        let failed = || self.failed("append a batch");
        let mut transaction = self.begin().await?;
        if let Fence::Fenced { by } = self.fence(&mut transaction, epoch).await? {
            return Ok(Appended::Fenced { by });
        }
        let head: Option<(i64, Vec<u8>, bool)> = sqlx::query_as(
            "SELECT last_seq, last_hash, EXISTS (SELECT 1 FROM batch WHERE upgrade = id AND nonce = ?2)
             FROM upgrade WHERE id = ?1",
        )
        .bind(upgrade.as_str())
        .bind(nonce.to_string())
        .fetch_optional(&mut *transaction)
        .await
        .map_err(failed())?;
        let (seq, hash, known) = match head {
            Some((seq, hash, known)) => (self.number("a head", seq)?, self.digest(upgrade, hash)?, known),
            None => (0, start_of_chain(), false),
        };
        if seq != expected_seq || hash != sealed.first_prev || known {
            return Ok(Appended::Conflict { seq });
        }
        sqlx::query(
            "INSERT INTO upgrade (id, last_seq, last_hash) VALUES (?1, ?2, ?3)
             ON CONFLICT (id) DO UPDATE SET last_seq = ?2, last_hash = ?3",
        )
        .bind(upgrade.as_str())
        .bind(self.stored(sealed.last_seq))
        .bind(sealed.last_hash.as_bytes().as_slice())
        .execute(&mut *transaction)
        .await
        .map_err(failed())?;
        sqlx::query("INSERT INTO batch (upgrade, nonce, last_seq) VALUES (?, ?, ?)")
            .bind(upgrade.as_str())
            .bind(nonce.to_string())
            .bind(self.stored(sealed.last_seq))
            .execute(&mut *transaction)
            .await
            .map_err(failed())?;
        for (seq, text) in (expected_seq + 1..).zip(&sealed.texts) {
            sqlx::query("INSERT INTO fact (upgrade, seq, json) VALUES (?, ?, ?)")
                .bind(upgrade.as_str())
                .bind(self.stored(seq))
                .bind(text.as_str())
                .execute(&mut *transaction)
                .await
                .map_err(failed())?;
        }
        transaction.commit().await.map_err(self.failed("commit a batch"))?;
        Ok(Appended::Committed)
    }

    pub(super) async fn write_document(
        &self,
        epoch: Epoch,
        key: &Key,
        expected: Revision,
        value: &[u8],
    ) -> Result<Put, StoreError> {
        let mut transaction = self.begin().await?;
        if let Fence::Fenced { by } = self.fence(&mut transaction, epoch).await? {
            return Ok(Put::Fenced { by });
        }
        let present: Option<i64> = sqlx::query_scalar("SELECT revision FROM document WHERE key = ?")
            .bind(key.as_str())
            .fetch_optional(&mut *transaction)
            .await
            .map_err(self.failed("read a document's revision"))?;
        let present = Revision(self.number("a revision", present.unwrap_or(0))?);
        if present != expected {
            return Ok(Put::Conflict { present });
        }
        let next = Revision(present.0 + 1);
        sqlx::query(
            "INSERT INTO document (key, revision, value) VALUES (?1, ?2, ?3)
             ON CONFLICT (key) DO UPDATE SET revision = ?2, value = ?3",
        )
        .bind(key.as_str())
        .bind(self.stored(next.0))
        .bind(value)
        .execute(&mut *transaction)
        .await
        .map_err(self.failed("write a document"))?;
        transaction.commit().await.map_err(self.failed("commit a document"))?;
        Ok(Put::Stored(next))
    }

    pub(super) async fn write_chunk(&self, epoch: Epoch, bytes: &[u8]) -> Result<Digest, StoreError> {
        let mut transaction = self.begin().await?;
        if let Fence::Fenced { by } = self.fence(&mut transaction, epoch).await? {
            return Err(StoreError::Fenced { epoch, by });
        }
        let digest = Digest::of(bytes);
        sqlx::query("INSERT INTO chunk (sha256, bytes) VALUES (?, ?) ON CONFLICT (sha256) DO NOTHING")
            .bind(digest.as_bytes().as_slice())
            .bind(bytes)
            .execute(&mut *transaction)
            .await
            .map_err(self.failed("write a chunk"))?;
        transaction.commit().await.map_err(self.failed("commit a chunk"))?;
        Ok(digest)
    }

    /// SQLite ends a transaction by itself when the disk is full
    /// (sqlite.org/lang_transaction.html#response_to_errors_within_a_transaction), of which sqlx 0.9 does not learn: it takes
    /// every later one on that connection for one within the former. Such a connection is closed, and the pool makes another.
    async fn begin(&self) -> Result<Transaction<'static, Sqlite>, StoreError> {
        let failed = || self.failed("begin a write");
        match self.pools.writer.begin_with("BEGIN IMMEDIATE").await {
            Err(sqlx::Error::InvalidSavePointStatement) => {
                self.pools.writer.acquire().await.map_err(failed())?.close().await.map_err(failed())?;
                self.pools.writer.begin_with("BEGIN IMMEDIATE").await.map_err(failed())
            }
            begun => begun.map_err(failed()),
        }
    }

    async fn fence(&self, transaction: &mut Transaction<'static, Sqlite>, epoch: Epoch) -> Result<Fence, StoreError> {
        let (latest, leads): (i64, bool) = sqlx::query_as("SELECT epoch, leads FROM leadership")
            .fetch_one(&mut **transaction)
            .await
            .map_err(self.failed("compare the epoch"))?;
        let by = Epoch(self.number("the epoch", latest)?);
        Ok(if leads && by == epoch { Fence::Leads } else { Fence::Fenced { by } })
    }

    /// Our counters begin at zero and count writes; none reaches 2^63. If one did, the write would find no row to
    /// match and be refused, never wrap.
    pub(super) fn stored(&self, number: u64) -> i64 {
        i64::try_from(number).unwrap_or(i64::MAX)
    }

    pub(super) fn digest(&self, upgrade: &UpgradeId, bytes: Vec<u8>) -> Result<Digest, StoreError> {
        match <[u8; 32]>::try_from(bytes) {
            Ok(bytes) => Ok(Digest::from_bytes(bytes)),
            Err(bytes) => Err(self.damaged(
                format!("the last hash of upgrade {upgrade}"),
                format!("it has {} bytes instead of 32", bytes.len()),
            )),
        }
    }
}
