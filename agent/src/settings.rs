//! The agent's settings file.
//!
//! TOML; an unknown key is refused and named with the nearest right one, because a key that is silently ignored is found
//! out during an upgrade. Anything that may hold a secret (arguments and environment of a service) is a [`SecretString`]:
//! it appears in no debug output, error or log.

use crate::service::environment::{EnvironmentError, read_env_file};

use cutover_proto::transport::{Endpoint, InvalidEndpoint};
use cutover_vocabulary::instance::Manager;
use cutover_vocabulary::{AgentName, DeploymentName, InstanceName, Version};
use secrecy::SecretString;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Settings of one agent.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The agent's name, unique in the fleet. Text; no default.
    pub name: AgentName,
    /// Where the coordinator listens. `unix:/path/to/socket` or `http://127.0.0.1:PORT`; no default. Nothing else: other
    /// hosts can be named once there is TLS.
    pub coordinator: Coordinator,
    /// The agent's own directory: journal, work, releases, fences, recovery points. Absolute path; no default. Created
    /// with mode 0700, and refused when others may enter it.
    pub state: PathBuf,
    /// Where recovery points go. Absolute path; default `recovery` in `state`. Never inside a ledger's storage directory,
    /// where `storage scan` would take a copy for a ledger.
    pub recovery: Option<PathBuf>,
    /// Users, by number, whose processes the agent may not look into and who are declared not to open a ledger's storage.
    /// List of numbers; default none: a process that cannot be seen keeps a storage from being proved quiet. An agent that
    /// runs as root sees all of them.
    #[serde(default)]
    pub unseen_users: Vec<u32>,
    /// Roles, or `application_name`s, whose sessions on a ledger's database are declared not to write to it: a monitor, a
    /// replica. List of texts; default none: a session that may write keeps a storage from being proved quiet.
    #[serde(default)]
    pub database_exceptions: Vec<String>,
    /// Where releases of the ledger come from.
    #[serde(default)]
    pub releases: ReleasesSettings,
    /// The ledger services of this host, one `[[instance]]` each. Default: none.
    #[serde(default, rename = "instance")]
    pub instances: Vec<InstanceSettings>,
    /// The file these settings were read from: worker processes read it again, so that no secret is handed over.
    #[serde(skip)]
    pub file: PathBuf,
}

/// Where the coordinator listens.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Coordinator(pub Endpoint);

/// Where releases of the ledger come from.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReleasesSettings {
    /// A folder laid out like the ledger's release pages. Absolute path or `file:` URL; default `/srv/numary-releases`.
    pub place: Place,
    /// File names of the archive below `place`, the first that exists is used. `{version}` stands for the version.
    /// Default: both names that the ledger's releases ever had.
    pub archives: Vec<String>,
    /// File names of the checksum file in `sha256sum` format below `place`, the first that exists is used. `{version}`
    /// stands for the version. Default: both names that the ledger's releases ever had.
    pub checksums: Vec<String>,
    /// The largest binary that is unpacked, in bytes; default 268435456. The ledger's are about 40 MB.
    pub max_binary_bytes: u64,
}

/// A folder with releases.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Place(pub PathBuf);

/// One ledger service.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstanceSettings {
    /// The instance's name, unique in the fleet. Text; no default.
    pub name: InstanceName,
    /// The deployment it belongs to: all instances that share its storage. Text; no default.
    pub deployment: DeploymentName,
    /// What runs it. Only `"process"` yet: the agent starts and watches it itself, and nothing else keeps it down.
    pub manager: Manager,
    /// The ledger's binary as the service starts it. Absolute path; no default. A link into the agent's `releases` folder,
    /// or a plain file: a plain file is kept beside itself as `NAME.before-UPGRADE` and replaced by such a link when a
    /// release is switched for the first time.
    pub command: PathBuf,
    /// Its arguments. List of texts; default `["server", "start"]`.
    #[serde(default = "default_args")]
    pub args: Vec<SecretString>,
    /// Its environment. Table of texts; default empty. Nothing of the agent's own environment is handed on.
    #[serde(default)]
    pub env: BTreeMap<String, SecretString>,
    /// A file with more environment, `KEY=VALUE` a line; wins over `env`, as systemd's `EnvironmentFile` does. Absolute
    /// path; default none. A missing file is an error.
    pub env_file: Option<PathBuf>,
    /// Its `HOME`, where the ledger looks for `.numary/numary.yaml`. Absolute path; default the agent's own `HOME`.
    pub home: Option<PathBuf>,
    /// Its working directory. Absolute path; default its `HOME`.
    pub working_directory: Option<PathBuf>,
    /// The user it runs as. Must be the agent's own for the manager `process`; default that user.
    pub user: Option<String>,
    /// Whether the agent starts it when the agent itself starts, unless it is fenced or runs already. Default true.
    #[serde(default = "default_true")]
    pub start: bool,
    /// A command that takes the instance out of rotation, before it is drained. List of texts; default none.
    #[serde(default)]
    pub out_of_rotation: Vec<String>,
    /// A command that takes the instance back into rotation, once it answers. List of texts; default none.
    #[serde(default)]
    pub into_rotation: Vec<String>,
    /// How long each rotation command may take, in seconds; default 30. It is killed then, and the step fails.
    #[serde(default = "default_30")]
    pub rotation_seconds: u64,
    /// How long the service may take from its start to its first answer, in seconds; default 30.
    #[serde(default = "default_30")]
    pub start_seconds: u64,
}

fn default_args() -> Vec<SecretString> {
    vec!["server".to_owned().into(), "start".to_owned().into()]
}
fn default_true() -> bool {
    true
}
fn default_30() -> u64 {
    30
}

/// Settings that cannot be used, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("cannot read the settings {}: {source}; name the right file with --settings", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file says something that is not settings.
    #[error("{} line {line}: {what}", path.display())]
    Invalid {
        /// Which file.
        path: PathBuf,
        /// Where in it, from 1.
        line: usize,
        /// What is wrong and, for an unknown key, the nearest right one.
        what: String,
    },
    /// A value breaks a rule.
    #[error("{}: {what}", path.display())]
    Rule {
        /// Which file.
        path: PathBuf,
        /// Which rule, and what to write instead.
        what: String,
    },
    /// The state directory cannot be used.
    #[error("cannot use the state directory {}: {what}", path.display())]
    State {
        /// Which directory.
        path: PathBuf,
        /// What is wrong, and what to do.
        what: String,
    },
}

impl Settings {
    /// Reads a settings file and checks every rule that needs no look at the services themselves.
    ///
    /// # Errors
    /// [`SettingsError`]; none of them quotes a value that may be a secret.
    pub fn load(path: &Path) -> Result<Self, SettingsError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| SettingsError::Unreadable { path: path.to_owned(), source })?;
        let mut settings = Self::parse(&text, path)?;
        // A worker is started in another directory, and reads the same file.
        settings.file =
            std::path::absolute(path).map_err(|source| SettingsError::Unreadable { path: path.to_owned(), source })?;
        Ok(settings)
    }

    /// [`Settings::load`] without the file: `path` is only named in errors.
    ///
    /// # Errors
    /// As [`Settings::load`].
    pub fn parse(text: &str, path: &Path) -> Result<Self, SettingsError> {
        let mut settings: Self = toml::from_str(text).map_err(|error| explain(&error, text, path))?;
        settings.file = path.to_owned();
        settings.check().map_err(|what| SettingsError::Rule { path: path.to_owned(), what })?;
        Ok(settings)
    }

    fn check(&self) -> Result<(), String> {
        let absolute = |key: &str, path: &Path| {
            if path.is_absolute() {
                Ok(())
            } else {
                Err(format!("{key} = {:?} must be an absolute path", path.display().to_string()))
            }
        };
        absolute("state", &self.state)?;
        if let Some(recovery) = &self.recovery {
            absolute("recovery", recovery)?;
        }
        let mut seen = BTreeMap::new();
        for instance in &self.instances {
            let name = &instance.name;
            if seen.insert(name, ()).is_some() {
                return Err(format!("two instances are named {name}: give each its own name"));
            }
            absolute(&format!("instance {name}: command"), &instance.command)?;
            for (key, path) in [
                ("env_file", &instance.env_file),
                ("home", &instance.home),
                ("working_directory", &instance.working_directory),
            ] {
                if let Some(path) = path {
                    absolute(&format!("instance {name}: {key}"), path)?;
                }
            }
            match instance.manager {
                Manager::Process => {}
                Manager::Systemd => {
                    return Err(format!(
                        "instance {name}: manager = \"systemd\" is not supported yet; use \"process\""
                    ));
                }
            }
            if let Some(user) = &instance.user
                && Some(user.as_str()) != std::env::var("USER").ok().as_deref()
                && !(user == "root" && rustix::process::geteuid().is_root())
            {
                return Err(format!(
                    "instance {name}: user = {user:?} is not the user that the agent runs as; run the agent as {user:?}, or \
                     leave the key away"
                ));
            }
        }
        Ok(())
    }

    /// Makes the state directory (mode 0700) and what lies in it.
    ///
    /// # Errors
    /// [`SettingsError::State`] when it cannot be made, or when others may enter it.
    pub fn prepare(&self) -> Result<(), SettingsError> {
        let refuse = |path: &Path, what: String| SettingsError::State { path: path.to_owned(), what };
        for folder in [&self.state, &self.work(), &self.unpacked(), &self.scratch(), &self.recovery()] {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|error| {
                refuse(folder, format!("{error}; it must be a directory that the agent may write to"))
            })?;
        }
        let mode = std::fs::metadata(&self.state)
            .map_err(|error| refuse(&self.state, error.to_string()))?
            .permissions()
            .mode();
        if mode & 0o077 != 0 {
            return Err(refuse(
                &self.state,
                format!("its mode is {:04o}, so others may look into recovery points; chmod 0700 it", mode & 0o7777),
            ));
        }
        Ok(())
    }

    /// The instance of that name, if it is on this host.
    pub fn instance(&self, name: &InstanceName) -> Option<&InstanceSettings> {
        self.instances.iter().find(|instance| &instance.name == name)
    }

    /// The instances of a deployment on this host.
    pub fn of_deployment<'a>(&'a self, name: &'a DeploymentName) -> impl Iterator<Item = &'a InstanceSettings> {
        self.instances.iter().filter(move |instance| &instance.deployment == name)
    }

    /// Where worker processes have their folders.
    pub fn work(&self) -> PathBuf {
        self.state.join("work")
    }
    /// Where releases are unpacked: `releases/VERSION/numary`.
    pub fn unpacked(&self) -> PathBuf {
        self.state.join("releases")
    }
    /// Where copies lie that are removed afterwards.
    pub fn scratch(&self) -> PathBuf {
        self.state.join("scratch")
    }
    /// Where recovery points go.
    pub fn recovery(&self) -> PathBuf {
        self.recovery.clone().unwrap_or_else(|| self.state.join("recovery"))
    }
    /// What is kept of one instance: its fence, its process, what its command was.
    pub fn instance_dir(&self, name: &InstanceName) -> PathBuf {
        self.state.join("instances").join(name.as_str())
    }
}

impl InstanceSettings {
    /// Its `HOME`.
    pub fn home(&self) -> PathBuf {
        self.home.clone().unwrap_or_else(|| PathBuf::from(std::env::var_os("HOME").unwrap_or_else(|| "/".into())))
    }

    /// Its working directory.
    pub fn working_directory(&self) -> PathBuf {
        self.working_directory.clone().unwrap_or_else(|| self.home())
    }

    /// Its whole environment: `env`, then `env_file`, then `HOME` and `PATH` unless one of them sets these.
    ///
    /// # Errors
    /// When `env_file` cannot be read or has a line that is no `KEY=VALUE`; the line is numbered, not quoted.
    pub fn environment(&self) -> Result<BTreeMap<String, SecretString>, EnvironmentError> {
        let mut all = self.env.clone();
        if let Some(file) = &self.env_file {
            all.extend(read_env_file(file)?);
        }
        all.entry("HOME".to_owned()).or_insert_with(|| self.home().to_string_lossy().into_owned().into());
        all.entry("PATH".to_owned())
            .or_insert_with(|| "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned().into());
        Ok(all)
    }
}

impl Default for ReleasesSettings {
    fn default() -> Self {
        let names = |names: [&str; 2]| names.map(|name| format!("v{{version}}/{name}")).to_vec();
        Self {
            place: Place(PathBuf::from("/srv/numary-releases")),
            archives: names(["numary_{version}_Linux-64bit.tar.gz", "numary_Linux_x86_64.tar.gz"]),
            checksums: names(["checksums_linux.txt", "checksums.txt"]),
            max_binary_bytes: 256 << 20,
        }
    }
}

impl ReleasesSettings {
    /// The candidates of one kind of file for a version, in order.
    pub fn candidates(&self, templates: &[String], version: &Version) -> Vec<PathBuf> {
        templates.iter().map(|name| self.place.0.join(name.replace("{version}", &version.to_string()))).collect()
    }
}

impl TryFrom<String> for Coordinator {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
            .map(Self)
            .map_err(|error: InvalidEndpoint| format!("coordinator = {text:?} is no address: {}", error.why))
    }
}

impl TryFrom<String> for Place {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let path = text.strip_prefix("file://").or_else(|| text.strip_prefix("file:")).unwrap_or(&text);
        if path.contains("://") {
            return Err(format!(
                "releases cannot be downloaded yet (place = {text:?}): copy the archive and its checksum file to a folder \
                 vVERSION on this host, and name the folder above it"
            ));
        }
        if !Path::new(path).is_absolute() {
            return Err(format!("place = {text:?} must be an absolute path"));
        }
        Ok(Self(PathBuf::from(path)))
    }
}

/// Makes a line of text out of a TOML error, without the excerpt that TOML prints: it may show a secret.
fn explain(error: &toml::de::Error, text: &str, path: &Path) -> SettingsError {
    let start = error.span().map_or(0, |span| span.start.min(text.len()));
    let line = text.as_bytes()[..start].iter().filter(|byte| **byte == b'\n').count() + 1;
    let message = error.message().trim();
    let what = match message.strip_prefix("unknown field `").and_then(|rest| rest.split_once('`')) {
        Some((unknown, rest)) => {
            let known: Vec<&str> = rest.split('`').skip(1).step_by(2).collect();
            let nearest = known
                .iter()
                .max_by(|a, b| strsim::jaro_winkler(unknown, a).total_cmp(&strsim::jaro_winkler(unknown, b)));
            match nearest {
                Some(nearest) => {
                    format!("unknown key {unknown:?}; did you mean {nearest:?}? Known here: {}", known.join(", "))
                }
                None => format!("unknown key {unknown:?}"),
            }
        }
        None => without_values(message),
    };
    SettingsError::Invalid { path: path.to_owned(), line, what }
}

/// serde quotes the value that has the wrong type; a value in the wrong place may be a secret.
fn without_values(message: &str) -> String {
    if !message.starts_with("invalid type: string") && !message.starts_with("invalid value: string") {
        return message.to_owned();
    }
    match (message.find('"'), message.rfind('"')) {
        (Some(first), Some(last)) if first < last => format!("{}…{}", &message[..=first], &message[last..]),
        (Some(_) | None, _) => "a value has the wrong type".to_owned(),
    }
}
