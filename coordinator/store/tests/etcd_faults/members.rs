//! Members of etcd that die, hang, are restarted or compacted.

use super::*;
use cutover_test_etcd::Etcd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_or_hung_member_of_etcd_costs_neither_a_fact_nor_the_leadership() {
    let mut etcd = Etcd::start(3);
    // Longer than a busy machine's etcd takes to elect its own leader, several times over.
    let store = handle(&etcd.endpoints(), SHORT * 8);
    let epoch = leads(&store, "a").await;
    let (mut writer, mut done) = (Writer::new(epoch), Acknowledged::default());
    for turn in 0..4 {
        for _append in 0..10 {
            append(&store, &mut writer, &mut done).await.expect("it leads on");
        }
        let leader = etcd.leader();
        match turn % 2 {
            0 => etcd.kill(leader),
            _ => etcd.pause(leader),
        }
        for _append in 0..10 {
            append(&store, &mut writer, &mut done).await.expect("it leads on");
        }
        match turn % 2 {
            0 => etcd.start_member(leader),
            _ => etcd.resume(leader),
        }
        etcd.healthy();
    }
    assert!(store.may_lead(epoch));
    assert_eq!(stored(&store).await, done.facts);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_quorum_a_leader_stops_and_goes_on_afterwards_with_a_greater_epoch() {
    let mut etcd = Etcd::start(3);
    let (store, other) = (handle(&etcd.endpoints(), SHORT), handle(&etcd.endpoints(), SHORT));
    let epoch = leads(&store, "a").await;
    let (mut writer, mut done) = (Writer::new(epoch), Acknowledged::default());
    append(&store, &mut writer, &mut done).await.unwrap();
    etcd.kill(0);
    etcd.kill(1);
    within("the leader is told", PATIENCE, store.lost(epoch)).await;
    let batch = writer.clone().batch(1);
    let refused = store.append(epoch, &upgrade(), writer.seq, &batch).await;
    assert!(matches!(refused, Appended::Fenced { by } if by == epoch), "{refused:?}");
    // What etcd does in this time is the promise: three leases long nobody is elected.
    let begun = tokio::time::Instant::now();
    while begun.elapsed() < SHORT * 3 {
        let error = other.lead(&name("b")).await.unwrap_err().to_string();
        assert!(error.contains("endpoint health"), "{error}");
    }
    etcd.start_member(0);
    etcd.start_member(1);
    etcd.healthy();
    assert!(!store.may_lead(epoch), "what was over does not come back");
    let next = tokio::select! {
        next = wins(&store, "a", PATIENCE) => next,
        next = wins(&other, "b", PATIENCE) => next,
    };
    assert!(next > epoch);
    assert_eq!(stored(&other).await, done.facts);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_all_members_were_restarted_everything_is_there_and_somebody_leads() {
    let mut etcd = Etcd::start(3);
    let store = handle(&etcd.endpoints(), SHORT);
    let epoch = leads(&store, "a").await;
    let (mut writer, mut done) = (Writer::new(epoch), Acknowledged::default());
    for _append in 0..20 {
        append(&store, &mut writer, &mut done).await.unwrap();
    }
    (0..3).for_each(|member| etcd.kill(member));
    (0..3).for_each(|member| etcd.start_member(member));
    etcd.healthy();
    let next = wins(&store, "a", PATIENCE).await;
    assert!(next > epoch);
    let mut writer = Writer::at_the_end_of(&store, next, &upgrade()).await;
    append(&store, &mut writer, &mut done).await.unwrap();
    assert_eq!(stored(&store).await, done.facts);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compaction_disturbs_neither_appends_nor_loads_nor_the_watch_on_the_leader() {
    let etcd = Arc::new(Etcd::start(1));
    let (store, follower) = (handle(&etcd.endpoints(), SHORT), handle(&etcd.endpoints(), SHORT));
    let epoch = leads(&store, "a").await;
    assert_eq!(follower.lead(&name("b")).await.unwrap(), None);
    let ended = Arc::new(AtomicBool::new(false));
    let compacting = {
        let (etcd, ended) = (etcd.clone(), ended.clone());
        tokio::spawn(async move {
            let mut client = etcd_client::Client::connect(etcd.endpoints(), None).await.unwrap();
            let mut compacted = 0;
            while !ended.load(Ordering::SeqCst) {
                let now = client.get("cutover/leader", None).await.unwrap().header().unwrap().revision();
                compacted += usize::from(client.compact(now, None).await.is_ok());
            }
            compacted
        })
    };
    let (mut writer, mut done) = (Writer::new(epoch), Acknowledged::default());
    for _append in 0..200 {
        append(&store, &mut writer, &mut done).await.expect("it leads on");
        if done.facts.len() % 50 == 0 {
            assert_eq!(stored(&follower).await, done.facts);
        }
    }
    store.resign(epoch).await.unwrap();
    within("the follower is told", PATIENCE, follower.leadership_changed()).await;
    assert!(follower.lead(&name("b")).await.unwrap().is_some());
    ended.store(true, Ordering::SeqCst);
    assert!(compacting.await.unwrap() > 20, "hardly anything was compacted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_is_told_at_once_and_through_whatever_endpoint_is_left() {
    let mut etcd = Etcd::start(3);
    let (store, follower) = (handle(&etcd.endpoints(), SHORT), handle(&etcd.endpoints(), SHORT));
    let epoch = leads(&store, "a").await;
    assert_eq!(follower.lead(&name("b")).await.unwrap(), None);
    // Both speak to the first endpoint.
    etcd.kill(0);
    let next = {
        let told = follower.leadership_changed();
        tokio::pin!(told);
        assert!(
            tokio::time::timeout(Duration::from_millis(500), &mut told).await.is_err(),
            "told while somebody leads"
        );
        let epoch = if store.may_lead(epoch) { epoch } else { wins(&store, "a", PATIENCE).await };
        store.resign(epoch).await.unwrap();
        within("the follower is told", PATIENCE, &mut told).await;
        follower.lead(&name("b")).await.unwrap()
    };
    assert!(next.is_some_and(|next| next > epoch));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_lease_or_key_is_taken_away_is_told_and_does_not_get_it_back() {
    let etcd = Etcd::start(1);
    let store = handle(&etcd.endpoints(), EtcdSettings::LEASE);
    let mut client = etcd_client::Client::connect(etcd.endpoints(), None).await.unwrap();
    for takes in ["lease", "key", "epochs raised"] {
        let epoch = wins(&store, "a", PATIENCE).await;
        let leader = client.get("cutover/leader", None).await.unwrap().kvs()[0].clone();
        match takes {
            "lease" => drop(client.lease_revoke(leader.lease()).await.unwrap()),
            "key" => drop(client.delete("cutover/leader", None).await.unwrap()),
            _ => handle(&etcd.endpoints(), SHORT).raise_epochs(Epoch(1_000)).await.unwrap(),
        }
        // Well before its own lease would have ended.
        within(takes, Duration::from_secs(3), store.lost(epoch)).await;
        assert!(!store.may_lead(epoch));
        assert!(matches!(
            store.append(epoch, &upgrade(), 0, &Writer::new(epoch).batch(1)).await,
            Appended::Fenced { .. }
        ));
    }
    assert!(wins(&store, "a", PATIENCE).await > Epoch(1_000));
}
