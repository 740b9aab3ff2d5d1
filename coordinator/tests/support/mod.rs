//! A coordinator in this process over a Unix socket, agents that answer by script, and a client.
#![allow(dead_code, unreachable_pub, unused_imports, reason = "every test file uses its own part")]

#[allow(clippy::all, clippy::wildcard_enum_match_arm, reason = "the core's test support, checked there")]
#[path = "../../core/tests/support/mod.rs"]
pub mod host;

mod agent;
pub mod panics;
mod site;
mod store;

pub use agent::{Entry, FAILURE, FakeAgent, Journal, Manners};
pub use site::{Backend, Client, Coordinator, Site, StopAt, persist, until};
pub use store::{Meddled, Meddles};
