//! Services: start, observe, stop, and keep from starting.
//!
//! [`process`] runs a service as a plain process that outlives the agent. It has no guard outside the agent: whoever
//! starts the ledger by hand while it is fenced is not kept from it, and proofs say so (`guarded: false`).

pub mod environment;
pub mod fence;
pub mod launch;
pub mod ports;
pub mod process;
pub mod record;
pub mod requests;

use crate::files::FileError;
use cutover_vocabulary::InstanceName;
use environment::EnvironmentError;
use std::path::PathBuf;

/// Which process of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// The service itself, which clients talk to.
    Service,
    /// A copy on a loopback port that nobody knows.
    Closed,
}
impl Role {
    /// The first part of its files' names.
    pub fn word(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Closed => "closed",
        }
    }
}

/// Something that went wrong with a service, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// A file of the agent's own.
    #[error(transparent)]
    File(#[from] FileError),
    /// The service's environment file.
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
    /// It is fenced.
    #[error(
        "instance {instance} is fenced (generation {generation}): it is started only by the order that opens it, or after `local unfence`"
    )]
    Fenced {
        /// Which instance.
        instance: InstanceName,
        /// The fence's generation.
        generation: u64,
    },
    /// The program that starts services cannot be started.
    #[error("cannot start {}: {source}; check that it is there and executable", program.display())]
    Spawn {
        /// Which program.
        program: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The launcher did not become the ledger.
    #[error("instance {instance} was not started: {why}")]
    NotLaunched {
        /// Which instance.
        instance: InstanceName,
        /// Why not.
        why: String,
    },
    /// The operating system would not let us look at or signal a process.
    #[error(
        "cannot {doing} process {pid} of instance {instance}: {source}; the agent must run as root or as the service's user"
    )]
    Process {
        /// What was tried.
        doing: &'static str,
        /// Which process.
        pid: u32,
        /// Of which instance.
        instance: InstanceName,
        /// Why not.
        source: std::io::Error,
    },
    /// The table of connections cannot be read.
    #[error("cannot read the connections of this host: {0}; not visible is not quiet, so the step cannot be proved")]
    Connections(String),
    /// No address can be made out of the settings.
    #[error("cannot tell which port instance {instance} serves: {why}")]
    Address {
        /// Which instance.
        instance: InstanceName,
        /// Why not.
        why: String,
    },
}
