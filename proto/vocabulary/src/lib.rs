//! The words that every part of Cutover uses, and no others: ids, versions, releases, storages, orders, outcomes, findings, plans, facts.
//!
//! Nothing here decides anything or touches the outside world. Every type is plain data that compares, hashes and serialises;
//! what is stored (facts, orders, outcomes) is externally tagged JSON, to which fields are only ever added with defaults.

pub mod digest;
pub mod fact;
pub mod finding;
pub mod hold;
pub mod instance;
pub mod link;
pub mod name;
pub mod order;
pub mod outcome;
pub mod phase;
pub mod plan;
pub mod release;
pub mod served;
pub mod shown;
pub mod status;
pub mod storage;
pub mod survey;
pub mod time;
pub mod version;

pub use digest::Digest;
pub use fact::{Fact, Recorded};
pub use finding::Finding;
pub use hold::Hold;
pub use name::{AgentName, DeploymentName, InstanceName, LedgerName, OperatorName, RequestId, UpgradeId};
pub use order::{Epoch, Order, OrderId, Work};
pub use outcome::{Evidence, Failure, Outcome};
pub use phase::{Phase, Subject};
pub use plan::Plan;
pub use time::{Elapsed, Now, Timestamp};
pub use version::Version;
