//! The usage text, and the errors that print it: `Error: MESSAGE`, the usage of some sixty lines, MESSAGE again, all on standard
//! error.

use crate::console::{self, Level};
use crate::flags::Kind;
use crate::release::{Logger, Release, StorageCommands};

/// A command of the tree.
pub(crate) struct Command {
    pub(crate) name: &'static str,
    pub(crate) help: &'static str,
}

const fn command(name: &'static str, help: &'static str) -> Command {
    Command { name, help }
}

const ROOT: &[Command] = &[
    command("completion", "generate the autocompletion script for the specified shell"),
    command("config", "Local config"),
    command("docs", "Open the documentation"),
    command("exec", "Execute a script"),
    command("help", "Help about any command"),
    command("script-check", "Check a script"),
    command("server", "Start server"),
    command("storage", "Storage commands"),
    command("ui", "Open the dashboard"),
    command("version", "Get version"),
];
const STORAGE_INIT_ONLY: &[Command] = &[command("init", "Initialize the storage")];
const STORAGE_FULL: &[Command] = &[
    command("delete", "Delete a ledger's storage"),
    command("init", "Initialize a ledger's storage"),
    command("list", "List the registered ledgers"),
    command("scan", "Find ledgers and register them"),
    command("upgrade", "Migrate a ledger's storage"),
];
const SERVER: &[Command] = &[command("start", "Start the server")];

/// The commands under a path; none where the path ends.
pub(crate) fn children(release: &Release, path: &[&str]) -> &'static [Command] {
    match path {
        [] => ROOT,
        ["server"] => SERVER,
        ["storage"] => match release.commands.storage {
            StorageCommands::InitOnly => STORAGE_INIT_ONLY,
            StorageCommands::Full => STORAGE_FULL,
        },
        _ => &[],
    }
}

/// The usage of the command at `path`.
pub(crate) fn usage(release: &Release, path: &[&str]) -> String {
    let mut text = String::from("Usage:\n");
    let full = std::iter::once("numary").chain(path.iter().copied()).collect::<Vec<_>>().join(" ");
    let below = children(release, path);
    if below.is_empty() {
        text.push_str(&format!("  {full} [flags]\n\n"));
    } else {
        text.push_str(&format!("  {full} [command]\n\nAvailable Commands:\n"));
        for command in below {
            text.push_str(&format!("  {:<12} {}\n", command.name, command.help));
        }
        text.push('\n');
    }
    let name = path.last().copied().unwrap_or("numary");
    text.push_str("Flags:\n");
    if path.is_empty() {
        text.push_str(&flag_lines(release, Some(name)));
    } else {
        text.push_str(&format!("  -h, --help   help for {name}\n\nGlobal Flags:\n"));
        text.push_str(&flag_lines(release, None));
    }
    if !below.is_empty() {
        text.push_str(&format!("\nUse \"{full} [command] --help\" for more information about a command.\n"));
    }
    text
}

fn flag_lines(release: &Release, help_for: Option<&str>) -> String {
    let mut lines: Vec<(String, String)> = Vec::new();
    for flag in release.all_flags().iter().filter(|flag| !flag.hidden) {
        let (kind, default) = match flag.kind {
            Kind::Bool if flag.default == "true" => ("", " (default true)".to_owned()),
            Kind::Bool => ("", String::new()),
            Kind::Text if flag.default.is_empty() => (" string", String::new()),
            Kind::Text => (" string", format!(" (default \"{}\")", flag.default)),
            Kind::List if flag.default.is_empty() => (" strings", String::new()),
            Kind::List => (" strings", format!(" (default [{}])", flag.default)),
            Kind::Number => (" int", format!(" (default {})", flag.default)),
            Kind::Duration => (" duration", format!(" (default {})", flag.default)),
        };
        lines.push((format!("      --{}{kind}", flag.name), format!("{}{default}", flag.help)));
    }
    if let Some(name) = help_for {
        let at = lines.iter().position(|(left, _)| left.as_str() > "      --help").unwrap_or(lines.len());
        lines.insert(at, ("  -h, --help".to_owned(), format!("help for {name}")));
    }
    let width = lines.iter().map(|(left, _)| left.len()).max().unwrap_or(0) + 3;
    lines.iter().map(|(left, right)| format!("{left:<width$}{right}\n")).collect()
}

/// Ends as a failed command does; a release whose logger writes to standard output closes it there, line by line.
pub(crate) fn fail(release: &Release, path: &[&str], message: &str) -> ! {
    match release.logger {
        Logger::Stderr => {}
        Logger::Stdout => {
            for line in ["Closing router", "Waiting for messages", "Router closed", "All messages processed"] {
                console::log(Level::Info, line, "");
            }
        }
    }
    console::err(&format!("Error: {message}\n{}\n{message}\n", usage(release, path)));
    std::process::exit(1)
}

/// Ends as an unknown top-level command does.
pub(crate) fn fail_unknown(word: &str) -> ! {
    let message = format!("unknown command \"{word}\" for \"numary\"");
    console::err(&format!("Error: {message}\nRun 'numary --help' for usage.\n{message}\n"));
    std::process::exit(1)
}
