//! The coordinator's settings file.
//!
//! TOML; an unknown key is refused and named with the nearest right one, because a key that is silently ignored is found
//! out during an upgrade. No setting of the coordinator is a secret.

use cutover_core::catalogue::{Catalogue, CatalogueError};
use cutover_proto::transport::{Endpoint, TlsFiles};
use cutover_store::CoordinatorName;
use cutover_vocabulary::plan::Limits;
use cutover_vocabulary::{Elapsed, OperatorName};
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

/// Settings of one coordinator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Its name, unique among the coordinators of a fleet.
    pub name: CoordinatorName,
    /// Where it listens: `unix:/path`, `http://127.0.0.1:PORT`, or with [`Settings::tls`] `https://ADDRESS:PORT`.
    pub listen: Vec<Endpoint>,
    /// What it shows and whom it believes on the network; none: it listens on this host alone.
    pub tls: Option<TlsFiles>,
    /// The names in certificates whose owners may call as operators. Over the Unix socket and loopback everybody may who can.
    pub operators: BTreeSet<OperatorName>,
    /// Where facts are kept.
    pub store: StorePlace,
    /// Where `GET /metrics` is answered to Prometheus, like `127.0.0.1:9464`; nowhere by default. Plain HTTP without a password:
    /// whoever reaches the address reads names of deployments, upgrades and agents, and how they are.
    pub metrics: Option<SocketAddr>,
    /// A program that is run when an upgrade is held, when clients are let in on its target, and when it ends; none by default.
    /// `docs/watching.md` has what it is told. It runs beside the upgrade, for at most a minute, and nothing waits for it.
    ///
    /// Each event is told at least once: what was being told when the leader changed, the next leader tells again. Upgrade and
    /// `seq` together tell a repetition from news. One that fails or takes too long is logged and not repeated.
    pub hook: Option<HookCommand>,
    /// How long things may take; part of every plan.
    pub limits: Limits,
    /// How long agents have to answer a survey. A look at a storage reads every ledger once.
    pub survey: Elapsed,
    /// What is known of the ledger's releases: what ships with this program, and what the company's own file adds.
    pub catalogue: Arc<Catalogue>,
}

/// A program with its arguments. No shell reads them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookCommand {
    /// Its file, from the root.
    pub program: PathBuf,
    /// What is given to it, word by word.
    pub args: Vec<String>,
}

/// Where facts are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StorePlace {
    /// One file on this machine, `sqlite:/path`.
    Sqlite(PathBuf),
    /// In this process, `memory`; gone when it ends. For tests.
    Memory,
}
impl FromStr for StorePlace {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix("sqlite:") {
            Some(path) if path.starts_with('/') => Ok(Self::Sqlite(PathBuf::from(path))),
            Some(path) => Err(format!("sqlite:{path} does not name an absolute path: write it as sqlite:/path")),
            None if text == "memory" => Ok(Self::Memory),
            None => Err(format!("{text:?} is no store: write it as sqlite:/path, or memory for tests")),
        }
    }
}

/// The file as it is written. The doc comments here are the reference of the settings: `cutover explain coordinator` and
/// `docs/settings.md` are made of them, and an example that is no settings fails a test.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct File {
    /// The coordinator's name, unique among the coordinators of a fleet.
    #[schemars(example = &"c1")]
    name: String,
    /// Where it listens: `unix:/path`, `http://127.0.0.1:PORT`, or with certificates (`[tls]`) `https://ADDRESS:PORT`, which
    /// others on the network may reach. One address may be written without brackets. Several are a Unix socket for the
    /// operators of this host and a port for agents.
    #[schemars(with = "Vec<String>", example = ["unix:/run/cutover/coordinator.sock", "https://0.0.0.0:7443"])]
    listen: Listen,
    /// Where facts are kept: `sqlite:/path`, one file on a local disk; or `memory`, which is gone when the coordinator ends,
    /// for tests.
    #[schemars(example = "sqlite:/var/lib/cutover/store.db")]
    store: String,
    /// Where `GET /metrics` is answered to Prometheus; nowhere by default. Plain HTTP without a password: whoever reaches the
    /// address reads names of deployments, upgrades and agents, and how they are.
    #[schemars(example = &"127.0.0.1:9464")]
    metrics: Option<String>,
    /// A program with its arguments that is run when an upgrade is held, when clients are let in on its target, and when it
    /// ends; none by default. It runs beside the upgrade, for at most a minute, and nothing waits for it; each event is told at
    /// least once. `docs/watching.md` has what it is told.
    #[schemars(example = ["/usr/local/bin/page-somebody", "--team", "ledger"])]
    hook: Option<Vec<String>>,
    /// How long things may take, and how many at once. Part of every plan: an upgrade keeps what it was planned with.
    #[serde(default)]
    limits: LimitsSettings,
    /// How long agents have to answer a survey. A look at a storage reads every ledger once.
    #[serde(default = "default_survey")]
    #[schemars(example = 300)]
    survey_seconds: u64,
    /// A file of the company's own that adds to the catalogue of releases; one without its folder lies beside the settings.
    #[schemars(extend("format" = "path"), example = "company.toml")]
    catalogue: Option<PathBuf>,
    /// Certificates, for addresses that begin with `https://`. TLS 1.3; whoever calls shows a certificate of `authority` too. All
    /// three files are in PEM form and read anew for every connection: a new certificate needs no restart. An agent must have its
    /// own name among the subject alternative names (DNS or URI) of its certificate.
    #[serde(default)]
    #[schemars(with = "TlsSettings")]
    tls: Option<TlsSettings>,
}

/// One address, or several.
#[derive(Deserialize)]
#[serde(untagged)]
enum Listen {
    One(String),
    Several(Vec<String>),
}
impl Listen {
    fn endpoints(self) -> Result<Vec<Endpoint>, String> {
        let texts = match self {
            Self::One(text) => vec![text],
            Self::Several(texts) if texts.is_empty() => {
                return Err("it names no address: write it as \"unix:/path\", or as a list of such texts".to_owned());
            }
            Self::Several(texts) => texts,
        };
        texts.iter().map(|text| text.parse().map_err(|error| format!("{error}"))).collect()
    }
}

/// The table `tls`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct TlsSettings {
    /// The coordinator's certificate, behind it those of authorities between it and the root. Its names are what agents call the
    /// coordinator by: DNS names, or addresses in numbers.
    #[schemars(extend("format" = "absolute path"), example = "/etc/cutover/tls/cert.pem")]
    certificate: PathBuf,
    /// Its private key. Refused where anybody but its owner may read it.
    #[schemars(extend("format" = "absolute path"), example = "/etc/cutover/tls/key.pem")]
    key: PathBuf,
    /// The authorities that sign the certificates of agents and operators.
    #[schemars(extend("format" = "absolute path"), example = "/etc/cutover/tls/authority.pem")]
    authority: PathBuf,
    /// Names in the certificates of those who may call as operators over TLS; what they decide is stored under that name. None by
    /// default: over TLS only agents are let in, and operators use the Unix socket.
    #[serde(default)]
    #[schemars(with = "Vec<String>", example = ["ops.example.com"])]
    operators: Vec<OperatorName>,
}

/// The table `limits`: what is left away keeps its default.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct LimitsSettings {
    /// For connections to become idle and for a clean stop, each.
    #[schemars(example = 60)]
    drain_seconds: u64,
    /// For any order but a migration.
    #[schemars(example = 1200)]
    step_seconds: u64,
    /// For one ledger's migration.
    #[schemars(example = 7200)]
    migration_seconds: u64,
    /// An agent that was not heard for this long is lost, and the upgrade holds.
    #[schemars(example = 60)]
    agent_lost_seconds: u64,
    /// Attempts at a step that fails in a way that may pass by itself.
    #[schemars(example = 5)]
    attempts: u16,
    /// How many ledgers are worked on side by side, on PostgreSQL. A migration keeps one core busy, now the ledger's and now
    /// the server's.
    #[schemars(example = 2)]
    lanes: u16,
    /// Rolling: how many instances move together, once the canary has.
    #[schemars(example = 5)]
    wave: u16,
    /// Rolling: how long old and new instances are watched after each wave.
    #[schemars(example = 60)]
    bake_seconds: u64,
}
impl Default for LimitsSettings {
    fn default() -> Self {
        let Limits { drain, step, migration, agent_lost, attempts, lanes, wave, bake } = Limits::default();
        Self {
            drain_seconds: drain.as_millis() / 1000,
            step_seconds: step.as_millis() / 1000,
            migration_seconds: migration.as_millis() / 1000,
            agent_lost_seconds: agent_lost.as_millis() / 1000,
            attempts,
            lanes,
            wave,
            bake_seconds: bake.as_millis() / 1000,
        }
    }
}

/// What the file may say, as JSON Schema: every key with its type, default, meaning (`description`) and an example. Made of
/// the very structs that read the file.
pub fn schema() -> serde_json::Value {
    SchemaSettings::default()
        .with(|settings| settings.inline_subschemas = true)
        .into_generator()
        .into_root_schema_for::<File>()
        .to_value()
}

fn default_survey() -> u64 {
    120
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
        source: std::io::Error,
    },
    /// The file says something that is not settings.
    #[error("{} line {line}: {what}", path.display())]
    Invalid {
        /// Which file.
        path: PathBuf,
        /// Where.
        line: usize,
        /// What is wrong, and what to do.
        what: String,
    },
    /// The company's own file of the catalogue cannot be read.
    #[error("cannot read the catalogue {}, which {} names: {source}", path.display(), settings.display())]
    NoCatalogue {
        /// Which file.
        path: PathBuf,
        /// Which settings name it.
        settings: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// What is known of releases cannot be used.
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    /// A value breaks a rule.
    #[error("{}: {key}: {why}", path.display())]
    Rule {
        /// Which file.
        path: PathBuf,
        /// Which key.
        key: &'static str,
        /// Which rule, and what to write instead.
        why: String,
    },
}

impl Settings {
    /// Settings with default limits; for single-node mode, which needs no file.
    ///
    /// # Errors
    /// [`SettingsError::Catalogue`], where the program itself is damaged.
    pub fn new(name: CoordinatorName, listen: Endpoint, store: StorePlace) -> Result<Self, SettingsError> {
        let survey = Elapsed::from_secs(default_survey());
        let catalogue = Arc::new(cutover_core::catalogue::shipped()?);
        Ok(Self {
            name,
            listen: vec![listen],
            tls: None,
            operators: BTreeSet::new(),
            store,
            metrics: None,
            hook: None,
            limits: Limits::default(),
            survey,
            catalogue,
        })
    }

    /// Reads a settings file.
    pub fn load(path: &Path) -> Result<Self, SettingsError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| SettingsError::Unreadable { path: path.to_owned(), source })?;
        Self::parse(&text, path)
    }

    /// [`Settings::load`] without the file: `path` is named in errors, and a catalogue that is named without its folder lies
    /// beside it.
    pub fn parse(text: &str, path: &Path) -> Result<Self, SettingsError> {
        let file: File = toml::from_str(text).map_err(|error| explain(&error, text, path))?;
        let rule = |key, why: String| SettingsError::Rule { path: path.to_owned(), key, why };
        let LimitsSettings {
            drain_seconds,
            step_seconds,
            migration_seconds,
            agent_lost_seconds,
            attempts,
            lanes,
            wave,
            bake_seconds,
        } = file.limits;
        for (key, value) in [
            ("limits.drain_seconds", drain_seconds),
            ("limits.step_seconds", step_seconds),
            ("limits.migration_seconds", migration_seconds),
            ("limits.agent_lost_seconds", agent_lost_seconds),
            ("limits.attempts", u64::from(attempts)),
            ("limits.lanes", u64::from(lanes)),
            ("limits.wave", u64::from(wave)),
            ("limits.bake_seconds", bake_seconds),
            ("survey_seconds", file.survey_seconds),
        ] {
            if value == 0 {
                return Err(rule(key, "it must be at least 1; leave it away for its default".to_owned()));
            }
        }
        let listen = file.listen.endpoints().map_err(|why| rule("listen", why))?;
        let (tls, operators) = file.tls.map(TlsSettings::files).transpose().map_err(|why| rule("tls", why))?.unzip();
        let reachable = listen.iter().find(|endpoint| matches!(endpoint, Endpoint::Tls(_)));
        match (reachable, &tls) {
            (Some(endpoint), None) => {
                let why =
                    format!("{endpoint} needs certificates: add the table [tls] with certificate, key and authority");
                return Err(rule("listen", why));
            }
            (None, Some(_)) => {
                let why = "no address of `listen` begins with https://: add one, or leave the table away".to_owned();
                return Err(rule("tls", why));
            }
            (Some(_), Some(_)) | (None, None) => {}
        }
        Ok(Self {
            name: CoordinatorName::new(file.name).map_err(|error| rule("name", error.to_string()))?,
            listen,
            tls,
            operators: operators.unwrap_or_default(),
            store: file.store.parse().map_err(|error| rule("store", error))?,
            metrics: file.metrics.as_deref().map(address).transpose().map_err(|error| rule("metrics", error))?,
            hook: file.hook.map(hook).transpose().map_err(|error| rule("hook", error))?,
            limits: Limits {
                drain: Elapsed::from_secs(drain_seconds),
                step: Elapsed::from_secs(step_seconds),
                migration: Elapsed::from_secs(migration_seconds),
                agent_lost: Elapsed::from_secs(agent_lost_seconds),
                attempts,
                lanes,
                wave,
                bake: Elapsed::from_secs(bake_seconds),
            },
            survey: Elapsed::from_secs(file.survey_seconds),
            catalogue: Arc::new(catalogue(file.catalogue.as_deref(), path)?),
        })
    }
}

impl TlsSettings {
    fn files(self) -> Result<(TlsFiles, BTreeSet<OperatorName>), String> {
        let Self { certificate, key, authority, operators } = self;
        for (name, path) in [("certificate", &certificate), ("key", &key), ("authority", &authority)] {
            if !path.is_absolute() {
                return Err(format!("{name} = {:?} must be an absolute path", path.display().to_string()));
            }
        }
        Ok((TlsFiles { certificate, key, authority }, operators.into_iter().collect()))
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let why = |_| format!("{text:?} is no address in numbers with a port: write it as 127.0.0.1:9464");
    text.parse().map_err(why)
}

fn hook(words: Vec<String>) -> Result<HookCommand, String> {
    let mut words = words.into_iter();
    match words.next().map(PathBuf::from) {
        Some(program) if program.is_absolute() => Ok(HookCommand { program, args: words.collect() }),
        Some(program) => {
            Err(format!("{} is no path from the root: write it as [\"/path/program\", \"arg\"]", program.display()))
        }
        None => Err("it names no program: write it as [\"/path/program\", \"arg\"], or leave it away".to_owned()),
    }
}

/// What ships with this program, with what the company's own file adds.
fn catalogue(company: Option<&Path>, settings: &Path) -> Result<Catalogue, SettingsError> {
    let shipped = cutover_core::catalogue::shipped()?;
    let Some(file) = company else { return Ok(shipped) };
    let path = settings.parent().map_or_else(|| file.to_owned(), |folder| folder.join(file));
    let text = std::fs::read_to_string(&path).map_err(|source| SettingsError::NoCatalogue {
        path: path.clone(),
        settings: settings.to_owned(),
        source,
    })?;
    Ok(shipped.with_company(&text, &path.display().to_string())?)
}

/// Adds the nearest right key to what serde says of an unknown one: ``unknown field `nam`, expected one of `name`, …``.
fn explain(error: &toml::de::Error, text: &str, path: &Path) -> SettingsError {
    let offset = error.span().map_or(0, |span| span.start).min(text.len());
    let line = text.get(..offset).unwrap_or("").matches('\n').count() + 1;
    let said = error.message();
    let quoted: Vec<&str> = said.split('`').skip(1).step_by(2).collect();
    let what = match quoted.split_first() {
        Some((unknown, known)) if said.starts_with("unknown field") => {
            let nearest = known.iter().min_by_key(|key| strsim::damerau_levenshtein(unknown, key));
            let nearest = nearest.map(|key| format!("; did you mean `{key}`?")).unwrap_or_default();
            format!("there is no setting `{unknown}` here{nearest}")
        }
        Some(_) | None => said.to_owned(),
    };
    SettingsError::Invalid { path: path.to_owned(), line, what }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALLEST: &str = "name = \"c-1\"\nlisten = \"unix:/run/c.sock\"\nstore = \"sqlite:/var/lib/c.db\"\n";

    fn parse(text: &str) -> Result<Settings, String> {
        Settings::parse(text, Path::new("c.toml")).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_left_away_keeps_its_default() {
        let settings = parse(&format!("{SMALLEST}[limits]\nagent_lost_seconds = 5\n")).unwrap();
        assert_eq!(settings.limits, Limits { agent_lost: Elapsed::from_secs(5), ..Limits::default() });
        assert_eq!(settings.store, StorePlace::Sqlite("/var/lib/c.db".into()));
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line_and_the_nearest_right_one() {
        let error = parse(&format!("{SMALLEST}[limits]\nagent_lots_seconds = 5\n")).unwrap_err();
        assert!(error.contains("line 5") && error.contains("did you mean `agent_lost_seconds`?"), "{error}");
    }

    #[test]
    fn a_companys_catalogue_is_added_to_what_ships_and_a_fault_in_it_names_file_place_and_key() {
        let folder = tempfile::tempdir().unwrap();
        let (settings, ours) = (folder.path().join("c.toml"), folder.path().join("ours.toml"));
        let text = format!("{SMALLEST}catalogue = \"ours.toml\"\n");
        let parse = || Settings::parse(&text, &settings).map_err(|error| error.to_string());
        let missing = parse().unwrap_err();
        assert!(missing.contains("ours.toml") && missing.contains("c.toml names"), "{missing}");
        std::fs::write(&ours, "[[bad_release]]\nversions = \"=1.12.0\"\nraeson = \"audit\"\n").unwrap();
        let fault = parse().unwrap_err();
        assert!(["ours.toml", "line 3", "raeson"].iter().all(|part| fault.contains(part)), "{fault}");
        std::fs::write(&ours, "[[bad_release]]\nversions = \"=1.12.0\"\nreason = \"audit\"\n").unwrap();
        let known = parse().unwrap().catalogue;
        let bad = known.bad_release(&cutover_vocabulary::Version::new(1, 12, 0)).unwrap();
        assert_eq!((bad.reason.as_str(), bad.source.to_string().as_str()), ("audit", "company file"));
    }

    /// The keys that the parser knows at a place, by its own word: ``unknown field `zz`, expected one of `name`, …``.
    fn known(text: &str) -> Vec<String> {
        let error = toml::from_str::<File>(text).err().unwrap();
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
        assert_eq!(described(&schema["properties"]["limits"]), known("[limits]\nzz = 1"));
        assert_eq!(described(&schema["properties"]["tls"]), known("[tls]\nzz = 1"));
        assert!(known("zz = 1").contains(&"catalogue".to_owned()));
    }

    #[test]
    fn an_address_that_others_could_reach_is_refused() {
        let error = parse(&SMALLEST.replace("unix:/run/c.sock", "http://10.0.0.7:7080")).unwrap_err();
        assert!(error.contains("listen") && error.contains("loopback"), "{error}");
    }

    #[test]
    fn an_address_on_the_network_needs_certificates_and_certificates_an_address() {
        const TLS: &str = "[tls]\ncertificate = \"/t/c.pem\"\nkey = \"/t/k.pem\"\nauthority = \"/t/a.pem\"\n";
        let both = SMALLEST.replace("\"unix:/run/c.sock\"", "[\"unix:/run/c.sock\", \"https://0.0.0.0:7443\"]");
        let settings = parse(&format!("{both}{TLS}operators = [\"ops.example.com\"]\n")).unwrap();
        let listen: Vec<String> = settings.listen.iter().map(ToString::to_string).collect();
        assert_eq!(listen, ["unix:/run/c.sock", "https://0.0.0.0:7443"]);
        assert_eq!(settings.operators, [OperatorName::new("ops.example.com").unwrap()].into());
        assert_eq!(settings.tls.unwrap().key, PathBuf::from("/t/k.pem"));
        assert!(parse(&format!("{both}{TLS}")).unwrap().operators.is_empty(), "nobody by default");
        for (text, says) in [
            (both.clone(), "add the table [tls]"),
            (format!("{SMALLEST}{TLS}"), "begins with https://"),
            (format!("{both}{}", TLS.replace("\"/t/k.pem\"", "\"k.pem\"")), "must be an absolute path"),
            (SMALLEST.replace("\"unix:/run/c.sock\"", "[]"), "names no address"),
        ] {
            let error = parse(&text).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn a_store_that_is_none_says_what_to_write() {
        for store in ["etcd", "sqlite:c.db", ""] {
            let error = parse(&SMALLEST.replace("sqlite:/var/lib/c.db", store)).unwrap_err();
            assert!(error.contains("sqlite:/path"), "{error}");
        }
    }

    #[test]
    fn metrics_are_off_until_an_address_is_named_and_a_text_that_is_none_says_what_to_write() {
        assert_eq!(parse(SMALLEST).unwrap().metrics, None);
        let settings = parse(&format!("{SMALLEST}metrics = \"127.0.0.1:9464\"\n")).unwrap();
        assert_eq!(settings.metrics, Some(([127, 0, 0, 1], 9464).into()));
        let error = parse(&format!("{SMALLEST}metrics = \"9464\"\n")).unwrap_err();
        assert!(error.contains("metrics") && error.contains("127.0.0.1:9464"), "{error}");
    }

    #[test]
    fn a_hook_is_a_program_by_its_whole_path_with_its_arguments() {
        assert_eq!(parse(SMALLEST).unwrap().hook, None);
        let settings = parse(&format!("{SMALLEST}hook = [\"/usr/bin/page\", \"a b\"]\n")).unwrap();
        assert_eq!(settings.hook, Some(HookCommand { program: "/usr/bin/page".into(), args: vec!["a b".to_owned()] }));
        for words in ["[]", "[\"page\"]", "[\"\"]"] {
            let error = parse(&format!("{SMALLEST}hook = {words}\n")).unwrap_err();
            assert!(error.contains("hook") && error.contains("/path/program"), "{error}");
        }
    }

    #[test]
    fn a_limit_of_nothing_is_refused() {
        let error = parse(&format!("{SMALLEST}[limits]\nlanes = 0\n")).unwrap_err();
        assert!(error.contains("limits.lanes"), "{error}");
    }
}
