//! Every look at what is stored. Answers are linearizable: what was committed before is seen.

use super::Inner;
use super::endpoints::{EtcdRefusal, Repeat};
use super::keys::behind;
use super::leadership::Standing;
use crate::page::{self, End};
use crate::{Key, Nonce, Revision, StoreError, Stored, UpgradeHead};
use cutover_vocabulary::{Digest, UpgradeId};
use etcd_client::{GetOptions, GetResponse, KeyValue, SortOrder, SortTarget, TxnOpResponse};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How many values of up to 256 KiB one answer may have: 8 MiB, half of what [`super::kv`] takes.
const PAGE: i64 = 32;

/// How many keys without their values one answer may have.
const KEYS: i64 = 1_000;

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

/// What the value of a batch is that lies in pieces. No fact's text begins with this sign.
pub(super) struct Apart {
    pub(super) digest: Digest,
}
impl Apart {
    const SIGN: &str = "@";
    pub(super) fn text(&self) -> String {
        format!("{}{}", Self::SIGN, self.digest)
    }
    /// None where the value is the batch itself.
    fn read(value: &[u8]) -> Option<Result<Self, String>> {
        let digest = std::str::from_utf8(value).ok()?.strip_prefix(Self::SIGN)?;
        Some(digest.parse().map(|digest| Self { digest }).map_err(|error| format!("it lies in pieces, and {error}")))
    }
}

/// Some batches of one upgrade, in order.
struct Batches {
    /// What is present is the last fact of these batches; without more of them, the last there is.
    end: End,
    texts: BTreeMap<u64, Vec<u8>>,
    more: bool,
}

fn damaged(what: String, why: impl ToString) -> StoreError {
    StoreError::Damaged { what: format!("{what} in etcd"), why: why.to_string() }
}

/// What the only look of a write's transaction found.
pub(super) fn single(answers: Vec<TxnOpResponse>) -> Option<KeyValue> {
    answers.into_iter().find_map(|answer| match answer {
        TxnOpResponse::Get(mut found) => found.take_kvs().into_iter().next(),
        TxnOpResponse::Put(_) | TxnOpResponse::Delete(_) | TxnOpResponse::Txn(_) => None,
    })
}

/// At which revision a look was made.
fn seen_at(found: &GetResponse) -> i64 {
    found.header().map_or(0, etcd_client::ResponseHeader::revision)
}

impl Inner {
    /// One look. Never as a transaction: etcd refuses those where its quota is reached, also ones that only read.
    async fn look(&self, doing: &'static str, key: Vec<u8>, options: GetOptions) -> Result<GetResponse, StoreError> {
        let look = |client: etcd_client::Client| {
            let (key, options) = (key.clone(), options.clone());
            async move { super::kv(&client).get(key, Some(options)).await }
        };
        self.endpoints.call(doing, Repeat::Harmless, look).await
    }

    /// One key, and the revision at which it was looked at.
    async fn one_at(&self, doing: &'static str, key: String, at: i64) -> Result<(Option<KeyValue>, i64), StoreError> {
        let mut found = self.look(doing, key.into_bytes(), GetOptions::new().with_revision(at)).await?;
        let at = seen_at(&found);
        Ok((found.take_kvs().into_iter().next(), at))
    }

    async fn one(&self, doing: &'static str, key: String) -> Result<Option<KeyValue>, StoreError> {
        Ok(self.one_at(doing, key, 0).await?.0)
    }

    /// Who leads, read at one revision.
    pub(super) async fn standing(&self) -> Result<Standing, StoreError> {
        const DOING: &str = "read who leads";
        loop {
            let (leader, at) = self.one_at(DOING, self.keys.leader(), 0).await?;
            let (elected, base) =
                tokio::join!(self.one_at(DOING, self.keys.elected(), at), self.one_at(DOING, self.keys.base(), at));
            match (elected, base) {
                (Ok((elected, _)), Ok((base, _))) => return Standing::new(leader, elected, base, None),
                (Err(error), _) | (_, Err(error)) if !is_compacted(&error) => return Err(error),
                (_, _) => {}
            }
        }
    }

    /// Every key from `from` on that begins with `prefix`, page by page, all at one revision. Where compaction takes that revision
    /// meanwhile, from the beginning again.
    pub(super) async fn range(
        &self,
        doing: &'static str,
        prefix: &str,
        from: &str,
    ) -> Result<Vec<KeyValue>, StoreError> {
        self.range_of(doing, from, &ascending(prefix).with_limit(PAGE)).await
    }

    async fn range_of(
        &self,
        doing: &'static str,
        from: &str,
        all_of: &GetOptions,
    ) -> Result<Vec<KeyValue>, StoreError> {
        'anew: loop {
            let mut all: Vec<KeyValue> = Vec::new();
            let (mut next, mut at) = (from.as_bytes().to_vec(), 0);
            loop {
                let options = all_of.clone().with_revision(at);
                let mut page = match self.look(doing, next, options).await {
                    Err(error) if is_compacted(&error) => continue 'anew,
                    page => page?,
                };
                if at == 0 {
                    at = seen_at(&page);
                }
                let more = page.more();
                all.extend(page.take_kvs());
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

    /// A page ends with the batches of one answer, if not before.
    pub(super) async fn read_page(
        &self,
        upgrade: &UpgradeId,
        after_seq: u64,
        limit: usize,
    ) -> Result<Vec<Stored>, StoreError> {
        let Some(Batches { end, texts, more }) = self.batches(upgrade, after_seq, limit).await? else {
            return Ok(Vec::new());
        };
        let limit = match usize::try_from(end.present.saturating_sub(after_seq)) {
            Ok(covered) if more => limit.min(covered),
            Ok(_) | Err(_) => limit,
        };
        Ok(page::judge(after_seq, limit, end, &texts))
    }

    pub(super) async fn read_texts(
        &self,
        upgrade: &UpgradeId,
        after_seq: u64,
        limit: usize,
    ) -> Result<Vec<(u64, Vec<u8>)>, StoreError> {
        let Some(mut batches) = self.batches(upgrade, after_seq, limit).await? else { return Ok(Vec::new()) };
        Ok(batches.texts.split_off(&after_seq.saturating_add(1)).into_iter().take(limit).collect())
    }

    /// Head and batches at one revision, so that an append in between cannot look like damage.
    async fn batches(&self, upgrade: &UpgradeId, after_seq: u64, limit: usize) -> Result<Option<Batches>, StoreError> {
        let batches = self.keys.batches(upgrade);
        // A batch has at least one fact, and the fact before the page is needed for its hash.
        let most = i64::try_from(limit.saturating_add(1)).unwrap_or(PAGE).min(PAGE);
        let from = self.keys.batch(upgrade, after_seq.max(1));
        let (Head { seq, hash }, mut page) = loop {
            let (head, at) = self.one_at("read facts", self.keys.head(upgrade), 0).await?;
            let Some(head) = head else { return Ok(None) };
            let options = ascending(&batches).with_limit(most).with_revision(at);
            match self.look("read facts", from.clone().into_bytes(), options).await {
                Err(error) if is_compacted(&error) => {}
                page => break (Head::read(upgrade, head.value())?, page?),
            }
        };
        let more = page.more();
        let mut texts = BTreeMap::new();
        let mut present = 0;
        for batch in page.take_kvs() {
            let digits = batch.key().get(batches.len()..).and_then(|digits| std::str::from_utf8(digits).ok());
            let last = digits
                .and_then(|digits| digits.parse::<u64>().ok())
                .ok_or_else(|| damaged(format!("a batch of upgrade {upgrade}"), "its key ends with no number"))?;
            present = last;
            let value = match Apart::read(batch.value()) {
                None => batch.into_key_value().1,
                Some(Ok(apart)) => self.read_pieces(upgrade, &apart).await?,
                Some(Err(why)) => return Err(damaged(format!("batch {last} of upgrade {upgrade}"), why)),
            };
            // From the end on, as only the last fact's number is in the key.
            for (text, seq) in value.rsplit(|byte| *byte == b'\n').zip((1..=last).rev()) {
                texts.insert(seq, text.to_vec());
            }
        }
        Ok(Some(Batches { end: End { seq, hash, present }, texts, more }))
    }

    async fn read_pieces(&self, upgrade: &UpgradeId, apart: &Apart) -> Result<Vec<u8>, StoreError> {
        let below = self.keys.large_batch(upgrade, &apart.digest);
        let pieces = self.range("read a batch's pieces", &below, &below).await?;
        let bytes: Vec<u8> = pieces.iter().flat_map(KeyValue::value).copied().collect();
        // Pieces were written before what names them, and never change.
        match Digest::of(&bytes) {
            found if found == apart.digest => Ok(bytes),
            found => {
                let what = format!("a batch of upgrade {upgrade} in {} pieces", pieces.len());
                Err(damaged(what, format!("its {} bytes have digest {found}", bytes.len())))
            }
        }
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

    /// By their indices; the pieces of a chunk lie among them, so only keys are asked for.
    pub(super) async fn read_chunk_names(&self) -> Result<Vec<Digest>, StoreError> {
        let all = self.keys.chunks();
        let options = ascending(&all).with_limit(KEYS).with_keys_only();
        let found = self.range_of("list the chunks", &all, &options).await?;
        let names = found.iter().filter_map(|key| key.key().get(all.len()..)).filter(|name| !name.contains(&b'/'));
        let digest = |name: &[u8]| {
            let name = String::from_utf8_lossy(name);
            name.parse().map_err(|error| damaged("a chunk's key".to_owned(), error))
        };
        names.map(digest).collect()
    }

    pub(super) async fn read_chunk(&self, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        // The index was written last, and nothing of a chunk is ever changed.
        let Some(index) = self.one("read a chunk", self.keys.chunk(digest)).await? else { return Ok(None) };
        let below = self.keys.pieces(digest);
        let pieces = self.range("read a chunk", &below, &below).await?;
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

/// Everything that begins with `prefix`, by key.
fn ascending(prefix: &str) -> GetOptions {
    GetOptions::new().with_range(behind(prefix)).with_sort(SortTarget::Key, SortOrder::Ascend)
}

fn is_compacted(error: &StoreError) -> bool {
    matches!(error, StoreError::EtcdRefused { kind: EtcdRefusal::Compacted, .. })
}
