//! The sandbox's folder: what lies in it, who uses it, and what is remembered from one run to the next.

use super::balancer::Balancer;
use super::database;
use super::etcd::{self, Etcd};
use super::hosts::{self, Host, Instance};
use super::http::Ledger;
use crate::args::{SandboxArgs, StorageWord};
use crate::render::words::quoted;
use crate::trouble::Trouble;
use cutover_proto::transport::take_lock;
use cutover_trial_postgres::Cluster;
use cutover_vocabulary::plan::PlanDigest;
use cutover_vocabulary::{DeploymentName, Digest, InstanceName, UpgradeId, Version};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
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
    /// On which storage.
    pub(super) storage: StorageWord,
    /// How many ledgers are worked on at once; none: as usual.
    pub(super) lanes: Option<u16>,
    /// Where the coordinator listens; the first of them.
    pub(super) coordinator: String,
    /// Where the others listen.
    #[serde(default)]
    pub(super) followers: Vec<String>,
    /// Where the etcd that they share is reached, by clients and by members of it; none: one coordinator with a file.
    #[serde(default)]
    pub(super) etcd: Option<[String; 2]>,
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
    /// The versions that answered before, instance by instance.
    pub(super) before: Vec<String>,
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
    /// Its hosts.
    pub(super) hosts: Vec<Host>,
    /// Its PostgreSQL, while it runs for this process. Ended when it is dropped.
    pub(super) database: Option<Cluster>,
    /// Its etcd, while it runs for this process.
    pub(super) etcd: Option<Etcd>,
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
    let socket = dir.join("coordinator-2.sock").display().to_string();
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
    pub(super) async fn create(dir: PathBuf, state: State) -> Result<Self, Trouble> {
        let lock = lock(&dir).await?;
        let hosts = hosts::of(&dir, state.storage, &state.addresses)?;
        let sandbox = Self { dir, state, hosts, database: None, etcd: None, _lock: lock };
        let rotation = sandbox.dir.join("rotation");
        let made = fs::DirBuilder::new().mode(0o700).create(&rotation);
        made.map_err(|error| Trouble::failed(format!("cannot make the folder {}", rotation.display()), error))?;
        for host in &sandbox.hosts {
            host.make(&sandbox.state.from)?;
            write(&host.settings(), host.settings_text(&sandbox).as_bytes())?;
        }
        sandbox.save()?;
        Ok(sandbox)
    }

    /// Makes the database that it wants, and tells every host's services how to reach it.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(super) fn make_database(&mut self) -> Result<(), Trouble> {
        match self.state.storage {
            StorageWord::Sqlite => Ok(()),
            StorageWord::Postgres => {
                let (cluster, url) = database::create(&self.dir)?;
                self.database = Some(cluster);
                let line = format!("NUMARY_STORAGE_POSTGRES_CONN_STRING={url}\n");
                self.hosts.iter().try_for_each(|host| write(&host.secrets(), line.as_bytes()))
            }
        }
    }

    /// Starts the database that it has, unless it runs for this process already.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(super) fn start_database(&mut self) -> Result<(), Trouble> {
        match self.state.storage {
            StorageWord::Postgres if self.database.is_none() => self.database = Some(database::open(&self.dir)?),
            StorageWord::Postgres | StorageWord::Sqlite => {}
        }
        Ok(())
    }

    /// Starts the etcd that it has, where it has several coordinators.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(super) async fn start_etcd(&mut self) -> Result<(), Trouble> {
        if let (Some(addresses), None) = (&self.state.etcd, &self.etcd) {
            self.etcd = Some(etcd::start(&self.dir, addresses).await?);
        }
        Ok(())
    }

    /// Where its coordinators listen.
    pub(super) fn coordinators(&self) -> impl Iterator<Item = &str> {
        [&self.state.coordinator].into_iter().chain(&self.state.followers).map(String::as_str)
    }

    /// Lets the database go on without this process.
    pub(super) fn leave_database(&mut self) {
        if let Some(mut cluster) = self.database.take() {
            cluster.leave_running();
        }
    }

    /// One that an earlier run left.
    ///
    /// # Errors
    /// When there is none, or somebody uses it.
    pub(super) async fn open(dir: &Path) -> Result<Self, Trouble> {
        let dir = canonical(dir)?;
        let file = dir.join("sandbox.json");
        let text = fs::read(&file).map_err(|error| Trouble::Usage {
            what: format!("there is no sandbox in {}: {error}", dir.display()),
            next: Some("begin one with `cutover sandbox`".to_owned()),
        })?;
        let state: State = serde_json::from_slice(&text)
            .map_err(|error| Trouble::failed(format!("cannot read {}", file.display()), error))?;
        let State { storage, addresses, .. } = &state;
        let hosts = hosts::of(&dir, *storage, addresses)?;
        let lock = lock(&dir).await?;
        Ok(Self { dir, state, hosts, database: None, etcd: None, _lock: lock })
    }

    /// Remembers its state.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn save(&self) -> Result<(), Trouble> {
        let text = serde_json::to_vec_pretty(&self.state)
            .map_err(|error| Trouble::failed("cannot write the sandbox's state as JSON", error))?;
        let (new, file) = (self.dir.join("sandbox.json.new"), self.dir.join("sandbox.json"));
        write(&new, &text)?;
        fs::rename(&new, &file).map_err(|error| Trouble::failed(format!("cannot write {}", file.display()), error))
    }

    /// The coordinator's folder, where `cutover single` has it too: an agent refuses a coordinator that forgot it.
    ///
    /// # Errors
    /// None in practice: there is at least one host.
    pub(super) fn store(&self) -> Result<PathBuf, Trouble> {
        let host = self.hosts.first().ok_or_else(|| Trouble::usage("the sandbox has no instance"))?;
        Ok(host.state().join("coordinator"))
    }
    /// Where the clients' writes are noted.
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
    /// Every instance, in order.
    pub(super) fn instances(&self) -> impl Iterator<Item = &Instance> {
        self.hosts.iter().flat_map(|host| &host.instances)
    }
    /// Their names.
    pub(super) fn names(&self) -> Vec<InstanceName> {
        self.instances().map(|instance| instance.name.clone()).collect()
    }
    /// What clients write through.
    pub(super) fn balancer(&self) -> Balancer {
        Balancer::over(self.instances().cloned().collect())
    }
    /// The instance that fills the ledgers.
    ///
    /// # Errors
    /// None in practice: there is at least one instance.
    pub(super) fn first(&self) -> Result<&Ledger, Trouble> {
        let first = self.instances().next().ok_or_else(|| Trouble::usage("the sandbox has no instance"))?;
        Ok(&first.ledger)
    }
    /// The storage, for people.
    pub(super) fn storage(&self) -> String {
        match self.state.storage {
            StorageWord::Sqlite => {
                let data = self.hosts.first().map(Host::data).unwrap_or_default();
                format!("SQLite, the files {}", data.join("numary_*.db").display())
            }
            StorageWord::Postgres => {
                let at = match &self.database {
                    Some(cluster) => format!(" at 127.0.0.1:{}", cluster.port()),
                    None => String::new(),
                };
                let data = database::folder(&self.dir).join("data");
                format!("PostgreSQL{at}, database {}, its data directory {}", database::DATABASE, data.display())
            }
        }
    }

    /// The deployment's name.
    ///
    /// # Errors
    /// None in practice: it is a constant.
    pub(super) fn deployment(&self) -> Result<DeploymentName, Trouble> {
        DeploymentName::new(DEPLOYMENT).map_err(|error| Trouble::usage(error.to_string()))
    }
}

/// Writes a file that others may not read.
fn write(file: &Path, text: &[u8]) -> Result<(), Trouble> {
    let opened = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(file);
    let written = opened.and_then(|mut opened| opened.write_all(text));
    written.map_err(|error| Trouble::failed(format!("cannot write {}", file.display()), error))
}

async fn lock(dir: &Path) -> Result<File, Trouble> {
    let file = dir.join("lock");
    let cannot = |error| Trouble::failed(format!("cannot use {}", file.display()), error);
    let lock = OpenOptions::new().create(true).truncate(false).write(true).open(&file).map_err(cannot)?;
    if take_lock(&lock).await.map_err(cannot)? {
        Ok(lock)
    } else {
        Err(Trouble::plain(format!("a sandbox runs in {} at this moment", dir.display()))
            .next("stop it with Ctrl-C first, or wait until it has ended"))
    }
}

/// Where the coordinators of a new sandbox listen: on sockets in it, or, where there are hosts to reach them from, on ports.
///
/// # Errors
/// When there is no free port.
pub(super) fn endpoints(storage: StorageWord, dir: &Path, count: u16) -> Result<Vec<String>, Trouble> {
    match storage {
        StorageWord::Sqlite => {
            let name =
                |number| if number == 1 { "coordinator.sock".to_owned() } else { format!("coordinator-{number}.sock") };
            Ok((1..=count).map(|number| format!("unix:{}", dir.join(name(number)).display())).collect())
        }
        StorageWord::Postgres => Ok(free_addresses(count)?.iter().map(|address| format!("http://{address}")).collect()),
    }
}

/// Free ports on the loopback address. Somebody else may take one meanwhile; then the instance says so.
///
/// # Errors
/// When there is none.
pub(super) fn free_addresses(count: u16) -> Result<Vec<String>, Trouble> {
    let free = || cutover_trial_postgres::free_address().map(|address| address.to_string());
    (0..count).map(|_| free().map_err(|error| Trouble::failed("cannot find a free port on 127.0.0.1", error))).collect()
}
