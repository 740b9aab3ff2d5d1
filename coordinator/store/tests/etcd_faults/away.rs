//! A coordinator that is cut off from an etcd that runs.

use super::*;
use cutover_test_etcd::Etcd;
use cutover_test_etcd::proxy::Proxy;
use tokio::time::Instant;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_cut_off_stops_before_another_can_be_elected() {
    let etcd = Etcd::start(1);
    for renewed in [false, true] {
        let proxy = Proxy::to(etcd.address(0));
        let (store, other) = (handle(&[proxy.url()], SHORT), handle(&etcd.endpoints(), SHORT));
        let epoch = leads(&store, "a").await;
        assert_eq!(other.lead(&name("b")).await.unwrap(), None);
        if renewed {
            // Once by then, and what counts is when that was sent.
            tokio::time::sleep(SHORT / 2).await;
        }
        proxy.cut();
        let told = async {
            within("the leader is told", PATIENCE, store.lost(epoch)).await;
            Instant::now()
        };
        let elected = async {
            let next = wins(&other, "b", PATIENCE).await;
            // By its own clock, whenever the task that waits for it is let run.
            assert!(!store.may_lead(epoch), "both lead");
            (Instant::now(), next)
        };
        let (told, (elected, next)) = tokio::join!(told, elected);
        assert!(next > epoch);
        assert!(told < elected, "it was told {:?} after another was elected", told - elected);
        // Nothing of it passes any more, and it says so soon, although etcd does not answer.
        let batch = Writer::new(epoch).batch(1);
        let refused = within("refusal", PATIENCE, store.append(epoch, &upgrade(), 0, &batch)).await;
        assert!(matches!(refused, Appended::Fenced { .. }), "{refused:?}");
        proxy.mend();
        other.resign(next).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_coordinator_starts_while_etcd_is_away_and_leads_when_it_comes() {
    let mut etcd = Etcd::start(1);
    etcd.kill(0);
    let store = handle(&etcd.endpoints(), SHORT);
    let error = store.lead(&name("a")).await.unwrap_err().to_string();
    assert!(error.contains(&etcd.endpoint(0)) && error.contains("endpoint health"), "{error}");
    etcd.start_member(0);
    etcd.healthy();
    wins(&store, "a", PATIENCE).await;
}
