//! From stored texts to facts: which are ours, which are foreign.

use crate::Stored;
use crate::seal::start_of_chain;
use cutover_vocabulary::{Digest, Recorded};
use serde::Deserialize;
use std::collections::BTreeMap;

/// Where a store says that the chain ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct End {
    /// Number of the last fact by the upgrade's head.
    pub(crate) seq: u64,
    /// Hash of its text by the upgrade's head.
    pub(crate) hash: Digest,
    /// The highest number that is really there; equal to `seq` unless somebody changed the store by hand.
    pub(crate) present: u64,
}

/// What links a text into the chain, whatever fact it holds.
#[derive(Deserialize)]
pub(crate) struct Link {
    v: u16,
    pub(crate) seq: u64,
    pub(crate) prev: Digest,
}

/// The page after `after_seq`. `texts` holds the page's texts by number and the one before it, where they exist.
/// Each number is judged by its own text and the one before alone, so the size of a page changes nothing.
pub(crate) fn judge(after_seq: u64, limit: usize, end: End, texts: &BTreeMap<u64, Vec<u8>>) -> Vec<Stored> {
    let limit = u64::try_from(limit).unwrap_or(u64::MAX);
    let last = after_seq.saturating_add(limit).min(end.seq.max(end.present));
    let mut page = Vec::new();
    let mut seq = after_seq;
    while seq < last {
        seq += 1;
        page.push(match judge_one(seq, end, texts) {
            Ok(fact) => Stored::Known(fact),
            Err(why) => Stored::Foreign { seq, why },
        });
    }
    page
}

fn judge_one(seq: u64, end: End, texts: &BTreeMap<u64, Vec<u8>>) -> Result<Recorded, String> {
    let text = texts.get(&seq).ok_or_else(|| format!("it is missing; the upgrade has {} facts", end.seq))?;
    let before = match seq {
        1 => start_of_chain(),
        _later => Digest::of(texts.get(&(seq - 1)).ok_or("the fact before it is missing")?),
    };
    let link: Link = serde_json::from_slice(text).map_err(|error| format!("it is no fact: {error}"))?;
    if link.v > Recorded::V {
        return Err(format!(
            "a newer Cutover wrote it: its envelope has version {}, this one knows {}",
            link.v,
            Recorded::V
        ));
    }
    if link.seq != seq {
        return Err(format!("the chain is broken: it says it is fact {}", link.seq));
    }
    if link.prev != before {
        return Err(format!(
            "the chain is broken: it follows a fact with hash {}, the one before it has {}",
            link.prev.short(),
            before.short()
        ));
    }
    if seq > end.seq {
        return Err(format!("the chain is broken: it lies behind the end, which is fact {}", end.seq));
    }
    if seq == end.seq && Digest::of(text) != end.hash {
        return Err("the chain is broken: its text is not the one that was stored last".to_owned());
    }
    serde_json::from_slice(text).map_err(|error| format!("this version of Cutover does not understand it: {error}"))
}
