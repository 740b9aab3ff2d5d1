//! Store to file.

use super::line::{Bytes, FORM, Line, Lines};
use super::{Archive, ArchiveError};
use crate::seal::link;
use crate::{CoordinatorName, Store, StoreError, UpgradeHead};
use cutover_vocabulary::{Digest, Epoch};
use std::io::Write;

/// How many facts are read at once.
const PAGE: usize = 256;

/// Writes everything that a store holds. Leads meanwhile, so that nothing is written beside it; the epoch of that is the highest
/// one of the archive. Every chain is proved on the way.
///
/// # Errors
/// When somebody else leads, a chain does not hold, or the store or the file fails.
pub async fn export(
    store: &dyn Store,
    who: &CoordinatorName,
    to: &mut (dyn Write + Send),
) -> Result<Archive, ArchiveError> {
    let epoch = lead(store, who).await?;
    let written = whole(store, epoch, to).await;
    match (still_leads(store, epoch).await, written) {
        (_, Err(error)) => Err(error),
        (Ok(true), Ok(archive)) => {
            store.resign(epoch).await?;
            Ok(archive)
        }
        (Ok(false), Ok(_)) => Err(ArchiveError::Deposed),
        (Err(error), Ok(_)) => Err(error.into()),
    }
}

async fn whole(store: &dyn Store, epoch: Epoch, to: &mut (dyn Write + Send)) -> Result<Archive, ArchiveError> {
    let mut lines = Lines::new(to);
    lines.write(&Line::Store { form: FORM, highest_epoch: epoch })?;
    content(store, &mut lines).await?;
    lines.end()?;
    let sums = lines.sums;
    Ok(Archive { highest_epoch: epoch, counts: sums.counts, content: sums.content() })
}

/// Everything between the first and the last line. In an order that is the same for every store.
pub(super) async fn content(store: &dyn Store, lines: &mut Lines<'_>) -> Result<(), ArchiveError> {
    for digest in store.chunks().await? {
        let bytes = store.get_chunk(&digest).await?.ok_or_else(|| vanished(format!("chunk {digest}")))?;
        lines.write(&Line::Chunk { digest, bytes: Bytes::new(bytes) })?;
    }
    for head in store.upgrades().await? {
        upgrade(store, head, lines).await?;
    }
    for (key, _revision, value) in store.list("").await? {
        lines.write(&Line::Document { key: key.to_string(), value: Bytes::new(value) })?;
    }
    Ok(())
}

async fn upgrade(store: &dyn Store, head: UpgradeHead, lines: &mut Lines<'_>) -> Result<(), ArchiveError> {
    let broken = |seq: u64, why: String| ArchiveError::Chain { upgrade: head.id.clone(), seq, why };
    let (mut seq, mut hash) = (0, None);
    loop {
        let page = store.texts(&head.id, seq, PAGE).await?;
        if page.is_empty() {
            break;
        }
        for (_, text) in page {
            let text = String::from_utf8(text).map_err(|error| broken(seq + 1, error.to_string()))?;
            seq = link(seq, hash, &text).map_err(|why| broken(seq + 1, why.to_string()))?.seq;
            hash = Some(Digest::of(text.as_bytes()));
            lines.write(&Line::Fact { upgrade: head.id.clone(), seq, text })?;
        }
    }
    if seq != head.seq || hash != Some(head.hash) {
        return Err(broken(seq, format!("the store says that it ends with fact {}, {}", head.seq, head.hash.short())));
    }
    Ok(lines.write(&Line::Upgrade { id: head.id, facts: seq, hash: head.hash })?)
}

/// Leads, or says who does.
pub(super) async fn lead(store: &dyn Store, who: &CoordinatorName) -> Result<Epoch, ArchiveError> {
    match store.lead(who).await? {
        Some(epoch) => Ok(epoch),
        None => Err(match store.leader().await? {
            Some(leader) => ArchiveError::Led { by: leader.name },
            None => ArchiveError::Deposed,
        }),
    }
}

/// Whether nobody else has led since `epoch`.
pub(super) async fn still_leads(store: &dyn Store, epoch: Epoch) -> Result<bool, StoreError> {
    Ok(store.leader().await?.is_some_and(|leader| leader.epoch == epoch))
}

fn vanished(what: String) -> StoreError {
    StoreError::Damaged { what, why: "it was listed and is not there".to_owned() }
}
