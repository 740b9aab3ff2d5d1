//! What the machine must have for hosts, and its programs.

use std::ffi::OsStr;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Each is called by this crate; `deploy/setup` installs them.
const PROGRAMS: &[&str] = &["unshare", "nsenter", "mount", "ip", "nft", "find", "cp", "dbus-daemon"];

/// A machine with many hosts needs more than the kernel's 128 of these, which every systemd takes three of.
const INOTIFY: &str = "/proc/sys/fs/inotify/max_user_instances";
const INOTIFY_WANTED: u32 = 8192;

/// A test that cannot run here says so; with `CI=true` it fails instead.
pub fn skipped(why: &str) {
    // Past the test runner's capture, so that `make test` can count it.
    let _ = writeln!(std::io::stderr(), "SKIPPED {why}");
    assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "a test cannot run in CI: {why}");
}

/// Where the second version of control groups is mounted, in pure and in mixed machines.
pub fn cgroups() -> Option<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mounts").ok()?;
    mounts.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let (place, kind) = (fields.next()?, fields.next()?);
        (kind == "cgroup2").then(|| PathBuf::from(place))
    })
}

/// Makes the machine ready, as far as a process may.
///
/// # Errors
/// What is missing for hosts, and what to do.
pub(crate) fn prepare() -> Result<(), String> {
    if !rustix::process::geteuid().is_root() {
        return Err("hosts need namespaces and control groups: run this as root".to_owned());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let has = |program: &str| std::env::split_paths(&path).any(|folder| folder.join(program).exists());
    let missing: Vec<&str> = PROGRAMS.iter().copied().filter(|program| !has(program)).collect();
    if !missing.is_empty() {
        return Err(format!("hosts need {}, which are not on this PATH: run deploy/setup", missing.join(", ")));
    }
    if !Path::new("/lib/systemd/systemd").exists() {
        return Err("hosts need systemd, and there is no /lib/systemd/systemd: run deploy/setup".to_owned());
    }
    let cgroups = cgroups().ok_or("hosts need control groups, and no cgroup2 file system is mounted")?;
    let probe = tempfile::Builder::new().prefix("cutover-probe-").tempdir_in(&cgroups);
    let probe = probe.map_err(|error| format!("hosts need a control group in {}: {error}", cgroups.display()))?;
    let can_kill = probe.path().join("cgroup.kill").exists();
    // The files in it are the kernel's, and cannot be removed one by one.
    let _ = std::fs::remove_dir(probe.keep());
    if !can_kill {
        return Err("hosts need a kernel that ends a whole control group: Linux 5.14 or later".to_owned());
    }
    let namespaces = Command::new("unshare").args(["--mount", "--net", "--pid", "--fork", "true"]).output();
    match namespaces {
        Ok(output) if output.status.success() => {}
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(format!("hosts need namespaces, and this process may not make them: {said}"));
        }
        Err(error) => return Err(format!("hosts need namespaces, and `unshare` did not run: {error}")),
    }
    let limit = std::fs::read_to_string(INOTIFY).ok().and_then(|text| text.trim().parse::<u32>().ok());
    if limit.is_some_and(|limit| limit < INOTIFY_WANTED) {
        std::fs::write(INOTIFY, INOTIFY_WANTED.to_string())
            .map_err(|error| format!("hosts need {INOTIFY} at {INOTIFY_WANTED}: {error}"))?;
    }
    Ok(())
}

/// Runs a program of the machine and gives what it printed.
///
/// # Panics
/// When it fails, with what it said.
#[track_caller]
pub(crate) fn run<S: AsRef<OsStr>>(program: &str, args: &[S]) -> String {
    let output = Command::new(program).args(args).output();
    let words: Vec<_> = args.iter().map(|arg| arg.as_ref().to_string_lossy()).collect();
    let called = format!("{program} {}", words.join(" "));
    let output = output.unwrap_or_else(|error| panic!("`{called}` did not run: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "`{called}` failed with {}: {}", output.status, said.trim());
    String::from_utf8_lossy(&output.stdout).into_owned()
}
