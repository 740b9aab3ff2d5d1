//! Upgrades of five hosts with a systemd each that share a database, and of a single one: whole, and with power cuts, hosts
//! that hang, networks that are gone and agents that are killed at every phase and around every border.
#![allow(clippy::wildcard_enum_match_arm, reason = "a test looks for one variant")]
#![allow(clippy::disallowed_methods, reason = "how long a tier took")]

mod away;
mod fault;
mod identity;
mod mishaps;
mod site;
mod whatever;
