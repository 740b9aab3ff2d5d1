//! The only clock of this store: it runs while the machine is suspended, as etcd's runs on.

use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// A moment of `CLOCK_BOOTTIME`. `Instant` is `CLOCK_MONOTONIC`, which stands still while a virtual machine is suspended: a
/// leader that slept past its lease would go on (clock_gettime(2)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Boot(pub(super) u64);

impl Boot {
    pub(super) fn now() -> Self {
        let now = clock_gettime(ClockId::Boottime);
        let millis = now.tv_sec.saturating_mul(1000).saturating_add(now.tv_nsec / 1_000_000);
        Self(u64::try_from(millis).unwrap_or(0))
    }
    pub(super) fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
    }
    /// How long from now until this moment; zero once it has passed.
    pub(super) fn left(self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(Self::now().0))
    }
}
