//! File to store.

use super::export::{content, lead, still_leads};
use super::line::{Counts, Lines};
use super::reader::{Item, Reader, check};
use super::{Archive, ArchiveError, GAP};
use crate::{Appended, CoordinatorName, Key, MAX_BATCH_BYTES, Nonce, Put, Revision, Store};
use cutover_vocabulary::{Digest, Epoch, UpgradeId};
use std::io::{BufRead, Seek, SeekFrom};

/// Most facts of one append: etcd takes 128 operations in one transaction.
const MOST: usize = 100;

/// Where the documents lie that name what is to be led.
const LEADS: &str = "deployments/";

/// Fills an empty store with an archive. All of the archive is read and proved before anything is written; it is written under a
/// leadership of its own, read back, and held against the archive. The next epoch is [`GAP`] above the exported one from before
/// the first write on.
///
/// # Errors
/// When the store is not empty or led, the archive is not whole, or the store or the file fails.
pub async fn import(
    store: &dyn Store,
    who: &CoordinatorName,
    mut from: impl BufRead + Seek + Send,
) -> Result<Archive, ArchiveError> {
    let archive = check(&mut from)?;
    let first = lead(store, who).await?;
    if let Err(error) = empty(store).await {
        store.resign(first).await?;
        return Err(error);
    }
    store.raise_epochs(Epoch(archive.highest_epoch.0.saturating_add(GAP))).await?;
    let epoch = lead(store, who).await?;
    // Somebody may have led between the two.
    empty(store).await?;
    from.seek(SeekFrom::Start(0))?;
    fill(store, epoch, from).await?;
    let mut nowhere = std::io::sink();
    let mut lines = Lines::new(&mut nowhere);
    content(store, &mut lines).await?;
    if lines.sums.content() != archive.content {
        return Err(ArchiveError::Differs { counts: lines.sums.counts });
    }
    if !still_leads(store, epoch).await? {
        return Err(ArchiveError::Deposed);
    }
    store.resign(epoch).await?;
    Ok(archive)
}

async fn empty(store: &dyn Store) -> Result<(), ArchiveError> {
    let upgrades = store.upgrades().await?;
    let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    let counts = Counts {
        upgrades: count(upgrades.len()),
        facts: upgrades.iter().map(|head| head.seq).sum(),
        documents: count(store.list("").await?.len()),
        chunks: count(store.chunks().await?.len()),
    };
    if counts == Counts::default() { Ok(()) } else { Err(ArchiveError::NotEmpty { counts }) }
}

/// Facts of one upgrade that are appended together.
#[derive(Default)]
struct Waiting {
    upgrade: Option<UpgradeId>,
    after_seq: u64,
    texts: Vec<String>,
    bytes: usize,
}

/// Documents come last, and of them those of the deployments: by these a coordinator knows what to lead, so that one that is started on
/// half an import leads nothing.
async fn fill(store: &dyn Store, epoch: Epoch, from: impl BufRead) -> Result<(), ArchiveError> {
    let mut reader = Reader::new(from)?;
    let mut waiting = Waiting::default();
    let mut deployments = Vec::new();
    while let Some(item) = reader.next()? {
        match item {
            Item::Chunk(bytes) => _ = store.put_chunk(epoch, &bytes).await?,
            Item::Fact { upgrade, seq, text } => {
                let full = waiting.texts.len() >= MOST || waiting.bytes + text.len() >= MAX_BATCH_BYTES;
                if full || waiting.upgrade.as_ref() != Some(&upgrade) {
                    waiting.append(store, epoch).await?;
                    waiting = Waiting { upgrade: Some(upgrade), after_seq: seq - 1, ..Waiting::default() };
                }
                waiting.bytes += text.len() + 1;
                waiting.texts.push(text);
            }
            Item::Document { key, value } => {
                waiting.append(store, epoch).await?;
                waiting = Waiting::default();
                if key.as_str().starts_with(LEADS) {
                    deployments.push((key, value));
                } else {
                    put(store, epoch, &key, &value).await?;
                }
            }
        }
    }
    waiting.append(store, epoch).await?;
    for (key, value) in &deployments {
        put(store, epoch, key, value).await?;
    }
    Ok(())
}

async fn put(store: &dyn Store, epoch: Epoch, key: &Key, value: &[u8]) -> Result<(), ArchiveError> {
    match store.put(epoch, key, Revision::NONE, value).await {
        Put::Stored(_) => Ok(()),
        // Nobody else writes under this epoch.
        Put::Unknown(error) if store.get(key).await?.is_none_or(|(_, present)| present != value) => Err(error.into()),
        Put::Unknown(_) => Ok(()),
        refused @ (Put::Fenced { .. } | Put::Conflict { .. } | Put::TooLarge { .. }) => {
            Err(not_taken(format!("document {key}"), &refused))
        }
    }
}

impl Waiting {
    async fn append(&self, store: &dyn Store, epoch: Epoch) -> Result<(), ArchiveError> {
        let Some(upgrade) = self.upgrade.as_ref().filter(|_| !self.texts.is_empty()) else { return Ok(()) };
        // Of the batch's own content: nothing else in this store is.
        let nonce = nonce(Digest::of_json(&self.texts));
        match store.restore(epoch, upgrade, self.after_seq, &nonce, &self.texts).await {
            Appended::Committed => Ok(()),
            Appended::Unknown(error) => match store.find_batch(upgrade, &nonce).await? {
                Some(_) => Ok(()),
                None => Err(error.into()),
            },
            refused @ (Appended::Fenced { .. } | Appended::Conflict { .. } | Appended::TooLarge { .. }) => {
                Err(not_taken(format!("facts after {} of upgrade {upgrade}", self.after_seq), &refused))
            }
        }
    }
}

fn nonce(digest: Digest) -> Nonce {
    let mut half = [0; 16];
    half.copy_from_slice(&digest.as_bytes()[..16]);
    Nonce::new(u128::from_be_bytes(half))
}

fn not_taken(what: String, refused: &impl std::fmt::Debug) -> ArchiveError {
    ArchiveError::NotTaken { what, why: format!("{refused:?}") }
}
