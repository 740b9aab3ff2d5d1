//! Asks the target's binary whether it would start with an instance's arguments, long before anybody needs it to.
//!
//! Measured: up to 1.3.1 `server start --persist-config=false` works; later releases end with `Error: unknown flag:
//! --persist-config`. Flags are read before help is given, so `server start --help ARGUMENTS` refuses what a start would refuse
//! and starts nothing. It runs in a home and a storage folder of its own, with nothing of the service's environment.

use super::place::apart;
use super::trouble::Trouble;
use crate::files::{io_error, open_folder};
use crate::ledger::cli::CliError;
use crate::release::ReleaseError;
use crate::release::archive::VerifiedArchive;
use crate::release::asking::{Asking, is_script};
use crate::settings::{Account, InstanceSettings, Settings};
use cutover_storage::settings::Key;
use cutover_vocabulary::survey::{About, Tried};
use secrecy::{ExposeSecret as _, SecretString};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use tempfile::{Builder, TempDir};

/// How many flags of one instance are told apart; the ledger names the first unknown one only, so each costs a run.
const REFUSALS: usize = 20;

/// How the ledger refuses a flag that it does not know, in every release.
const UNKNOWN_FLAG: &str = "unknown flag: --";

/// Flags that later releases still take and do not show in their help, measured from 1.10.0 on.
const HIDDEN: [&str; 4] = [Key::Driver.name(), Key::Directory.name(), Key::DbName.name(), "storage.cache"];

/// The target's binary, unpacked for questions only; it is gone with this value.
pub(super) struct Target<'a> {
    settings: &'a Settings,
    folder: TempDir,
    /// As whom it is asked about itself.
    account: Option<Account>,
}

impl<'a> Target<'a> {
    /// Unpacks the binary out of an archive that was verified, where these accounts can run it. Nothing that is staged or
    /// installed is touched.
    pub(super) fn unpack(
        settings: &'a Settings,
        archive: &mut VerifiedArchive,
        account: Option<Account>,
        scratch: &Path,
    ) -> Result<Self, Trouble> {
        let above = if account.is_some() { settings.unpacked() } else { scratch.to_owned() };
        if account.is_some() {
            open_folder(&above)?;
        }
        let folder = Builder::new().prefix(".ask-").tempdir_in(&above).map_err(io_error("make a folder in", &above))?;
        open_folder(folder.path())?;
        let target = Self { settings, folder, account };
        let unpacked = apart(|| archive.unpack(&target.binary(), settings.releases.max_binary_bytes));
        unpacked.map_err(ReleaseError::from)?;
        Ok(target)
    }

    fn binary(&self) -> PathBuf {
        self.folder.path().join("numary")
    }

    /// What the target says of itself.
    pub(super) async fn about(&self) -> Result<About, Trouble> {
        let asking = Asking::new(self.settings, self.account)?;
        let target = asking.cli(&self.binary());
        Ok(About { version: target.version().await?, storage_commands: target.has_storage_commands().await? })
    }

    /// What the target says to an instance.
    pub(super) async fn ask(&self, instance: &InstanceSettings) -> Result<Tried, Trouble> {
        let asking = Asking::new(self.settings, instance.account)?;
        let target = asking.cli(&self.binary());
        let mut arguments = with_help(&instance.args);
        let mut refused = Vec::new();
        // Without what it refused the last time: whoever mends a unit wants to know all of it.
        let known = loop {
            match target.help(&arguments).await {
                Ok(flags) => break flags,
                Err(CliError::Failed { command: _, message }) => {
                    let unknown = message.strip_prefix(UNKNOWN_FLAG).map(str::to_owned);
                    refused.push(message);
                    match unknown {
                        Some(flag) if refused.len() < REFUSALS => arguments.retain(|argument| !sets(argument, &flag)),
                        Some(_) | None => return Ok(Tried { refused, ignored: Vec::new() }),
                    }
                }
                Err(error) => return Err(error.into()),
            }
        };
        let ignored = self.ignored(instance, &known).await?;
        Ok(Tried { refused, ignored })
    }

    /// Variables of the service that belong to a flag of its present binary and to none of the target. Only those: a variable
    /// that neither knows is somebody else's, and does the same before as after.
    async fn ignored(&self, instance: &InstanceSettings, known: &BTreeSet<String>) -> Result<Vec<String>, Trouble> {
        let known: BTreeSet<String> = known.iter().map(String::as_str).chain(HIDDEN).map(variable).collect();
        let environment = instance.environment()?;
        let set = environment.iter().filter(|(_, value)| !value.expose_secret().is_empty()).map(|(name, _)| name);
        let unknown: Vec<String> =
            set.filter(|name| name.starts_with(PREFIX) && !known.contains(*name)).cloned().collect();
        if unknown.is_empty() {
            return Ok(unknown);
        }
        let words = ["server", "start", "--help"].map(str::to_owned);
        // A present binary that gives no help leaves nothing to compare with; that it answers is another finding's matter.
        let asking = Asking::new(self.settings, instance.account)?;
        let present = match is_script(&instance.command) {
            true => BTreeSet::new(),
            false => asking.cli(&instance.command).help(&words).await.unwrap_or_default(),
        };
        let present: BTreeSet<String> = present.iter().map(|flag| variable(flag)).collect();
        Ok(unknown.into_iter().filter(|name| present.contains(name)).collect())
    }
}

/// What every variable of the ledger begins with.
const PREFIX: &str = "NUMARY_";

/// The variable of a flag: prefix `NUMARY_`, `.` and `-` turned into `_`.
fn variable(flag: &str) -> String {
    format!("{PREFIX}{}", flag.replace(['.', '-'], "_").to_ascii_uppercase())
}

/// Whether an argument is this flag.
fn sets(argument: &str, flag: &str) -> bool {
    argument
        .strip_prefix("--")
        .and_then(|rest| rest.strip_prefix(flag))
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
}

/// The instance's arguments with `--help` behind its command, and without values that could be secrets.
///
/// Not at the very end: behind a `--`, or behind a flag that lacks its value, it would be no flag, and the server would start.
fn with_help(arguments: &[SecretString]) -> Vec<String> {
    let mut asked = Vec::new();
    let mut helped = false;
    for argument in arguments {
        let text = argument.expose_secret();
        if text == "--" {
            break;
        }
        asked.push(without_value(text));
        if !helped && text == "start" {
            asked.push("--help".to_owned());
            helped = true;
        }
    }
    if !helped {
        asked.insert(0, "--help".to_owned());
    }
    asked
}

/// An argument with its value replaced by one of the same kind: arguments are seen by everybody in `ps`, and which value it is
/// does not matter to the question whether the flag is known.
fn without_value(argument: &str) -> String {
    match argument.strip_prefix("--").map(|flag| flag.split_once('=')) {
        Some(Some((name, value))) => format!("--{name}={}", alike(value)),
        Some(None) => argument.to_owned(),
        // `-x` or `-xVALUE`: the ledger has none but `-h`.
        None if argument.starts_with('-') => argument.chars().take(2).collect(),
        None if matches!(argument, "server" | "start") => argument.to_owned(),
        None => alike(argument),
    }
}

/// A value that a flag of the same kind takes: truth values, numbers and durations are read, any other text is taken as it is.
fn alike(value: &str) -> String {
    let number = value.trim_end_matches(|c: char| c.is_ascii_alphabetic() || c == 'µ');
    let is_number = !number.is_empty() && number.chars().all(|c| c.is_ascii_digit() || c == '.');
    match value {
        "true" | "false" | "TRUE" | "FALSE" | "True" | "False" | "t" | "f" | "T" | "F" => value.to_owned(),
        _ if is_number && value.len() - number.len() <= 2 => {
            value.chars().map(|c| if c.is_ascii_digit() { '1' } else { c }).collect()
        }
        _ => "x".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(arguments: &[&str]) -> Vec<String> {
        with_help(&arguments.iter().map(|text| SecretString::from(*text)).collect::<Vec<_>>())
    }

    #[test]
    fn no_value_that_could_be_a_secret_is_an_argument_of_the_question() {
        let arguments = [
            "server",
            "start",
            "--storage.postgres.conn_string",
            "postgres://u:secret@h/d",
            "--auth-basic-credentials=u:secret",
            "--persist-config=false",
            "--lock-strategy-redis-duration=90s",
            "--pin=4711",
            "-xsecret",
        ];
        let wanted = [
            "server",
            "start",
            "--help",
            "--storage.postgres.conn_string",
            "x",
            "--auth-basic-credentials=x",
            "--persist-config=false",
            "--lock-strategy-redis-duration=11s",
            "--pin=1111",
            "-x",
        ];
        assert_eq!(asked(&arguments), wanted);
    }

    #[test]
    fn nothing_that_is_asked_starts_a_server() {
        // A flag that lacks its value would take `--help` for one; behind `--` it is no flag.
        assert_eq!(asked(&["server", "start", "--storage.driver"]), ["server", "start", "--help", "--storage.driver"]);
        assert_eq!(asked(&["server", "start", "--", "--x"]), ["server", "start", "--help"]);
        assert_eq!(asked(&["--debug", "server", "start"]), ["--debug", "server", "start", "--help"]);
        assert_eq!(asked(&[]), ["--help"]);
    }

    #[test]
    fn a_flag_has_the_variable_that_the_ledger_reads() {
        assert_eq!(variable("storage.postgres.conn_string"), Key::ConnString.variable());
        assert_eq!(variable("lock-strategy"), Key::LockStrategy.variable());
        assert!(sets("--ledgers=a,b", "ledgers") && sets("--ledgers", "ledgers") && !sets("--ledgers-x", "ledgers"));
    }
}
