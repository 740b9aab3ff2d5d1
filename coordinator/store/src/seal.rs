//! From a batch to the texts that are stored: checked once, alike for every store.

use crate::page::Link;
use crate::{Appended, Batch, MAX_BATCH_BYTES, MAX_FACT_BYTES, Malformed, StoreError};
use cutover_vocabulary::{Digest, Epoch, Recorded};

/// A batch that fits: what remains to be compared is what the store alone knows.
pub(crate) struct Sealed {
    /// Each fact's JSON, in order, each on one line.
    pub(crate) texts: Vec<String>,
    /// What the stored chain's last hash must be.
    pub(crate) first_prev: Digest,
    /// Number of the last fact.
    pub(crate) last_seq: u64,
    /// Hash of the last text.
    pub(crate) last_hash: Digest,
}

/// What the first fact's `prev` is.
pub(crate) fn start_of_chain() -> Digest {
    Digest::of(b"")
}

/// Checks all that can be checked without the store, and serialises. Hashes are over the texts, never over facts
/// serialised again: another version of Cutover may serialise the same fact differently.
pub(crate) fn seal(epoch: Epoch, expected_seq: u64, batch: &Batch) -> Result<Sealed, Appended> {
    let malformed = |why: Malformed| Appended::Unknown(StoreError::Malformed(why));
    let Some(first) = batch.facts.first() else { return Err(malformed(Malformed::Empty)) };
    let mut texts = Vec::with_capacity(batch.facts.len());
    let mut seq = expected_seq;
    let mut hash = first.prev;
    let mut bytes = batch.facts.len() - 1;
    for fact in &batch.facts {
        let expected = seq.saturating_add(1);
        if fact.seq != expected || expected == seq {
            return Err(malformed(Malformed::Gap { expected, found: fact.seq }));
        }
        if fact.prev != hash {
            return Err(malformed(Malformed::Chain { seq: fact.seq }));
        }
        if fact.epoch != epoch {
            return Err(malformed(Malformed::Epoch { seq: fact.seq, found: fact.epoch, epoch }));
        }
        let text = text_of(fact).map_err(|why| malformed(Malformed::Unreadable { seq: fact.seq, why }))?;
        seq = fact.seq;
        hash = Digest::of(text.as_bytes());
        bytes += text.len();
        texts.push(text);
    }
    fits(texts.len(), bytes)?;
    Ok(Sealed { texts, first_prev: first.prev, last_seq: seq, last_hash: hash })
}

/// The same for texts that another store holds: nothing is serialised, and what a text says is not looked at beyond its place.
pub(crate) fn reseal(expected_seq: u64, texts: &[String]) -> Result<Sealed, Appended> {
    let malformed = |why: Malformed| Appended::Unknown(StoreError::Malformed(why));
    let mut end: Option<(u64, Digest)> = None;
    let mut first_prev = start_of_chain();
    let mut bytes = texts.len().saturating_sub(1);
    for text in texts {
        let seq = end.map_or(expected_seq, |(seq, _)| seq);
        let link = link(seq, end.map(|(_, hash)| hash), text).map_err(malformed)?;
        if end.is_none() {
            first_prev = link.prev;
        }
        end = Some((link.seq, Digest::of(text.as_bytes())));
        bytes += text.len();
    }
    let Some((last_seq, last_hash)) = end else { return Err(malformed(Malformed::Empty)) };
    fits(texts.len(), bytes)?;
    Ok(Sealed { texts: texts.to_vec(), first_prev, last_seq, last_hash })
}

fn fits(facts: usize, bytes: usize) -> Result<(), Appended> {
    let limit = if facts == 1 { MAX_FACT_BYTES } else { MAX_BATCH_BYTES };
    if bytes > limit { Err(Appended::TooLarge { bytes, limit }) } else { Ok(()) }
}

/// What links a text into the chain right behind fact `after`, whose text has hash `hash` where that is known.
pub(crate) fn link(after: u64, hash: Option<Digest>, text: &str) -> Result<Link, Malformed> {
    let expected = after.saturating_add(1);
    let no_fact = |why: String| Malformed::NoFact { seq: expected, why };
    // etcd keeps a batch as lines.
    if text.contains('\n') {
        return Err(no_fact("it has more than one line".to_owned()));
    }
    let link: Link = serde_json::from_str(text).map_err(|error| no_fact(error.to_string()))?;
    if link.seq != expected || expected == after {
        return Err(Malformed::Gap { expected, found: link.seq });
    }
    let before = if after == 0 { Some(start_of_chain()) } else { hash };
    if before.is_some_and(|before| link.prev != before) {
        return Err(Malformed::Chain { seq: expected });
    }
    Ok(link)
}

/// A fact's text, proved to be read back as the same fact.
fn text_of(fact: &Recorded) -> Result<String, String> {
    if fact.v != Recorded::V {
        return Err(format!("its envelope has version {}, this version writes {}", fact.v, Recorded::V));
    }
    let text = serde_json::to_string(fact).map_err(|error| error.to_string())?;
    match serde_json::from_str::<Recorded>(&text) {
        Ok(read) if read == *fact => Ok(text),
        Ok(_different) => Err("it reads back as another fact".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}
