//! A way into a host from outside of its lab, by hand.

use crate::exec::{ENVIRONMENT, NAMESPACES};
use crate::lab::PREFIX;
use crate::machine::cgroups;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

/// Becomes a command in a host, a shell if none is named. The host is `h1`, or `LAB/h1` where several labs have one.
///
/// # Errors
/// Why there is no way: no such host runs, or several do.
pub fn shell(host: &str, command: &[&str]) -> Result<ExitCode, String> {
    let cgroups = cgroups().ok_or("no cgroup2 file system is mounted")?;
    let labs = std::fs::read_dir(&cgroups).into_iter().flatten().flatten().map(|entry| entry.file_name());
    let labs = labs.filter_map(|name| name.into_string().ok()).filter(|name| name.starts_with(PREFIX));
    let named: Vec<String> = match host.contains('/') {
        true => vec![host.to_owned()],
        false => labs.map(|lab| format!("{lab}/{host}")).collect(),
    };
    let first = |path: &PathBuf| {
        let scope = std::fs::read_to_string(path.join("init.scope/cgroup.procs")).ok()?;
        scope.lines().next()?.parse::<u32>().ok()
    };
    let running: Vec<(String, PathBuf, u32)> = named
        .into_iter()
        .filter_map(|name| {
            let path = cgroups.join(&name);
            let pid = first(&path)?;
            Some((name, path, pid))
        })
        .collect();
    let [(name, path, pid)] = running.as_slice() else {
        let names: Vec<&str> = running.iter().map(|(name, ..)| name.as_str()).collect();
        return Err(match names.as_slice() {
            [] => format!("no host {host} runs here: `make hosts N=3` boots some, and root alone sees them"),
            several => format!("there are several: {}", several.join(", ")),
        });
    };
    std::fs::write(path.join("by-hand/cgroup.procs"), "0").map_err(|error| format!("cannot enter {name}: {error}"))?;
    let mut enter = Command::new("nsenter");
    enter.args(NAMESPACES).arg(pid.to_string()).env_clear().envs(ENVIRONMENT);
    enter.envs(std::env::var("TERM").map(|term| ("TERM", term)));
    match command {
        [] => enter.args(["bash", "-l"]),
        command => enter.args(command),
    };
    Err(format!("cannot enter {name}: {}", enter.exec()))
}
