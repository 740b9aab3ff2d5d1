//! What the agent needs of its host, to be looked at before an upgrade relies on it. Each look uses what the work itself uses,
//! and changes nothing.

use crate::service::ports;
use crate::service::record::start_time;
use crate::settings::InstanceSettings;
use crate::work::Trouble;
use crate::work::place;
use cutover_storage::settings::Resolved;
use cutover_vocabulary::storage::{Driver, StorageIdentity};
use rustix::fs::{FlockOperation, flock};
use rustix::process::{PidfdFlags, getpid, pidfd_open};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

pub use cutover_storage::postgres::client_programs;
pub use cutover_storage::sqlite::free_bytes;
pub use cutover_storage::sqlite::quiet::hidden_from_us;

/// Whether the kernel gives handles of processes: a service is stopped through one, so that no other process is signalled
/// whose number was given anew.
///
/// # Errors
/// The kernel's answer.
pub fn process_handles() -> io::Result<()> {
    Ok(pidfd_open(getpid(), PidfdFlags::empty()).map(drop)?)
}

/// Whether the process table says when a process was started: that, with its number, is what a service is known by.
///
/// # Errors
/// When it cannot be read, or does not have this process.
pub fn process_table() -> io::Result<()> {
    let found = start_time(std::process::id())?;
    found.map(drop).ok_or_else(|| io::Error::other("this process is not in it"))
}

/// Whether the table of connections can be read: an instance is drained once no client is connected to it.
///
/// # Errors
/// When it cannot be read.
pub fn connections() -> Result<(), String> {
    ports::look(0).map(drop).map_err(|error| error.to_string())
}

/// Whether files in a folder can be locked: workers and storages are kept apart by that. Leaves nothing there.
///
/// # Errors
/// When a file can neither be made nor locked there.
pub fn locks(folder: &Path) -> io::Result<()> {
    let file = tempfile::tempfile_in(folder)?;
    Ok(flock(&file, FlockOperation::NonBlockingLockExclusive)?)
}

/// Where an instance keeps its data, by its own settings. Nothing is connected to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DataPlace {
    /// SQLite files in this directory.
    Directory(PathBuf),
    /// A database, on PostgreSQL.
    Database,
}

/// Where an instance keeps its data, by its arguments, its environment and the files that the ledger reads.
///
/// # Errors
/// When they do not say so, with what to do.
pub fn data_place(instance: &InstanceSettings) -> Result<DataPlace, Trouble> {
    let resolved = place::settings_of(instance)?;
    Ok(match resolved.driver()? {
        Driver::Sqlite => DataPlace::Directory(resolved.directory()?),
        Driver::Postgres => DataPlace::Database,
    })
}

/// Which storage an instance uses, told by what cannot be spelt in two ways. A database is asked; nothing is changed.
///
/// # Errors
/// When its settings do not say so, or it cannot be reached.
pub fn storage(instance: &InstanceSettings) -> Result<StorageIdentity, Trouble> {
    Ok(place::of(instance)?.storage.identity().clone())
}

/// An instance's settings of the ledger, each with where it came from.
///
/// # Errors
/// When they cannot be told, with what to do.
pub fn resolved(instance: &InstanceSettings) -> Result<Resolved, Trouble> {
    place::settings_of(instance)
}

/// Where an instance serves clients, as one on this host reaches it.
///
/// # Errors
/// When its settings do not say so, with what to do.
pub fn address(instance: &InstanceSettings) -> Result<SocketAddr, Trouble> {
    place::address(instance, &place::settings_of(instance)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_host_has_what_the_agent_needs_and_a_look_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        process_handles().unwrap();
        process_table().unwrap();
        connections().unwrap();
        locks(folder.path()).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        let nowhere = folder.path().join("nowhere");
        assert_eq!(locks(&nowhere).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
