//! The only place of the coordinator that reads clocks.

use cutover_vocabulary::{Elapsed, Timestamp};
use rustix::time::{ClockId, Timespec, clock_gettime};
use std::fmt::Debug;
use std::time::{SystemTime, UNIX_EPOCH};

/// Where time comes from. Tests and simulations bring their own.
pub trait Clock: Debug + Send + Sync + 'static {
    /// The wall clock: for people, compared by nothing.
    fn wall(&self) -> Timestamp;
    /// A clock that never goes back and runs while the machine is suspended; only differences of it mean anything.
    fn boot(&self) -> Elapsed;
}

/// The clocks of this machine. `CLOCK_BOOTTIME`, because `CLOCK_MONOTONIC` stands still while a machine is suspended, and
/// a leader that slept must notice that its time is over (clock_gettime(2)).
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the edge; the C library's clock, which a test host can shift"
    )]
    fn wall(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
    fn boot(&self) -> Elapsed {
        Elapsed(u64::try_from(millis(clock_gettime(ClockId::Boottime))).unwrap_or(0))
    }
}

fn millis(time: Timespec) -> i64 {
    time.tv_sec.saturating_mul(1000).saturating_add(time.tv_nsec / 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boot_clock_never_goes_back() {
        let clock = SystemClock;
        let readings: Vec<Elapsed> = (0..100).map(|_| clock.boot()).collect();
        assert!(readings.is_sorted() && clock.wall().as_millis() > 1_600_000_000_000);
    }
}
