//! What the scenarios share: a house with real programs in it, clients that write, and a voice towards the API.
#![allow(clippy::disallowed_methods, reason = "deadlines of tests")]

pub mod bed;
pub mod checks;
pub mod clients;
pub mod disk;
pub mod fleet;
pub mod house;
pub mod link;
pub mod neighbours;
pub mod pki;
pub mod tier;
pub mod voice;

pub use cutover_test_etcd::free_address;
use std::time::{Duration, Instant};

/// Waits for a condition with a deadline; never for a time.
///
/// # Panics
/// When the deadline passes first.
pub fn until<T>(what: &str, deadline: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(begun.elapsed() < deadline, "waited {deadline:?} for: {what}");
        // Each look is a call over the API: oftener would be load of its own.
        std::thread::sleep(Duration::from_millis(20));
    }
}
