//! PostgreSQL's own programs: `pg_dump`, `pg_restore`, `psql`.
//!
//! They are told where to go by libpq's environment variables, never by arguments, which everybody can see; and nothing
//! of our own environment reaches them but the locale of their messages.

use super::PostgresStorage;
use super::tools::Tools;
use crate::StorageError;
use secrecy::{ExposeSecret as _, SecretString};
use std::ffi::OsStr;
use std::process::{Child, Command, Output, Stdio};

/// One of the programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Program {
    /// Makes dumps.
    Dump,
    /// Turns a dump into statements, or runs them.
    Restore,
    /// Runs statements.
    Psql,
}

impl Program {
    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Dump => "pg_dump",
            Self::Restore => "pg_restore",
            Self::Psql => "psql",
        }
    }

    /// Starts it on a storage's database. `task` names its sessions.
    pub(crate) fn start<A: AsRef<OsStr>>(
        self,
        storage: &PostgresStorage,
        task: &str,
        args: impl IntoIterator<Item = A>,
    ) -> Result<Running, StorageError> {
        let failed = |message: String| StorageError::Tool {
            program: self.name(),
            message,
            remedy: "install PostgreSQL's client programs on this host, at least as new as the server",
        };
        let tools = Tools::find(storage.server())?;
        let child = Command::new(tools.path(self.name()))
            .args(args)
            .env_clear()
            .env("LC_ALL", "C.UTF-8")
            .envs(storage.tool_environment(task).iter().map(|(name, value)| (name, value.expose_secret())))
            .current_dir("/")
            // The worker's lock: a program that outlives its worker is still something of it, and no other begins beside it.
            .stdin(Stdio::inherit())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| failed(error.to_string()))?;
        Ok(Running { program: self, child: Some(child) })
    }

    /// Runs it to its end in an environment of the caller's, and gives what it printed. For questions: whatever it does ends
    /// with its session.
    pub(crate) fn ask<A: AsRef<OsStr>>(
        self,
        storage: &PostgresStorage,
        environment: &[(&'static str, SecretString)],
        args: impl IntoIterator<Item = A>,
    ) -> Result<String, StorageError> {
        let failed = |message: String, remedy| StorageError::Tool { program: self.name(), message, remedy };
        let tools = Tools::find(storage.server())?;
        let output = Command::new(tools.path(self.name()))
            .args(args)
            .env_clear()
            .env("LC_ALL", "C.UTF-8")
            .envs(environment.iter().map(|(name, value)| (name, value.expose_secret())))
            .current_dir("/")
            .stdin(Stdio::null())
            .output()
            .map_err(|error| failed(error.to_string(), "look at the system log, then try again"))?;
        if !output.status.success() {
            return Err(failed(format!("{} ({})", said(&output), output.status), remedy(&output)));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs it to its end.
    pub(crate) fn run<A: AsRef<OsStr>>(
        self,
        storage: &PostgresStorage,
        task: &str,
        args: impl IntoIterator<Item = A>,
    ) -> Result<Vec<String>, StorageError> {
        self.start(storage, task, args)?.wait()
    }
}

/// A program that runs. Dropping it ends it: what it did in a transaction is rolled back.
pub(crate) struct Running {
    program: Program,
    child: Option<Child>,
}

impl Running {
    /// Waits for its end, and gives what it warned of.
    pub(crate) fn wait(mut self) -> Result<Vec<String>, StorageError> {
        let program = self.program.name();
        let Some(child) = self.child.take() else { return Ok(Vec::new()) };
        match child.wait_with_output() {
            Ok(output) if output.status.success() => Ok(warnings(&output)),
            Ok(output) => {
                let (message, remedy) = (said(&output), remedy(&output));
                Err(StorageError::Tool { program, message: format!("{message} ({})", output.status), remedy })
            }
            Err(error) => Err(StorageError::Tool {
                program,
                message: error.to_string(),
                remedy: "look at the system log, then try again",
            }),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// What statements of ours raised as warnings.
fn warnings(output: &Output) -> Vec<String> {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let ours = text
        .lines()
        .filter_map(|line| Some(line.split_once("WARNING:")?.1.trim().strip_prefix("cutover: ")?.to_owned()));
    ours.collect()
}

/// What it said, without the lines that hold rows: a failed `COPY` quotes the row in its CONTEXT and DETAIL.
fn said(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let quoting = ["DETAIL:", "CONTEXT:", "STATEMENT:", "Command was:", "QUERY:", "LINE "];
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !quoting.iter().any(|word| line.contains(word)))
        .take(4)
        .collect();
    if lines.is_empty() { "it printed no error".to_owned() } else { lines.join(" | ") }
}

fn remedy(output: &Output) -> &'static str {
    let text = String::from_utf8_lossy(&output.stderr);
    if text.contains("No space left on device") {
        "free some space there (the server's disk, or the recovery folder's), then try again"
    } else if text.contains("permission denied") || text.contains("must be owner") || text.contains("must be member") {
        "give the ledger's role the right that is named"
    } else if text.contains("server version mismatch") {
        "install client programs that are at least as new as the server"
    } else {
        "see to what is named and to the server's log, then try again"
    }
}
