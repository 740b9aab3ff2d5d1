//! Hosts for tests: a real systemd as PID 1 each, with a disk, a name and an address, on one Linux machine as root.
//!
//! A test lives in a [`Lab`]: namespaces of its own for network, mounts and processes, with a bridge that its [`Host`]s hang
//! on. It reaches them at their addresses, with its own sockets, and nothing else. When it ends or is killed, all of it ends.
//!
//! ```no_run
//! use cutover_test_hosts::Lab;
//!
//! #[test]
//! fn a_unit_survives_a_power_cut() {
//!     Lab::run(|lab| {
//!         let hosts = lab.hosts(3);
//!         hosts[0].power_cut();
//!         hosts[0].boot();
//!         hosts[0].wait_running();
//!     });
//! }
//! ```
//!
//! What these hosts are not: they share the kernel, its page cache and its clock. So a power cut ends every process at once
//! and leaves what was written, synced or not; and a clock is shifted for one unit, see [`Host::clock_shift`]. Limits of
//! memory, processor and open files in units may be accepted and not enforced, as the machine's control groups have it.
//! One thing of the machine is changed and stays: root's limit of inotify instances is raised, for more than 40 hosts.
#![allow(clippy::disallowed_methods, reason = "deadlines of tests")]

mod clock;
mod disk;
mod exec;
mod host;
mod lab;
mod machine;
mod network;
mod postgres;
mod power;
mod shell;

pub use clock::off_by;
pub use host::Host;
pub use lab::Lab;
pub use machine::{cgroups, skipped};
pub use network::Cable;
pub use postgres::Postgres;
pub use shell::shell;

use std::time::{Duration, Instant};

/// How long a host may take for what should take milliseconds: a busy machine is no reason to fail.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Waits for a condition; never for a time.
///
/// # Panics
/// When the deadline passes first.
#[track_caller]
pub fn until<T>(what: &str, deadline: Duration, look: impl FnMut() -> Option<T>) -> T {
    within(deadline, look).unwrap_or_else(|| panic!("waited {deadline:?} for: {what}"))
}

/// The same, for what may fail to come.
pub(crate) fn within<T>(deadline: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let begun = Instant::now();
    loop {
        let seen = look();
        if seen.is_some() || begun.elapsed() >= deadline {
            return seen;
        }
        std::thread::sleep(Duration::from_millis(3));
    }
}
