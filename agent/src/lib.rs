//! The agent: speaks for the ledger instances of its host and carries out orders.

pub mod perform;
