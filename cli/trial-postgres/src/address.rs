//! Addresses on loopback for servers that a sandbox or a test starts.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};

/// The ports to choose from: below those that Linux gives by itself, from 32,768 on.
const FIRST: u16 = 10_000;
const COUNT: u16 = 20_000;

/// An address on the loopback interface that was free a moment ago, and that this process was not given before (of its last
/// 20,000).
///
/// The system's own choice, port 0, will not do: what one server is meant to listen on, another that asks a moment later is given
/// again (one in eight of 2,000), or whoever connects meanwhile. Two programs that look at the same time begin in different places;
/// that they meet is unlikely, not impossible.
///
/// # Errors
/// When none of the ports can be listened on.
pub fn free_address() -> io::Result<SocketAddr> {
    static NEXT: OnceLock<AtomicU16> = OnceLock::new();
    let next = NEXT.get_or_init(|| AtomicU16::new((std::process::id() * 397 % u32::from(COUNT)) as u16));
    let mut last = None;
    for _ in 0..COUNT {
        let address = SocketAddr::from(([127, 0, 0, 1], FIRST + next.fetch_add(1, Ordering::Relaxed) % COUNT));
        match TcpListener::bind(address) {
            Ok(_) => return Ok(address),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| io::Error::from(io::ErrorKind::AddrNotAvailable)))
}
