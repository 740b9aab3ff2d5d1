//! The one place where this crate reads clocks: workers stand at the edge.

use cutover_vocabulary::{Elapsed, Timestamp};
use rustix::time::{ClockId, clock_gettime};

/// Since the machine's boot, suspension included; for durations.
pub fn since_boot() -> Elapsed {
    millis(ClockId::Boottime)
}

/// The wall clock, for manifests that people read.
pub fn wall() -> Timestamp {
    let now = millis(ClockId::Realtime);
    Timestamp::from_millis(i64::try_from(now.as_millis()).unwrap_or(i64::MAX))
}

fn millis(clock: ClockId) -> Elapsed {
    let at = clock_gettime(clock);
    let seconds = u64::try_from(at.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(at.tv_nsec).unwrap_or(0);
    Elapsed(seconds * 1000 + nanos / 1_000_000)
}
