//! Where facts are kept: one trait, its implementations, and the conformance suite they all pass.
//!
//! A store does three things, all fenced by an [`Epoch`](cutover_vocabulary::Epoch): it elects a leader, it keeps each
//! upgrade's facts as one chain that only grows, and it keeps small documents (the registry) and chunks of evidence.
//! It judges nothing: what a fact means is the core's business.
//!
//! - [`contract`]: the trait and the words of its answers. Start here.
//! - [`memory`]: for tests and simulations, with faults on demand.
//! - [`sqlite`]: one file on one machine.
//! - [`etcd`]: an etcd cluster, for several coordinators.
//! - [`archive`]: a whole store in one file, to move it or to keep it.
//! - `conformance` (feature of the same name): what every implementation promises, one named function a promise.

pub mod archive;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod contract;
pub mod error;
pub mod etcd;
pub mod memory;
pub mod names;
mod page;
mod seal;
pub mod sqlite;

pub use contract::{
    Appended, Batch, Leader, MAX_BATCH_BYTES, MAX_CHUNK_BYTES, MAX_DOCUMENT_BYTES, MAX_FACT_BYTES, Present, Put, Store,
    Stored, UpgradeHead,
};
pub use error::{Malformed, StoreError};
pub use etcd::{EtcdSettings, EtcdStore};
pub use memory::MemoryStore;
pub use names::{CoordinatorName, InvalidKey, Key, Nonce, Revision};
pub use sqlite::SqliteStore;
