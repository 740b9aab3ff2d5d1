//! Whether a process that runs uses what its settings lead to by now. Settings that were changed without a restart, or a unit's own
//! view of the file system, would have one storage backed up and migrated, and clients' writes in another. A `numary.yaml` that was
//! edited since is not seen: both sides read it now.

use super::place::{self, Place, SYSTEM_FOLDER};
use super::strays::settings_of;
use super::trouble::Trouble;
use crate::service::Running;
use crate::settings::InstanceSettings;
use cutover_storage::postgres::name_the_same;
use cutover_storage::settings::{Key, Origin};
use cutover_vocabulary::storage::Driver;
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
    let pid = running.pid;
    // One that ends while it is looked at is gone.
    let Some(process) = i32::try_from(pid).ok().and_then(|pid| Process::new(pid).ok()) else { return Ok(()) };
    let Ok(words) = process.cmdline() else { return Ok(()) };
    if !words.windows(2).any(|pair| pair == ["server", "start"]) && program(pid) != inode(&settings.command) {
        return Ok(());
    }
    let its = match settings_of(settings, &process, &words) {
        Ok(its) => its,
        Err(_) if !process.is_alive() => return Ok(()),
        Err(error) => {
            let message = format!("which storage its process {pid} uses cannot be told: {error}");
            return Err(Trouble::refused(message, "let the agent read what that process was started with"));
        }
    };
    if !leads_there(settings, &its, place)? {
        let used = place::of(&its)?;
        let (used, wanted) = (used.storage.identity(), place.storage.identity());
        if !used.leads_to(wanted) {
            return Err(Trouble::refused(
                format!(
                    "its process {pid} uses {used}, and its settings lead to {wanted} by now: they were changed since it was started"
                ),
                REMEDY,
            ));
        }
    }
    match files(place).into_iter().find(|path| sees(pid, path) != inode(path)) {
        None => Ok(()),
        Some(path) => Err(Trouble::refused(
            format!(
                "its process {pid} does not see at {} what the host has there: its unit has a view of the file system of its own \
                 (BindPaths=, TemporaryFileSystem=, ProtectHome=, PrivateTmp=…)",
                path.display()
            ),
            "move what the ledger uses out of that, so that the unit and the host see the same; then plan again",
        )),
    }
}

/// Whether both name one database server by the same words. A password that was changed since needs no restart, and the old one may
/// let nobody in any more.
fn leads_there(settings: &InstanceSettings, its: &InstanceSettings, place: &Place) -> Result<bool, Trouble> {
    let found = place::settings_of(its)?;
    if found.driver()? != Driver::Postgres || place.resolved.driver()? != Driver::Postgres {
        return Ok(false);
    }
    Ok(name_the_same((&found, &its.environment()?), (&place.resolved, &settings.environment()?))?)
}

/// The paths that decide which storage is used: its folder, and settings files as far as something of it is from there.
fn files(place: &Place) -> Vec<PathBuf> {
    let keys = match place.resolved.driver() {
        Ok(Driver::Sqlite) => [Key::Driver, Key::Directory, Key::DbName].as_slice(),
        Ok(Driver::Postgres) | Err(_) => &[Key::Driver, Key::ConnString],
    };
    let origins: Vec<&Origin> = keys.iter().map(|key| place.resolved.origin(*key)).collect();
    // One that is nowhere on the host may be there for the process, and then decides what nobody else set.
    let open = origins.iter().any(|origin| matches!(origin, Origin::File(_) | Origin::Default));
    let settings = [place.resolved.home().join(".numary"), PathBuf::from(SYSTEM_FOLDER)];
    let settings = settings.into_iter().map(|folder| folder.join("numary.yaml")).filter(|_| open);
    let settings = settings.filter(|path| !path.exists() || origins.contains(&&Origin::File(path.clone())));
    let folder = place.resolved.directory().ok().filter(|_| keys.contains(&Key::Directory));
    folder.into_iter().chain(settings).collect()
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
