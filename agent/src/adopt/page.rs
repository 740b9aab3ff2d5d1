//! What `adopt` shows of each unit. Values that may be secrets are not shown.

use super::Considered;
use super::entry::Entry;
use super::origin::Origin;
use crate::ledger::cli::{Cli, harmless_environment};
use crate::needs;
use crate::release::asking::is_script;
use crate::service::environment::shown_arguments;
use crate::settings::{InstanceSettings, Settings};
use cutover_vocabulary::Version;
use cutover_vocabulary::name::shown;
use std::fmt::Write as _;
use std::os::unix::fs::chown;
use std::path::Path;

/// The text as it grows.
#[derive(Default)]
pub(super) struct Page(String);

impl Page {
    pub(super) fn text(self) -> String {
        self.0
    }

    fn line(&mut self, what: &str, text: impl AsRef<str>) {
        let _ = writeln!(self.0, "  {what:<14} {}", shown(text.as_ref()));
    }

    /// Everything of one unit; `settings` are those that there would be.
    pub(super) async fn unit(&mut self, one: &Considered, settings: &Settings) {
        let described = &one.described;
        let _ = writeln!(self.0, "{} ({})", described.unit, described.state);
        for (index, file) in described.files.iter().enumerate() {
            self.line(if index == 0 { "Files" } else { "" }, file.display().to_string());
        }
        for command in &described.commands {
            self.line("ExecStart", format!("{} {}", command.program.display(), shown_arguments(&command.args)));
        }
        for file in &described.environment_files {
            self.line("Variables from", file);
        }
        match &described.settings {
            Ok(found) => self.readable(one, found, settings).await,
            Err(_) => self.line("", "what else it is cannot be told as long as it is so"),
        }
        match (&one.adopted, &one.hindered) {
            (Some(name), hindered) => {
                self.line("Instance", format!("is adopted already, as {name}"));
                if let Some(why) = hindered {
                    self.line("", format!("and cannot be upgraded: {why}"));
                }
            }
            (None, Some(why)) => self.line("Not adopted", why),
            (None, None) => {
                let looks = if one.entry.observe_only { ", only to be looked at" } else { "" };
                self.line("Instance", format!("{} of deployment {}{looks}", one.entry.name, one.entry.deployment));
            }
        }
        self.0.push('\n');
    }

    async fn readable(&mut self, one: &Considered, found: &InstanceSettings, settings: &Settings) {
        let origin = Origin::of(&found.command).await;
        self.line("Its path is", origin.to_string());
        let user = found.user.as_deref().unwrap_or("root");
        self.line(
            "Version",
            match version(found).await {
                Some(version) => format!("{version}, by the binary itself, run as {user}"),
                None => format!("it does not answer `version` when it is run as {user}"),
            },
        );
        self.line("User", format!("{user}, HOME {}", found.home().display()));
        let names: Vec<&str> = found.env.keys().map(String::as_str).collect();
        self.line("Variables", names.join(" "));
        match needs::resolved(found) {
            Err(trouble) => self.line("Storage", trouble.0.message),
            Ok(resolved) => {
                self.line(
                    "numary.yaml",
                    match &resolved.file {
                        None => "none".to_owned(),
                        Some((path, None)) => path.display().to_string(),
                        Some((path, Some(why))) => format!("{}, which the ledger ignores: {why}", path.display()),
                    },
                );
                let driver = resolved
                    .driver()
                    .map_or_else(|error| error.to_string(), |driver| format!("{driver:?}").to_lowercase());
                self.line(
                    "Storage",
                    match needs::storage(found) {
                        Ok(identity) => identity.to_string(),
                        Err(trouble) => format!("{driver}; which one cannot be told now: {}", trouble.0.message),
                    },
                );
                self.line("Listens on", resolved.bind_address());
            }
        }
        let release = settings.unpacked().join("VERSION/numary");
        self.line(
            "An upgrade",
            if one.described.moves_link {
                format!("points the link {} to {}", found.command.display(), release.display())
            } else {
                format!(
                    "leaves {} as it is; {} has the unit start {} with the same flags and arguments",
                    found.command.display(),
                    one.described.release.display(),
                    release.display()
                )
            },
        );
        self.line("", "and its guard keeps it down meanwhile");
        if !one.entry.observe_only {
            let guard = one.described.guard.display();
            self.line("From now on", format!("{guard} has it start what lies there today and nothing else, and"));
            self.line("", "after a boot only once a coordinator has said that this is right (at_boot)");
        }
    }

    /// What is to be written.
    pub(super) fn lines(&mut self, path: &Path, head: Option<&str>, new: &[Entry]) {
        if new.is_empty() {
            return;
        }
        let _ = writeln!(self.0, "Lines for {}:", path.display());
        for line in head.iter().flat_map(|text| text.lines()) {
            let _ = writeln!(self.0, "  {line}");
        }
        for line in new.iter().map(Entry::block).collect::<String>().lines() {
            let _ = writeln!(self.0, "{}", format!("  {line}").trim_end());
        }
        self.0.push('\n');
    }

    pub(super) fn nothing(&mut self, path: &Path) {
        let _ = writeln!(self.0, "{} is left as it is: there is nothing to add.", path.display());
    }

    pub(super) fn dry_run(&mut self, path: &Path) {
        let _ = writeln!(
            self.0,
            "Nothing was changed (--dry-run); without it these lines go to the end of {}.",
            path.display()
        );
    }

    pub(super) fn written(&mut self, path: &Path) {
        let _ = writeln!(
            self.0,
            "They are in {} now; no unit was changed. The agent reads them when it starts: systemctl restart cutover-agent",
            path.display()
        );
    }
}

/// What the binary says of itself, run as the unit's own user, in folders that are gone afterwards. A script is not run.
pub(super) async fn version(found: &InstanceSettings) -> Option<Version> {
    if is_script(&found.command) {
        return None;
    }
    let temporary = || tempfile::Builder::new().prefix("cutover-adopt-").tempdir();
    // Its output goes where that user cannot write.
    let (place, output) = (temporary().ok()?, temporary().ok()?);
    if let Some(account) = found.account {
        chown(place.path(), Some(account.user), Some(account.group)).ok()?;
    }
    let cli = Cli::new(found.command.clone(), harmless_environment(place.path()), output.path().to_owned());
    cli.as_account(found.account).killed_when_dropped().version().await.ok()
}
