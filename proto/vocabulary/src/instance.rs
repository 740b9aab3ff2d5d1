//! Instances as their agents report them.

use crate::{DeploymentName, InstanceName, Timestamp, Version};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What runs an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Manager {
    /// A plain process that the agent starts and watches; for the sandbox. It has no guard.
    Process,
    /// A systemd unit.
    Systemd,
}

/// Whether an instance runs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunState {
    /// Its process exists.
    Running {
        /// Process id.
        pid: u32,
    },
    /// No process of it exists.
    Stopped,
    /// It cannot be told.
    Unknown {
        /// Why not.
        why: String,
    },
}
impl fmt::Display for RunState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Running { pid } => write!(f, "running (pid {pid})"),
            Self::Stopped => f.write_str("stopped"),
            Self::Unknown { why } => write!(f, "unknown: {}", crate::name::shown(why)),
        }
    }
}

/// What an instance has that is not what Cutover last switched it to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Drift {
    /// Where it shows.
    pub kind: DriftKind,
    /// What Cutover allowed, for people.
    pub allowed: String,
    /// What is there, for people.
    pub found: String,
}
impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (found, allowed) = (crate::name::shown(&self.found), crate::name::shown(&self.allowed));
        write!(f, "{} {found}, allowed is {allowed}", self.kind.words())
    }
}

/// Where a drift shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DriftKind {
    /// Another path is started.
    Command,
    /// Another binary lies at the path.
    Disk,
    /// Another binary runs.
    Running,
}
impl DriftKind {
    /// All of them.
    pub const ALL: &[Self] = &[Self::Command, Self::Disk, Self::Running];

    /// Its word in metrics.
    pub fn word(self) -> &'static str {
        match self {
            Self::Command => "command",
            Self::Disk => "disk",
            Self::Running => "running",
        }
    }
    fn words(self) -> &'static str {
        match self {
            Self::Command => "it would start",
            Self::Disk => "on disk lies",
            Self::Running => "it runs",
        }
    }
}

/// Telemetry: what an agent sees of an instance now. Never satisfies a step; may void a proof.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct InstanceReport {
    /// Which instance.
    pub instance: InstanceName,
    /// Of which deployment.
    pub deployment: DeploymentName,
    /// Whether it runs.
    pub run: RunState,
    /// The version that answers over HTTP.
    pub running: Option<Version>,
    /// The version that would start.
    pub on_disk: Option<Version>,
    /// Whether it is fenced.
    pub fenced: bool,
    /// By which order, or by whom and why; empty where it is not fenced, or by an older agent.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub fenced_by: String,
    /// The fence's generation.
    pub fence: u64,
    /// What runs it.
    pub manager: Manager,
    /// Whether its agent may only look: it refuses every order that would change something of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub observe_only: bool,
    /// When this was seen.
    pub at: Timestamp,
    /// What is not as Cutover last switched it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drift: Vec<Drift>,
    /// Where its guard was put and does not lie any more, so that no fence keeps anybody from starting it; otherwise empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub missing_guard: String,
}
