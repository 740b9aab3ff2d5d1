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

use std::net::{SocketAddr, TcpListener};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

/// An address on the loopback interface that was free a moment ago, and that no other test of this process was given.
///
/// Its port lies below those that the system gives by itself: whoever connects, or listens on port 0, before the one it was
/// meant for listens would otherwise take it now and then, and a proxy that took its own upstream's port connects to itself.
pub fn free_address() -> SocketAddr {
    static NEXT: OnceLock<AtomicU16> = OnceLock::new();
    // Test programs that run side by side begin in different places.
    let next = NEXT.get_or_init(|| AtomicU16::new((std::process::id() * 397 % 20_000) as u16));
    loop {
        let port = 10_000 + next.fetch_add(1, Ordering::Relaxed) % 20_000;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if TcpListener::bind(address).is_ok() {
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
