//! Arguments of what helps a shell: completions and manual pages.

use clap::Args;
use clap_complete::Shell;
use std::path::PathBuf;

/// Arguments of `completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// Which shell. For bash: `cutover completions bash > /etc/bash_completion.d/cutover`.
    #[arg(value_enum)]
    pub shell: Shell,
}

/// Arguments of `man`.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// Write cutover.1 and one page for each subcommand into this folder, which is made if it is missing. Without it,
    /// cutover.1 goes to standard output: `cutover man | man -l -`.
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}
