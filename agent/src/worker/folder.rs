//! A worker's folder: the whole of what daemon and worker say to each other.

use crate::files::{self, FileError, folder, io_error};
use crate::service::launch::Launch;
use cutover_vocabulary::survey::SurveyAsk;
use cutover_vocabulary::{DeploymentName, Order, UpgradeId, Version};
use rustix::fs::{FlockOperation, flock};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// What a worker is to do. Names the settings file instead of quoting it, so that no secret is written here.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Task {
    /// Become a ledger.
    Launch {
        /// The agent's settings file.
        settings: PathBuf,
        /// Which ledger.
        launch: Launch,
    },
    /// Carry out an order; `result.json` is an outcome.
    Order {
        /// The agent's settings file.
        settings: PathBuf,
        /// The order.
        order: Box<Order>,
    },
    /// Look closely; `result.json` is a host's survey.
    Survey {
        /// The agent's settings file.
        settings: PathBuf,
        /// At what.
        ask: SurveyAsk,
    },
    /// Download a release; `result.json` says whether it is here, or why not.
    Download {
        /// The agent's settings file.
        settings: PathBuf,
        /// Which release.
        version: Version,
    },
    /// Remove what was prepared in a deployment's storage; `result.json` says whether it is gone, or why not.
    Tidy {
        /// The agent's settings file.
        settings: PathBuf,
        /// Whose storage.
        deployment: DeploymentName,
        /// For which upgrade it was prepared.
        upgrade: UpgradeId,
    },
}

/// The folder of one piece of work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkFolder(PathBuf);

/// The lock that says that something of a worker runs.
#[derive(Debug)]
pub struct Alive(File);

impl WorkFolder {
    /// At a path; nothing is made yet.
    pub fn at(path: PathBuf) -> Self {
        Self(path)
    }
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Makes the folder and writes down what is to be done. An earlier launch's refusal is forgotten.
    pub fn prepare(&self, task: &Task) -> Result<(), FileError> {
        folder(&self.0)?;
        files::remove(&self.0.join("refused"))?;
        files::write_json(&self.0.join("order.json"), task)
    }

    /// What is to be done; none in a folder without an order.
    pub fn task(&self) -> Result<Option<Task>, FileError> {
        files::read_json(&self.0.join("order.json"))
    }

    /// What came of it; none while nothing has.
    pub fn result<T: DeserializeOwned>(&self) -> Result<Option<T>, FileError> {
        files::read_json(&self.0.join("result.json"))
    }

    /// A worker begins: on disk before anything of the work is done. Whether another one had begun before.
    pub fn begin(&self) -> Result<bool, FileError> {
        let again = self.has_begun();
        if !again {
            files::write(&self.begun(), b"")?;
        }
        Ok(again)
    }
    /// Whether a worker has begun here.
    pub fn has_begun(&self) -> bool {
        self.begun().exists()
    }
    fn begun(&self) -> PathBuf {
        self.0.join("begun")
    }

    /// Writes down what came of it, so that it is there wholly or not at all.
    pub fn write_result(&self, result: &impl Serialize) -> Result<(), FileError> {
        files::write_json(&self.0.join("result.json"), result)
    }

    /// Writes down why a launcher did not become the ledger.
    pub fn write_refused(&self, why: &str) -> Result<(), FileError> {
        files::write(&self.0.join("refused"), why.as_bytes())
    }

    /// Why the last launcher did not become the ledger.
    pub fn launch_failure(&self) -> Option<String> {
        std::fs::read_to_string(self.0.join("refused")).ok()
    }

    /// Asks whoever works here to stop as soon as it safely can.
    pub fn request_stop(&self) -> Result<(), FileError> {
        files::write(&self.stop_file(), b"")
    }
    /// Forgets an earlier request to stop.
    pub fn withdraw_stop(&self) -> Result<(), FileError> {
        files::remove(&self.stop_file())
    }
    /// Whether somebody asked for a stop.
    pub fn stop_requested(&self) -> bool {
        self.stop_file().exists()
    }
    fn stop_file(&self) -> PathBuf {
        self.0.join("stop")
    }

    /// Opens the lock file, unlocked.
    pub fn alive(&self) -> Result<Alive, FileError> {
        let path = self.0.join("alive");
        OpenOptions::new()
            .create(true)
            .read(true)
            .write(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map(Alive)
            .map_err(io_error("create", &path))
    }

    /// Whether anything of a worker runs here at this moment.
    pub fn is_alive(&self) -> bool {
        self.path().join("alive").exists() && self.alive().is_ok_and(|alive| !alive.try_lock().unwrap_or(true))
    }

    /// Removes the folder with everything in it.
    pub fn remove(&self) -> Result<(), FileError> {
        match std::fs::remove_dir_all(&self.0) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(source) => Err(FileError::Io { doing: "remove", path: self.0.clone(), source }),
        }
    }
}

impl Alive {
    /// Locks it if nobody holds it. False: something of the worker runs.
    pub fn try_lock(&self) -> std::io::Result<bool> {
        match flock(&self.0, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Waits until nobody holds it. Blocks the thread, for as long as the work takes.
    pub fn wait(self) -> std::io::Result<()> {
        loop {
            match flock(&self.0, FlockOperation::LockExclusive) {
                Ok(()) => return Ok(()),
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// The locked file, to be a child's standard input.
    pub fn into_file(self) -> File {
        self.0
    }
}
