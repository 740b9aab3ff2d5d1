//! Who is there.

use super::*;
use cutover_store::{Present, StoreError};
use cutover_test_etcd::Etcd;

fn there(who: &str, address: &str) -> Present {
    Present { name: name(who), address: Some(address.to_owned()) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_sees_who_is_there_until_its_handle_is_gone() {
    let etcd = Etcd::start(1);
    let (a, b) = (handle(&etcd.endpoints(), SHORT), handle(&etcd.endpoints(), SHORT));
    a.announce(&name("a"), "https://a:7443").await.unwrap();
    b.announce(&name("b"), "https://b:7443").await.unwrap();
    assert_eq!(b.coordinators().await.unwrap(), [there("a", "https://a:7443"), there("b", "https://b:7443")]);
    a.announce(&name("a"), "https://a:7444").await.unwrap();
    assert_eq!(b.coordinators().await.unwrap()[0], there("a", "https://a:7444"));
    // One that ends in order frees its name at once.
    b.depart().await;
    assert_eq!(a.coordinators().await.unwrap().len(), 1);
    b.announce(&name("b"), "https://b:7443").await.unwrap();
    assert_eq!(b.coordinators().await.unwrap().len(), 2);
    drop(a);
    let gone = async {
        while b.coordinators().await.unwrap().len() > 1 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within("a is gone", PATIENCE, gone).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_coordinator_of_one_name_is_told_and_gets_it_when_it_is_free() {
    let etcd = Etcd::start(1);
    let (first, second) = (handle(&etcd.endpoints(), SHORT), handle(&etcd.endpoints(), SHORT));
    first.announce(&name("a"), "https://first").await.unwrap();
    match second.announce(&name("a"), "https://second").await {
        Err(error @ StoreError::NameTaken { .. }) => {
            let text = error.to_string();
            assert!(text.contains("https://first") && text.contains("a name of its own"), "{text}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(second.coordinators().await.unwrap(), [there("a", "https://first")]);
    drop(first);
    let taken = async {
        while second.coordinators().await.unwrap() != [there("a", "https://second")] {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within("the second one has the name", PATIENCE, taken).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_coordinator_whose_lease_was_taken_away_announces_itself_again() {
    let etcd = Etcd::start(1);
    let store = handle(&etcd.endpoints(), SHORT);
    store.announce(&name("a"), "https://a").await.unwrap();
    let mut client = etcd_client::Client::connect(etcd.endpoints(), None).await.unwrap();
    let lease = client.get("cutover/m/a", None).await.unwrap().kvs()[0].lease();
    client.lease_revoke(lease).await.unwrap();
    let again = async {
        while store.coordinators().await.unwrap() != [there("a", "https://a")] {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within("it is there again", PATIENCE, again).await;
}
