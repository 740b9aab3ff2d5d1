//! Findings: what a check noticed.

use crate::{DeploymentName, InstanceName, LedgerName};
use serde::{Deserialize, Serialize};
use std::fmt;

/// One thing a check noticed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Finding {
    /// Stable code, like `bad-rows`; `docs/findings/CODE.md` explains it.
    pub code: FindingCode,
    /// What it means for the plan.
    pub level: Level,
    /// What it is about.
    pub subject: FindingSubject,
    /// What was seen.
    pub evidence: String,
    /// What to do.
    pub remedy: String,
    /// Where the knowledge comes from.
    pub source: Source,
}

/// A finding's stable code.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FindingCode(pub String);
impl fmt::Display for FindingCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a finding means for the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Good to know.
    Info,
    /// A person must approve it by name.
    Approve,
    /// The plan cannot start.
    Block,
}
impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Info => "info",
            Self::Approve => "approve",
            Self::Block => "block",
        })
    }
}

/// What a finding is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FindingSubject {
    /// The deployment.
    Deployment(DeploymentName),
    /// One instance.
    Instance(InstanceName),
    /// One ledger.
    Ledger(LedgerName),
    /// The storage.
    Storage,
    /// The path from one version to the other.
    Path,
}
impl fmt::Display for FindingSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deployment(name) => write!(f, "deployment {name}"),
            Self::Instance(name) => write!(f, "instance {name}"),
            Self::Ledger(name) => write!(f, "ledger {name}"),
            Self::Storage => f.write_str("storage"),
            Self::Path => f.write_str("path"),
        }
    }
}

/// Where the knowledge behind a finding comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// The ledger's manual.
    Manual,
    /// Measured with the real binaries.
    Measured,
    /// Seen in this storage.
    ThisStorage,
    /// Seen on this host.
    ThisHost,
    /// A company's own file beside the catalogue.
    CompanyFile,
}
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Manual => "manual",
            Self::Measured => "measured",
            Self::ThisStorage => "this storage",
            Self::ThisHost => "this host",
            Self::CompanyFile => "company file",
        })
    }
}
