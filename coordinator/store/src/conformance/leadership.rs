//! Who leads.

use super::facts::Writer;
use super::{Fixture, leader, name, upgrade};
use crate::{Appended, Leader};
use cutover_vocabulary::Epoch;

/// Zero stays free for "no leadership yet".
pub async fn the_first_epoch_is_greater_than_zero(fixture: &impl Fixture) {
    let (_store, epoch) = leader(fixture, "a").await;
    assert!(epoch > Epoch(0));
}

/// Under whatever name.
pub async fn a_second_handle_cannot_lead_while_the_first_does(fixture: &impl Fixture) {
    let (_first, epoch) = leader(fixture, "a").await;
    let second = fixture.open().await;
    assert_eq!(second.lead(&name("b")).await.unwrap(), None);
    assert_eq!(second.lead(&name("a")).await.unwrap(), None, "the same name is no proof of being the same process");
    assert_eq!(second.leader().await.unwrap(), Some(Leader { epoch, name: name("a") }));
}

/// An election among equals.
pub async fn of_many_that_try_at_once_exactly_one_leads(fixture: &impl Fixture) {
    let mut tries = Vec::new();
    for number in 0..6 {
        let store = fixture.open().await;
        tries.push(tokio::spawn(async move {
            let won = store.lead(&name(&format!("c{number}"))).await.unwrap();
            (store, won)
        }));
    }
    let mut handles = Vec::new();
    for one in tries {
        handles.push(one.await.unwrap());
    }
    assert_eq!(handles.iter().filter(|(_store, won)| won.is_some()).count(), 1);
}

/// No waiting for a timeout.
pub async fn after_a_resignation_another_leads_with_a_greater_epoch(fixture: &impl Fixture) {
    let (first, epoch) = leader(fixture, "a").await;
    first.resign(epoch).await.unwrap();
    assert_eq!(first.leader().await.unwrap(), None);
    let (_second, next) = leader(fixture, "b").await;
    assert!(next > epoch, "{next} after {epoch}");
    assert_eq!(first.lead(&name("a")).await.unwrap(), None, "the one that resigned has no better right");
}

/// A dead process needs no resignation.
pub async fn when_the_leaders_handle_is_gone_another_leads_with_a_greater_epoch(fixture: &impl Fixture) {
    let (first, epoch) = leader(fixture, "a").await;
    drop(first);
    let (_second, next) = leader(fixture, "b").await;
    assert!(next > epoch, "{next} after {epoch}");
}

/// A lost answer to an election is asked for again.
pub async fn leading_again_gives_a_greater_epoch_and_fences_the_former(fixture: &impl Fixture) {
    let (store, former) = leader(fixture, "a").await;
    let latter = store.lead(&name("a")).await.unwrap().unwrap();
    assert!(latter > former);
    let batch = Writer::new(former).batch(1);
    let appended = store.append(former, &upgrade("u"), 0, &batch).await;
    assert!(matches!(appended, Appended::Fenced { by } if by == latter), "{appended:?}");
    Writer::new(latter).append(&*store, &upgrade("u"), 1).await;
    let other = fixture.open().await;
    assert_eq!(other.lead(&name("b")).await.unwrap(), None);
}

/// A late resignation of a former leadership must not end the present one.
pub async fn resigning_with_another_epoch_or_twice_changes_nothing(fixture: &impl Fixture) {
    let (first, epoch) = leader(fixture, "a").await;
    first.resign(Epoch(epoch.0 + 1)).await.unwrap();
    assert!(first.leader().await.unwrap().is_some());
    first.resign(epoch).await.unwrap();
    first.resign(epoch).await.unwrap();
    let (second, next) = leader(fixture, "b").await;
    first.resign(epoch).await.unwrap();
    first.resign(next).await.unwrap();
    assert_eq!(first.leader().await.unwrap(), Some(Leader { epoch: next, name: name("b") }));
    Writer::new(next).append(&*second, &upgrade("u"), 1).await;
}

/// Followers redirect to it.
pub async fn everybody_sees_who_leads(fixture: &impl Fixture) {
    let follower = fixture.open().await;
    assert_eq!(follower.leader().await.unwrap(), None);
    let (_store, epoch) = leader(fixture, "a").await;
    assert_eq!(follower.leader().await.unwrap(), Some(Leader { epoch, name: name("a") }));
}
