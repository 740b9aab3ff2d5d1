//! Arguments of what follows and steers an upgrade.

use clap::Args;
use cutover_vocabulary::UpgradeId;
use cutover_vocabulary::hold::{Choice, HoldId};

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

fn hold_id(text: &str) -> Result<HoldId, String> {
    text.parse().map(HoldId).map_err(|_| "a hold is named by its number; `cutover status` shows it".to_owned())
}

/// A hold and what is decided of it, as `HOLD:CHOICE`.
#[cfg(feature = "all-in-one")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decided {
    /// Which hold.
    pub hold: HoldId,
    /// How.
    pub choice: Choice,
}

/// Reads `HOLD:CHOICE`.
#[cfg(feature = "all-in-one")]
pub(super) fn decided(text: &str) -> Result<Decided, String> {
    let (hold, word) =
        text.split_once(':').ok_or("write HOLD:CHOICE, like 1:retry, as the held upgrade's page does")?;
    let hold = hold.parse().map(HoldId).map_err(|_| format!("{hold:?} is no hold's number"))?;
    Ok(Decided { hold, choice: choice(word)? })
}

pub(super) fn choice(text: &str) -> Result<Choice, String> {
    text.parse().map_err(|_| {
        let words: Vec<&str> = Choice::ALL.iter().map(|choice| choice.word()).collect();
        format!("there is no such choice; a hold offers some of: {}", words.join(", "))
    })
}
