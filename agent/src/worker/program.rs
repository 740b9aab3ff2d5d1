//! The program that workers are: this one, with other arguments.

use super::folder::{Alive, WorkFolder};
use crate::service::systemd::runs_as_unit;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::process::{Child, Command};

/// Set for a worker that is to leave the agent's control group.
pub(super) const LEAVES: &str = "CUTOVER_WORKER_LEAVES";

/// What a worker has of the agent's environment: where things are, and how a mirror of releases is reached.
const HANDED_DOWN: &[&str] = &[
    "HOME",
    "PATH",
    "USER",
    "RUST_LOG",
    "RUST_BACKTRACE",
    "LLVM_PROFILE_FILE",
    "HTTPS_PROXY",
    "https_proxy",
    "ALL_PROXY",
    "all_proxy",
    "NO_PROXY",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
];

/// A program that calls [`super::child::main`] with its last argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// Its path.
    pub path: PathBuf,
    /// Its arguments before the folder.
    pub args: Vec<OsString>,
    /// Whether a worker leaves the control group that it is started in: that of a unit is emptied when the unit is stopped.
    pub leaves: bool,
}

impl Program {
    /// The running program with the argument `work`, which `cutover-agent` and `cutover` both understand.
    pub fn current() -> io::Result<Self> {
        Ok(Self { path: std::env::current_exe()?, args: vec!["work".into()], leaves: runs_as_unit() })
    }

    /// In a worker: a command that becomes `program` and dies with the thread that starts it. Its arguments follow.
    pub fn companion(program: &Path) -> io::Result<std::process::Command> {
        // The file that runs, although another may lie in its place by now.
        let mut command = std::process::Command::new("/proc/self/exe");
        command.args(std::env::args_os().skip(1)).arg("--companion-of").arg(std::process::id().to_string());
        command.arg("--").arg(std::path::absolute(program)?);
        Ok(command)
    }

    /// Starts a launcher. Its own output goes nowhere: it writes down why it refused.
    pub fn spawn_launcher(&self, folder: &WorkFolder) -> io::Result<Child> {
        self.command(folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()
    }

    /// Starts a worker that holds `alive` from its first moment on.
    pub fn spawn_worker(&self, folder: &WorkFolder, alive: Alive) -> io::Result<Child> {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(folder.path().join("worker.log"))?;
        let mut command = self.command(folder);
        if self.leaves {
            command.env(LEAVES, "1");
        }
        command.stdin(Stdio::from(alive.into_file())).stdout(Stdio::from(log.try_clone()?)).stderr(Stdio::from(log));
        command.spawn()
    }

    /// Nothing of the agent's environment but what tells where things are: a token there is no worker's business.
    fn command(&self, folder: &WorkFolder) -> Command {
        let mut command = Command::new(&self.path);
        command.args(&self.args).arg(folder.path()).env_clear();
        for key in HANDED_DOWN {
            if let Some(value) = std::env::var_os(key) {
                command.env(key, value);
            }
        }
        command
    }
}
