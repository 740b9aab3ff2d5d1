//! How long one durable append takes, in a file and in etcd.

use crate::fleet::AS_INSTALLED;
use cutover_store::{Appended, Batch, CoordinatorName, EtcdSettings, EtcdStore, Nonce, SqliteStore, Store};
use cutover_test_etcd::Etcd;
use cutover_vocabulary::fact::Cause;
use cutover_vocabulary::{Digest, Elapsed, Epoch, Fact, InstanceName, Recorded, Timestamp, UpgradeId};
use std::time::{Duration, Instant};

const APPENDS: u64 = 300;

pub(super) async fn measure() {
    let folder = tempfile::tempdir_in(".").unwrap();
    let file = SqliteStore::open(folder.path().join("store.db")).await.unwrap();
    one("SQLite, a file on this disk", &file).await;
    for members in [1, 3] {
        let etcd = Etcd::start_with(members, None, AS_INSTALLED);
        let store = EtcdStore::open(EtcdSettings::new(etcd.endpoints())).unwrap();
        one(&format!("etcd, {members} member(s) in {}", std::env::temp_dir().display()), &store).await;
    }
}

async fn one(what: &str, store: &dyn Store) {
    let epoch = store.lead(&CoordinatorName::new("bench").unwrap()).await.unwrap().unwrap();
    let upgrade = UpgradeId::new("bench").unwrap();
    let (mut hash, mut took) = (Digest::of(b""), Vec::new());
    for seq in 1..=APPENDS {
        let fact = fact(seq, hash, epoch);
        hash = fact.hash();
        let batch = Batch { nonce: Nonce::new(u128::from(seq)), facts: vec![fact] };
        let begun = Instant::now();
        let appended = store.append(epoch, &upgrade, seq - 1, &batch).await;
        took.push(begun.elapsed());
        assert!(matches!(appended, Appended::Committed), "{appended:?}");
    }
    store.resign(epoch).await.unwrap();
    took.sort_unstable();
    let at = |percent: usize| -> Duration { took[(took.len() - 1) * percent / 100] };
    println!("append of one fact, {what}: median {:.1?}, 99 % {:.1?}, worst {:.1?}", at(50), at(99), at(100));
}

fn fact(seq: u64, prev: Digest, epoch: Epoch) -> Recorded {
    Recorded {
        v: Recorded::V,
        seq,
        at: Timestamp::from_millis(1_700_000_000_000),
        epoch,
        leading_for: Elapsed(seq),
        by: Cause::Machine,
        prev,
        fact: Fact::ProofVoided { instance: InstanceName::new("ledger-a").unwrap(), seen: "a bench".to_owned() },
    }
}
