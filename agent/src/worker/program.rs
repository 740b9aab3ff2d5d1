//! The program that workers are: this one, with other arguments.

use super::folder::{Alive, WorkFolder};
use crate::service::systemd::runs_as_unit;
use crate::settings::Account;
use secrecy::{ExposeSecret as _, SecretString};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
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

/// Before each variable of a program that is started as another user. This program is root until it becomes that one, and would
/// obey what the user may write into a unit's environment: `LD_PRELOAD`, say.
const HANDED_OVER: &str = "CUTOVER_HANDED_OVER_";

/// The environment of a program that is to be started, as the process must have it that becomes the program.
pub fn hand_over(
    environment: &BTreeMap<String, SecretString>,
    account: Option<Account>,
) -> impl Iterator<Item = (String, &str)> {
    let before = if account.is_some() { HANDED_OVER } else { "" };
    environment.iter().map(move |(key, value)| (format!("{before}{key}"), value.expose_secret()))
}

/// What [`hand_over`] gave for another user, under its own names.
pub(super) fn handed_over(variables: impl Iterator<Item = (OsString, OsString)>) -> Vec<(OsString, OsString)> {
    let own =
        |key: &OsString| key.as_bytes().strip_prefix(HANDED_OVER.as_bytes()).map(|key| OsStr::from_bytes(key).into());
    variables.filter_map(|(key, value)| Some((own(&key)?, value))).collect()
}

/// The file that runs, although another may lie in its place by now.
fn itself() -> std::process::Command {
    std::process::Command::new("/proc/self/exe")
}

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

    /// In a worker: a command that becomes `program`, as that user if one is named, and dies with the thread that starts it. Its
    /// arguments follow, and its environment as [`hand_over`] has it.
    pub fn companion(program: &Path, account: Option<Account>) -> io::Result<std::process::Command> {
        let mut command = itself();
        command.args(std::env::args_os().skip(1)).arg("--companion-of").arg(std::process::id().to_string());
        if let Some(account) = account {
            command.arg("--as").arg(account.to_string());
        }
        command.arg("--").arg(std::path::absolute(program)?);
        Ok(command)
    }

    /// A command that becomes `program` as that user, with all of its groups. Its arguments follow, and its environment as
    /// [`hand_over`] has it. That it did not become it shows in its status, [`NOT_BECOME`](super::child::NOT_BECOME), and on its
    /// standard error.
    pub fn as_account(program: &Path, account: Account) -> io::Result<std::process::Command> {
        let mut command = itself();
        // No folder is looked into on this way.
        command.args(["work", "/", "--as"]).arg(account.to_string()).arg("--").arg(std::path::absolute(program)?);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_unit_says_of_its_environment_is_obeyed_before_its_user_is_become() {
        let unit: BTreeMap<String, SecretString> =
            [("LD_PRELOAD", "/home/ledger/x.so"), ("A", "b")].map(|(key, value)| (key.to_owned(), value.into())).into();
        let account = Some(Account { user: 1, group: 1 });
        let handed: Vec<(OsString, OsString)> =
            hand_over(&unit, account).map(|(key, value)| (key.into(), value.into())).collect();
        assert!(handed.iter().all(|(key, _)| key.to_string_lossy().starts_with("CUTOVER_")), "{handed:?}");
        let own = [(OsString::from("PATH"), OsString::from("/bin"))];
        let after = handed_over(handed.into_iter().chain(own));
        let wanted: Vec<(OsString, OsString)> =
            hand_over(&unit, None).map(|(key, value)| (key.into(), value.into())).collect();
        assert_eq!(after, wanted);
    }
}
