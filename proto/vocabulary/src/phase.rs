//! The stages of an upgrade and what their steps are about.

use crate::{InstanceName, LedgerName};
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::fmt;

macro_rules! phases {
    ($($(#[$doc:meta])* $name:ident => $word:literal;)*) => {
        /// A stage of an upgrade. The order of this list is not the order of an upgrade: the core's `sequence` is.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum Phase { $($(#[$doc])* $name,)* }
        impl Phase {
            /// Every phase, so that tests cover a new one by themselves.
            pub const ALL: &[Phase] = &[$(Phase::$name,)*];
            /// The word in order ids, facts, logs and on screens.
            pub fn word(self) -> &'static str { match self { $(Phase::$name => $word,)* } }
        }
        impl std::str::FromStr for Phase {
            type Err = UnknownWord;
            fn from_str(text: &str) -> Result<Self, UnknownWord> {
                match text { $($word => Ok(Phase::$name),)* _ => Err(UnknownWord(text.to_owned())) }
            }
        }
    };
}

/// A text that is none of our words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is none of the known words")]
pub struct UnknownWord(pub String);

phases! {
    /// Look again: is everything still as the plan saw it?
    Preflight => "preflight";
    /// Fetch, verify and unpack the target release beside the present one.
    Stage => "stage";
    /// Migrate a copy with the target binary, and start it there with each instance's own arguments.
    Rehearse => "rehearse";
    /// Out of rotation, fenced, stopped.
    Drain => "drain";
    /// A fresh round of attestations: every instance is down, and nobody else is on the storage. Repeated before
    /// each stage that must not run beside a writer.
    ConfirmDrained => "confirm-drained";
    /// Recovery points, each proved to restore.
    Secure => "secure";
    /// `storage scan`, `list`, and `upgrade` of every ledger.
    Migrate => "migrate";
    /// Every ledger holds what it held before, but for the approved losses.
    Prove => "prove";
    /// The target release becomes the one that starts.
    Switch => "switch";
    /// One instance, on a loopback port that no client knows.
    StartClosed => "start-closed";
    /// The closed instance has the right version and reads every ledger; then it is ended.
    Verify => "verify";
    /// Traffic is let in on the new version: the point of no return.
    Open => "open";
    /// Rolling: for a while old and new instances answer and read every ledger, before the next wave moves.
    Bake => "bake";
    /// Way back: the ledgers whose migration committed become what they were.
    Restore => "restore";
    /// Way back: the former release becomes the one that starts.
    SwitchBack => "switch-back";
    /// Way back: traffic is let in on the former version.
    Reopen => "reopen";
}
impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// What a step is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// One instance.
    Instance(InstanceName),
    /// One ledger.
    Ledger(LedgerName),
    /// The storage as a whole, with its system store.
    Storage,
}
/// Instances, then ledgers, each by name, then the storage. By hand, because it is what looking up a step does most of its time.
impl Ord for Subject {
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Instance(one), Self::Instance(other)) => one.cmp(other),
            (Self::Ledger(one), Self::Ledger(other)) => one.cmp(other),
            (Self::Storage, Self::Storage) => Ordering::Equal,
            (Self::Instance(_), Self::Ledger(_) | Self::Storage) | (Self::Ledger(_), Self::Storage) => Ordering::Less,
            (Self::Storage, Self::Ledger(_) | Self::Instance(_)) | (Self::Ledger(_), Self::Instance(_)) => {
                Ordering::Greater
            }
        }
    }
}
impl PartialOrd for Subject {
    #[inline]
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Instance(name) => write!(f, "instance {name}"),
            Self::Ledger(name) => write!(f, "ledger {name}"),
            Self::Storage => f.write_str("storage"),
        }
    }
}

/// An authorisation after which abort means something else. Crossed by a fact, before any order that needs it leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Border {
    /// From here the storage may be changed; abort means restore.
    MigrateAuthorised,
    /// From here clients may write to the new version. With downtime, going back would lose what they wrote; in a rolling
    /// upgrade the former version goes on with the same storage.
    OpenAuthorised,
}
impl fmt::Display for Border {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MigrateAuthorised => "migrate-authorised",
            Self::OpenAuthorised => "open-authorised",
        })
    }
}

/// One entry of the sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Stage {
    /// What is done.
    pub phase: Phase,
    /// The border that is crossed when this stage is entered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub border: Option<Border>,
    /// Which wave of a rolling upgrade it moves, from 0; none where it is about all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wave: Option<u16>,
}
impl Stage {
    /// A stage that crosses no border.
    pub const fn of(phase: Phase) -> Self {
        Self { phase, border: None, wave: None }
    }
    /// A stage that is entered only with an authorisation.
    pub const fn behind(border: Border, phase: Phase) -> Self {
        Self { phase, border: Some(border), wave: None }
    }
    /// The same for the instances of one wave alone.
    pub const fn of_wave(self, wave: u16) -> Self {
        Self { phase: self.phase, border: self.border, wave: Some(wave) }
    }
}
