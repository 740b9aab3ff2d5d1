//! Documents with a revision each.

use super::{Fixture, leader};
use crate::{Key, MAX_DOCUMENT_BYTES, Put, Revision};
use std::sync::Arc;

fn key(text: &str) -> Key {
    Key::new(text).expect("a test's key is valid")
}

#[track_caller]
fn stored(put: Put) -> Revision {
    match put {
        Put::Stored(revision) => revision,
        other => panic!("{other:?}"),
    }
}

/// Two coordinators that register one name at once: one is told.
pub async fn a_document_is_created_only_where_there_is_none(fixture: &impl Fixture) {
    let (store, epoch) = leader(fixture, "a").await;
    assert_eq!(store.get(&key("a/b")).await.unwrap(), None);
    let absent = store.put(epoch, &key("a/b"), Revision(7), b"x").await;
    assert!(matches!(absent, Put::Conflict { present: Revision::NONE }), "{absent:?}");
    let first = stored(store.put(epoch, &key("a/b"), Revision::NONE, b"\x00\xff").await);
    assert!(first > Revision::NONE);
    let again = store.put(epoch, &key("a/b"), Revision::NONE, b"y").await;
    assert!(matches!(again, Put::Conflict { present } if present == first), "{again:?}");
    assert_eq!(store.get(&key("a/b")).await.unwrap(), Some((first, b"\x00\xff".to_vec())));
}

/// A lost update is impossible.
pub async fn a_document_is_replaced_only_at_its_revision(fixture: &impl Fixture) {
    let (store, epoch) = leader(fixture, "a").await;
    let first = stored(store.put(epoch, &key("k"), Revision::NONE, b"1").await);
    let second = stored(store.put(epoch, &key("k"), first, b"").await);
    assert!(second > first);
    for stale in [first, Revision(second.0 + 1), Revision(u64::MAX)] {
        let refused = store.put(epoch, &key("k"), stale, b"3").await;
        assert!(matches!(refused, Put::Conflict { present } if present == second), "{refused:?}");
    }
    assert_eq!(store.get(&key("k")).await.unwrap(), Some((second, Vec::new())));
}

/// `_` and `%` and `*` are characters like others, and upper case is not lower case.
pub async fn documents_are_listed_by_key_and_prefix_to_the_letter(fixture: &impl Fixture) {
    let (store, epoch) = leader(fixture, "a").await;
    for text in ["m/b", "m/a", "m", "mm/a", "M/a", "m_x/a", "m%/a", "m*/a", "m/a/b", "n/~"] {
        stored(store.put(epoch, &key(text), Revision::NONE, text.as_bytes()).await);
    }
    for (prefix, expected) in [
        ("m/", &["m/a", "m/a/b", "m/b"] as &[&str]),
        ("m", &["m", "m%/a", "m*/a", "m/a", "m/a/b", "m/b", "m_x/a", "mm/a"]),
        ("m_", &["m_x/a"]),
        ("m%", &["m%/a"]),
        ("m*", &["m*/a"]),
        ("n/~", &["n/~"]),
        ("x", &[]),
        ("", &["M/a", "m", "m%/a", "m*/a", "m/a", "m/a/b", "m/b", "m_x/a", "mm/a", "n/~"]),
    ] {
        let listed = store.list(prefix).await.unwrap();
        let keys: Vec<&str> = listed.iter().map(|(key, _revision, _value)| key.as_str()).collect();
        assert_eq!(keys, expected, "prefix {prefix:?}");
        assert!(listed.iter().all(|(key, _revision, value)| key.as_str().as_bytes() == value));
    }
}

/// The same fence as for facts.
pub async fn only_the_leader_writes_documents(fixture: &impl Fixture) {
    let (former, epoch) = leader(fixture, "a").await;
    let first = stored(former.put(epoch, &key("k"), Revision::NONE, b"1").await);
    fixture.depose().await;
    let (latter, next) = leader(fixture, "b").await;
    for (at, expected) in [("k", first), ("new", Revision::NONE)] {
        let refused = former.put(epoch, &key(at), expected, b"2").await;
        assert!(matches!(refused, Put::Fenced { by } if by == next), "{refused:?}");
    }
    assert_eq!(latter.get(&key("k")).await.unwrap(), Some((first, b"1".to_vec())));
    assert_eq!(latter.get(&key("new")).await.unwrap(), None);
    latter.resign(next).await.unwrap();
    let refused = latter.put(next, &key("k"), first, b"2").await;
    assert!(matches!(refused, Put::Fenced { .. }), "{refused:?}");
}

/// etcd could not take more.
pub async fn a_document_of_exactly_the_limit_fits_and_one_byte_more_does_not(fixture: &impl Fixture) {
    let (store, epoch) = leader(fixture, "a").await;
    let mut value = vec![7; MAX_DOCUMENT_BYTES + 1];
    let refused = store.put(epoch, &key("k"), Revision::NONE, &value).await;
    let expected = value.len();
    assert!(matches!(refused, Put::TooLarge { bytes, limit: MAX_DOCUMENT_BYTES } if bytes == expected));
    value.pop();
    let revision = stored(store.put(epoch, &key("k"), Revision::NONE, &value).await);
    assert_eq!(store.get(&key("k")).await.unwrap(), Some((revision, value)));
}

/// Compare and write are one.
pub async fn of_many_writers_at_one_revision_exactly_one_wins(fixture: &impl Fixture) {
    let (store, epoch) = leader(fixture, "a").await;
    let first = stored(store.put(epoch, &key("k"), Revision::NONE, b"first").await);
    let mut tries = Vec::new();
    for number in 0..8_u8 {
        let store = Arc::clone(&store);
        tries.push(tokio::spawn(async move { (number, store.put(epoch, &key("k"), first, &[number]).await) }));
    }
    let mut winners = Vec::new();
    for one in tries {
        match one.await.unwrap() {
            (number, Put::Stored(revision)) => winners.push((revision, vec![number])),
            (_number, Put::Conflict { present }) => assert!(present > first),
            (_number, other) => panic!("{other:?}"),
        }
    }
    assert_eq!(winners.len(), 1);
    assert_eq!(store.get(&key("k")).await.unwrap(), winners.pop());
}
