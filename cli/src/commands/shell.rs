//! What helps a shell: completions and manual pages, both made of the command line itself.

use crate::args::{CommandLine, CompletionsArgs, ManArgs};
use crate::exit::Exit;
use crate::screen::Screen;
use crate::trouble::Trouble;
use clap::{Command, CommandFactory as _};
use std::path::Path;

/// Writes the completions of a shell.
pub fn completions(screen: Screen, args: &CompletionsArgs) -> Exit {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut visible(), "cutover", &mut text);
    screen.text(&String::from_utf8_lossy(&text));
    Exit::Done
}

/// The command line without its hidden commands, which clap's generators offer like any other.
fn visible() -> Command {
    let whole = CommandLine::command();
    let shown = whole.get_subcommands().filter(|command| !command.is_hide_set()).cloned();
    Command::new("cutover").version(env!("CARGO_PKG_VERSION")).args(whole.get_arguments().cloned()).subcommands(shown)
}

/// Writes the manual pages: into a folder, or the first one to standard output.
///
/// # Errors
/// [`Trouble::Failed`] when the folder cannot be written.
pub fn man(screen: Screen, args: &ManArgs) -> Result<Exit, Trouble> {
    match &args.dir {
        None => {
            let mut text = Vec::new();
            clap_mangen::Man::new(CommandLine::command().disable_help_subcommand(true))
                .render(&mut text)
                .map_err(|error| Trouble::failed("cannot make the manual page", error))?;
            screen.text(&String::from_utf8_lossy(&text));
        }
        Some(dir) => {
            pages(dir).map_err(|error| {
                Trouble::failed(format!("cannot write the manual pages to {}", dir.display()), error)
                    .next("name a folder that you may write to with --dir")
            })?;
            screen.line(&format!("The manual pages are in {}; read them with `man -l FILE`.", dir.display()));
            screen.value(&serde_json::json!({ "dir": dir.display().to_string() }))?;
        }
    }
    Ok(Exit::Done)
}

/// Writes every page. The command must not be built before: that would make a page of each `help` below it too.
fn pages(dir: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(dir)?;
    clap_mangen::generate_to(CommandLine::command(), dir)
}
