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

use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// An address on loopback that nobody listens on and no other test of this process was given.
///
/// # Panics
/// When there is none.
pub fn free_address() -> SocketAddr {
    cutover_trial_postgres::free_address().expect("a free port on 127.0.0.1")
}

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
