//! What the agent, and the sandbox with it, asks of the kernel.

use super::{Check, Verdict};
use cutover_agent::{machine, needs};

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "handles of processes",
        why: "a ledger is stopped through a handle, so that no other process is ever signalled",
        look: |_| {
            one(
                needs::process_handles().map_err(|error| format!("pidfd_open: {error}")),
                "pidfd_open works",
                "use Linux 5.3 or later; in a container, let its seccomp profile allow pidfd_open",
            )
        },
    },
    Check {
        name: "process table",
        why: "a ledger is known by its process's number and start, and who has a storage open is seen there",
        look: |_| {
            let found = needs::process_table().map_err(|error| format!("/proc cannot be read: {error}"));
            one(found, "/proc is readable", "mount proc at /proc")
        },
    },
    Check {
        name: "table of connections",
        why: "an instance is drained once no client is connected to it",
        look: |_| {
            let found = needs::connections().map_err(|error| format!("/proc/net/tcp cannot be read: {error}"));
            one(found, "/proc/net/tcp is readable", "mount proc at /proc, and let this user read it")
        },
    },
    Check {
        name: "boot id",
        why: "after a reboot, no process of before may be taken for one that still runs",
        look: |_| {
            let found = match machine::boot_id().is_empty() {
                true => Err("/proc/sys/kernel/random/boot_id cannot be read".to_owned()),
                false => Ok(()),
            };
            one(found, "the kernel tells it", "mount proc at /proc")
        },
    },
    Check {
        name: "file locks",
        why: "workers, and the two who might touch one storage, are kept apart by flock",
        look: |host| {
            let state = host.agent().map(|settings| settings.state.clone());
            // One that is not there yet lies on the disk of the folder that it will be made in; Agent says so.
            let folders = [Some(host.temporary.clone()), state.filter(|folder| folder.is_dir())];
            let look = |folder: std::path::PathBuf| match needs::locks(&folder) {
                Ok(()) => Verdict::well(format!("in {}", folder.display())),
                Err(error) => Verdict::missing(
                    format!("no file can be made and locked in {}: {error}", folder.display()),
                    "use a local disk that this user may write to; TMPDIR names another folder for temporary files",
                ),
            };
            folders.into_iter().flatten().map(look).collect()
        },
    },
];

fn one(found: Result<(), String>, well: &str, remedy: &str) -> Vec<Verdict> {
    vec![match found {
        Ok(()) => Verdict::well(well),
        Err(why) => Verdict::missing(why, remedy),
    }]
}
