//! Facts, documents and chunks, each written in one fenced transaction.

use super::Inner;
use super::fence::Written;
use super::keys::MAX_VALUE_BYTES;
use super::read::{Apart, Head, Index, single};
use crate::seal::{Sealed, start_of_chain};
use crate::{Appended, Key, Nonce, Put, Revision, StoreError};
use cutover_vocabulary::{Digest, Epoch, UpgradeId};
use etcd_client::{Compare, CompareOp, GetOptions, TxnOp};

impl Inner {
    /// The batch, the chain's new end and the nonce, if the chain ends where the batch begins and the nonce is new. The end is
    /// compared as text, so its form never changes.
    pub(super) async fn write_batch(
        &self,
        epoch: Epoch,
        upgrade: &UpgradeId,
        expected_seq: u64,
        nonce: Nonce,
        sealed: &Sealed,
    ) -> Result<Appended, StoreError> {
        let head = self.keys.head(upgrade);
        let nonce = self.keys.nonce(upgrade, &nonce);
        let before = Head { seq: expected_seq, hash: sealed.first_prev };
        let after = Head { seq: sealed.last_seq, hash: sealed.last_hash };
        // A new upgrade has no end yet, and its first fact the hash of nothing: another one conflicts with whatever lies there.
        let begins = expected_seq == 0 && sealed.first_prev == start_of_chain();
        let end = match begins {
            true => Compare::version(head.clone(), CompareOp::Equal, 0),
            false => Compare::value(head.clone(), CompareOp::Equal, before.text()),
        };
        let compares = vec![end, Compare::version(nonce.clone(), CompareOp::Equal, 0)];
        let text = sealed.texts.join("\n");
        let batch = match text.len() {
            0..=MAX_VALUE_BYTES => text,
            _ => match self.write_pieces(epoch, upgrade, &text).await? {
                Ok(apart) => apart.text(),
                Err(by) => return Ok(Appended::Fenced { by }),
            },
        };
        let writes = vec![
            TxnOp::put(self.keys.batch(upgrade, sealed.last_seq), batch, None),
            TxnOp::put(head.clone(), after.text(), None),
            TxnOp::put(nonce, sealed.last_seq.to_string(), None),
        ];
        let looks = vec![TxnOp::get(head, Some(GetOptions::new()))];
        Ok(match self.write("append a batch", epoch, compares, writes, looks).await? {
            Written::Done => Appended::Committed,
            Written::Fenced { by } => Appended::Fenced { by },
            Written::Differs(found) => {
                let seq = match single(found) {
                    Some(head) => Head::read(upgrade, head.value())?.seq,
                    None => 0,
                };
                Appended::Conflict { seq }
            }
        })
    }

    /// The pieces of a batch, which its value will name. What a writer left that died before it wrote that value is never read, and
    /// is written over by the next one with the same batch.
    async fn write_pieces(
        &self,
        epoch: Epoch,
        upgrade: &UpgradeId,
        text: &str,
    ) -> Result<Result<Apart, Epoch>, StoreError> {
        let apart = Apart { digest: Digest::of(text.as_bytes()) };
        let below = self.keys.large_batch(upgrade, &apart.digest);
        for (number, piece) in text.as_bytes().chunks(MAX_VALUE_BYTES).enumerate() {
            // Two digits sort as numbers do: a fact has at most sixteen pieces.
            let put = TxnOp::put(format!("{below}{number:02}"), piece, None);
            match self.write("append a piece of a batch", epoch, Vec::new(), vec![put], Vec::new()).await? {
                // It compares nothing of its own.
                Written::Done | Written::Differs(_) => {}
                Written::Fenced { by } => return Ok(Err(by)),
            }
        }
        Ok(Ok(apart))
    }

    /// A document's revision is etcd's version of its key: it counts its writes, as documents are never removed.
    pub(super) async fn write_document(
        &self,
        epoch: Epoch,
        key: &Key,
        expected: Revision,
        value: &[u8],
    ) -> Result<Put, StoreError> {
        let key = self.keys.document(key);
        let expected = i64::try_from(expected.0).unwrap_or(i64::MAX);
        let unchanged = vec![Compare::version(key.clone(), CompareOp::Equal, expected)];
        let writes = vec![TxnOp::put(key.clone(), value, None)];
        let looks = vec![TxnOp::get(key, Some(GetOptions::new().with_keys_only()))];
        Ok(match self.write("write a document", epoch, unchanged, writes, looks).await? {
            Written::Done => Put::Stored(Revision(u64::try_from(expected).unwrap_or(0).saturating_add(1))),
            Written::Fenced { by } => Put::Fenced { by },
            Written::Differs(found) => {
                let version = single(found).map_or(0, |document| document.version());
                Put::Conflict { present: Revision(u64::try_from(version).unwrap_or(0)) }
            }
        })
    }

    /// The pieces one after the other, the index with the last. What a writer that died left without an index is written over by
    /// the next one: the same digest has the same pieces.
    pub(super) async fn write_chunk(&self, epoch: Epoch, bytes: &[u8]) -> Result<Digest, StoreError> {
        let digest = Digest::of(bytes);
        let index = self.keys.chunk(&digest);
        let absent = Compare::version(index.clone(), CompareOp::Equal, 0);
        let pieces: Vec<&[u8]> = bytes.chunks(MAX_VALUE_BYTES).collect();
        let last = TxnOp::put(index, Index { bytes: bytes.len(), pieces: pieces.len() }.text(), None);
        let mut writes: Vec<Vec<TxnOp>> = pieces
            .iter()
            .enumerate()
            .map(|(number, piece)| vec![TxnOp::put(self.keys.piece(&digest, number), *piece, None)])
            .collect();
        match writes.last_mut() {
            Some(with) => with.push(last),
            None => writes.push(vec![last]),
        }
        for write in writes {
            match self.write("store a chunk", epoch, vec![absent.clone()], write, Vec::new()).await? {
                Written::Done => {}
                Written::Fenced { by } => return Err(StoreError::Fenced { epoch, by }),
                // It is there already.
                Written::Differs(_) => break,
            }
        }
        Ok(digest)
    }
}
