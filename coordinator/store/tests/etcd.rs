//! The etcd store keeps every promise, on a real etcd.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test: what is not as expected panics")]

use cutover_store::conformance::Fixture;
use cutover_store::{EtcdSettings, EtcdStore, Store};
use cutover_test_etcd::Etcd;
use cutover_vocabulary::{Digest, UpgradeId};
use etcd_client::{Client, GetOptions};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

struct Cluster {
    etcd: Etcd,
    handles: Mutex<Vec<Weak<EtcdStore>>>,
}

impl Cluster {
    /// A client of its own, as a person with `etcdctl` has.
    async fn by_hand(&self) -> Client {
        Client::connect(self.etcd.endpoints(), None).await.unwrap()
    }
}

#[async_trait::async_trait]
impl Fixture for Cluster {
    /// A process that dies leaves its lease to etcd, and a handle that is dropped ends it in the background: either is waited for
    /// here, as the promises speak of afterwards.
    async fn open(&self) -> Arc<dyn Store> {
        let dead = self.handles.lock().unwrap().iter().filter(|handle| handle.strong_count() == 0).count();
        let mut client = self.by_hand().await;
        let gone = async {
            let alive = self.handles.lock().unwrap().len() - dead;
            while dead > 0 && client.leases().await.unwrap().leases().len() > alive {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), gone).await.expect("a dropped handle ends its lease");
        let store = Arc::new(EtcdStore::open(EtcdSettings::new(self.etcd.endpoints())).unwrap());
        self.handles.lock().unwrap().push(Arc::downgrade(&store));
        store
    }

    async fn depose(&self) {
        let mut client = self.by_hand().await;
        let leader = client.get("cutover/leader", None).await.unwrap();
        client.lease_revoke(leader.kvs()[0].lease()).await.unwrap();
    }

    async fn plant(&self, upgrade: &UpgradeId, seq: u64, text: &[u8]) {
        let mut client = self.by_hand().await;
        let batches = format!("cutover/u/{upgrade}/b/");
        let all = client.get(batches.clone(), Some(GetOptions::new().with_prefix())).await.unwrap();
        let last_of = |key: &str| key[batches.len()..].parse::<u64>().unwrap();
        let mut end = 0;
        for batch in all.kvs() {
            let last = last_of(batch.key_str().unwrap());
            let mut texts: Vec<Vec<u8>> = batch.value().split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
            let first = last + 1 - u64::try_from(texts.len()).unwrap();
            if (first..=last).contains(&seq) {
                texts[usize::try_from(seq - first).unwrap()] = text.to_vec();
                client.put(batch.key(), texts.join(&b'\n'), None).await.unwrap();
            }
            end = end.max(last);
        }
        if seq == end + 1 {
            client.put(format!("{batches}{seq:020}"), text, None).await.unwrap();
        }
        if seq >= end {
            let head = format!("{{\"seq\":{seq},\"hash\":\"{}\"}}", Digest::of(text));
            client.put(format!("cutover/h/{upgrade}"), head, None).await.unwrap();
        }
    }
}

async fn fixture() -> Cluster {
    Cluster { etcd: Etcd::start(1), handles: Mutex::default() }
}

cutover_store::conformance!();
