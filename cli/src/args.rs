//! The command line.

use crate::client::How;
use crate::exit::Exit;
use clap::{Args, Parser, Subcommand, ValueEnum};
use cutover_proto::transport::Endpoint;
use cutover_vocabulary::hold::{Choice, HoldId};
use cutover_vocabulary::plan::{PreparationId, Strategy};
use cutover_vocabulary::{DeploymentName, Elapsed, InstanceName, OperatorName, UpgradeId, Version};
use std::collections::BTreeMap;
use std::str::FromStr;

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
    /// Where the coordinator listens: unix:/path, or http://127.0.0.1:PORT.
    #[arg(long, global = true, value_name = "ENDPOINT", env = "CUTOVER_COORDINATOR", default_value = DEFAULT_COORDINATOR)]
    pub coordinator: Endpoint,
    /// Who asks; stored with what is decided. Default: the user's name.
    #[arg(long, global = true, value_name = "NAME", env = "CUTOVER_OPERATOR")]
    pub operator: Option<OperatorName>,
    /// Write JSON, one value a line, instead of pages for people.
    #[arg(long, global = true)]
    pub json: bool,
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
    /// Agree to everything in a plan that needs approval.
    Approve(ApproveArgs),
    /// Start a plan and follow it.
    Start(StartArgs),
    /// Plan, approve, start and follow in one go.
    Upgrade(UpgradeArgs),
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
    /// Refused from the first migration on; then `cutover rollback` is the way back. --what-if says what would happen.
    Abort(AbortArgs),
    /// Go back after ledgers were migrated, before clients are let in: what changed is restored.
    ///
    /// An upgrade that rolls restores nothing: it starts the former version again on the storage as it is. With downtime,
    /// refused once clients were let in on the new version: it would lose what they wrote. --what-if says what would happen.
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
}

/// How instances are moved, as it is written on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum StrategyWord {
    /// The coordinator chooses.
    #[default]
    Auto,
    /// All down, migrate, all up.
    Downtime,
    /// One wave after the other.
    Rolling,
}
impl StrategyWord {
    /// None: the coordinator chooses.
    pub fn strategy(self) -> Option<Strategy> {
        match self {
            Self::Auto => None,
            Self::Downtime => Some(Strategy::Downtime),
            Self::Rolling => Some(Strategy::Rolling),
        }
    }
}

/// Arguments of `plan`.
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// Which deployment; `cutover fleet` lists them.
    pub deployment: DeploymentName,
    /// To which version, like 1.4.6.
    #[arg(long, value_name = "VERSION")]
    pub to: Version,
    /// How the instances are moved.
    #[command(flatten)]
    pub how: HowArgs,
}

/// How the instances are moved.
#[derive(Debug, Args)]
pub struct HowArgs {
    /// How the instances are moved.
    #[arg(long, value_enum, default_value_t)]
    pub strategy: StrategyWord,
    /// Rolling: how many instances move together behind the canary; default: as the coordinator's settings say.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..))]
    pub wave: Option<u16>,
    /// Rolling: for how long a wave is watched before the next one moves; default: as the coordinator's settings say.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=604_800))]
    pub bake: Option<u64>,
}

impl HowArgs {
    /// As it is asked of the coordinator.
    pub fn how(&self) -> How {
        How { strategy: self.strategy.strategy(), wave: self.wave, bake: self.bake.map(Elapsed::from_secs) }
    }
}

/// Arguments of `approve`.
#[derive(Debug, Args)]
pub struct ApproveArgs {
    /// The plan's digest, or its first digits, at least 8.
    pub plan: String,
    /// Why; stored with the approval.
    #[arg(long, value_name = "TEXT", default_value = "approved on the command line")]
    pub reason: String,
    /// Answers to the plan's questions.
    #[command(flatten)]
    pub answers: Answers,
}

/// Answers to a plan's questions.
#[derive(Debug, Clone, Default, Args)]
pub struct Answers {
    /// An answer to one of the plan's questions, in your own words; again for each.
    #[arg(long = "answer", value_name = "ID=TEXT")]
    given: Vec<Answer>,
}
impl Answers {
    /// By question.
    pub fn by_question(&self) -> BTreeMap<PreparationId, String> {
        self.given.iter().map(|Answer { id, text }| (id.clone(), text.clone())).collect()
    }
}

/// One answer.
#[derive(Debug, Clone)]
struct Answer {
    id: PreparationId,
    text: String,
}
impl FromStr for Answer {
    type Err = String;
    fn from_str(given: &str) -> Result<Self, String> {
        match given.split_once('=') {
            Some((id, text)) if !id.is_empty() && !text.trim().is_empty() => {
                Ok(Self { id: PreparationId(id.to_owned()), text: text.to_owned() })
            }
            Some(_) | None => {
                Err("write it as ID=TEXT: the question's id as the plan shows it, then what was seen to".to_owned())
            }
        }
    }
}

/// Arguments of `start`.
#[derive(Debug, Args)]
pub struct StartArgs {
    /// The plan's digest, or its first digits, at least 8.
    pub plan: String,
    /// Do not follow it: answer as soon as it is started.
    #[arg(long)]
    pub detach: bool,
}

/// Arguments of `upgrade`.
#[derive(Debug, Args)]
pub struct UpgradeArgs {
    /// What to plan.
    #[command(flatten)]
    pub plan: PlanArgs,
    /// Agree to exactly what this plan needs approval for.
    #[arg(long)]
    pub yes: bool,
    /// Why; stored with the approval.
    #[arg(long, value_name = "TEXT", default_value = "approved with --yes")]
    pub reason: String,
    /// Answers to the plan's questions.
    #[command(flatten)]
    pub answers: Answers,
}

/// Which upgrade.
#[derive(Debug, Args)]
pub struct WhichUpgrade {
    /// Which upgrade; the newest where none is named.
    pub upgrade: Option<UpgradeId>,
}

/// Which upgrade, for `status`.
#[derive(Debug, Args)]
pub struct WhichStatus {
    /// Which upgrade; all, with details of those that have not ended, where none is named.
    pub upgrade: Option<UpgradeId>,
}

/// Arguments of `decide`.
#[derive(Debug, Args)]
pub struct DecideArgs {
    /// Which upgrade; `cutover status` lists them.
    pub upgrade: UpgradeId,
    /// Which hold, by its number; `cutover status` shows it.
    #[arg(value_parser = hold_id)]
    pub hold: HoldId,
    /// What to do: retry, accept, wait, abort or rollback, as far as the hold offers it.
    #[arg(value_parser = choice)]
    pub choice: Choice,
    /// Why; stored with the decision.
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
}

/// Arguments of `abort`.
#[derive(Debug, Args)]
pub struct AbortArgs {
    /// Which upgrade; `cutover status` lists them.
    pub upgrade: UpgradeId,
    /// Only say what would happen; nothing is done.
    #[arg(long)]
    pub what_if: bool,
    /// Why; stored.
    #[arg(long, value_name = "TEXT", default_value = "aborted on the command line")]
    pub reason: String,
}

/// Arguments of `rollback`.
#[derive(Debug, Args)]
pub struct RollbackArgs {
    /// Which upgrade; `cutover status` lists them.
    pub upgrade: UpgradeId,
    /// Only say what would happen; nothing is done.
    #[arg(long)]
    pub what_if: bool,
    /// Why; stored.
    #[arg(long, value_name = "TEXT", default_value = "rolled back on the command line")]
    pub reason: String,
}

/// Arguments of `pause`, `resume` and `close`.
#[derive(Debug, Args)]
pub struct SteerArgs {
    /// Which upgrade; `cutover status` lists them.
    pub upgrade: UpgradeId,
    /// Why; stored.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub reason: String,
}

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

fn hold_id(text: &str) -> Result<HoldId, String> {
    text.parse().map(HoldId).map_err(|_| "a hold is named by its number; `cutover status` shows it".to_owned())
}

fn choice(text: &str) -> Result<Choice, String> {
    text.parse().map_err(|_| {
        let words: Vec<&str> = Choice::ALL.iter().map(|choice| choice.word()).collect();
        format!("there is no such choice; a hold offers some of: {}", words.join(", "))
    })
}

#[cfg(feature = "all-in-one")]
pub use all_in_one::{
    CleanArgs, DoctorArgs, ExplainArgs, ProgramWord, ResumeArgs, SandboxArgs, SandboxCommand, SingleArgs, StorageWord,
};
pub use runbook::RunbookArgs;
pub use shell::{CompletionsArgs, ManArgs};

#[cfg(feature = "all-in-one")]
mod all_in_one;
mod runbook;
mod shell;

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
