//! The host's effects with real processes, sockets, files and SQLite, and the simulated ledger.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a test that panics has failed")]

mod bake;
mod companion;
mod download;
mod notice;
mod observe_only;
mod ready;
mod release;
mod service;
mod storage;
mod support;
mod words;
