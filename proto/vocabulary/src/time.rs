//! Time as data. Nothing here reads a clock.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A moment by the wall clock, for people. No deadline compares it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub jiff::Timestamp);

impl Timestamp {
    /// From milliseconds since 1970; out-of-range values become the nearest representable moment.
    pub fn from_millis(millis: i64) -> Self {
        let clamped = jiff::Timestamp::from_millisecond(millis);
        let edge = if millis < 0 { jiff::Timestamp::MIN } else { jiff::Timestamp::MAX };
        Self(clamped.unwrap_or(edge))
    }
    /// Milliseconds since 1970.
    pub fn as_millis(self) -> i64 {
        self.0.as_millisecond()
    }
    /// How long lies between this and a later moment; nothing where the clock went back.
    pub fn until(self, later: Self) -> Elapsed {
        Elapsed(u64::try_from(later.as_millis().saturating_sub(self.as_millis())).unwrap_or(0))
    }
}
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A length of time in milliseconds. Measured on a clock that runs while the machine sleeps (CLOCK_BOOTTIME).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Elapsed(pub u64);

impl Elapsed {
    /// From whole seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds * 1000)
    }
    /// In milliseconds.
    pub const fn as_millis(self) -> u64 {
        self.0
    }
    /// How much longer this is than `other`; zero when it is not.
    pub const fn since(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
    /// The sum.
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
    /// For timers.
    pub const fn duration(self) -> std::time::Duration {
        std::time::Duration::from_millis(self.0)
    }
}
impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ms if ms < 1_000 => write!(f, "{ms} ms"),
            ms if ms < 120_000 => write!(f, "{}.{} s", ms / 1000, ms % 1000 / 100),
            ms if ms < 7_200_000 => write!(f, "{} min {} s", ms / 60_000, ms % 60_000 / 1000),
            ms => write!(f, "{} h {} min", ms / 3_600_000, ms % 3_600_000 / 60_000),
        }
    }
}

/// What the core is told about time when it decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Now {
    /// For people; stored in facts.
    pub wall: Timestamp,
    /// Since this leader was elected; all deadlines compare this and restart with an election.
    pub leading_for: Elapsed,
}
