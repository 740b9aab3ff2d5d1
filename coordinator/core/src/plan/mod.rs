//! Plans: surveys become findings and a sequence of stages; a person approves; the start compares.

mod approve;
mod case;
pub mod findings;
mod make;
mod may_start;
mod parties;
mod preparations;
pub mod verdict;

pub use approve::{Approve, NotApprovable, approve};
pub use case::Case;
pub use make::{CannotPlan, PlanAsk, StrategyAsk, choose, make};
pub use may_start::{MayNotStart, may_start};
pub use parties::Parties;
pub use preparations::preparations;
