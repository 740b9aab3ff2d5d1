//! The runner's lock, on every driver. In a binary of its own: on SQLite its descriptors go to every child of the process, the
//! PostgreSQL server of other tests too.
#![allow(
    missing_docs,
    unreachable_pub,
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

#[path = "drivers/bed.rs"]
mod bed;
#[path = "support/mod.rs"]
mod files;
#[path = "support/postgres.rs"]
mod server;

use bed::{on_every_driver, sample};
use cutover_storage::StorageError;
use cutover_storage::storage::Lock;
use cutover_vocabulary::LedgerName;
use cutover_vocabulary::storage::RecoveryItem;

fn busy(lock: Result<Box<dyn Lock>, StorageError>) -> String {
    match lock {
        Ok(_) => panic!("it was not held"),
        Err(error @ StorageError::Busy { .. }) => error.to_string(),
        Err(error) => panic!("{error}"),
    }
}

/// A lock of PostgreSQL's goes when the server has ended the session.
fn free(lock: impl Fn() -> Result<Box<dyn Lock>, StorageError>) -> Box<dyn Lock> {
    let mut taken = None;
    server::wait_until("the lock to go", || {
        match lock() {
            Err(StorageError::Busy { .. }) => {}
            other => taken = Some(other.unwrap()),
        }
        taken.is_some()
    });
    taken.unwrap()
}

#[test]
fn one_runner_at_a_time_by_ledger_or_on_the_whole_and_the_other_is_named() {
    on_every_driver(|bed| {
        let (one, other) = (bed.storage(), bed.storage());
        let till = RecoveryItem::Ledger(LedgerName::new("till").unwrap());
        let first = one.lock(Some(&sample()), "order-1").unwrap();
        for item in [Some(&sample()), None] {
            let told = busy(other.lock(item, "order-2"));
            assert!(told.contains("order-1"), "{}: {told}", bed.name());
        }
        let lane = other.lock(Some(&till), "order-3").unwrap();
        let system = other.lock(Some(&RecoveryItem::System), "order-4").unwrap();
        assert!(first.is_held() && lane.is_held() && system.is_held(), "{}", bed.name());
        drop((first, system));
        busy(one.lock(None, "order-5"));
        drop(lane);
        let whole = free(|| other.lock(None, "order-5"));
        for item in [Some(&sample()), Some(&RecoveryItem::System), None] {
            let told = busy(one.lock(item, "order-6"));
            assert!(told.contains("order-5"), "{}: {told}", bed.name());
        }
        drop(whole);
        free(|| one.lock(Some(&sample()), "order-7"));
    });
}
