//! Whether a process that runs uses what its settings lead to by now. Settings that were changed without a restart, or a unit's own
//! view of the file system, would have one storage backed up and migrated, and clients' writes in another.

use super::place::{Place, SYSTEM_FOLDER, same};
use super::strays::{identity, is_server};
use super::trouble::Trouble;
use crate::service::Running;
use crate::settings::InstanceSettings;
use cutover_vocabulary::storage::StorageIdentity;
use procfs::process::Process;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// What to do where it does not.
const REMEDY: &str = "restart it, so that it uses what it says, or put its settings back; then plan again";

/// Refuses an instance whose process uses another storage than its settings lead to now, or sees other files at their paths. Nothing
/// where it is down, or is a script that starts the ledger as a process of its own: that tells nothing.
pub(super) fn must_agree(settings: &InstanceSettings, running: &Running, place: &Place) -> Result<(), Trouble> {
    if running.starting || running.ending {
        return Ok(());
    }
    // One that ends while it is looked at is gone.
    let Some(process) = i32::try_from(running.pid).ok().and_then(|pid| Process::new(pid).ok()) else { return Ok(()) };
    let Ok(words) = process.cmdline() else { return Ok(()) };
    let pid = running.pid;
    if !is_server(&words) && program(pid) != inode(&settings.command) {
        return Ok(());
    }
    let wanted = place.storage.identity();
    let used = identity(settings, &process, &words).map_err(|why| {
        Trouble::refused(format!("which storage its process {pid} uses cannot be told: {why}"), REMEDY)
    })?;
    if !same(&used, wanted) {
        return Err(Trouble::refused(
            format!(
                "its process {pid} uses {used}, and its settings lead to {wanted} by now: they were changed since it was started"
            ),
            REMEDY,
        ));
    }
    for path in files(place) {
        if sees(pid, &path) != inode(&path) {
            return Err(Trouble::refused(
                format!(
                    "its process {pid} does not see at {} what the host has there: its unit has a view of the file system of its \
                     own (BindPaths=, TemporaryFileSystem=, ProtectHome=, PrivateTmp=…)",
                    path.display()
                ),
                "move what the ledger uses out of that, so that the unit and the host see the same; then plan again",
            ));
        }
    }
    Ok(())
}

/// The paths that decide which storage is used, those of settings files that are not there with them.
fn files(place: &Place) -> Vec<PathBuf> {
    let settings =
        [place.resolved.home().join(".numary"), PathBuf::from(SYSTEM_FOLDER)].map(|at| at.join("numary.yaml"));
    let directory = match place.storage.identity() {
        StorageIdentity::Sqlite { directory, .. } => Some(PathBuf::from(directory)),
        StorageIdentity::Postgres { .. } => None,
    };
    directory.into_iter().chain(settings).collect()
}

/// The program that it is.
fn program(pid: u32) -> Option<(u64, u64)> {
    inode(&Path::new("/proc").join(pid.to_string()).join("exe"))
}

fn inode(path: &Path) -> Option<(u64, u64)> {
    std::fs::metadata(path).map(|data| (data.dev(), data.ino())).ok()
}

/// What a process finds at a path, in its own mount namespace (man proc, `/proc/PID/root`).
fn sees(pid: u32, path: &Path) -> Option<(u64, u64)> {
    inode(&Path::new("/proc").join(pid.to_string()).join("root").join(path.strip_prefix("/").unwrap_or(path)))
}
