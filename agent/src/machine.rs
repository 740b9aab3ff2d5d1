//! This machine: its ids and its clocks. The only place of the agent's effects that reads a clock.

use cutover_vocabulary::{Elapsed, Timestamp};
use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

/// Machine id; empty where the system has none (a container without systemd): then the host name stands in.
pub fn machine_id() -> String {
    let id = fs::read_to_string("/etc/machine-id").unwrap_or_default().trim().to_owned();
    if id.is_empty() {
        let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        format!("host:{}", name.trim())
    } else {
        id
    }
}

/// Boot id: another one means that no process of before can still run.
pub fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// The wall clock, for people.
#[expect(clippy::disallowed_methods, reason = "this is the edge; the C library's clock, which a test host can shift")]
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Time since the machine started, suspension included: what lengths of time are measured with.
pub fn uptime() -> Elapsed {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let millis = time.tv_sec.saturating_mul(1000).saturating_add(time.tv_nsec / 1_000_000);
    Elapsed(u64::try_from(millis).unwrap_or_default())
}
