//! The one place that reads the clock, and the texts that the ledger makes of a time.

use jiff::Timestamp;
use std::time::{SystemTime, UNIX_EPOCH};

/// Now.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "the simulator is an edge: the ledger stamps what it writes with the wall clock"
)]
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i128::try_from(since.as_nanos())
        .ok()
        .and_then(|n| Timestamp::from_nanosecond(n).ok())
        .unwrap_or(Timestamp::UNIX_EPOCH)
}

/// `2026-11-23T14:56:30Z`: transactions and metadata rows.
#[must_use]
pub fn seconds(at: Timestamp) -> String {
    Timestamp::from_second(at.as_second()).unwrap_or(Timestamp::UNIX_EPOCH).to_string()
}

/// `2026-11-23T14:13:00.696765155Z`: rows of `log`.
#[must_use]
pub fn nanoseconds(at: Timestamp) -> String {
    at.to_string()
}

/// `2026-11-23 14:13:00.693600083+00:00`: what the SQLite driver makes of a time, in `migrations` and the system store.
#[must_use]
pub fn sqlite(at: Timestamp) -> String {
    at.to_string().replace('T', " ").replace('Z', "+00:00")
}

/// The UTC text of a time that may be text as the ledger writes it, or as PostgreSQL shows one with a zone
/// (`2026-11-23 23:56:30+09`).
#[must_use]
pub fn utc(text: &str) -> String {
    if !text.contains(' ') {
        return text.to_owned();
    }
    text.replacen(' ', "T", 1).parse::<Timestamp>().map_or_else(|_| text.to_owned(), |at| at.to_string())
}

/// `2026-11-23T14:13:00.696765Z`: rows of `log` on PostgreSQL, which keeps no more digits.
#[must_use]
pub fn microseconds(at: Timestamp) -> String {
    Timestamp::from_microsecond(at.as_microsecond()).unwrap_or(Timestamp::UNIX_EPOCH).to_string()
}

/// `2026-11-23 14:13:05.609568518 +0000 UTC m=+0.04`: how Go prints a time, with its monotonic clock since the process began; here
/// always the same.
#[must_use]
pub fn go(at: Timestamp) -> String {
    format!("{} +0000 UTC m=+0.04", at.to_string().replace('T', " ").trim_end_matches('Z'))
}
