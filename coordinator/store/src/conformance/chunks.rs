//! Evidence by its digest.

use super::{Fixture, leader};
use crate::{MAX_CHUNK_BYTES, StoreError};
use cutover_vocabulary::Digest;

/// Through every handle; an unknown one is none.
pub async fn a_chunk_is_found_by_its_digest(fixture: &impl Fixture) {
    let (store, epoch) = leader(fixture, "a").await;
    let follower = fixture.open().await;
    for bytes in [b"".as_slice(), b"\x00\xff", b"evidence"] {
        assert_eq!(follower.get_chunk(&Digest::of(bytes)).await.unwrap(), None);
        let digest = store.put_chunk(epoch, bytes).await.unwrap();
        assert_eq!(digest, Digest::of(bytes));
        assert_eq!(follower.get_chunk(&digest).await.unwrap().as_deref(), Some(bytes));
    }
}

/// Trying again after a lost answer is safe.
pub async fn a_chunk_is_stored_once(fixture: &impl Fixture) {
    let (store, epoch) = leader(fixture, "a").await;
    let first = store.put_chunk(epoch, b"evidence").await.unwrap();
    let second = store.put_chunk(epoch, b"evidence").await.unwrap();
    assert_eq!(first, second);
    assert_eq!(store.get_chunk(&first).await.unwrap().as_deref(), Some(b"evidence".as_slice()));
}

/// The same fence as for facts.
pub async fn only_the_leader_stores_chunks(fixture: &impl Fixture) {
    let (former, epoch) = leader(fixture, "a").await;
    fixture.depose().await;
    let (latter, next) = leader(fixture, "b").await;
    match former.put_chunk(epoch, b"evidence").await {
        Err(error @ StoreError::Fenced { by, .. }) => {
            assert_eq!(by, next);
            assert!(error.nothing_was_stored());
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(latter.get_chunk(&Digest::of(b"evidence")).await.unwrap(), None);
}

/// Larger evidence is cut by its writer.
pub async fn a_chunk_of_exactly_the_limit_fits_and_one_byte_more_does_not(fixture: &impl Fixture) {
    let (store, epoch) = leader(fixture, "a").await;
    let mut bytes = vec![7; MAX_CHUNK_BYTES + 1];
    let refused = store.put_chunk(epoch, &bytes).await;
    assert!(matches!(refused, Err(StoreError::TooLarge { limit: MAX_CHUNK_BYTES, .. })), "{refused:?}");
    bytes.pop();
    let digest = store.put_chunk(epoch, &bytes).await.unwrap();
    assert_eq!(store.get_chunk(&digest).await.unwrap(), Some(bytes));
}
