//! What is read back, and what is foreign.

use super::facts::{Writer, all_known, load_in_pages};
use super::{Fixture, leader, upgrade};
use crate::{Store, Stored, UpgradeHead};
use cutover_vocabulary::{Digest, Recorded};

/// Foreign facts included.
pub async fn pages_of_any_size_add_up_to_the_same(fixture: &impl Fixture) {
    let (store, epoch) = leader(fixture, "a").await;
    let mut writer = Writer::new(epoch);
    let mut appended = Vec::new();
    for count in [1, 4, 2, 7, 1] {
        appended.extend(writer.append(&*store, &upgrade("u"), count).await);
    }
    let known: Vec<Stored> = appended.into_iter().map(Stored::Known).collect();
    for limit in (1..=known.len() + 1).chain([usize::MAX]) {
        assert_eq!(load_in_pages(&*store, &upgrade("u"), limit).await, known, "pages of {limit}");
    }
    fixture.plant(&upgrade("u"), 6, b"{}").await;
    fixture.plant(&upgrade("u"), 16, b"\xff\x00").await;
    let whole = load_in_pages(&*store, &upgrade("u"), 100).await;
    let numbers: Vec<u64> = whole.iter().map(Stored::seq).collect();
    assert_eq!(numbers, (1..=16).collect::<Vec<u64>>());
    for limit in 1..=17 {
        assert_eq!(load_in_pages(&*store, &upgrade("u"), limit).await, whole, "pages of {limit}");
    }
}

/// And so is a page behind the end, or of no facts.
pub async fn an_upgrade_that_does_not_exist_is_empty(fixture: &impl Fixture) {
    let (store, epoch) = leader(fixture, "a").await;
    Writer::new(epoch).append(&*store, &upgrade("u"), 2).await;
    for (id, after, limit) in [("none", 0, 10), ("u", 2, 10), ("u", 99, 10), ("u", u64::MAX, 10), ("u", 0, 0)] {
        assert_eq!(store.load(&upgrade(id), after, limit).await.unwrap(), [], "{id} after {after}, {limit}");
    }
    assert_eq!(store.head(&upgrade("none")).await.unwrap(), None);
}

/// Reading needs no leadership, and sees each commit at once.
pub async fn followers_read_what_the_leader_committed(fixture: &impl Fixture) {
    let follower = fixture.open().await;
    let (store, epoch) = leader(fixture, "a").await;
    let mut writer = Writer::new(epoch);
    let mut appended = Vec::new();
    for _batch in 0..5 {
        appended.extend(writer.append(&*store, &upgrade("u"), 1).await);
        assert_eq!(all_known(load_in_pages(&*follower, &upgrade("u"), 100).await), appended);
    }
}

/// A fact as text, one piece of it replaced.
fn text(fact: &Recorded, from: &str, to: &str) -> Vec<u8> {
    let text = serde_json::to_string(fact).unwrap();
    assert!(text.contains(from), "{from} is not in {text}");
    text.replace(from, to).into_bytes()
}

async fn why_foreign(store: &dyn Store, seq: u64) -> String {
    match store.load(&upgrade("u"), seq - 1, 1).await.unwrap().as_slice() {
        [Stored::Foreign { seq: found, why }] if *found == seq => why.clone(),
        other => panic!("fact {seq}: {other:?}"),
    }
}

/// A newer Cutover wrote it; what follows it in the chain is still told.
pub async fn a_fact_of_an_unknown_kind_is_foreign_and_the_rest_is_read(fixture: &impl Fixture) {
    let (store, epoch) = leader(fixture, "a").await;
    let mut writer = Writer::new(epoch);
    writer.append(&*store, &upgrade("u"), 2).await;
    let unknown = text(&writer.fact("seen"), "\"proof-voided\"", "\"invented-later\"");
    fixture.plant(&upgrade("u"), 3, &unknown).await;
    let mut writer = Writer::at_the_end_of(&*store, epoch, &upgrade("u")).await;
    let behind = writer.fact("behind");
    fixture.plant(&upgrade("u"), 4, &text(&behind, "behind", "behind")).await;
    assert!(why_foreign(&*store, 3).await.contains("invented-later"));
    let all = load_in_pages(&*store, &upgrade("u"), 100).await;
    assert!(matches!(all.as_slice(), [Stored::Known(_), Stored::Known(_), Stored::Foreign { .. }, Stored::Known(_)]));
    assert_eq!(all[3], Stored::Known(behind));
}

/// Even where the fact itself could be read: its meaning may be another.
pub async fn a_newer_envelope_is_foreign(fixture: &impl Fixture) {
    let (store, epoch) = leader(fixture, "a").await;
    let mut writer = Writer::new(epoch);
    writer.append(&*store, &upgrade("u"), 1).await;
    fixture.plant(&upgrade("u"), 2, &text(&writer.fact("x"), "\"v\":1", "\"v\":2")).await;
    assert!(why_foreign(&*store, 2).await.contains("newer"));
}

/// It stops nobody from reading the rest.
pub async fn a_text_that_is_no_fact_is_foreign(fixture: &impl Fixture) {
    let (store, epoch) = leader(fixture, "a").await;
    Writer::new(epoch).append(&*store, &upgrade("u"), 1).await;
    for (seq, text) in (2..).zip([b"".as_slice(), b"{", b"\xff\xfe", b"null", b"{\"v\":1}"]) {
        fixture.plant(&upgrade("u"), seq, text).await;
        assert!(why_foreign(&*store, seq).await.contains("no fact"), "{text:?}");
    }
    assert!(matches!(store.load(&upgrade("u"), 0, 1).await.unwrap().as_slice(), [Stored::Known(_)]));
}

/// However small the change.
pub async fn an_altered_fact_breaks_the_chain_right_behind_it(fixture: &impl Fixture) {
    let (store, epoch) = leader(fixture, "a").await;
    let facts = Writer::new(epoch).append(&*store, &upgrade("u"), 4).await;
    fixture.plant(&upgrade("u"), 2, &text(&facts[1], "no. 1", "no. 7")).await;
    assert!(why_foreign(&*store, 3).await.contains("chain is broken"));
    fixture.plant(&upgrade("u"), 2, &text(&facts[1], "no. 1", "no. 1")).await;
    assert_eq!(all_known(load_in_pages(&*store, &upgrade("u"), 100).await), facts);
    fixture.plant(&upgrade("u"), 3, &text(&facts[2], "\"seq\":3", "\"seq\":5")).await;
    assert!(why_foreign(&*store, 3).await.contains("chain is broken"));
}

/// Not of the fact serialised again: a field that this version does not know counts.
pub async fn the_head_is_the_hash_of_the_stored_text(fixture: &impl Fixture) {
    let (store, epoch) = leader(fixture, "a").await;
    let mut writer = Writer::new(epoch);
    writer.append(&*store, &upgrade("u"), 1).await;
    let fact = writer.fact("x");
    let newer = text(&fact, "\"v\":1", "\"v\":1,\"added-later\":true");
    fixture.plant(&upgrade("u"), 2, &newer).await;
    assert_eq!(store.head(&upgrade("u")).await.unwrap().unwrap().hash, Digest::of(&newer));
    let mut writer = Writer::at_the_end_of(&*store, epoch, &upgrade("u")).await;
    writer.append(&*store, &upgrade("u"), 1).await;
    assert_eq!(all_known(load_in_pages(&*store, &upgrade("u"), 1).await)[1], fact);
}

/// By id.
pub async fn every_upgrade_is_listed_with_its_end(fixture: &impl Fixture) {
    let (store, epoch) = leader(fixture, "a").await;
    assert_eq!(store.upgrades().await.unwrap(), []);
    let mut expected = Vec::new();
    for (count, id) in [(3, "b"), (1, "a"), (2, "c")] {
        let mut writer = Writer::new(epoch);
        writer.append(&*store, &upgrade(id), count).await;
        expected.push(UpgradeHead { id: upgrade(id), seq: writer.seq, hash: writer.hash });
    }
    expected.sort_by(|a, b| a.id.cmp(&b.id));
    assert_eq!(store.upgrades().await.unwrap(), expected);
    assert_eq!(store.head(&upgrade("b")).await.unwrap().as_ref(), expected.get(1));
}
