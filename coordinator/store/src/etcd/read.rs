//! Every look at what is stored. Answers are linearizable: what was committed before is seen.

use super::Inner;
use super::endpoints::{EtcdRefusal, Repeat};
use super::fence::revision;
use super::keys::behind;
use crate::page::{self, End};
use crate::{Key, Nonce, Revision, StoreError, Stored, UpgradeHead};
use cutover_vocabulary::{Digest, UpgradeId};
use etcd_client::{GetOptions, KeyValue, SortOrder, SortTarget, Txn, TxnOp, TxnOpResponse};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How many values of up to 256 KiB one answer may have: 8 MiB, half of what [`super::kv`] takes.
const PAGE: i64 = 32;

/// Where a chain ends, as it is stored. The text is compared by every append, so it never changes its form.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Head {
    pub(super) seq: u64,
    pub(super) hash: Digest,
}
impl Head {
    pub(super) fn text(&self) -> String {
        format!("{{\"seq\":{},\"hash\":\"{}\"}}", self.seq, self.hash)
    }
    pub(super) fn read(upgrade: &UpgradeId, text: &[u8]) -> Result<Self, StoreError> {
        serde_json::from_slice(text).map_err(|error| damaged(format!("the end of upgrade {upgrade}"), error))
    }
}

/// How large a chunk is.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Index {
    pub(super) bytes: usize,
    pub(super) pieces: usize,
}
impl Index {
    pub(super) fn text(&self) -> String {
        format!("{{\"bytes\":{},\"pieces\":{}}}", self.bytes, self.pieces)
    }
}

fn damaged(what: String, why: impl ToString) -> StoreError {
    StoreError::Damaged { what: format!("{what} in etcd"), why: why.to_string() }
}

/// The answer of a look for one key.
pub(super) fn single(answers: Vec<TxnOpResponse>) -> Option<KeyValue> {
    ranges(answers).into_iter().next()?.0.into_iter().next()
}

/// The keys of each look of a transaction, and whether there are more.
fn ranges(answers: Vec<TxnOpResponse>) -> Vec<(Vec<KeyValue>, bool)> {
    let range = |answer| match answer {
        TxnOpResponse::Get(mut found) => {
            let more = found.more();
            (found.take_kvs(), more)
        }
        TxnOpResponse::Put(_) | TxnOpResponse::Delete(_) | TxnOpResponse::Txn(_) => (Vec::new(), false),
    };
    answers.into_iter().map(range).collect()
}

impl Inner {
    async fn look(&self, doing: &'static str, looks: Vec<TxnOp>) -> Result<Vec<(Vec<KeyValue>, bool)>, StoreError> {
        Ok(ranges(self.transact(doing, Repeat::Harmless, Txn::new().and_then(looks)).await?.op_responses()))
    }

    async fn one(&self, doing: &'static str, key: String) -> Result<Option<KeyValue>, StoreError> {
        let found = self.look(doing, vec![TxnOp::get(key, Some(GetOptions::new()))]).await?;
        Ok(found.into_iter().next().and_then(|(keys, _)| keys.into_iter().next()))
    }

    /// Every key from `from` on that begins with `prefix`, page by page, all at one revision. Where compaction takes that revision
    /// meanwhile, from the beginning again.
    pub(super) async fn range(
        &self,
        doing: &'static str,
        prefix: &str,
        from: &str,
    ) -> Result<Vec<KeyValue>, StoreError> {
        'anew: loop {
            let mut all: Vec<KeyValue> = Vec::new();
            let (mut next, mut at) = (from.as_bytes().to_vec(), 0);
            loop {
                let options =
                    GetOptions::new().with_range(behind(prefix)).with_limit(PAGE).with_revision(at).with_sort(
                        SortTarget::Key,
                        SortOrder::Ascend,
                    );
                let look = Txn::new().and_then([TxnOp::get(next, Some(options))]);
                let answer = match self.transact(doing, Repeat::Harmless, look).await {
                    Err(StoreError::EtcdRefused { kind: EtcdRefusal::Compacted, .. }) => continue 'anew,
                    answer => answer?,
                };
                if at == 0 {
                    at = revision(&answer);
                }
                let Some((keys, more)) = ranges(answer.op_responses()).into_iter().next() else { return Ok(all) };
                all.extend(keys);
                match all.last() {
                    Some(last) if more => {
                        next = last.key().to_vec();
                        next.push(0);
                    }
                    Some(_) | None => return Ok(all),
                }
            }
        }
    }

    pub(super) async fn read_nonce(&self, upgrade: &UpgradeId, nonce: &Nonce) -> Result<Option<u64>, StoreError> {
        self.settle_doubts().await?;
        let Some(found) = self.one("look for a batch", self.keys.nonce(upgrade, nonce)).await? else {
            return Ok(None);
        };
        let seq = found.value_str().ok().and_then(|text| text.parse().ok());
        seq.map(Some).ok_or_else(|| damaged(format!("batch {nonce} of upgrade {upgrade}"), "it names no number"))
    }

    /// Head, batches and the last batch's number in one transaction, so that an append in between cannot look like damage. A page
    /// ends with the batches of one answer, if not before.
    pub(super) async fn read_page(
        &self,
        upgrade: &UpgradeId,
        after_seq: u64,
        limit: usize,
    ) -> Result<Vec<Stored>, StoreError> {
        let batches = self.keys.batches(upgrade);
        let range = || GetOptions::new().with_range(behind(&batches));
        // A batch has at least one fact, and the fact before the page is needed for its hash.
        let most = i64::try_from(limit.saturating_add(1)).unwrap_or(PAGE).min(PAGE);
        let from = self.keys.batch(upgrade, after_seq.max(1));
        let looks = vec![
            TxnOp::get(self.keys.head(upgrade), Some(GetOptions::new())),
            TxnOp::get(from, Some(range().with_limit(most).with_sort(SortTarget::Key, SortOrder::Ascend))),
            TxnOp::get(
                batches.clone(),
                Some(range().with_limit(1).with_keys_only().with_sort(SortTarget::Key, SortOrder::Descend)),
            ),
        ];
        let mut found = self.look("read facts", looks).await?.into_iter();
        let mut next = || found.next().unwrap_or_default();
        let (head, (page, more), last) = (next().0, next(), next().0);
        let Some(head) = head.first() else { return Ok(Vec::new()) };
        let Head { seq, hash } = Head::read(upgrade, head.value())?;
        let number = |batch: &KeyValue| {
            let digits = batch.key().get(batches.len()..).and_then(|digits| std::str::from_utf8(digits).ok());
            digits
                .and_then(|digits| digits.parse::<u64>().ok())
                .ok_or_else(|| damaged(format!("a batch of upgrade {upgrade}"), "its key ends with no number"))
        };
        let present = last.first().map(number).transpose()?.unwrap_or(0);
        let mut texts = BTreeMap::new();
        let mut covered = after_seq;
        for batch in &page {
            let last = number(batch)?;
            covered = covered.max(last);
            // From the end on, as only the last fact's number is in the key.
            for (text, seq) in batch.value().rsplit(|byte| *byte == b'\n').zip((1..=last).rev()) {
                texts.insert(seq, text.to_vec());
            }
        }
        let limit = match usize::try_from(covered - after_seq) {
            Ok(covered) if more => limit.min(covered),
            Ok(_) | Err(_) => limit,
        };
        Ok(page::judge(after_seq, limit, End { seq, hash, present }, &texts))
    }

    pub(super) async fn read_heads(&self) -> Result<Vec<UpgradeHead>, StoreError> {
        let heads = self.keys.heads();
        let found = self.range("list the upgrades", &heads, &heads).await?;
        let head = |key: KeyValue| {
            let id = String::from_utf8_lossy(key.key().get(heads.len()..).unwrap_or_default()).into_owned();
            let id = UpgradeId::new(id).map_err(|why| damaged("an upgrade's id".to_owned(), why))?;
            let Head { seq, hash } = Head::read(&id, key.value())?;
            Ok(UpgradeHead { id, seq, hash })
        };
        found.into_iter().map(head).collect()
    }

    pub(super) async fn read_head(&self, upgrade: &UpgradeId) -> Result<Option<UpgradeHead>, StoreError> {
        let Some(found) = self.one("read an upgrade's head", self.keys.head(upgrade)).await? else { return Ok(None) };
        let Head { seq, hash } = Head::read(upgrade, found.value())?;
        Ok(Some(UpgradeHead { id: upgrade.clone(), seq, hash }))
    }

    pub(super) async fn read_document(&self, key: &Key) -> Result<Option<(Revision, Vec<u8>)>, StoreError> {
        self.settle_doubts().await?;
        let found = self.one("read a document", self.keys.document(key)).await?;
        Ok(found.map(|document| (version(&document), document.into_key_value().1)))
    }

    pub(super) async fn read_documents(&self, prefix: &str) -> Result<Vec<(Key, Revision, Vec<u8>)>, StoreError> {
        let documents = self.keys.documents();
        let below = format!("{documents}{prefix}");
        let found = self.range("list documents", &below, &below).await?;
        let document = |found: KeyValue| {
            let revision = version(&found);
            let (key, value) = found.into_key_value();
            let key = String::from_utf8_lossy(key.get(documents.len()..).unwrap_or_default()).into_owned();
            let key = Key::new(key).map_err(|why| damaged("a document's key".to_owned(), why))?;
            Ok((key, revision, value))
        };
        found.into_iter().map(document).collect()
    }

    pub(super) async fn read_chunk(&self, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        let pieces = self.keys.pieces(digest);
        let sorted = GetOptions::new().with_range(behind(&pieces)).with_sort(SortTarget::Key, SortOrder::Ascend);
        let looks = vec![
            TxnOp::get(self.keys.chunk(digest), Some(GetOptions::new())),
            TxnOp::get(pieces, Some(sorted.with_limit(PAGE))),
        ];
        let mut found = self.look("read a chunk", looks).await?.into_iter();
        let mut next = || found.next().unwrap_or_default().0;
        let (index, pieces) = (next(), next());
        let Some(index) = index.first() else { return Ok(None) };
        let name = || format!("chunk {digest}");
        let Index { bytes: size, pieces: count } =
            serde_json::from_slice(index.value()).map_err(|error| damaged(name(), error))?;
        let bytes: Vec<u8> = pieces.iter().take(count).flat_map(|piece| piece.value()).copied().collect();
        if bytes.len() != size || Digest::of(&bytes) != *digest {
            return Err(damaged(name(), format!("its {} bytes have digest {}", bytes.len(), Digest::of(&bytes))));
        }
        Ok(Some(bytes))
    }
}

fn version(document: &KeyValue) -> Revision {
    Revision(u64::try_from(document.version()).unwrap_or(0))
}
