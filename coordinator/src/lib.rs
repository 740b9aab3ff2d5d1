//! The control plane: settings, election, the loop of an upgrade, dispatch, gRPC services.
//!
//! - [`settings`], [`clock`], [`faults`]: what comes in from outside.
//! - [`run`]: puts the parts together; the program and single-node mode both call it.
//! - [`archive`]: the whole store to a file and from one; the program's own commands.
//! - `election`, `leadership`: who leads, and what only a leader has.
//! - `upgrade_loop`: one task an active upgrade: decide, append, and only after the commit dispatch and answer.
//! - `links`: the links of agents; outboxes that can be emptied and filled again at any time.
//! - `registry`, `surveys`, `plans`: members, looks at hosts, plans and their start.
//! - `members`, `allowed`: who must be there, and on which release; `calls`: one answer a request id.
//! - `services`: the API; `metrics`: the same state for Prometheus; `hook`: the operator's program; `describe`: facts as sentences.
//!
//! Everything that decides lives in `cutover-core`; everything that is remembered lives in the store.

mod allowed;
pub mod archive;
mod calls;
pub mod clock;
pub mod describe;
mod election;
pub mod faults;
mod hook;
mod leadership;
mod links;
mod members;
mod metrics;
mod plans;
mod registry;
mod run;
mod services;
pub mod settings;
mod sever;
mod surveys;
mod upgrade_loop;

pub use cutover_core::upgrade::Want;
pub use run::{CannotRun, Parts, open_store, raise_epochs, run, run_with};
pub use settings::Settings;
