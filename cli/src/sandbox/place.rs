//! The sandbox's folder: what lies in it, who uses it, and what is remembered from one run to the next.

use super::http::Ledger;
use crate::args::SandboxArgs;
use crate::render::words::quoted;
use crate::trouble::Trouble;
use cutover_vocabulary::plan::PlanDigest;
use cutover_vocabulary::{DeploymentName, Digest, InstanceName, UpgradeId, Version};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::net::TcpListener;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

/// How temporary sandboxes are named, so that `resume` and `clean` find them.
pub(super) const PREFIX: &str = "cutover-sandbox-";
/// The only deployment.
pub(super) const DEPLOYMENT: &str = "sandbox";

/// What is remembered.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct State {
    /// From which version.
    pub(super) from: Version,
    /// To which version.
    pub(super) to: Version,
    /// Whether the releases are the simulator.
    pub(super) simulated: bool,
    /// SHA-256 of the archives, former and target.
    pub(super) archives: [Digest; 2],
    /// Where the releases lie.
    pub(super) releases: PathBuf,
    /// Where the instances answer, in order.
    pub(super) addresses: Vec<String>,
    /// Transactions of each ledger before the client began; none before that.
    pub(super) seeded: Option<Vec<(String, u64)>>,
    /// The version that answered before.
    pub(super) before: Option<String>,
    /// The plan, once made.
    pub(super) plan: Option<PlanDigest>,
    /// The upgrade, once started.
    pub(super) upgrade: Option<UpgradeId>,
}

/// A sandbox's folder, in use by this process.
#[derive(Debug)]
pub(super) struct Sandbox {
    /// Its folder, canonical.
    pub(super) dir: PathBuf,
    /// What is remembered.
    pub(super) state: State,
    _lock: File,
}

/// Makes the folder of a new sandbox. Private: it will hold copies of ledgers.
///
/// # Errors
/// When it is there and not empty, or cannot be made.
pub(super) fn make(args: &SandboxArgs) -> Result<PathBuf, Trouble> {
    let Some(dir) = &args.dir else {
        let made = tempfile::Builder::new().prefix(PREFIX).tempdir();
        let made = made.map_err(|error| Trouble::failed("cannot make a temporary folder", error))?;
        return canonical(&made.keep());
    };
    let shown = quoted(&dir.display().to_string());
    match fs::read_dir(dir).map(|mut entries| entries.next().is_some()) {
        Ok(true) => {
            return Err(Trouble::usage(format!("the folder {shown} is not empty")).next(format!(
                "name another one; or go on with the sandbox in it: `{} sandbox resume --dir {shown}`",
                crate::program()
            )));
        }
        Ok(false) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
            made.map_err(|error| Trouble::failed(format!("cannot make the folder {shown}"), error))?;
        }
        Err(error) => return Err(Trouble::failed(format!("cannot use the folder {shown}"), error)),
    }
    let dir = canonical(dir)?;
    // `unix:` and a socket's path of at most 107 bytes.
    let socket = dir.join("coordinator.sock").display().to_string();
    if socket.len() > 100 {
        return Err(
            Trouble::usage(format!("the folder {shown} has too long a path for a socket")).next("name a shorter one")
        );
    }
    Ok(dir)
}

fn canonical(dir: &Path) -> Result<PathBuf, Trouble> {
    fs::canonicalize(dir).map_err(|error| Trouble::failed(format!("cannot use the folder {}", dir.display()), error))
}

/// Every temporary sandbox of this user that was left, the newest first.
pub(super) fn left() -> Vec<PathBuf> {
    let own = rustix::process::geteuid().as_raw();
    let Ok(entries) = fs::read_dir(std::env::temp_dir()) else { return Vec::new() };
    let mut found: Vec<_> = entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX))
        .filter_map(|entry| {
            let data = fs::symlink_metadata(entry.path()).ok()?;
            (data.is_dir() && data.uid() == own).then_some((data.modified().ok()?, entry.path()))
        })
        .collect();
    found.sort();
    found.into_iter().rev().filter_map(|(_, path)| fs::canonicalize(path).ok()).collect()
}

impl Sandbox {
    /// A new one in an empty folder.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn create(dir: PathBuf, state: State) -> Result<Self, Trouble> {
        let lock = lock(&dir)?;
        let sandbox = Self { dir, state, _lock: lock };
        for folder in [sandbox.home(), sandbox.data()] {
            let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder);
            made.map_err(|error| Trouble::failed(format!("cannot make the folder {}", folder.display()), error))?;
        }
        sandbox.write(&sandbox.settings(), sandbox.settings_text().as_bytes())?;
        sandbox.save()?;
        Ok(sandbox)
    }

    /// One that an earlier run left.
    ///
    /// # Errors
    /// When there is none, or somebody uses it.
    pub(super) fn open(dir: &Path) -> Result<Self, Trouble> {
        let dir = canonical(dir)?;
        let file = dir.join("sandbox.json");
        let text = fs::read(&file).map_err(|error| Trouble::Usage {
            what: format!("there is no sandbox in {}: {error}", dir.display()),
            next: Some("begin one with `cutover sandbox`".to_owned()),
        })?;
        let state = serde_json::from_slice(&text)
            .map_err(|error| Trouble::failed(format!("cannot read {}", file.display()), error))?;
        let lock = lock(&dir)?;
        Ok(Self { dir, state, _lock: lock })
    }

    /// Remembers its state.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn save(&self) -> Result<(), Trouble> {
        let text = serde_json::to_vec_pretty(&self.state)
            .map_err(|error| Trouble::failed("cannot write the sandbox's state as JSON", error))?;
        let (new, file) = (self.dir.join("sandbox.json.new"), self.dir.join("sandbox.json"));
        self.write(&new, &text)?;
        fs::rename(&new, &file).map_err(|error| Trouble::failed(format!("cannot write {}", file.display()), error))
    }

    fn write(&self, file: &Path, text: &[u8]) -> Result<(), Trouble> {
        fs::write(file, text).map_err(|error| Trouble::failed(format!("cannot write {}", file.display()), error))
    }

    /// The binary that the service starts.
    pub(super) fn binary(&self) -> PathBuf {
        self.dir.join("host/numary")
    }
    /// The service's HOME.
    pub(super) fn home(&self) -> PathBuf {
        self.dir.join("host/home")
    }
    /// The storage.
    pub(super) fn data(&self) -> PathBuf {
        self.dir.join("host/data")
    }
    /// The agent's settings.
    pub(super) fn settings(&self) -> PathBuf {
        self.dir.join("agent.toml")
    }
    /// The coordinator's folder, where `cutover single` has it too: an agent refuses a coordinator that forgot it.
    pub(super) fn store(&self) -> PathBuf {
        self.dir.join("agent/coordinator")
    }
    /// Where the client's writes are noted.
    pub(super) fn writes(&self) -> PathBuf {
        self.dir.join("writes.jsonl")
    }
    /// Where coordinator and agent log.
    pub(super) fn log(&self) -> PathBuf {
        self.dir.join("cutover.log")
    }
    /// The command that goes on with it.
    pub(super) fn resume(&self) -> String {
        format!("{} sandbox resume --dir {}", crate::program(), quoted(&self.dir.display().to_string()))
    }
    /// The command that removes it.
    pub(super) fn clean(&self) -> String {
        format!("{} sandbox clean --dir {}", crate::program(), quoted(&self.dir.display().to_string()))
    }
    /// The instance that the client talks to.
    pub(super) fn ledger(&self) -> Ledger {
        Ledger { address: self.state.addresses.first().cloned().unwrap_or_default() }
    }

    /// The deployment's name.
    ///
    /// # Errors
    /// None in practice: it is a constant.
    pub(super) fn deployment(&self) -> Result<DeploymentName, Trouble> {
        DeploymentName::new(DEPLOYMENT).map_err(|error| Trouble::usage(error.to_string()))
    }

    /// The instances' names.
    ///
    /// # Errors
    /// None in practice: they are made here.
    pub(super) fn instances(&self) -> Result<Vec<InstanceName>, Trouble> {
        (1..=self.state.addresses.len())
            .map(|number| {
                InstanceName::new(format!("ledger-{number}")).map_err(|error| Trouble::usage(error.to_string()))
            })
            .collect()
    }

    /// The agent's settings, as a person would write them.
    fn settings_text(&self) -> String {
        let text = |path: PathBuf| serde_json::Value::String(path.display().to_string()).to_string();
        let mut toml = format!(
            "# The agent of this sandbox.\nname = \"sandbox-host\"\ncoordinator = {}\nstate = {}\n\n[releases]\nplace = {}\n",
            serde_json::Value::String(format!("unix:{}", self.dir.join("coordinator.sock").display())),
            text(self.dir.join("agent")),
            text(self.state.releases.clone())
        );
        for (number, address) in self.state.addresses.iter().enumerate() {
            toml.push_str(&format!(
                "\n[[instance]]\nname = \"ledger-{}\"\ndeployment = \"{DEPLOYMENT}\"\nmanager = \"process\"\ncommand = {}\n\
                 home = {}\n[instance.env]\nNUMARY_STORAGE_DRIVER = \"sqlite\"\nNUMARY_STORAGE_DIR = {}\n\
                 NUMARY_SERVER_HTTP_BIND_ADDRESS = \"{address}\"\nNUMARY_SEGMENT_ENABLED = \"false\"\n\
                 NUMARY_TELEMETRY_ENABLED = \"false\"\n",
                number + 1,
                text(self.binary()),
                text(self.home()),
                text(self.data())
            ));
        }
        toml
    }
}

fn lock(dir: &Path) -> Result<File, Trouble> {
    let file = dir.join("lock");
    let cannot = |error| Trouble::failed(format!("cannot use {}", file.display()), error);
    let lock = OpenOptions::new().create(true).truncate(false).write(true).open(&file).map_err(cannot)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(fs::TryLockError::WouldBlock) => {
            Err(Trouble::plain(format!("a sandbox runs in {} at this moment", dir.display()))
                .next("stop it with Ctrl-C first, or wait until it has ended"))
        }
        Err(fs::TryLockError::Error(error)) => Err(cannot(error)),
    }
}

/// Free ports on the loopback address. Somebody else may take one meanwhile; then the instance says so.
///
/// # Errors
/// When there is none.
pub(super) fn free_addresses(count: u16) -> Result<Vec<String>, Trouble> {
    let cannot = |error| Trouble::failed("cannot find a free port on 127.0.0.1", error);
    let mut held = Vec::new();
    for _ in 0..count {
        held.push(TcpListener::bind("127.0.0.1:0").map_err(cannot)?);
    }
    held.iter().map(|listener| listener.local_addr().map(|address| address.to_string()).map_err(cannot)).collect()
}
