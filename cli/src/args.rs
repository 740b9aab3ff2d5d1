//! The command line.

use crate::exit::Exit;
use crate::trouble::Trouble;
use clap::{Args, Parser, Subcommand};
use cutover_proto::transport::{Endpoint, TlsFiles};
use cutover_vocabulary::OperatorName;
use std::path::PathBuf;

/// Where a coordinator listens when nothing else is said.
pub const DEFAULT_COORDINATOR: &str = "unix:/run/cutover/coordinator.sock";

/// Upgrades a fleet of ledger instances (numary): drains, secures, migrates, proves, opens.
#[derive(Debug, Parser)]
#[command(name = "cutover", version, max_term_width = 80, after_help = after_help(), arg_required_else_help = true)]
pub struct CommandLine {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// What holds for every command.
    #[command(flatten)]
    pub global: Global,
}

/// What stands below the list of commands.
fn after_help() -> String {
    let first = "\
New here: `cutover doctor` says what is missing, `cutover sandbox` shows a whole
upgrade. When something waits for you: `cutover status`.";
    format!("{first}\n\n{}", Exit::HELP)
}

/// What holds for every command.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "For every command")]
pub struct Global {
    /// Where the coordinator listens: unix:/path, http://127.0.0.1:PORT, or with certificates https://HOST:PORT. Several have
    /// commas between them, or one flag each: what is asked goes to the one that leads.
    #[arg(
        long,
        global = true,
        value_name = "ENDPOINT",
        env = "CUTOVER_COORDINATOR",
        default_value = DEFAULT_COORDINATOR,
        value_delimiter = ','
    )]
    pub coordinator: Vec<Endpoint>,
    /// Your certificate (PEM), for https://. One of its names must be listed in the coordinator's settings.
    #[arg(long, global = true, value_name = "FILE", env = "CUTOVER_TLS_CERTIFICATE")]
    pub tls_certificate: Option<PathBuf>,
    /// The certificate's private key (PEM), which nobody else may read.
    #[arg(long, global = true, value_name = "FILE", env = "CUTOVER_TLS_KEY")]
    pub tls_key: Option<PathBuf>,
    /// The authorities that sign the coordinator's certificate (PEM).
    #[arg(long, global = true, value_name = "FILE", env = "CUTOVER_TLS_AUTHORITY")]
    pub tls_authority: Option<PathBuf>,
    /// Who asks; stored with what is decided. Default: the name of your certificate under https://, else the user's name.
    #[arg(long, global = true, value_name = "NAME", env = "CUTOVER_OPERATOR")]
    pub operator: Option<OperatorName>,
    /// Write JSON, one value a line, instead of pages for people.
    #[arg(long, global = true)]
    pub json: bool,
}

impl Global {
    /// The files of TLS: all three, or none of them.
    ///
    /// # Errors
    /// [`Trouble::Usage`] where some are named and others are not.
    pub fn tls(&self) -> Result<Option<TlsFiles>, Trouble> {
        match (&self.tls_certificate, &self.tls_key, &self.tls_authority) {
            (None, None, None) => Ok(None),
            (Some(certificate), Some(key), Some(authority)) => {
                let (certificate, key, authority) = (certificate.clone(), key.clone(), authority.clone());
                Ok(Some(TlsFiles { certificate, key, authority }))
            }
            _ => Err(Trouble::usage(
                "--tls-certificate, --tls-key and --tls-authority (or CUTOVER_TLS_CERTIFICATE, CUTOVER_TLS_KEY and \
                 CUTOVER_TLS_AUTHORITY) are named together",
            )),
        }
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Say what is missing on this host, why it is needed, and how to get it.
    ///
    /// Touches nothing. Without --settings it looks for what the sandbox needs; with an agent's settings, for what that
    /// agent needs and for everything that its settings name.
    #[cfg(feature = "all-in-one")]
    #[command(after_help = Exit::OF_DOCTOR)]
    Doctor(DoctorArgs),
    /// Try a whole upgrade in a folder of its own, with a client that writes through it.
    #[cfg(feature = "all-in-one")]
    Sandbox(SandboxArgs),
    /// Upgrade the instances of this one machine, without any daemon of Cutover.
    #[cfg(feature = "all-in-one")]
    Single(SingleArgs),
    /// Say what an upgrade of a deployment would do; touches nothing.
    Plan(PlanArgs),
    /// Rehearse an upgrade while clients are served, and end there.
    ///
    /// Plans, has the release unpacked on every host, migrates a copy of the storage and starts the target on it. No instance is
    /// stopped, and nothing but the copy is changed. What needs approval is shown, and needs none for this.
    Rehearse(PlanArgs),
    /// Agree to everything in a plan that needs approval.
    Approve(ApproveArgs),
    /// Start a plan and follow it.
    Start(StartArgs),
    /// Plan, approve, start and follow in one go.
    Upgrade(UpgradeArgs),
    /// Bring instances that were away to the release that their deployment is to run.
    ///
    /// For a host that was off, or was excused, while the others were upgraded. Plans, starts and follows an upgrade of these
    /// instances alone: the storage is not touched and the others go on serving. What an instance had before is never started again;
    /// on the way back it stays down and fenced.
    Rejoin(RejoinArgs),
    /// Say where upgrades stand, and what each waits for.
    #[command(after_help = Exit::OF_STATUS)]
    Status(WhichStatus),
    /// Follow an upgrade.
    ///
    /// At a terminal to its end, through holds and pauses, each shown with its commands; elsewhere until it ends or waits
    /// for a person.
    #[command(after_help = Exit::OF_WATCH)]
    Watch(WhichUpgrade),
    /// List what happened in an upgrade.
    Facts(WhichUpgrade),
    /// Print what to do for an upgrade if Cutover itself cannot, as it stands now.
    ///
    /// Who the runner is, where the recovery points lie, which hosts are fenced, and what to run on which host without a
    /// coordinator. `start` and `upgrade` leave it in the present folder.
    Runbook(RunbookArgs),
    /// Decide a hold: `cutover status` shows the choices, and what each costs.
    Decide(DecideArgs),
    /// Go back before any ledger was migrated: the old version is let in again.
    ///
    /// Refused from the first migration on; then `cutover rollback` is the way back. In a rejoin the instance stays down and
    /// fenced instead. --what-if says what would happen.
    #[command(after_help = Exit::OF_GOING_BACK)]
    Abort(AbortArgs),
    /// Go back after ledgers were migrated, before clients are let in: what changed is restored.
    ///
    /// An upgrade that rolls restores nothing: it starts the former version again on the storage as it is. What a rejoin brought in
    /// stays down and fenced. With downtime, refused once clients were let in on the new version: it would lose what they wrote. --what-if says what would happen.
    #[command(after_help = Exit::OF_GOING_BACK)]
    Rollback(RollbackArgs),
    /// Give no new orders until the upgrade is resumed.
    Pause(SteerArgs),
    /// Let a paused upgrade go on.
    Resume(SteerArgs),
    /// Say that an ended upgrade's recovery points are not needed any more.
    ///
    /// Nothing is removed by it. It also ends an upgrade that a person took over on a host, which frees its deployment and
    /// needs a reason.
    Close(SteerArgs),
    /// Say who is there, and who leads.
    Fleet,
    /// Declare which instances of a deployment must exist, or show one.
    #[command(subcommand)]
    Deployment(DeploymentCommand),
    /// Let an instance go that is gone for good.
    #[command(subcommand)]
    Member(MemberCommand),
    /// Explain every key of a settings file: type, default, an example.
    #[cfg(feature = "all-in-one")]
    Explain(ExplainArgs),
    /// Write a shell's completions to standard output.
    Completions(CompletionsArgs),
    /// Write the manual pages.
    Man(ManArgs),
    /// A worker process: do what lies in a folder. For the agent alone.
    #[cfg(feature = "all-in-one")]
    #[command(hide = true)]
    Work(cutover_agent::worker::child::Arguments),
    /// Whether an instance may start what lies at its command's path. For a unit's guard alone.
    #[cfg(feature = "all-in-one")]
    #[command(hide = true)]
    Guard {
        /// What to do while no coordinator was heard since the host booted. A guard of before does not say.
        #[arg(long, value_enum, default_value = "start")]
        at_boot: cutover_agent::settings::AtBoot,
        /// The instance's folder in the agent's state directory.
        folder: std::path::PathBuf,
        /// The unit.
        unit: String,
    },
}

#[cfg(feature = "all-in-one")]
pub use all_in_one::{
    CleanArgs, DoctorArgs, ExplainArgs, ProgramWord, ResumeArgs, SandboxArgs, SandboxCommand, SingleArgs, StorageWord,
};
pub use fleet::{CreateDeploymentArgs, DeploymentCommand, ExcuseArgs, MemberCommand};
pub use planning::{Answers, ApproveArgs, HowArgs, PlanArgs, RejoinArgs, StartArgs, StrategyWord, UpgradeArgs};
pub use runbook::RunbookArgs;
pub use shell::{CompletionsArgs, ManArgs};
#[cfg(feature = "all-in-one")]
pub use steering::Decided;
pub use steering::{AbortArgs, DecideArgs, RollbackArgs, SteerArgs, WhichStatus, WhichUpgrade};

#[cfg(feature = "all-in-one")]
mod all_in_one;
mod fleet;
mod planning;
mod runbook;
mod shell;
mod steering;

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent_and_its_help_lists_every_exit_status() {
        CommandLine::command().debug_assert();
        let help = CommandLine::command().render_long_help().to_string();
        for number in 0..=6 {
            assert!(help.contains(&format!("\n  {number}  ")), "{help}");
        }
    }

    #[test]
    fn a_version_that_is_none_is_refused_as_usage() {
        let error = CommandLine::try_parse_from(["cutover", "plan", "prod", "--to", "latest"]).unwrap_err();
        assert_eq!(error.exit_code(), i32::from(Exit::Usage.code()));
        assert!(error.to_string().contains("write it as 1.4.6"), "{error}");
    }

    #[test]
    fn a_choice_that_is_none_names_those_that_exist() {
        let error =
            CommandLine::try_parse_from(["cutover", "decide", "u", "1", "ignore", "--reason", "x"]).unwrap_err();
        assert!(error.to_string().contains("retry, accept, wait, abort, rollback"), "{error}");
    }
}
