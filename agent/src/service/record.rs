//! The record of a process: written by the process itself before it becomes the ledger, so that there is never a ledger
//! that no record knows, and an agent that was restarted finds it again.

use super::{Role, ServiceError};
use crate::files::{self, FileError};
use crate::machine;
use cutover_vocabulary::{Elapsed, InstanceName, Timestamp};
use procfs::process::{ProcState, Process};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Which process was started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Process id.
    pub pid: u32,
    /// When it started, in ticks since boot: a process id is used again, both together are not.
    pub start: u64,
    /// Boot id: after a reboot no process of before exists.
    pub boot: String,
    /// Which binary it became.
    pub program: PathBuf,
    /// Where it listens, if the agent chose that.
    pub address: Option<String>,
    /// When it was started.
    pub at: Timestamp,
    /// Where its part of the error output begins, in bytes.
    pub stderr_from: u64,
}

/// Where the record of a role lies.
pub fn path(instance_dir: &Path, role: Role) -> PathBuf {
    instance_dir.join(format!("{}.json", role.word()))
}

/// The process of that role, if it runs now. A zombie does not run.
///
/// # Errors
/// When the record is damaged, or `/proc` cannot be read: then it cannot be told whether it runs.
pub fn running(instance_dir: &Path, instance: &InstanceName, role: Role) -> Result<Option<Record>, ServiceError> {
    match last(instance_dir, role)? {
        Some(record) if alive(&record, instance)? => Ok(Some(record)),
        Some(_) | None => Ok(None),
    }
}

/// The process of that role that was started last, running or not.
pub fn last(instance_dir: &Path, role: Role) -> Result<Option<Record>, FileError> {
    files::read_json(&path(instance_dir, role))
}

/// Whether exactly this process still runs.
pub fn alive(record: &Record, instance: &InstanceName) -> Result<bool, ServiceError> {
    if record.boot != machine::boot_id() {
        return Ok(false);
    }
    match start_time(record.pid) {
        Ok(start) => Ok(start == Some(record.start)),
        Err(source) => {
            Err(ServiceError::Process { doing: "look at", pid: record.pid, instance: instance.clone(), source })
        }
    }
}

/// How long ago a process started that did so at this tick since boot.
pub fn age(start: u64) -> Elapsed {
    let started = Elapsed(start.saturating_mul(1000) / procfs::ticks_per_second().max(1));
    machine::uptime().since(started)
}

/// When a process started, in ticks since boot; none when it does not run (any more).
pub fn start_time(pid: u32) -> std::io::Result<Option<u64>> {
    let pid = i32::try_from(pid).map_err(std::io::Error::other)?;
    let stat = match Process::new(pid).and_then(|process| process.stat()) {
        Ok(stat) => stat,
        Err(procfs::ProcError::NotFound(_)) => return Ok(None),
        Err(error) => return Err(std::io::Error::other(error.to_string())),
    };
    match stat.state() {
        Ok(ProcState::Zombie | ProcState::Dead) => Ok(None),
        Ok(_) | Err(_) => Ok(Some(stat.starttime)),
    }
}
