//! What is appended, and what is refused.

use super::facts::{Writer, all_known, committed, load_in_pages};
use super::{Fixture, leader, name, upgrade};
use crate::{Appended, Batch, MAX_BATCH_BYTES, MAX_FACT_BYTES, Malformed, StoreError};
use cutover_vocabulary::{Digest, Epoch, UpgradeId};
use std::sync::Arc;

/// To the letter, control characters included.
pub async fn a_committed_batch_is_loaded_as_it_was_appended(fixture: &impl Fixture) {
    let (store, epoch) = leader(fixture, "a").await;
    let mut writer = Writer::new(epoch);
    let mut appended = writer.append(&*store, &upgrade("u"), 3).await;
    appended.extend(writer.append(&*store, &upgrade("u"), 1).await);
    assert_eq!(all_known(load_in_pages(&*store, &upgrade("u"), 100).await), appended);
}

/// The fence.
pub async fn a_deposed_leader_is_fenced_by_its_successor(fixture: &impl Fixture) {
    let (former, epoch) = leader(fixture, "a").await;
    let mut writer = Writer::new(epoch);
    writer.append(&*former, &upgrade("u"), 2).await;
    fixture.depose().await;
    let (latter, next) = leader(fixture, "b").await;
    let refused = former.append(epoch, &upgrade("u"), 2, &writer.clone().batch(1)).await;
    assert!(matches!(refused, Appended::Fenced { by } if by == next), "{refused:?}");
    assert_eq!(latter.head(&upgrade("u")).await.unwrap().unwrap().seq, 2);
    let mut writer = Writer::at_the_end_of(&*latter, next, &upgrade("u")).await;
    writer.append(&*latter, &upgrade("u"), 1).await;
    assert_eq!(all_known(load_in_pages(&*former, &upgrade("u"), 100).await).len(), 3);
}

/// Its epoch is not given again either.
pub async fn a_leader_that_resigned_is_fenced(fixture: &impl Fixture) {
    let (store, epoch) = leader(fixture, "a").await;
    store.resign(epoch).await.unwrap();
    let refused = store.append(epoch, &upgrade("u"), 0, &Writer::new(epoch).batch(1)).await;
    assert!(matches!(refused, Appended::Fenced { by } if by == epoch), "{refused:?}");
    assert_eq!(store.head(&upgrade("u")).await.unwrap(), None);
}

/// Neither one from before the first election nor one from the future.
pub async fn an_epoch_that_was_never_given_is_fenced(fixture: &impl Fixture) {
    let store = fixture.open().await;
    let zero = Epoch(0);
    let refused = store.append(zero, &upgrade("u"), 0, &Writer::new(zero).batch(1)).await;
    assert!(matches!(refused, Appended::Fenced { .. }), "{refused:?}");
    let (store, epoch) = leader(fixture, "a").await;
    for never in [zero, Epoch(epoch.0 + 1), Epoch(u64::MAX)] {
        let refused = store.append(never, &upgrade("u"), 0, &Writer::new(never).batch(1)).await;
        assert!(matches!(refused, Appended::Fenced { by } if by == epoch), "{never}: {refused:?}");
    }
    assert_eq!(store.upgrades().await.unwrap(), []);
}

/// Behind as well as ahead.
pub async fn a_batch_after_another_seq_conflicts_and_is_told_the_last_one(fixture: &impl Fixture) {
    let (store, epoch) = leader(fixture, "a").await;
    let mut writer = Writer::new(epoch);
    writer.append(&*store, &upgrade("u"), 3).await;
    for begins_after in [0, 2, 4, u64::MAX / 2] {
        let mut elsewhere = Writer { seq: begins_after, ..writer.clone() };
        let refused = store.append(epoch, &upgrade("u"), begins_after, &elsewhere.batch(1)).await;
        assert!(matches!(refused, Appended::Conflict { seq: 3 }), "after {begins_after}: {refused:?}");
    }
    let mut ahead = Writer { seq: 5, ..Writer::new(epoch) };
    let refused = store.append(epoch, &upgrade("new"), 5, &ahead.batch(1)).await;
    assert!(matches!(refused, Appended::Conflict { seq: 0 }), "{refused:?}");
    assert_eq!(all_known(load_in_pages(&*store, &upgrade("u"), 100).await).len(), 3);
    assert_eq!(store.head(&upgrade("new")).await.unwrap(), None);
}

/// The caller folded other facts than the stored ones; the numbers alone would not show it.
pub async fn a_batch_that_does_not_carry_the_last_hash_conflicts(fixture: &impl Fixture) {
    let (store, epoch) = leader(fixture, "a").await;
    let mut writer = Writer::new(epoch);
    writer.append(&*store, &upgrade("u"), 2).await;
    let mut other = Writer { hash: Digest::of(b"another history"), ..writer.clone() };
    let refused = store.append(epoch, &upgrade("u"), 2, &other.batch(1)).await;
    assert!(matches!(refused, Appended::Conflict { seq: 2 }), "{refused:?}");
    let mut first = Writer { hash: Digest::of(b"not nothing"), ..Writer::new(epoch) };
    let refused = store.append(epoch, &upgrade("new"), 0, &first.batch(1)).await;
    assert!(matches!(refused, Appended::Conflict { seq: 0 }), "{refused:?}");
}

/// Nothing is stored, and the error says so.
pub async fn a_batch_that_contradicts_itself_is_refused_for_good(fixture: &impl Fixture) {
    let (store, epoch) = leader(fixture, "a").await;
    let good = Writer::new(epoch).batch(3);
    let changed = |change: fn(&mut Batch)| {
        let mut batch = good.clone();
        change(&mut batch);
        batch
    };
    let cases = [
        (changed(|batch| batch.facts.clear()), Malformed::Empty),
        (changed(|batch| drop(batch.facts.remove(1))), Malformed::Gap { expected: 2, found: 3 }),
        (changed(|batch| drop(batch.facts.remove(0))), Malformed::Gap { expected: 1, found: 2 }),
        (changed(|batch| batch.facts[2].prev = Digest::of(b"x")), Malformed::Chain { seq: 3 }),
        (changed(|batch| batch.facts[0].epoch = Epoch(99)), Malformed::Epoch { seq: 1, found: Epoch(99), epoch }),
    ];
    for (batch, expected) in cases {
        match store.append(epoch, &upgrade("u"), 0, &batch).await {
            Appended::Unknown(error @ StoreError::Malformed(_)) => {
                assert!(error.nothing_was_stored());
                assert!(matches!(error, StoreError::Malformed(found) if found == expected), "{expected}");
            }
            other => panic!("{expected}: {other:?}"),
        }
    }
    let newer = changed(|batch| batch.facts[0].v += 1);
    let refused = store.append(epoch, &upgrade("u"), 0, &newer).await;
    assert!(
        matches!(refused, Appended::Unknown(StoreError::Malformed(Malformed::Unreadable { seq: 1, .. }))),
        "{refused:?}"
    );
    assert_eq!(store.upgrades().await.unwrap(), []);
    committed(store.append(epoch, &upgrade("u"), 0, &good).await);
}

/// As the batch is stored: each fact's JSON, and a newline between two.
pub async fn a_batch_of_exactly_the_limit_fits_and_one_byte_more_does_not(fixture: &impl Fixture) {
    let (store, epoch) = leader(fixture, "a").await;
    let sized = |extra: usize| {
        let mut writer = Writer::new(epoch);
        let first = writer.fact("first");
        let used = serde_json::to_string(&first).unwrap().len() + 1;
        let empty = serde_json::to_string(&writer.clone().fact("")).unwrap().len();
        let second = writer.fact("x".repeat(MAX_BATCH_BYTES - used - empty + extra));
        Batch { nonce: writer.nonce(), facts: vec![first, second] }
    };
    let refused = store.append(epoch, &upgrade("u"), 0, &sized(1)).await;
    let expected = MAX_BATCH_BYTES + 1;
    assert!(
        matches!(refused, Appended::TooLarge { bytes, limit: MAX_BATCH_BYTES } if bytes == expected),
        "{refused:?}"
    );
    assert_eq!(store.upgrades().await.unwrap(), []);
    let fits = sized(0);
    committed(store.append(epoch, &upgrade("u"), 0, &fits).await);
    assert_eq!(all_known(load_in_pages(&*store, &upgrade("u"), 1).await), fits.facts);
}

/// The first fact of an upgrade holds its plan, with every instance.
pub async fn a_fact_alone_may_be_larger_than_a_batch(fixture: &impl Fixture) {
    let (store, epoch) = leader(fixture, "a").await;
    let mut writer = Writer::new(epoch);
    let empty = serde_json::to_string(&writer.clone().fact("")).unwrap().len();
    let sized = |writer: &mut Writer, bytes: usize| {
        let fact = writer.fact("x".repeat(bytes - empty));
        Batch { nonce: writer.nonce(), facts: vec![fact] }
    };
    let refused = store.append(epoch, &upgrade("u"), 0, &sized(&mut writer.clone(), MAX_FACT_BYTES + 1)).await;
    assert!(matches!(refused, Appended::TooLarge { limit: MAX_FACT_BYTES, .. }), "{refused:?}");
    let large = sized(&mut writer, MAX_FACT_BYTES);
    committed(store.append(epoch, &upgrade("u"), 0, &large).await);
    // Its answer may get lost, and then it is asked for.
    assert_eq!(store.find_batch(&upgrade("u"), &large.nonce).await.unwrap(), Some(1));
    let mut facts = large.facts;
    facts.extend(writer.append(&*store, &upgrade("u"), 3).await);
    assert_eq!(all_known(load_in_pages(&*store, &upgrade("u"), 2).await), facts);
    let (seq, text) = store.texts(&upgrade("u"), 0, 1).await.unwrap().remove(0);
    assert_eq!((seq, text.len()), (1, MAX_FACT_BYTES));
    let text = String::from_utf8(text).unwrap();
    committed(store.restore(epoch, &upgrade("v"), 0, &writer.nonce(), &[text]).await);
    assert_eq!(all_known(load_in_pages(&*store, &upgrade("v"), 2).await), facts[..1]);
}

/// Compare and append are one.
pub async fn of_many_batches_after_one_seq_exactly_one_commits(fixture: &impl Fixture) {
    let (store, epoch) = leader(fixture, "a").await;
    let mut writer = Writer::new(epoch);
    writer.append(&*store, &upgrade("u"), 1).await;
    let mut tries = Vec::new();
    for number in 0..8_u8 {
        let store = Arc::clone(&store);
        let batch = writer.clone().batch(usize::from(number) + 1);
        let batch = Batch { nonce: crate::Nonce::new(u128::from(number)), ..batch };
        tries.push(tokio::spawn(async move {
            let appended = store.append(epoch, &upgrade("u"), 1, &batch).await;
            (appended, batch.facts)
        }));
    }
    let mut winners = Vec::new();
    for one in tries {
        match one.await.unwrap() {
            (Appended::Committed, facts) => winners.push(facts),
            (Appended::Conflict { seq }, _facts) => assert!(seq > 1),
            (other, _facts) => panic!("{other:?}"),
        }
    }
    let [winner] = winners.as_slice() else { panic!("{} batches were committed", winners.len()) };
    assert_eq!(&all_known(load_in_pages(&*store, &upgrade("u"), 100).await)[1..], winner);
}

/// How a lost answer is resolved, by the same handle or by a successor.
pub async fn a_committed_batch_is_found_by_its_nonce(fixture: &impl Fixture) {
    let (store, epoch) = leader(fixture, "a").await;
    let mut writer = Writer::new(epoch);
    let first = writer.batch(3);
    let second = writer.batch(2);
    committed(store.append(epoch, &upgrade("u"), 0, &first).await);
    assert_eq!(store.find_batch(&upgrade("u"), &second.nonce).await.unwrap(), None);
    committed(store.append(epoch, &upgrade("u"), 3, &second).await);
    let successor = fixture.open().await;
    for handle in [&store, &successor] {
        assert_eq!(handle.find_batch(&upgrade("u"), &first.nonce).await.unwrap(), Some(3));
        assert_eq!(handle.find_batch(&upgrade("u"), &second.nonce).await.unwrap(), Some(5));
        assert_eq!(handle.find_batch(&upgrade("other"), &first.nonce).await.unwrap(), None);
    }
}

/// Neither the same batch again nor another one under its nonce.
pub async fn a_nonce_is_stored_once(fixture: &impl Fixture) {
    let (store, epoch) = leader(fixture, "a").await;
    let mut writer = Writer::new(epoch);
    let batch = writer.batch(2);
    committed(store.append(epoch, &upgrade("u"), 0, &batch).await);
    let again = store.append(epoch, &upgrade("u"), 0, &batch).await;
    assert!(matches!(again, Appended::Conflict { seq: 2 }), "{again:?}");
    let reused = Batch { nonce: batch.nonce, ..writer.batch(1) };
    let refused = store.append(epoch, &upgrade("u"), 2, &reused).await;
    assert!(matches!(refused, Appended::Conflict { seq: 2 }), "{refused:?}");
    assert_eq!(store.find_batch(&upgrade("u"), &batch.nonce).await.unwrap(), Some(2));
    assert_eq!(all_known(load_in_pages(&*store, &upgrade("u"), 100).await), batch.facts);
}

/// Each has its own numbers, chain and nonces.
pub async fn upgrades_do_not_touch_each_other(fixture: &impl Fixture) {
    let (store, epoch) = leader(fixture, "a").await;
    let ids: Vec<UpgradeId> = ["u", "u.1", "U", "u_"].into_iter().map(upgrade).collect();
    let mut expected = Vec::new();
    for (count, id) in (1..).zip(&ids) {
        expected.push(Writer::new(epoch).append(&*store, id, count).await);
    }
    for (id, facts) in ids.iter().zip(expected) {
        assert_eq!(all_known(load_in_pages(&*store, id, 2).await), facts);
    }
    assert_eq!(store.lead(&name("a")).await.unwrap().map(|next| next > epoch), Some(true));
}
