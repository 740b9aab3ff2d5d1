//! What a ledger holds, independent of how its tables look: digest, expected losses, comparison, self-check.

pub mod canonical;
pub mod compare;
pub mod compute;
pub mod consistency;
pub mod json;
pub mod rows;

pub use compare::{Comparison, compare, compare_since};
pub use compute::{Reading, digest, read};
pub use consistency::{Inconsistency, SelfCheck};
pub use rows::RowSource;
