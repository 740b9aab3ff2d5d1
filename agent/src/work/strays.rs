//! Ledgers on this host that no unit of ours runs and that use an instance's storage: a process that left its unit's control
//! group, a copy that somebody started by hand.
//!
//! A release up to 1.10.5 that is idle holds no file of its storage open (measured), and a session on a database names no process,
//! so who has the storage open is not enough: every process that is a ledger by its binary or by its words is asked which storage
//! it would use, by its own arguments and environment.

use super::place;
use super::site::Site;
use super::trouble::Trouble;
use crate::service::systemd::{NO_HOME, unit_of};
use crate::service::{Role, Service};
use crate::settings::InstanceSettings;
use cutover_vocabulary::instance::Manager;
use cutover_vocabulary::outcome::FailureKind;
use cutover_vocabulary::storage::StorageIdentity;
use procfs::ProcError;
use procfs::process::{ProcState, Process, all_processes};
use secrecy::SecretString;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Every such process, in words for people. Looks at every process of the host; the table costs some milliseconds.
///
/// # Errors
/// Why the processes cannot be listed, which of our own cannot be told apart, or why the storage cannot be looked at.
pub(super) async fn look(site: &Site, service: &Service) -> Result<Vec<String>, Trouble> {
    let mut known = BTreeSet::from([std::process::id()]);
    // Of every other unit of ours all processes are its own, whichever it began with: by their control group.
    let mut groups = BTreeSet::new();
    for ours in site.services() {
        for role in [Role::Service, Role::Closed] {
            known.extend(ours.running(role).await?.map(|running| running.pid));
            if ours.settings().manager == Manager::Systemd && (ours.name() != service.name() || role == Role::Closed) {
                groups.insert(unit_of(&ours.settings(), role));
            }
        }
    }
    let settings = service.settings();
    let storage = place::of(&settings)?.storage.identity().clone();
    let binary = site.digest(&settings.command).await;
    let size = std::fs::metadata(&settings.command).map(|data| data.len()).ok();
    let own = inode(Path::new("/proc/self/exe"));
    let mut strays = Vec::new();
    let cannot_list = |error| {
        let message = format!("cannot list /proc: {error}");
        Trouble::new(FailureKind::Failed, message, "not visible is not quiet: mend that, then try again")
    };
    for process in all_processes().map_err(cannot_list)? {
        // One that ends while it is looked at is gone.
        let Ok(process) = process else { continue };
        let Ok(pid) = u32::try_from(process.pid) else { continue };
        if known.contains(&pid) {
            continue;
        }
        let exe = PathBuf::from(format!("/proc/{pid}/exe"));
        let same_size = std::fs::metadata(&exe).map(|data| data.len()).ok() == size;
        let same_binary = same_size && binary.is_some() && site.digest(&exe).await == binary;
        let Ok(words) = process.cmdline() else { continue };
        if !same_binary && !is_server(&words) || is_gone(&process) || is_of_a_worker(&process, own) {
            continue;
        }
        if process.cgroups().is_ok_and(|of| of.into_iter().any(|of| is_below(&of.pathname, &groups))) {
            continue;
        }
        let uses = identity(&settings, &process, &words);
        let what = match uses {
            Ok(identity) if identity.is_same(&storage) => "uses the same storage".to_owned(),
            Ok(_) => continue,
            Err(why) if same_binary => format!("runs the same binary, and which storage it uses cannot be told: {why}"),
            Err(_) => continue,
        };
        let program = process.exe().unwrap_or_default();
        strays.push(format!("process {pid} ({}) {what}", program.display()));
    }
    Ok(strays)
}

/// Whether a process is a ledger's server by its words.
fn is_server(words: &[String]) -> bool {
    words.get(1..3).is_some_and(|words| words == ["server", "start"])
}

/// Whether a control group is that of one of these units, or below it.
fn is_below(group: &str, units: &BTreeSet<String>) -> bool {
    group.split('/').any(|part| units.contains(part))
}

fn inode(path: &Path) -> Option<(u64, u64)> {
    std::fs::metadata(path).map(|data| (data.dev(), data.ino())).ok()
}

fn is_gone(process: &Process) -> bool {
    match process.stat().and_then(|stat| stat.state()) {
        Ok(ProcState::Zombie | ProcState::Dead) | Err(_) => true,
        Ok(_) => false,
    }
}

/// A worker's questions to a binary, and the servers that it starts, are accounted for by its order.
fn is_of_a_worker(process: &Process, own: Option<(u64, u64)>) -> bool {
    let parent = process.stat().map(|stat| stat.ppid).unwrap_or_default();
    own.is_some() && inode(&PathBuf::from(format!("/proc/{parent}/exe"))) == own
}

/// The storage that a process uses, by its own words.
fn identity(settings: &InstanceSettings, process: &Process, words: &[String]) -> Result<StorageIdentity, String> {
    let its = settings_of(settings, process, words).map_err(|error| error.to_string())?;
    Ok(place::of(&its).map_err(|trouble| trouble.0.message)?.storage.identity().clone())
}

/// What a process was started with, in the form of an instance's settings; the rest is that instance's.
///
/// # Errors
/// Why the system does not tell.
pub(super) fn settings_of(
    settings: &InstanceSettings,
    process: &Process,
    words: &[String],
) -> Result<InstanceSettings, ProcError> {
    let text = |value: OsString| value.to_string_lossy().into_owned();
    let env: BTreeMap<String, SecretString> =
        process.environ()?.into_iter().map(|(name, value)| (text(name), text(value).into())).collect();
    Ok(InstanceSettings {
        args: words.iter().skip(1).map(|word| SecretString::from(word.clone())).collect(),
        home: Some(PathBuf::from(NO_HOME)),
        working_directory: process.cwd().ok(),
        env,
        env_file: None,
        ..settings.clone()
    })
}
