//! Surveys: what an agent answers when a plan is made. Read only; nothing of it is an order.

use crate::instance::{InstanceReport, Manager};
use crate::outcome::Inspection;
use crate::release::Release;
use crate::storage::{LedgerSurvey, Obstacle, Opener, SessionSetting, StorageIdentity, StorageSession};
use crate::{AgentName, DeploymentName, InstanceName, LedgerName, Version};
use serde::{Deserialize, Serialize};

/// What a plan asks of every agent of a deployment.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SurveyAsk {
    /// Of which deployment.
    pub deployment: DeploymentName,
    /// For which target.
    pub target: Version,
}

/// One agent's answer.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct HostSurvey {
    /// Who answers.
    pub agent: AgentName,
    /// Machine id of the host.
    pub machine: String,
    /// Every instance of the deployment on this host.
    pub instances: Vec<InstanceSurvey>,
    /// The target release as this host finds it.
    pub target: Result<Release, ReleaseProblem>,
    /// What the target's binary says of itself; or why it could not be asked. None: nobody asked, because the release is not
    /// usable or the agent is an older one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<Result<About, String>>,
}

/// What a binary says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct About {
    /// `numary version`.
    pub version: Version,
    /// Whether `numary storage --help` names scan, list and upgrade.
    pub storage_commands: bool,
}

/// One instance, looked at closely.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct InstanceSurvey {
    /// Which instance.
    pub instance: InstanceName,
    /// How it runs.
    pub report: InstanceReport,
    /// How it keeps from writing at once with the others. None where its settings cannot be read, and from an older agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock: Option<LockStrategy>,
    /// Its version, binary, storage and settings; or what prevents telling them.
    pub inspection: Result<Inspection, String>,
    /// What is in its storage; or what prevents telling it.
    pub storage: Result<StorageSurvey, String>,
    /// What runs it.
    pub manager: Manager,
    /// What the target's binary says to this instance's arguments and variables; or why it could not be asked. None: nobody
    /// asked, because the release is not usable or the agent is an older one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tried: Option<Result<Tried, String>>,
    /// The file that the service's settings are read from; none where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings_file: Option<SettingsFile>,
    /// What else starts it: units of the host's systemd, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub triggers: Vec<String>,
}

/// What the target's binary said when it was asked for its help with an instance's arguments. Nothing was started.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Tried {
    /// What it refuses, in its own words without values: `unknown flag: --persist-config`. Empty: it would start with them.
    pub refused: Vec<String>,
    /// Variables of the instance's environment that the present binary knows and the target does not, by name. They are
    /// ignored without a word.
    pub ignored: Vec<String>,
}

/// A `numary.yaml` that the ledger finds. Names of settings only, for values may be secrets.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SettingsFile {
    /// Where.
    pub path: String,
    /// Why the ledger ignores it, if it does.
    pub ignored: Option<String>,
    /// Settings that say where the storage is, of which it has another value than the service really uses, each with where
    /// the service has its value from. A command that is run with one variable less than the service works by the file.
    pub overridden: Vec<(String, String)>,
    /// Whether it holds a connection string and its mode lets everybody on the host read it.
    pub exposed: bool,
}

/// The ledger's setting `lock-strategy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LockStrategy {
    /// Within the process; the default.
    Memory,
    /// None at all.
    None,
    /// By a redis that instances share.
    Redis,
    /// Another word: the ledger accepts any, and nobody knows what it does then.
    Other,
}
impl LockStrategy {
    /// The setting's word. Total: the ledger refuses none.
    pub fn of(word: &str) -> Self {
        match word {
            "memory" => Self::Memory,
            "none" => Self::None,
            "redis" => Self::Redis,
            _ => Self::Other,
        }
    }
}

/// A storage, looked at.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct StorageSurvey {
    /// Which storage.
    pub identity: StorageIdentity,
    /// The ledgers in it.
    pub ledgers: Vec<LedgerSurvey>,
    /// What the system store has registered; none where there is no system store.
    pub registered: Option<Vec<LedgerName>>,
    /// Files or schemas that look like ledgers and cannot be upgraded as such, each with the reason.
    pub skipped: Vec<(String, String)>,
    /// Who has it open, the instance's own process apart.
    pub strangers: Vec<Opener>,
    /// Bytes that can still be written where recovery points go.
    pub free_bytes: u64,
    /// Bytes that recovery points and their proof need there.
    pub needed_bytes: u64,
    /// Why the storage could not be written to, if so.
    pub read_only: Option<String>,
    /// Sessions on its database that may write or hold locks and are not under the ledger's role.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sessions: Vec<StorageSession>,
    /// What a person must change before it can be upgraded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub obstacles: Vec<Obstacle>,
    /// What a session of the service begins with, as far as it matters to an upgrade: its time zone, and limits of time that
    /// are set. PostgreSQL only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub session_settings: Vec<SessionSetting>,
}

/// Why a release cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
pub enum ReleaseProblem {
    /// It is not where releases are.
    #[error("release {version} was not found at {place}")]
    Missing {
        /// Which version.
        version: Version,
        /// Where it was looked for.
        place: String,
    },
    /// Its checksum file does not name it, or cannot be read.
    #[error("release {version} has no usable checksum: {why}")]
    NoChecksum {
        /// Which version.
        version: Version,
        /// Why not.
        why: String,
    },
    /// Its bytes are not what its checksum file says.
    #[error("the file of release {version} is corrupt: its SHA-256 is {found}, its checksum file says {named}")]
    Corrupt {
        /// Which version.
        version: Version,
        /// What was found.
        found: crate::Digest,
        /// What should be.
        named: crate::Digest,
    },
    /// Its archive holds what a release must not hold.
    #[error("the archive of release {version} is refused: {why}")]
    BadArchive {
        /// Which version.
        version: Version,
        /// Why.
        why: String,
    },
}
