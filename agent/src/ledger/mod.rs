//! The ledger's own interfaces: its command line and its HTTP API. Everything it prints is parsed here and nowhere else.

pub mod cli;
pub mod http;
pub mod message;
pub mod server;
