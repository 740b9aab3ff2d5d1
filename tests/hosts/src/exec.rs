//! Commands in a host.

use crate::host::Host;
use crate::{DEADLINE, within};
use rustix::process::{Pid, Signal, kill_process_group};
use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

/// Where commands are looked for in a host.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Joins the host's control group, so that a command hangs while the host does, then its namespaces.
const JOIN: &str = r#"echo 0 > "$1/by-hand/cgroup.procs" && shift && exec nsenter "$@""#;

/// Every namespace that a host has of its own; root and folder are its PID 1's.
pub(crate) const NAMESPACES: &[&str] = &["-m", "-u", "-i", "-n", "-p", "-C", "--root", "--wd", "-t"];
/// The environment of a command in a host: nothing of this machine's.
pub(crate) const ENVIRONMENT: [(&str, &str); 3] = [("PATH", PATH), ("HOME", "/root"), ("LANG", "C.UTF-8")];

impl Host {
    /// Runs a command as root in the host and gives what came of it.
    ///
    /// # Panics
    /// When it does not end within [`DEADLINE`].
    #[track_caller]
    pub fn exec(&self, command: &[&str]) -> Output {
        let output = self.try_exec(command, DEADLINE);
        output.unwrap_or_else(|| panic!("{} did not answer `{}`", self.name(), command.join(" ")))
    }

    /// The same for a host that may not answer in time: none, and the command is ended.
    pub fn try_exec(&self, command: &[&str], deadline: Duration) -> Option<Output> {
        self.feed(command, Stdio::null(), deadline)
    }

    /// What a command printed, without the last line's end.
    ///
    /// # Panics
    /// When it fails, with what it said, and as [`Host::exec`].
    #[track_caller]
    pub fn run(&self, command: &[&str]) -> String {
        let output = self.exec(command);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "{}: `{}` failed with {}: {}",
            self.name(),
            command.join(" "),
            output.status,
            said.trim()
        );
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    /// Writes a file in the running host, and the folders above it; `mode` is the file's, as `0o644`. A program that runs is
    /// replaced, not changed.
    #[track_caller]
    pub fn put(&self, path: &str, content: impl AsRef<[u8]>, mode: u32) {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content.as_ref()).unwrap();
        file.rewind().unwrap();
        let install = ["install", "-D", "-m", &format!("{mode:o}"), "/dev/stdin", path];
        let output = self.feed(&install, file.into(), DEADLINE);
        let output = output.unwrap_or_else(|| panic!("{} did not take {path}", self.name()));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{} did not take {path}: {}", self.name(), said.trim());
    }

    /// Copies a file of this machine into the running host, with its mode.
    #[track_caller]
    pub fn copy_in(&self, from: &Path, to: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        let content = std::fs::read(from).unwrap_or_else(|error| panic!("cannot read {}: {error}", from.display()));
        self.put(to, content, from.metadata().unwrap().permissions().mode() & 0o7777);
    }

    /// A file's text, as the running host sees it.
    #[track_caller]
    pub fn read(&self, path: &str) -> String {
        let output = self.exec(&["cat", path]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: cannot read {path}: {}", self.name(), said.trim());
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn feed(&self, command: &[&str], input: Stdio, deadline: Duration) -> Option<Output> {
        let pid = within(deadline, || self.pid().or_else(|| (!self.is_on()).then_some(0)))?;
        if pid == 0 {
            return None;
        }
        // Files, not pipes: a service that a command leaves behind may hold them for ever.
        let (mut out, mut err) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        let mut process = Command::new("sh")
            .args(["-c", JOIN, "join"])
            .arg(self.cgroup())
            .args(NAMESPACES)
            .arg(pid.to_string())
            .args(command)
            .env_clear()
            .envs(ENVIRONMENT)
            .current_dir("/")
            .process_group(0)
            .stdin(input)
            .stdout(out.try_clone().unwrap())
            .stderr(err.try_clone().unwrap())
            .spawn()
            .unwrap();
        let status = within(deadline, || process.try_wait().unwrap());
        let Some(status) = status else {
            let group = i32::try_from(process.id()).ok().and_then(Pid::from_raw);
            let _ = kill_process_group(group.unwrap(), Signal::KILL);
            process.wait().unwrap();
            return None;
        };
        Some(Output { status, stdout: whole(&mut out), stderr: whole(&mut err) })
    }
}

fn whole(file: &mut File) -> Vec<u8> {
    let mut content = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut content).unwrap();
    content
}
