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

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// An address on the loopback interface that was free a moment ago, and that no other test of this process was given.
pub fn free_address() -> SocketAddr {
    static GIVEN: Mutex<BTreeSet<SocketAddr>> = Mutex::new(BTreeSet::new());
    loop {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        if GIVEN.lock().unwrap_or_else(PoisonError::into_inner).insert(address) {
            return address;
        }
    }
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
