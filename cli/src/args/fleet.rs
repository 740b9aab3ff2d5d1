//! Arguments about deployments and their members.

use clap::{Args, Subcommand};
use cutover_vocabulary::{DeploymentName, InstanceName};

/// About deployments.
#[derive(Debug, Subcommand)]
pub enum DeploymentCommand {
    /// Declare a deployment and the instances that must exist.
    ///
    /// A plan blocks on each that no agent has ever spoken for.
    Create(CreateDeploymentArgs),
    /// Show a deployment: its instances, which are missing, and who wrongly claims one.
    Show {
        /// Which deployment; `cutover fleet` lists them.
        name: DeploymentName,
    },
}

/// Arguments of `deployment create`.
#[derive(Debug, Args)]
pub struct CreateDeploymentArgs {
    /// Its name.
    pub name: DeploymentName,
    /// An instance that must exist, besides those declared before; may be repeated.
    #[arg(long = "instance", value_name = "NAME")]
    pub instances: Vec<InstanceName>,
}

/// About members.
#[derive(Debug, Subcommand)]
pub enum MemberCommand {
    /// Let an instance go that is gone for good.
    ///
    /// In an upgrade that has not ended, what its agent was asked about it counts as settled by this, so somebody must have
    /// seen that nothing of it is at work on the storage.
    #[command(
        override_usage = "cutover member excuse <DEPLOYMENT> <INSTANCE>\n           --reason <TEXT> --evidence <TEXT>"
    )]
    Excuse(ExcuseArgs),
}

/// Arguments of `member excuse`.
#[derive(Debug, Args)]
pub struct ExcuseArgs {
    /// Of which deployment.
    pub deployment: DeploymentName,
    /// Which instance.
    pub instance: InstanceName,
    /// Why; stored.
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// What shows that nothing of it is at work on the storage, like: its host is off, and pg_stat_activity has no session
    /// from its address; stored.
    #[arg(long, value_name = "TEXT")]
    pub evidence: String,
}
