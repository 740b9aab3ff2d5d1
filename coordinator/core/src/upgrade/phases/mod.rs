//! One file a phase: which steps it has, what each asks for, and whether an outcome is proof enough.
//! To add a phase: a variant in the vocabulary, a file here, its line in `rules`, its place in `sequence`.

mod bake;
mod confirm_drained;
mod drain;
mod migrate;
mod open;
mod preflight;
mod prove;
mod rehearse;
mod restore;
mod secure;
mod stage;
mod start_closed;
mod switch;
mod verify;

use super::state::Upgrade;
use cutover_vocabulary::hold::HoldReason;
use cutover_vocabulary::{Evidence, Phase, Subject, Work};

/// Whether evidence is proof enough.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The step is done.
    Enough,
    /// A person must see this.
    Hold(HoldReason),
    /// It is not the evidence that this work yields.
    Wrong,
}

/// The rules of one phase. Pure: everything is read from the upgrade.
pub trait Rules: Sync {
    /// The steps, when the stage is entered.
    fn subjects(&self, upgrade: &Upgrade) -> Vec<Subject>;
    /// Whether a step may be ordered now, besides what the conflict table says. Steps that wait for another step of
    /// the same stage, or for a lane, say so here.
    fn may_begin(&self, _upgrade: &Upgrade, _subject: &Subject) -> bool {
        true
    }
    /// Whether the steps that take longest begin first, so that the last lane is not the longest.
    fn longest_first(&self) -> bool {
        false
    }
    /// What is asked for. None: what it needs is not known, which holds the upgrade.
    fn work(&self, upgrade: &Upgrade, subject: &Subject) -> Option<Work>;
    /// Whether the evidence is proof enough.
    fn judge(&self, upgrade: &Upgrade, subject: &Subject, evidence: &Evidence) -> Verdict;
}

/// The rules of a phase.
pub fn rules(phase: Phase) -> &'static dyn Rules {
    match phase {
        Phase::Preflight => &preflight::Preflight,
        Phase::Stage => &stage::Staging,
        Phase::Rehearse => &rehearse::Rehearse,
        Phase::Drain => &drain::Drain,
        Phase::ConfirmDrained => &confirm_drained::ConfirmDrained,
        Phase::Secure => &secure::Secure,
        Phase::Migrate => &migrate::Migrate,
        Phase::Prove => &prove::Prove,
        Phase::Switch => &switch::Switch,
        Phase::StartClosed => &start_closed::StartClosed,
        Phase::Verify => &verify::Verify,
        Phase::Open => &open::Open,
        Phase::Restore => &restore::Restore,
        Phase::SwitchBack => &switch::SwitchBack,
        Phase::Reopen => &open::Reopen,
        Phase::Bake => &bake::Bake,
    }
}
