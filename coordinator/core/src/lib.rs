//! The pure core of Cutover.
//!
//! * [`catalogue`]: what is known of the ledger's releases, as data with its source.
//! * [`plan`]: surveys become a plan: findings, one file a rule, and a sequence of stages.
//! * [`upgrade`]: the machine: inputs become facts, facts become the state, the state says which orders stand.
//!
//! Nothing here reads a clock, makes an id, or touches the outside world: time and ids are parameters.

pub mod catalogue;
pub mod plan;
pub mod upgrade;
