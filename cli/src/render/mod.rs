//! What people read: plans, holds, statuses, summaries, as text of at most 80 columns. Pure: no clock, no terminal.
//!
//! Text from outside (names in a storage, metadata, messages of other programs) is escaped before it is laid out.

pub mod facts;
pub mod fleet;
pub mod going_back;
pub mod hold;
#[cfg(test)]
mod hostile;
pub mod ink;
pub mod losses;
pub mod next;
pub mod page;
pub mod plan;
pub mod runbook;
#[cfg(test)]
pub(crate) mod sample;
pub mod stages;
pub mod status;
pub mod words;
