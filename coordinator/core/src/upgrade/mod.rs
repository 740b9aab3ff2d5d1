//! The machine of an upgrade.
//!
//! `decide` judges inputs, `settle` moves on by itself, `apply` folds facts without judgement, `orders` derives what
//! should be worked on or withdrawn. Nothing else knows why an upgrade does what it does.

mod apply;
mod ask;
mod conflict;
mod decide;
mod holds;
mod input;
mod learn;
mod membership;
mod phases;
mod sequence;
mod settle;
mod settled;
mod state;
mod status;

pub use decide::{decide, start};
pub use input::{Ask, Decision, Input, Rejected};
pub use phases::{Rules, Verdict, rules};
pub use sequence::{Reached, Way, forward, rehearsal, way_back};
pub use settle::Want;
pub use state::{BrokenChain, Happened, StepState, Upgrade};
pub use status::{Back, what_if};
