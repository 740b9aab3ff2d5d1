//! Arguments of what runs coordinator and agent in this process: the sandbox, single-node mode, and the workers of both.

use super::steering::{Decided, decided};
use clap::{Args, Subcommand, ValueEnum};
use cutover_vocabulary::Version;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Which storage the sandbox has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StorageWord {
    /// Files on one host.
    #[default]
    Sqlite,
    /// An installed PostgreSQL on a data directory in the sandbox's folder; each instance is on a host of its own.
    Postgres,
}

/// Arguments of `sandbox`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct SandboxArgs {
    /// Go on with, or remove, what an earlier one left.
    #[command(subcommand)]
    pub command: Option<SandboxCommand>,
    /// Where the ledgers are kept.
    #[arg(long, value_enum, default_value_t)]
    pub storage: StorageWord,
    /// How many instances share them.
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub instances: u16,
    /// How many coordinators lead it, one at a time. Several share an installed etcd on a folder of the sandbox.
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=5))]
    pub coordinators: u16,
    /// The version to begin with.
    #[arg(long, value_name = "VERSION", default_value = "1.3.1")]
    pub from: Version,
    /// The version to upgrade to.
    #[arg(long, value_name = "VERSION", default_value = "1.4.6")]
    pub to: Version,
    /// How the instances are moved.
    #[command(flatten)]
    pub how: super::HowArgs,
    /// A folder with releases as on the ledger's release pages: vVERSION/numary_VERSION_Linux-64bit.tar.gz and
    /// checksums_linux.txt. Default: the simulator, which lies beside this program in a build of the workspace.
    #[arg(long, value_name = "DIR")]
    pub releases: Option<String>,
    /// How many transactions to begin with, over all ledgers.
    #[arg(long, value_name = "NUMBER", default_value_t = 300, value_parser = clap::value_parser!(u64).range(3..=1_000_000))]
    pub transactions: u64,
    /// How many ledgers share them.
    #[arg(long, value_name = "NUMBER", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub ledgers: u16,
    /// How many ledgers are worked on at once, on PostgreSQL. Default: as the coordinator's settings have it.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub lanes: Option<u16>,
    /// The sandbox's folder; it must be empty or not be there, and is kept. Default: a temporary one, removed at the
    /// end.
    #[arg(long)]
    pub dir: Option<PathBuf>,
    /// Keep the folder at the end.
    #[arg(long)]
    pub keep: bool,
    /// Agree to exactly what the plan needs approval for.
    #[arg(long)]
    pub yes: bool,
}

/// What to do with a sandbox that an earlier run left.
#[derive(Debug, Subcommand)]
pub enum SandboxCommand {
    /// Go on where it stopped.
    Resume(ResumeArgs),
    /// End its processes and remove its folder.
    Clean(CleanArgs),
}

/// Arguments of `sandbox resume`.
#[derive(Debug, Args)]
pub struct ResumeArgs {
    /// The sandbox's folder. Default: the one that was left.
    #[arg(long)]
    pub dir: Option<PathBuf>,
    /// Agree to exactly what the plan needs approval for.
    #[arg(long)]
    pub yes: bool,
    /// Keep the folder at the end.
    #[arg(long)]
    pub keep: bool,
    /// Decide that hold first, by its number: retry, accept, wait, abort or rollback.
    #[arg(long, value_name = "HOLD:CHOICE", value_parser = decided, requires = "reason")]
    pub decide: Option<Decided>,
    /// Why; stored with the decision.
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

/// Arguments of `sandbox clean`.
#[derive(Debug, Args)]
pub struct CleanArgs {
    /// The sandbox's folder. Default: every one that was left.
    #[arg(long)]
    pub dir: Option<PathBuf>,
}

/// Arguments of `single`.
#[derive(Debug, Args)]
pub struct SingleArgs {
    /// The agent's settings file, which names this machine's instances.
    #[arg(long, value_name = "FILE")]
    pub settings: PathBuf,
    /// To which version, like 1.4.6.
    #[arg(long, value_name = "VERSION")]
    pub to: Version,
    /// Which deployment, where the settings name several.
    #[arg(long, value_name = "NAME")]
    pub deployment: Option<cutover_vocabulary::DeploymentName>,
    /// Agree to exactly what the plan needs approval for.
    #[arg(long)]
    pub yes: bool,
    /// Decide that hold first, by its number: retry, accept, wait, abort or rollback. Starts no upgrade.
    #[arg(long, value_name = "HOLD:CHOICE", value_parser = decided, conflicts_with = "yes")]
    pub decide: Option<Decided>,
    /// Only go on with an upgrade that has not ended; start none.
    #[arg(long, conflicts_with = "yes")]
    pub resume: bool,
    /// Only show the plan; start nothing.
    #[arg(long, conflicts_with_all = ["yes", "decide", "resume"])]
    pub plan: bool,
    /// Only show where the newest upgrade stands; do nothing.
    #[arg(long, conflicts_with_all = ["yes", "decide", "resume", "plan"])]
    pub status: bool,
    /// Say that the recovery points of the newest upgrade are not needed any more; nothing else is done.
    #[arg(long, conflicts_with_all = ["yes", "decide", "resume", "plan", "status"])]
    pub close: bool,
    /// Why; stored with the approval and the decision, and needed to close an upgrade that a person took over.
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Answers to the plan's questions.
    #[command(flatten)]
    pub answers: super::Answers,
}
impl SingleArgs {
    /// Why, where that need not be said.
    pub fn why(&self) -> &str {
        self.reason.as_deref().unwrap_or("agreed to on the command line")
    }
}

/// A program with a settings file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ProgramWord {
    /// The daemon of a host.
    Agent,
    /// What plans and leads upgrades.
    Coordinator,
}
impl ProgramWord {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Coordinator, Self::Agent];

    /// In a sentence.
    pub fn word(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Coordinator => "coordinator",
        }
    }
    /// As a heading.
    pub fn title(self) -> &'static str {
        match self {
            Self::Agent => "Agent",
            Self::Coordinator => "Coordinator",
        }
    }
    /// Where its settings lie unless it is told otherwise.
    pub fn file(self) -> &'static str {
        match self {
            Self::Agent => "/etc/cutover/agent.toml",
            Self::Coordinator => "/etc/cutover/coordinator.toml",
        }
    }
}

/// Arguments of `explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// Whose settings.
    #[arg(value_enum)]
    pub program: ProgramWord,
    /// Only this key, like start_seconds or instance.command.
    pub key: Option<String>,
}

/// Arguments of `doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Look for what this agent's settings file names, instead of what the sandbox needs; run it as the agent's user.
    #[arg(long, value_name = "FILE", conflicts_with = "releases")]
    pub settings: Option<PathBuf>,
    /// A folder with releases for the sandbox, as `cutover sandbox --releases` has it.
    #[arg(long, value_name = "DIR")]
    pub releases: Option<PathBuf>,
}
