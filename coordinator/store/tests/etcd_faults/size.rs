//! Many facts and documents, large ones, and an etcd that is full.

use super::*;
use cutover_store::conformance::facts::committed;
use cutover_store::{
    Batch, Key, MAX_BATCH_BYTES, MAX_CHUNK_BYTES, MAX_DOCUMENT_BYTES, MAX_FACT_BYTES, Put, Revision, StoreError,
};
use cutover_test_etcd::Etcd;
use etcd_client::{Client, GetOptions};

/// So much is written that the disk makes a write wait; what is waited for grows with the lease.
const LONG: Duration = Duration::from_secs(30);

fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

/// The size of every value below the prefix.
async fn sizes(etcd: &Etcd) -> Vec<usize> {
    let mut client =
        Client::connect(etcd.endpoints(), None).await.unwrap().kv_client().max_decoding_message_size(64 << 20);
    let (mut sizes, mut from) = (Vec::new(), b"cutover/".to_vec());
    loop {
        let page = GetOptions::new().with_range("cutover0").with_limit(50);
        let page = client.get(from.clone(), Some(page)).await.unwrap();
        sizes.extend(page.kvs().iter().map(|key| key.value().len()));
        let Some(last) = page.kvs().last() else { return sizes };
        from = last.key().to_vec();
        from.push(0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_fleet_fits_and_no_value_is_larger_than_256_kib() {
    let etcd = Etcd::start(1);
    let store = handle(&etcd.endpoints(), LONG);
    let epoch = leads(&store, "a").await;
    for number in 0..3_000_u32 {
        let value = vec![7; if number % 100 == 0 { MAX_DOCUMENT_BYTES } else { 600 }];
        let put = store.put(epoch, &key(&format!("members/{number:05}")), Revision::NONE, &value).await;
        assert!(matches!(put, Put::Stored(_)), "{put:?}");
    }
    let mut writer = Writer::new(epoch);
    let mut facts = Vec::new();
    while facts.len() < 10_000 {
        facts.extend(writer.append(&store, &upgrade(), 8).await);
        if facts.len() % 400 < 8 {
            let (before, overhead) = (writer.seq, serde_json::to_string(&writer.clone().fact("")).unwrap().len());
            let most = if facts.len() == 400 { MAX_FACT_BYTES } else { MAX_BATCH_BYTES };
            let large = writer.fact("x".repeat(most - overhead));
            let batch = Batch { nonce: writer.nonce(), facts: vec![large] };
            committed(store.append(epoch, &upgrade(), before, &batch).await);
            facts.extend(batch.facts);
        }
    }
    let evidence: Vec<u8> = (0..MAX_CHUNK_BYTES).map(|n| u8::try_from(n % 251).unwrap()).collect();
    let digest = store.put_chunk(epoch, &evidence).await.unwrap();
    let follower = handle(&etcd.endpoints(), LONG);
    let listed = follower.list("members/").await.unwrap();
    assert_eq!(listed.len(), 3_000);
    assert!(listed.is_sorted_by(|(a, ..), (b, ..)| a < b));
    assert_eq!(stored(&follower).await, facts);
    assert_eq!(follower.get_chunk(&digest).await.unwrap(), Some(evidence));
    let sizes = sizes(&etcd).await;
    assert!(sizes.len() > 3_000 + 1_250 && sizes.iter().all(|size| *size <= 256 * 1024), "{:?}", sizes.iter().max());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pieces_without_their_index_are_no_chunk_and_are_written_over() {
    let etcd = Etcd::start(1);
    let store = handle(&etcd.endpoints(), EtcdSettings::LEASE);
    let epoch = leads(&store, "a").await;
    let evidence = vec![7; 600 * 1024];
    let digest = cutover_vocabulary::Digest::of(&evidence);
    // As a writer that died after its first piece, which was cut elsewhere.
    let mut client = Client::connect(etcd.endpoints(), None).await.unwrap();
    client.put(format!("cutover/c/{digest}/0"), vec![7; 100], None).await.unwrap();
    assert_eq!(store.get_chunk(&digest).await.unwrap(), None);
    store.put_chunk(epoch, &evidence).await.unwrap();
    assert_eq!(store.get_chunk(&digest).await.unwrap(), Some(evidence));
    client.put(format!("cutover/c/{digest}/1"), vec![8; 256 * 1024], None).await.unwrap();
    assert!(matches!(store.get_chunk(&digest).await, Err(StoreError::Damaged { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_etcd_says_what_to_do_and_works_once_it_was_done() {
    let etcd = Etcd::start_with(1, None, &["--quota-backend-bytes=16777216"]);
    let store = handle(&etcd.endpoints(), LONG);
    let epoch = leads(&store, "a").await;
    let mut writer = Writer::new(epoch);
    let mut facts = writer.append(&store, &upgrade(), 5).await;
    let value = vec![7; MAX_DOCUMENT_BYTES];
    let there = async || store.get(&key("k")).await.unwrap().map_or(Revision::NONE, |(revision, _)| revision);
    let mut revision = Revision::NONE;
    let error = loop {
        match store.put(epoch, &key("k"), revision, &value).await {
            Put::Stored(next) => revision = next,
            Put::Unknown(StoreError::EtcdLost { .. }) => revision = there().await,
            Put::Unknown(error) => break error,
            other => panic!("{other:?}"),
        }
        assert!(revision < Revision(1_000), "16 MiB are never full");
    };
    assert!(matches!(error, StoreError::EtcdFull { .. }), "{error}");
    let text = error.to_string();
    for says in ["NOSPACE", &etcd.endpoint(0), "compact", "defrag", "alarm disarm"] {
        assert!(text.contains(says), "{says}: {text}");
    }
    // etcd may say so of a write that it did: a look tells, and needs no room.
    let mut after = writer.clone();
    let batch = after.batch(1);
    match store.append(epoch, &upgrade(), writer.seq, &batch).await {
        Appended::Unknown(error @ StoreError::EtcdFull { .. }) => assert!(!error.nothing_was_stored(), "{error}"),
        other => panic!("{other:?}"),
    }
    if store.find_batch(&upgrade(), &batch.nonce).await.unwrap().is_some() {
        facts.extend(batch.facts);
        writer = after;
    } else {
        writer.nonce = after.nonce;
    }
    assert_eq!(stored(&store).await, facts);
    let put = there().await;
    assert!(put == revision || put == Revision(revision.0 + 1), "{put} after {revision}");
    // As the error says.
    let status: serde_json::Value = serde_json::from_str(&etcd.ctl(0, &["endpoint", "status", "-w", "json"])).unwrap();
    let now = status[0]["Status"]["header"]["revision"].to_string();
    for command in [&["compact", &now] as &[&str], &["defrag"], &["alarm", "disarm"]] {
        etcd.ctl(0, command);
    }
    // Keeping the lease needs no space, so it led all the time.
    assert!(store.may_lead(epoch));
    writer.append(&store, &upgrade(), 1).await;
    assert!(matches!(store.put(epoch, &key("k"), put, b"small").await, Put::Stored(_)));
}
