//! The file as it is written. The doc comments here are the reference of the settings.

use super::store::EtcdTable;
use super::tls::TlsSettings;
use cutover_proto::transport::Endpoint;
use cutover_vocabulary::plan::Limits;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The file as it is written. The doc comments here are the reference of the settings: `cutover explain coordinator` and
/// `docs/settings.md` are made of them, and an example that is no settings fails a test.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    /// The coordinator's name, unique among the coordinators of a fleet.
    #[schemars(example = &"c1")]
    pub(super) name: String,
    /// Where it listens: `unix:/path`, `http://127.0.0.1:PORT`, or with certificates (`[tls]`) `https://ADDRESS:PORT`, which
    /// others on the network may reach. One address may be written without brackets. Several are a Unix socket for the
    /// operators of this host and a port for agents.
    #[schemars(with = "Vec<String>", example = ["unix:/run/cutover/coordinator.sock", "https://0.0.0.0:7443"])]
    pub(super) listen: Listen,
    /// Where the other coordinators and the operators are told that this one is reached. By default the address of `listen` that is on
    /// the network, which says nothing where that is `0.0.0.0`.
    #[schemars(example = &"https://c1.example.com:7443")]
    pub(super) advertise: Option<String>,
    /// Where facts are kept: `sqlite:/path`, one file on a local disk; `etcd`, for several coordinators (`[etcd]` says which); or
    /// `memory`, which is gone when the coordinator ends, for tests.
    #[schemars(example = "sqlite:/var/lib/cutover/store.db")]
    pub(super) store: String,
    /// Where `GET /metrics` is answered to Prometheus; nowhere by default. Plain HTTP without a password: whoever reaches the
    /// address reads names of deployments, upgrades and agents, and how they are.
    #[schemars(example = &"127.0.0.1:9464")]
    pub(super) metrics: Option<String>,
    /// A program with its arguments that is run when an upgrade is held, when clients are let in on its target, and when it
    /// ends; none by default. It runs beside the upgrade, for at most a minute, and nothing waits for it; each event is told at
    /// least once. `docs/watching.md` has what it is told.
    #[schemars(example = ["/usr/local/bin/page-somebody", "--team", "ledger"])]
    pub(super) hook: Option<Vec<String>>,
    /// How long things may take, and how many at once. Part of every plan: an upgrade keeps what it was planned with.
    #[serde(default)]
    pub(super) limits: LimitsSettings,
    /// How long agents have to answer a survey. A look at a storage reads every ledger once.
    #[serde(default = "default_survey")]
    #[schemars(example = 300)]
    pub(super) survey_seconds: u64,
    /// A file of the company's own that adds to the catalogue of releases; one without its folder lies beside the settings.
    #[schemars(extend("format" = "path"), example = "company.toml")]
    pub(super) catalogue: Option<PathBuf>,
    /// Which etcd, for `store = "etcd"`.
    #[serde(default)]
    #[schemars(with = "EtcdTable")]
    pub(super) etcd: Option<EtcdTable>,
    /// Certificates, for addresses that begin with `https://`. TLS 1.3; whoever calls shows a certificate of `authority` too. All
    /// three files are in PEM form and read anew for every connection: a new certificate needs no restart. An agent must have its
    /// own name among the subject alternative names (DNS or URI) of its certificate.
    #[serde(default)]
    #[schemars(with = "TlsSettings")]
    pub(super) tls: Option<TlsSettings>,
}

/// One address, or several.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Listen {
    One(String),
    Several(Vec<String>),
}
impl Listen {
    pub(super) fn endpoints(self) -> Result<Vec<Endpoint>, String> {
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

/// The table `limits`: what is left away keeps its default.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct LimitsSettings {
    /// For connections to become idle and for a clean stop, each.
    #[schemars(example = 60)]
    pub(super) drain_seconds: u64,
    /// For any order but a migration.
    #[schemars(example = 1200)]
    pub(super) step_seconds: u64,
    /// For one ledger's migration.
    #[schemars(example = 7200)]
    pub(super) migration_seconds: u64,
    /// An agent that was not heard for this long is lost, and the upgrade holds.
    #[schemars(example = 60)]
    pub(super) agent_lost_seconds: u64,
    /// Attempts at a step that fails in a way that may pass by itself (a server that restarts, a connection that breaks off). It
    /// rests for 2 s after the first one and four times as long after each further one, 30 s at most.
    #[schemars(example = 5)]
    pub(super) attempts: u16,
    /// How many ledgers are worked on side by side, on PostgreSQL. A migration keeps one core busy, now the ledger's and now
    /// the server's.
    #[schemars(example = 2)]
    pub(super) lanes: u16,
    /// Rolling: how many instances move together, once the canary has.
    #[schemars(example = 5)]
    pub(super) wave: u16,
    /// Rolling: how long old and new instances are watched after each wave.
    #[schemars(example = 60)]
    pub(super) bake_seconds: u64,
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

pub(super) fn default_survey() -> u64 {
    120
}
