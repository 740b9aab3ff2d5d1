//! The only conversions between wire and vocabulary.
//!
//! `From` towards the wire never fails; `TryFrom` towards the vocabulary names the field that is wrong. Nothing is lost
//! on the way there and back (`tests/round_trip.rs`).

mod enums;
pub mod fact;
mod hold;
mod instance;
mod link;
mod order;
mod plan;
mod status;
mod storage;

use crate::malformed::Malformed;
use cutover_vocabulary::{Elapsed, Timestamp};
pub use plan::{heard, spoken};
use prost_types::Timestamp as Wire;
use serde::Serialize;

const NANOS: i32 = 1_000_000_000;

/// A moment for the wire, where the nanoseconds always count forwards, before 1970 too.
pub fn to_wire(moment: Timestamp) -> Wire {
    let (seconds, nanos) = (moment.0.as_second(), moment.0.subsec_nanosecond());
    if nanos < 0 { Wire { seconds: seconds - 1, nanos: nanos + NANOS } } else { Wire { seconds, nanos } }
}

/// A moment from the wire; `field` is where it stands. Refuses nanoseconds out of range and years beyond 9999.
pub fn moment(field: &str, wire: Option<Wire>) -> Result<Timestamp, Malformed> {
    let Wire { seconds, nanos } = wire.ok_or_else(|| Malformed::at(field, "it is missing"))?;
    if !(0..NANOS).contains(&nanos) {
        return Err(Malformed::at(field, format_args!("{nanos} nanoseconds are out of range")));
    }
    jiff::Timestamp::new(seconds, nanos).map(Timestamp).map_err(|error| Malformed::at(field, error))
}

/// A moment from the wire that may be absent.
pub fn maybe_moment(field: &str, wire: Option<Wire>) -> Result<Option<Timestamp>, Malformed> {
    wire.map(|wire| moment(field, Some(wire))).transpose()
}

/// A length of time for the wire. What does not fit (292 million years) becomes the longest that does.
fn millis(length: Elapsed) -> i64 {
    i64::try_from(length.as_millis()).unwrap_or(i64::MAX)
}

/// A stored value as the bytes that are stored and hashed. Serialising our own plain data cannot fail; if it ever did,
/// the empty bytes would be refused by whoever reads them.
fn stored(value: &impl Serialize) -> prost::bytes::Bytes {
    serde_json::to_vec(value).unwrap_or_default().into()
}
