//! Arguments of `runbook`.

use clap::Args;
use cutover_vocabulary::UpgradeId;
use std::path::PathBuf;

/// Arguments of `runbook`.
#[derive(Debug, Args)]
pub struct RunbookArgs {
    /// Which upgrade; `cutover status` lists them.
    pub upgrade: UpgradeId,
    /// Write it to this file instead of standard output.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}
