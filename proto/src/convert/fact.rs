//! Facts, which travel as they are stored.

use super::{stored, to_wire};
use crate::malformed::{Malformed, json, maybe};
use crate::v1 as pb;
use cutover_vocabulary::Recorded;
use cutover_vocabulary::status::Status;

impl From<Recorded> for pb::StoredFact {
    fn from(recorded: Recorded) -> Self {
        Self {
            seq: recorded.seq,
            at: Some(to_wire(recorded.at)),
            epoch: recorded.epoch.0,
            kind: recorded.fact.kind().to_owned(),
            json: stored(&recorded),
        }
    }
}
/// Only the JSON decides; a number beside it that says otherwise is refused.
impl TryFrom<pb::StoredFact> for Recorded {
    type Error = Malformed;
    fn try_from(wire: pb::StoredFact) -> Result<Self, Malformed> {
        numbered("json", &wire.json, wire.seq)
    }
}

/// One event of a watched upgrade.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The fact, as it is stored.
    pub recorded: Recorded,
    /// One line for people.
    pub text: String,
    /// Where the upgrade stands after it; none while old facts are caught up with.
    pub status: Option<Status>,
}
impl From<Event> for pb::Event {
    fn from(event: Event) -> Self {
        let Event { recorded, text, status } = event;
        Self {
            seq: recorded.seq,
            at: Some(to_wire(recorded.at)),
            kind: recorded.fact.kind().to_owned(),
            text,
            fact_json: stored(&recorded),
            status: status.map(Into::into),
        }
    }
}
impl TryFrom<pb::Event> for Event {
    type Error = Malformed;
    fn try_from(wire: pb::Event) -> Result<Self, Malformed> {
        Ok(Self {
            recorded: numbered("fact_json", &wire.fact_json, wire.seq)?,
            text: wire.text,
            status: maybe("status", wire.status)?,
        })
    }
}

fn numbered(field: &str, bytes: &[u8], seq: u64) -> Result<Recorded, Malformed> {
    let recorded: Recorded = json(field, bytes)?;
    if recorded.seq == seq {
        Ok(recorded)
    } else {
        Err(Malformed::at("seq", format_args!("it is {seq}, but the stored fact has {}", recorded.seq)))
    }
}
