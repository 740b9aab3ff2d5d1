//! The hosts of a sandbox: each a folder with an agent and its ledger services, as if it were a machine of its own.

use super::http::Ledger;
use super::place::{DEPLOYMENT, Sandbox};
use crate::args::StorageWord;
use crate::trouble::Trouble;
use cutover_vocabulary::{InstanceName, Version};
use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// One host.
#[derive(Debug, Clone)]
pub(super) struct Host {
    /// Its agent's name, and its folder's.
    pub(super) name: String,
    dir: PathBuf,
    /// The ledger services on it.
    pub(super) instances: Vec<Instance>,
}

/// One ledger service.
#[derive(Debug, Clone)]
pub(super) struct Instance {
    /// Its name.
    pub(super) name: InstanceName,
    /// Where it answers.
    pub(super) ledger: Ledger,
    /// The load balancer sends it nothing while this file is there.
    pub(super) out: PathBuf,
}

impl Host {
    /// The binary that its services start.
    pub(super) fn binary(&self) -> PathBuf {
        self.dir.join("numary")
    }
    fn home(&self) -> PathBuf {
        self.dir.join("home")
    }
    /// The services' `storage.dir`: the storage itself on SQLite.
    pub(super) fn data(&self) -> PathBuf {
        self.dir.join("data")
    }
    /// The agent's folder.
    pub(super) fn state(&self) -> PathBuf {
        self.dir.join("agent")
    }
    /// The agent's settings.
    pub(super) fn settings(&self) -> PathBuf {
        self.dir.join("agent.toml")
    }
    /// Variables of the services that hold a secret; on PostgreSQL only.
    pub(super) fn secrets(&self) -> PathBuf {
        self.dir.join("numary.env")
    }

    /// Makes its folders, closed to others.
    ///
    /// Releases up to 1.2.1 answer 500 to the first write of a ledger where they find no folder for their settings file, and
    /// commit it all the same (measured); later ones would write their settings there.
    ///
    /// # Errors
    /// When they cannot be made.
    pub(super) fn make(&self, from: &Version) -> Result<(), Trouble> {
        let settings = (*from < Version::new(1, 3, 0)).then(|| self.home().join(".numary"));
        for folder in [self.home(), self.data()].into_iter().chain(settings) {
            let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder);
            made.map_err(|error| Trouble::failed(format!("cannot make the folder {}", folder.display()), error))?;
        }
        Ok(())
    }

    /// The agent's settings, as a person would write them.
    pub(super) fn settings_text(&self, sandbox: &Sandbox) -> String {
        let path = |path: &Path| quoted(&path.display().to_string());
        let mut toml = format!(
            "# An agent of this sandbox.\nname = {}\ncoordinator = {}\nstate = {}\n\n[releases]\nplace = {}\n",
            quoted(&self.name),
            serde_json::Value::from_iter(sandbox.coordinators()),
            path(&self.state()),
            path(&sandbox.state.releases)
        );
        for instance in &self.instances {
            let (storage, secrets) = match sandbox.state.storage {
                StorageWord::Sqlite => ("sqlite", String::new()),
                StorageWord::Postgres => ("postgres", format!("env_file = {}\n", path(&self.secrets()))),
            };
            toml.push_str(&format!(
                "\n[[instance]]\nname = {}\ndeployment = \"{DEPLOYMENT}\"\nmanager = \"process\"\ncommand = {}\nhome = {}\n\
                 {secrets}out_of_rotation = [\"touch\", {out}]\ninto_rotation = [\"rm\", \"-f\", {out}]\n[instance.env]\n\
                 NUMARY_STORAGE_DRIVER = \"{storage}\"\nNUMARY_STORAGE_DIR = {}\nNUMARY_SERVER_HTTP_BIND_ADDRESS = {}\n\
                 NUMARY_SEGMENT_ENABLED = \"false\"\nNUMARY_TELEMETRY_ENABLED = \"false\"\n",
                quoted(instance.name.as_str()),
                path(&self.binary()),
                path(&self.home()),
                path(&self.data()),
                quoted(&instance.ledger.address),
                out = path(&instance.out),
            ));
        }
        toml
    }
}

/// A JSON string is a TOML string.
fn quoted(text: &str) -> String {
    serde_json::Value::String(text.to_owned()).to_string()
}

/// The hosts of a sandbox, in order. SQLite is local, so all its instances are on one host; on PostgreSQL each has its own.
///
/// # Errors
/// None in practice: the names are made here.
pub(super) fn of(dir: &Path, storage: StorageWord, addresses: &[String]) -> Result<Vec<Host>, Trouble> {
    let instances = addresses.iter().enumerate().map(|(number, address)| {
        let name =
            InstanceName::new(format!("ledger-{}", number + 1)).map_err(|error| Trouble::usage(error.to_string()))?;
        let out = dir.join("rotation").join(format!("{name}.out"));
        Ok(Instance { name, ledger: Ledger { address: address.clone() }, out })
    });
    let instances = instances.collect::<Result<Vec<_>, Trouble>>()?;
    let groups = match storage {
        StorageWord::Sqlite => vec![instances],
        StorageWord::Postgres => instances.into_iter().map(|instance| vec![instance]).collect(),
    };
    let host = |(number, instances): (usize, Vec<Instance>)| {
        let name = format!("host-{}", number + 1);
        Host { dir: dir.join(&name), name, instances }
    };
    Ok(groups.into_iter().enumerate().map(host).collect())
}
