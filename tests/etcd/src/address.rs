//! Addresses on loopback for servers of tests.

use std::net::{SocketAddr, TcpListener};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};

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
