//! What a hook is told: one JSON object, and the same basics in its environment.

use crate::describe::describe;
use cutover_core::upgrade::Upgrade;
use cutover_vocabulary::fact::Ending;
use cutover_vocabulary::status::State;
use cutover_vocabulary::{DeploymentName, Fact, Hold, Now, Phase, Recorded, Timestamp, UpgradeId};
use serde::Serialize;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Kind {
    /// It waits for a person.
    Held,
    /// The first instance on the target has let clients in.
    Opened,
    /// It came to its end.
    Ended,
}
impl Kind {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Opened => "opened",
            Self::Ended => "ended",
        }
    }
}

/// One event, as the fact made it: what has happened since is not in it. Fields are only added.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Event {
    pub(super) event: Kind,
    deployment: DeploymentName,
    upgrade: UpgradeId,
    /// The fact's number; with the upgrade it names the event for ever.
    pub(super) seq: u64,
    at: Timestamp,
    /// One line for people, without control characters.
    text: String,
    phase: Option<Phase>,
    state: State,
    hold: Option<Hold>,
    ending: Option<Ending>,
}

impl Event {
    /// What there is to tell of a fact that was just folded; `opened` where clients reach the target since this fact.
    pub(super) fn of(recorded: &Recorded, upgrade: &Upgrade, opened: bool) -> Option<Self> {
        let (event, hold, ending) = if let Fact::Held { hold } = &recorded.fact {
            (Kind::Held, Some(Hold::clone(hold)), None)
        } else if let Fact::Ended { ending, .. } = &recorded.fact {
            (Kind::Ended, None, Some(*ending))
        } else if opened {
            (Kind::Opened, None, None)
        } else {
            return None;
        };
        Some(Self {
            event,
            deployment: upgrade.plan().binding.deployment.clone(),
            upgrade: upgrade.id().clone(),
            seq: recorded.seq,
            at: recorded.at,
            text: describe(recorded),
            phase: upgrade.phase(),
            state: upgrade.status(Now { wall: recorded.at, leading_for: recorded.leading_for }).state,
            hold,
            ending,
        })
    }

    /// One line of JSON.
    pub(super) fn json(&self) -> Vec<u8> {
        // Serialising our own plain data cannot fail.
        let mut json = serde_json::to_vec(self).unwrap_or_default();
        json.push(b'\n');
        json
    }

    pub(super) fn environment(&self) -> [(&'static str, &str); 3] {
        [
            ("CUTOVER_EVENT", self.event.word()),
            ("CUTOVER_DEPLOYMENT", self.deployment.as_str()),
            ("CUTOVER_UPGRADE", self.upgrade.as_str()),
        ]
    }
}
