//! Requests that arrive late, after their sender gave up.

use super::*;
use cutover_store::{Key, Put, Revision};
use cutover_test_etcd::Etcd;
use cutover_test_etcd::proxy::Proxy;

/// A write that is held is waited for half a lease long, and the lease must be kept meanwhile.
const LEASE: Duration = Duration::from_secs(10);

/// How far etcd's log goes: a write adds to it whether or not its comparisons hold, a look does not.
fn log_index(etcd: &Etcd) -> u64 {
    let status: serde_json::Value = serde_json::from_str(&etcd.ctl(0, &["endpoint", "status", "-w", "json"])).unwrap();
    status[0]["Status"]["raftAppliedIndex"].as_u64().unwrap()
}

/// Lets what is held arrive, and waits until etcd has done it or refused it.
async fn arrives(etcd: &Etcd, proxy: &Proxy) {
    let before = log_index(etcd);
    proxy.release();
    let arrived = async {
        while proxy.kept() > 0 || log_index(etcd) == before {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within("the late request reaches etcd", PATIENCE, arrived).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_was_not_found_is_not_stored_by_a_request_that_arrives_later() {
    let etcd = Etcd::start(1);
    let proxy = Proxy::to(etcd.address(0));
    // The second endpoint is the way on when the first one does not answer.
    let store = handle(&[proxy.url(), etcd.endpoint(0)], LEASE);
    let epoch = leads(&store, "a").await;
    let mut writer = Writer::new(epoch);
    writer.append(&store, &upgrade(), 2).await;
    proxy.hold();
    let (before, late) = (writer.seq, writer.clone().batch(3));
    match store.append(epoch, &upgrade(), before, &late).await {
        Appended::Unknown(error) => assert!(!error.nothing_was_stored(), "{error}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(store.find_batch(&upgrade(), &late.nonce).await.unwrap(), None);
    assert!(proxy.kept() > 0, "nothing is on its way");
    arrives(&etcd, &proxy).await;
    assert_eq!(store.find_batch(&upgrade(), &late.nonce).await.unwrap(), None, "None was final");
    assert!(store.may_lead(epoch), "it costs no leadership");
    writer.append(&store, &upgrade(), 1).await;
    assert_eq!(stored(&store).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_whose_request_arrives_before_the_look_is_found() {
    let etcd = Etcd::start(1);
    let proxy = Proxy::to(etcd.address(0));
    let store = handle(&[proxy.url(), etcd.endpoint(0)], LEASE);
    let epoch = leads(&store, "a").await;
    let mut writer = Writer::new(epoch);
    writer.append(&store, &upgrade(), 2).await;
    proxy.hold();
    let (before, late) = (writer.seq, writer.batch(3));
    let answer = store.append(epoch, &upgrade(), before, &late).await;
    assert!(matches!(answer, Appended::Unknown(_)), "{answer:?}");
    arrives(&etcd, &proxy).await;
    assert_eq!(store.find_batch(&upgrade(), &late.nonce).await.unwrap(), Some(5));
    writer.append(&store, &upgrade(), 1).await;
}

/// A caller that is dropped leaves a request on its way like one that waits too long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_whose_caller_was_dropped_is_not_stored_after_it_was_not_found() {
    let etcd = Etcd::start(1);
    let proxy = Proxy::to(etcd.address(0));
    let store = handle(&[proxy.url(), etcd.endpoint(0)], LEASE);
    let epoch = leads(&store, "a").await;
    let mut writer = Writer::new(epoch);
    writer.append(&store, &upgrade(), 2).await;
    proxy.hold();
    let (before, late) = (writer.seq, writer.clone().batch(3));
    let on_its_way = async {
        while proxy.kept() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let upgrade_id = upgrade();
    tokio::select! {
        answer = store.append(epoch, &upgrade_id, before, &late) => panic!("{answer:?}"),
        () = on_its_way => {}
    }
    assert_eq!(store.find_batch(&upgrade(), &late.nonce).await.unwrap(), None);
    arrives(&etcd, &proxy).await;
    assert_eq!(store.find_batch(&upgrade(), &late.nonce).await.unwrap(), None, "None was final");
    assert_eq!(stored(&store).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_document_is_not_written_by_a_request_that_arrives_after_a_look() {
    let etcd = Etcd::start(1);
    let proxy = Proxy::to(etcd.address(0));
    let store = handle(&[proxy.url(), etcd.endpoint(0)], LEASE);
    let epoch = leads(&store, "a").await;
    let key = Key::new("k").unwrap();
    proxy.hold();
    let answer = store.put(epoch, &key, Revision::NONE, b"late").await;
    assert!(matches!(answer, Put::Unknown(_)), "{answer:?}");
    assert_eq!(store.get(&key).await.unwrap(), None);
    arrives(&etcd, &proxy).await;
    assert_eq!(store.get(&key).await.unwrap(), None);
    assert!(matches!(store.put(epoch, &key, Revision::NONE, b"now").await, Put::Stored(_)));
}

/// Writes that were sent before others were voided are sent again by themselves.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn voiding_one_write_costs_no_other_one() {
    let etcd = Etcd::start(1);
    let proxy = Proxy::to(etcd.address(0));
    let store = handle(&[proxy.url(), etcd.endpoint(0)], LEASE);
    let epoch = leads(&store, "a").await;
    let others = async {
        let mut written = 0;
        for number in 0..300 {
            let key = Key::new(format!("k/{number}")).unwrap();
            if let Put::Unknown(_) = store.put(epoch, &key, Revision::NONE, b"x").await {
                // Its own answer was lost: one of the two looks is enough.
                if store.get(&key).await.unwrap().is_none() {
                    assert!(matches!(store.put(epoch, &key, Revision::NONE, b"x").await, Put::Stored(_)));
                }
            }
            written += 1;
        }
        written
    };
    let voids = async {
        let mut writer = Writer::new(epoch);
        for turn in 0..3 {
            proxy.hold();
            let before = writer.clone();
            let batch = writer.batch(1);
            match store.append(epoch, &upgrade(), before.seq, &batch).await {
                Appended::Committed => {}
                Appended::Unknown(_) => {
                    if store.find_batch(&upgrade(), &batch.nonce).await.unwrap().is_none() {
                        writer = Writer { nonce: writer.nonce, ..before };
                    }
                }
                other => panic!("turn {turn}: {other:?}"),
            }
            proxy.release();
        }
        usize::try_from(writer.seq).unwrap()
    };
    let (written, facts) = tokio::join!(others, voids);
    assert_eq!(store.list("k/").await.unwrap().len(), written);
    assert_eq!(stored(&store).await.len(), facts);
}

/// What the handle knows itself was right when it sent: etcd's comparison alone is left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_append_that_is_on_its_way_when_the_leadership_ends_is_refused_when_it_arrives() {
    for elected in [true, false] {
        let etcd = Etcd::start(1);
        let proxy = Proxy::to(etcd.address(0));
        let (store, other) = (handle(&[proxy.url()], LEASE), handle(&etcd.endpoints(), LEASE));
        let epoch = leads(&store, "a").await;
        proxy.hold();
        let (id, batch) = (upgrade(), Writer::new(epoch).batch(1));
        let ends = async {
            while proxy.kept() == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            let mut client = etcd_client::Client::connect(etcd.endpoints(), None).await.unwrap();
            let leader = client.get("cutover/leader", None).await.unwrap();
            client.lease_revoke(leader.kvs()[0].lease()).await.unwrap();
            let next = if elected { leads(&other, "b").await } else { epoch };
            proxy.release();
            next
        };
        let (answer, next) = tokio::join!(store.append(epoch, &id, 0, &batch), ends);
        assert!(matches!(answer, Appended::Fenced { by } if by == next), "elected {elected}: {answer:?}");
        assert_eq!(other.head(&id).await.unwrap(), None);
    }
}
