//! A stand-in for the ledger's binary that behaves as the real one was measured to behave, disasters included: command line,
//! HTTP, storage on SQLite and PostgreSQL, migration. It is one program for all releases; a trailer behind the ELF file says which one it is
//! ([`trailer`], [`pack`]), and [`release`] says what that release does.
//!
//! Its behaviour is what [the contract suite](crate::contract) asserts; that suite also runs against the real binary.
//! Tests of failure use the switches of [`faults`].

pub mod clock;
pub mod command;
pub mod console;
pub mod contract;
pub mod faults;
pub mod flags;
pub mod go;
pub(crate) mod http;
pub mod model;
pub mod pack;
pub(crate) mod percent;
pub mod release;
pub mod seed;
pub mod settings;
pub mod storage;
pub mod trailer;
pub(crate) mod usage;
pub mod wire;
