//! The agent's settings file.
//!
//! TOML; an unknown key is refused and named with the nearest right one, because a key that is silently ignored is found
//! out during an upgrade. Anything that may hold a secret (arguments and environment of a service) is a [`SecretString`]:
//! it appears in no debug output, error or log.

mod error;
pub(crate) mod releases;
mod rules;
pub(crate) mod trust;

pub use error::SettingsError;
pub use releases::{Place, ReleasesSettings};

use crate::service::environment::{EnvironmentError, read_env_file};
use cutover_proto::transport::{Endpoint, InvalidEndpoint, Tls, TlsFiles};
use cutover_vocabulary::instance::Manager;
use cutover_vocabulary::{AgentName, DeploymentName, InstanceName};
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use secrecy::SecretString;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Settings of one agent. The doc comments here are the reference of the settings: `cutover explain agent` and
/// `docs/settings.md` are made of them, and an example that is no settings fails a test.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The agent's name, unique in the fleet.
    #[schemars(with = "String", example = "host-a")]
    pub name: AgentName,
    /// Where the coordinators listen: `unix:/path/to/socket`, `http://127.0.0.1:PORT`, or with certificates (`[tls]`)
    /// `https://HOST:PORT`, where `HOST` is a name or an address that the coordinator's certificate has. One address may be
    /// written without brackets. The agent is linked to each of them at any time, whoever leads; so name each coordinator by one
    /// address alone.
    #[schemars(with = "Vec<String>", example = ["https://c1.example.com:7443", "https://c2.example.com:7443"])]
    pub coordinator: Coordinators,
    /// The agent's own directory: journal, work, releases, fences, recovery points. Created with mode 0700, and refused
    /// when others may enter it.
    #[schemars(extend("format" = PATH), example = "/var/lib/cutover-agent")]
    pub state: PathBuf,
    /// Where recovery points go. Never inside a ledger's storage directory, where `storage scan` would take a copy for a
    /// ledger.
    #[schemars(extend("format" = PATH, "x-default" = "`recovery` in `state`"), example = "/srv/cutover-recovery")]
    pub recovery: Option<PathBuf>,
    /// Users, by number, whose processes the agent may not look into and who are declared not to open a ledger's storage.
    /// A process that cannot be seen keeps a storage from being proved quiet. An agent that runs as root sees all of them.
    #[serde(default)]
    #[schemars(example = [33, 65534])]
    pub unseen_users: Vec<u32>,
    /// Roles, or `application_name`s, whose sessions on a ledger's database are declared not to write to it: a monitor, a
    /// replica. A session that may write keeps a storage from being proved quiet.
    #[serde(default)]
    #[schemars(example = ["monitor"])]
    pub database_exceptions: Vec<String>,
    /// Where load balancers may ask whether an instance is to be sent clients, like `10.0.0.7:9465`; nowhere by default.
    /// `GET /ready/INSTANCE` answers 200 while it is in rotation and answers itself, 503 with the reason otherwise, and from the
    /// beginning of a drain on. Plain HTTP without a password: whoever reaches the address reads names of instances and how they
    /// are. While the agent is down nothing answers there.
    #[schemars(with = "Option<String>", example = &"10.0.0.7:9465")]
    pub readiness: Option<SocketAddr>,
    /// How long a drain waits between saying 503 at `readiness` and looking at connections: at least two intervals of the load
    /// balancer's checks, times the failures that it waits for.
    #[serde(default = "default_10")]
    #[schemars(example = 20)]
    pub readiness_grace_seconds: u64,
    /// Where releases of the ledger come from. A text instead of this table is a `place`; with `{version}` in it, as in
    /// `"https://mirror.example/v{version}/numary_{version}_Linux-64bit.tar.gz"`, it names the archive, and the checksum file lies
    /// beside it.
    #[serde(default, deserialize_with = "releases::table_or_text")]
    pub releases: ReleasesSettings,
    /// Certificates, for a coordinator at `https://`. TLS 1.3; all three files are in PEM form and read anew for every
    /// connection: a new certificate needs no restart.
    #[serde(default)]
    #[schemars(with = "TlsSettings")]
    pub tls: Option<TlsSettings>,
    /// The ledger services of this host, one `[[instance]]` each. This file is the only one on the host that names units,
    /// binaries, users, rotation commands and folders: an order names an instance, and one that is not here is refused and
    /// reported. So whoever may write it commands the agent: an agent that runs as root does not start, and carries out nothing,
    /// while anybody else may write this file, a rotation command, an `env_file`, a `command` that it starts itself, or a folder
    /// above one of them. It names the file, its owner and mode, and the command that mends it.
    #[serde(default, rename = "instance")]
    pub instances: Vec<InstanceSettings>,
    /// The file these settings were read from: worker processes read it again, so that no secret is handed over.
    #[serde(skip)]
    pub file: PathBuf,
}

/// What [`Settings`] may say, as JSON Schema: every key with its type, default, meaning (`description`) and an example. Made
/// of the very structs that read the file.
pub fn schema() -> serde_json::Value {
    SchemaSettings::default()
        .with(|settings| settings.inline_subschemas = true)
        .into_generator()
        .into_root_schema_for::<Settings>()
        .to_value()
}

/// How the schema calls what [`Settings::load`] refuses where it does not begin with a slash.
const PATH: &str = "absolute path";

/// Where the coordinators listen: at least one address, none of them twice.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "OneOrSeveral")]
pub struct Coordinators(pub Vec<Endpoint>);

/// One address, or several.
#[derive(Deserialize)]
#[serde(untagged, expecting = "an address, or a list of addresses")]
enum OneOrSeveral {
    One(String),
    Several(Vec<String>),
}

/// What this agent shows to the coordinator, and whom it believes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TlsSettings {
    /// The agent's certificate, behind it those of authorities between it and the root. The agent's name must be among its
    /// subject alternative names (DNS or URI).
    #[schemars(extend("format" = PATH), example = "/etc/cutover/tls/cert.pem")]
    pub certificate: PathBuf,
    /// Its private key. Refused where anybody but its owner may read it.
    #[schemars(extend("format" = PATH), example = "/etc/cutover/tls/key.pem")]
    pub key: PathBuf,
    /// The authorities that sign the coordinator's certificate.
    #[schemars(extend("format" = PATH), example = "/etc/cutover/tls/authority.pem")]
    pub authority: PathBuf,
}
impl TlsSettings {
    /// The files.
    pub fn files(&self) -> TlsFiles {
        let Self { certificate, key, authority } = self.clone();
        TlsFiles { certificate, key, authority }
    }
}

/// One ledger service.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InstanceSettings {
    /// The instance's name, unique in the fleet.
    #[schemars(with = "String", example = "ledger-a")]
    pub name: InstanceName,
    /// The deployment it belongs to: all instances that share its storage.
    #[schemars(with = "String", example = &"prod")]
    pub deployment: DeploymentName,
    /// What runs it: `systemd`, a unit of this host; or `process`: the agent starts and watches it itself, and nothing else
    /// keeps it down.
    #[schemars(with = "String", example = &"systemd")]
    pub manager: Manager,
    /// The unit, for the manager `systemd`. Its command, arguments, environment and user are read from it, anew for every step,
    /// and the keys here that say the same may not be used.
    #[schemars(example = "numary.service")]
    pub unit: Option<String>,
    /// The ledger's binary as the service starts it. A link into the agent's `releases` folder, or a plain file: a plain
    /// file is kept beside itself as `NAME.before-UPGRADE` and replaced by such a link when a release is switched for the
    /// first time.
    #[serde(default)]
    #[schemars(extend("format" = PATH, "x-default" = "required for the manager `process`"), example = "/opt/numary/numary")]
    pub command: PathBuf,
    /// Its arguments. May hold secrets: never shown.
    #[serde(default = "default_args")]
    #[schemars(with = "Vec<String>", extend("default" = DEFAULT_ARGS), example = ["server", "start"])]
    pub args: Vec<SecretString>,
    /// Its environment. May hold secrets: never shown. Nothing of the agent's own environment is handed on.
    #[serde(default)]
    #[schemars(
        with = "BTreeMap<String, String>",
        extend("default" = {}),
        example = BTreeMap::from([("NUMARY_STORAGE_DIR", "/var/lib/numary")])
    )]
    pub env: BTreeMap<String, SecretString>,
    /// A file with more environment, `KEY=VALUE` a line; wins over `env`, as systemd's `EnvironmentFile` does. A missing
    /// file is an error.
    #[schemars(extend("format" = PATH), example = "/etc/numary/numary.env")]
    pub env_file: Option<PathBuf>,
    /// Its `HOME`, where the ledger looks for `.numary/numary.yaml`.
    #[schemars(extend("format" = PATH, "x-default" = "the agent's own `HOME`"), example = "/var/lib/numary")]
    pub home: Option<PathBuf>,
    /// Its working directory.
    #[schemars(extend("format" = PATH, "x-default" = "its `home`"), example = "/var/lib/numary")]
    pub working_directory: Option<PathBuf>,
    /// The user it runs as. Must be the agent's own for the manager `process`.
    #[schemars(extend("x-default" = "the agent's user"), example = &"root")]
    pub user: Option<String>,
    /// Whether the agent starts it when the agent itself starts, unless it is fenced or runs already. A unit is started by
    /// systemd, never by this.
    #[serde(default = "default_true")]
    #[schemars(example = false)]
    pub start: bool,
    /// A command that takes the instance out of rotation, before it is drained: the program, then its arguments. Without
    /// one the instance is drained while clients may still be sent to it. It may be run again for the same state.
    #[serde(default)]
    #[schemars(example = ["/usr/local/bin/lb", "drain", "ledger-a"])]
    pub out_of_rotation: Vec<String>,
    /// A command that takes the instance back into rotation, once it answers. It may be run again for the same state.
    #[serde(default)]
    #[schemars(example = ["/usr/local/bin/lb", "ready", "ledger-a"])]
    pub into_rotation: Vec<String>,
    /// How long each rotation command may take. It is killed then, and the step fails.
    #[serde(default = "default_30")]
    #[schemars(example = 60)]
    pub rotation_seconds: u64,
    /// Whether the agent may only look at it: it is reported and surveyed, and every order that would change something of it or
    /// of its storage is refused. A plan of its deployment is blocked for it. A SQLite storage is not even opened, for whoever
    /// reads one may change its folder.
    #[serde(default)]
    #[schemars(example = true)]
    pub observe_only: bool,
    /// How long a request to it may take at most. A connection that a load balancer keeps open holds up a drain for as long
    /// where the kernel cannot tell whether its last request was answered.
    #[serde(default = "default_20")]
    #[schemars(example = 60)]
    pub longest_request_seconds: u64,
    /// How long the service may take from its start to its first answer.
    #[serde(default = "default_30")]
    #[schemars(example = 120)]
    pub start_seconds: u64,
    /// What its unit does when it is started for the first time since the host booted. `ask`: it waits up to half a minute until
    /// a coordinator has said that its release is still the right one, and does not start before; it is started as soon as that
    /// was said, and by `cutover-agent local start` without. `wait`: it waits as long and then starts. `start`: it starts at
    /// once. With either of these a host that was off while its deployment was upgraded, and reaches the database but no
    /// coordinator in time, starts the former release on the migrated storage.
    #[serde(default)]
    #[schemars(with = "String", extend("default" = "ask"), example = &"wait")]
    pub at_boot: AtBoot,
    /// Whom its unit runs as; the agent itself for the manager `process`.
    #[serde(skip)]
    pub account: Option<Account>,
    /// Why its unit could not be read, where that is so.
    #[serde(skip)]
    pub unreadable: Option<String>,
}

/// What a unit does at its first start since the host booted while no coordinator was heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum AtBoot {
    /// It stays down until one is heard.
    #[default]
    Ask,
    /// It starts after a while.
    Wait,
    /// It starts at once.
    Start,
}
impl AtBoot {
    /// Its word in settings.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ask => "ask",
            Self::Wait => "wait",
            Self::Start => "start",
        }
    }
}

/// Where releases are unpacked that units start: the agent's own directory is closed to their users.
const PUBLIC_RELEASES: &str = "/opt/cutover/releases";

/// A user of this host, by numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Account {
    /// The user.
    pub user: u32,
    /// Its group. Those that it is a member of besides are looked up when something is started as this user.
    pub group: u32,
}

/// `USER:GROUP`, as a process is told whom to become.
impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.user, self.group)
    }
}
impl FromStr for Account {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text.split_once(':').and_then(|(user, group)| Some((user.parse().ok()?, group.parse().ok()?)));
        let (user, group) = numbers.ok_or_else(|| format!("{text:?} is no USER:GROUP of two numbers"))?;
        Ok(Self { user, group })
    }
}

/// What the ledger is started with where nothing else is said.
const DEFAULT_ARGS: [&str; 2] = ["server", "start"];

fn default_args() -> Vec<SecretString> {
    DEFAULT_ARGS.map(SecretString::from).into()
}
fn default_true() -> bool {
    true
}
fn default_10() -> u64 {
    10
}
fn default_20() -> u64 {
    20
}
fn default_30() -> u64 {
    30
}

impl Settings {
    /// Reads a settings file and checks every rule that needs no look at the services themselves; as root also that nobody else
    /// may write it, or what it has the agent run.
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
        trust::check(&settings)?;
        Ok(settings)
    }

    /// [`Settings::load`] without the file: `path` is only named in errors.
    ///
    /// # Errors
    /// As [`Settings::load`].
    pub fn parse(text: &str, path: &Path) -> Result<Self, SettingsError> {
        let mut settings: Self = toml::from_str(text).map_err(|error| error::explain(&error, text, path))?;
        settings.file = path.to_owned();
        settings.check().map_err(|what| SettingsError::Rule { path: path.to_owned(), what })?;
        Ok(settings)
    }

    /// How it speaks TLS, where it has certificates.
    pub fn tls(&self) -> Option<Tls> {
        self.tls.as_ref().map(|tls| Tls::new(tls.files()))
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
        match &self.releases.unpacked {
            Some(folder) => folder.clone(),
            None if self.instances.iter().any(|instance| instance.manager == Manager::Systemd) => {
                PUBLIC_RELEASES.into()
            }
            None => self.state.join("releases"),
        }
    }
    /// The folder with release files: that of the settings, or where those of a mirror are downloaded to.
    pub fn release_folder(&self) -> PathBuf {
        match &self.releases.place {
            Place::Folder(folder) => folder.clone(),
            Place::Mirror(_) => self.state.join("downloads"),
        }
    }
    /// Where copies lie that are removed afterwards.
    pub fn scratch(&self) -> PathBuf {
        self.state.join("scratch")
    }
    /// Where recovery points go.
    pub fn recovery(&self) -> PathBuf {
        self.recovery.clone().unwrap_or_else(|| self.state.join("recovery"))
    }
    /// Where the folders of all instances lie, also of those that were here before.
    pub fn instances_folder(&self) -> PathBuf {
        self.state.join("instances")
    }
    /// What is kept of one instance: its fence, its process, what its command was.
    pub fn instance_dir(&self, name: &InstanceName) -> PathBuf {
        self.instances_folder().join(name.as_str())
    }
}

impl InstanceSettings {
    /// The unit's name; empty for the manager `process`.
    pub fn unit_name(&self) -> &str {
        self.unit.as_deref().unwrap_or_default()
    }

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
        if self.unit.is_some() {
            // The unit's is whole.
            return Ok(self.env.clone());
        }
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

impl TryFrom<OneOrSeveral> for Coordinators {
    type Error = String;
    fn try_from(written: OneOrSeveral) -> Result<Self, String> {
        let texts = match written {
            OneOrSeveral::One(text) => vec![text],
            OneOrSeveral::Several(texts) => texts,
        };
        let mut endpoints = Vec::new();
        for text in &texts {
            let endpoint = text
                .parse()
                .map_err(|error: InvalidEndpoint| format!("coordinator = {text:?} is no address: {}", error.why))?;
            if endpoints.contains(&endpoint) {
                return Err(format!("coordinator names {text} twice: name each coordinator once"));
            }
            endpoints.push(endpoint);
        }
        if endpoints.is_empty() {
            return Err(
                "coordinator names no address: write it as \"unix:/path\", or as a list of such texts".to_owned()
            );
        }
        Ok(Self(endpoints))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The keys that the parser knows at a place, by its own word: ``unknown field `zz`, expected one of `name`, …``.
    fn known(text: &str) -> Vec<String> {
        let error = toml::from_str::<Settings>(text).unwrap_err();
        let mut known: Vec<String> = error.message().split('`').skip(3).step_by(2).map(str::to_owned).collect();
        known.sort();
        known
    }

    #[test]
    fn a_key_that_the_file_may_have_is_in_the_schema_and_no_other_is() {
        let schema = schema();
        let described = |table: &serde_json::Value| -> Vec<String> {
            table["properties"].as_object().unwrap().keys().cloned().collect()
        };
        assert_eq!(described(&schema), known("zz = 1"));
        assert_eq!(described(&schema["properties"]["releases"]), known("[releases]\nzz = 1"));
        assert_eq!(described(&schema["properties"]["tls"]), known("[tls]\nzz = 1"));
        assert_eq!(described(&schema["properties"]["instance"]["items"]), known("[[instance]]\nzz = 1"));
        assert!(known("[[instance]]\nzz = 1").contains(&"out_of_rotation".to_owned()));
    }
}
