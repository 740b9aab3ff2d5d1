//! Arguments of what leads to a started upgrade: plan, approve, start.

use crate::client::How;
use clap::{Args, ValueEnum};
use cutover_vocabulary::plan::{PreparationId, Strategy};
use cutover_vocabulary::{AgentName, DeploymentName, Elapsed, InstanceName, Version};
use std::collections::BTreeMap;
use std::str::FromStr;

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
        How {
            strategy: self.strategy.strategy(),
            wave: self.wave,
            bake: self.bake.map(Elapsed::from_secs),
            rehearse_only: false,
        }
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

/// Arguments of `rejoin`.
#[derive(Debug, Args)]
pub struct RejoinArgs {
    /// Which instances; none: every one that has another release than its deployment is to run, or is fenced.
    pub instances: Vec<InstanceName>,
    /// All instances of one host that were away, by its agent's name.
    #[arg(long, value_name = "AGENT", conflicts_with = "instances")]
    pub host: Option<AgentName>,
    /// Of which deployment; only needed where it cannot be told by the instances.
    #[arg(long, value_name = "NAME")]
    pub deployment: Option<DeploymentName>,
    /// Agree to exactly what this plan needs approval for.
    #[arg(long)]
    pub yes: bool,
    /// Why; stored with the approval.
    #[arg(long, value_name = "TEXT", default_value = "approved with --yes")]
    pub reason: String,
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
