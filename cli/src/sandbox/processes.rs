//! The processes of a sandbox, found by what they run: a ledger's binary below its folder, or a worker or an etcd on a folder there.

use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long they may take to end after SIGTERM.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(20);

/// Process ids of everything that belongs to the sandbox in `dir`, this process apart. `dir` must be canonical.
pub(super) fn of(dir: &Path) -> Vec<i32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let own = i32::try_from(std::process::id()).ok();
    let ids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    ids.filter(|pid| Some(*pid) != own && belongs(*pid, dir)).collect()
}

fn belongs(pid: i32, dir: &Path) -> bool {
    let Ok(program) = fs::read_link(format!("/proc/{pid}/exe")) else { return false };
    if program.starts_with(dir) {
        return true;
    }
    // A worker runs this program, and an etcd the installed one, with its folder as the last argument.
    let ours = std::env::current_exe().is_ok_and(|own| program == own)
        || program.file_name().is_some_and(|name| name == super::etcd::PROGRAM);
    let Ok(line) = fs::read(format!("/proc/{pid}/cmdline")) else { return false };
    let last = line.split(|byte| *byte == 0).rfind(|part| !part.is_empty()).unwrap_or_default();
    ours && PathBuf::from(std::ffi::OsStr::from_bytes(last)).starts_with(dir)
}

/// Ends them all: SIGTERM, and SIGKILL for those that do not listen. Answers with how many there were.
pub(super) async fn end(dir: &Path) -> usize {
    let found = of(dir);
    signal(&found, Signal::TERM);
    let gone = async {
        while !of(dir).is_empty() {
            tokio::time::sleep(LOOK).await;
        }
    };
    if tokio::time::timeout(PATIENCE, gone).await.is_err() {
        signal(&of(dir), Signal::KILL);
    }
    found.len()
}

fn signal(pids: &[i32], signal: Signal) {
    for pid in pids.iter().filter_map(|pid| Pid::from_raw(*pid)) {
        // One that ended meanwhile is what was wanted.
        let _ = kill_process(pid, signal);
    }
}
