//! The agent: speaks for the ledger instances of its host and carries out orders.

pub mod perform;
pub mod files;
pub mod ledger;
pub mod machine;
pub mod release;
pub mod service;
pub mod settings;
pub mod worker;
pub mod work;
mod desk;
pub mod journal;
mod link;
pub mod run;
pub mod host;
pub mod local;
