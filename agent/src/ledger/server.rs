//! A server of the ledger that a worker starts to look at something, and ends.
//!
//! It holds the worker's lock (standard input), so that nobody takes the work for ended while it runs; and as no server ends by
//! itself, one that outlived a killed worker would hold that lock for ever. So it dies with the worker: this program is started
//! as a companion ([`crate::worker::Program::companion`]), asks the kernel to kill it together with the thread that started it,
//! and then becomes the ledger. That thread does nothing but wait for it.

use crate::settings::Account;
use crate::worker::{Program, hand_over};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use secrecy::{ExposeSecret, SecretString};
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// How often a server that was told to end is looked at.
const LOOKING: Duration = Duration::from_millis(10);

/// How long a server may take to end after SIGTERM. Every release ends within 20 ms (measured).
const ENDING: Duration = Duration::from_secs(10);

/// How a server is started.
pub struct Start<'a> {
    /// The binary.
    pub program: &'a Path,
    /// All of its environment.
    pub environment: &'a BTreeMap<String, SecretString>,
    /// Its arguments.
    pub arguments: &'a [SecretString],
    /// Where it works.
    pub directory: &'a Path,
    /// Whom it runs as; this process's own user if none.
    pub account: Option<Account>,
    /// Where its messages go.
    pub stderr: File,
}

/// A server that runs. Killed when it is dropped.
#[derive(Debug)]
pub struct Server(Child);

impl Server {
    /// Starts one. Only in a worker: the lock that it holds is this process's standard input.
    ///
    /// # Errors
    /// When no process could be started. That the binary cannot be run shows in [`ended`](Self::ended).
    pub fn start(start: Start<'_>) -> io::Result<Self> {
        let mut command: Command = Program::companion(start.program, start.account)?;
        command
            .args(start.arguments.iter().map(ExposeSecret::expose_secret))
            .env_clear()
            .envs(hand_over(start.environment, start.account))
            .current_dir(start.directory)
            .stdin(Stdio::inherit())
            .stdout(Stdio::null())
            .stderr(start.stderr);
        let (tell, told) = std::sync::mpsc::sync_channel(1);
        std::thread::Builder::new().name("companion".to_owned()).spawn(move || {
            let child = command.spawn();
            let pid = child.as_ref().ok().and_then(pid);
            if tell.send(child).is_ok()
                && let Some(pid) = pid
            {
                // Leaves the status for whoever asks, and fails when that one was quicker: it has ended then.
                let gone = || waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
                while matches!(gone(), Err(Errno::INTR)) {}
            }
        })?;
        told.recv().map_err(io::Error::other)?.map(Self)
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.0.try_wait().ok().flatten()
    }

    /// SIGTERM, and SIGKILL if that does not help. Whether SIGTERM did.
    pub async fn end(mut self) -> bool {
        if self.ended().is_none()
            && let Some(pid) = pid(&self.0)
        {
            // Not reaped yet, so the number is still its own.
            let _ = kill_process(pid, Signal::TERM);
        }
        let mut left = ENDING;
        while self.ended().is_none() {
            if left.is_zero() {
                return false;
            }
            tokio::time::sleep(LOOKING).await;
            left = left.saturating_sub(LOOKING);
        }
        true
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn pid(child: &Child) -> Option<Pid> {
    i32::try_from(child.id()).ok().and_then(Pid::from_raw)
}
