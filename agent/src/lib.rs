//! The agent: speaks for the ledger instances of its host and carries out orders.

pub mod adopt;
mod desk;
pub mod files;
pub mod host;
pub mod journal;
pub mod ledger;
mod link;
pub mod local;
pub mod machine;
pub mod needs;
pub mod perform;
pub mod readiness;
pub mod release;
pub mod run;
pub mod service;
pub mod settings;
pub mod work;
pub mod worker;
