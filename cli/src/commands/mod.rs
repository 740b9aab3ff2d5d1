//! The operator's commands, one file a group.

pub mod look;
pub mod members;
pub mod plan;
pub mod rejoin;
pub mod runbook;
pub mod shell;
pub mod steer;
pub mod upgrade;
