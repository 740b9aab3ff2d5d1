//! What can happen to an etcd and to a coordinator's way to it, with real processes.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::wildcard_enum_match_arm,
    clippy::print_stdout,
    reason = "a test: what is not as expected panics; a child says what it did"
)]

mod access;
mod away;
mod lost_answers;
mod members;
mod presence;
mod size;
mod stopped;

use cutover_store::conformance::facts::{Writer, all_known, load_in_pages};
use cutover_store::{Appended, CoordinatorName, EtcdSettings, EtcdStore, Store};
use cutover_vocabulary::{Epoch, Recorded, UpgradeId};
use std::future::Future;
use std::time::Duration;

fn name(text: &str) -> CoordinatorName {
    CoordinatorName::new(text).unwrap()
}

fn upgrade() -> UpgradeId {
    UpgradeId::new("u").unwrap()
}

/// A lease that tests need not wait long for.
const SHORT: Duration = Duration::from_secs(2);

/// What must come and is not measured is waited for so long.
const PATIENCE: Duration = Duration::from_secs(30);

fn handle(endpoints: &[String], lease: Duration) -> EtcdStore {
    EtcdStore::open(EtcdSettings { lease, ..EtcdSettings::new(endpoints.iter().cloned()) }).unwrap()
}

async fn leads(store: &EtcdStore, who: &str) -> Epoch {
    store.lead(&name(who)).await.unwrap().expect("nobody else leads")
}

/// Waits with a deadline.
async fn within<T>(what: &str, deadline: Duration, waits: impl Future<Output = T>) -> T {
    tokio::time::timeout(deadline, waits).await.unwrap_or_else(|_| panic!("waited {deadline:?} for: {what}"))
}

/// Tries until it leads.
async fn wins(store: &EtcdStore, who: &str, deadline: Duration) -> Epoch {
    let tries = async {
        loop {
            if let Ok(Some(epoch)) = store.lead(&name(who)).await {
                return epoch;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within(&format!("{who} leads"), deadline, tries).await
}

/// What a writer's appends came to, by the rules of the coordinator's loop.
#[derive(Debug, Default)]
struct Acknowledged {
    facts: Vec<Recorded>,
    unknown: usize,
}

/// Appends the next batch until it is known to be stored; none when this epoch does not lead any more.
async fn append(store: &EtcdStore, writer: &mut Writer, done: &mut Acknowledged) -> Option<()> {
    loop {
        let (before, hash) = (writer.seq, writer.hash);
        let batch = writer.batch(2);
        match store.append(writer.epoch, &upgrade(), before, &batch).await {
            Appended::Committed => {
                done.facts.extend(batch.facts);
                return Some(());
            }
            Appended::Unknown(error) if !error.nothing_was_stored() => {
                done.unknown += 1;
                let found = loop {
                    match store.find_batch(&upgrade(), &batch.nonce).await {
                        Ok(found) => break found,
                        Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                    }
                };
                if found.is_some() {
                    done.facts.extend(batch.facts);
                    return Some(());
                }
            }
            Appended::Unknown(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            Appended::Fenced { .. } => return None,
            refused @ (Appended::Conflict { .. } | Appended::TooLarge { .. }) => panic!("{refused:?}"),
        }
        *writer = Writer { seq: before, hash, ..*writer };
    }
}

/// Everything of the upgrade.
async fn stored(store: &EtcdStore) -> Vec<Recorded> {
    all_known(load_in_pages(store, &upgrade(), 100).await)
}
