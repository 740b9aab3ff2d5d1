//! Adoption: units of this host that run the ledger already become instances of this agent, and leave it again.
//!
//! `adopt` shows what each unit really is, and writes its `[[instance]]` into the settings file; of the unit it changes nothing.
//! `unadopt` takes away whatever Cutover has put on the host for a unit since. Both tell a running agent nothing.

mod entry;
mod file;
mod leave;
mod origin;
mod page;

pub use leave::{UnadoptArguments, unadopt};

use crate::files::FileError;
use crate::service::systemd::{Described, describe, ledger_units, read_units};
use crate::settings::{InstanceSettings, Settings, SettingsError};
use cutover_vocabulary::{AgentName, DeploymentName, InstanceName};
use entry::Entry;
use page::Page;
use std::path::{Path, PathBuf};

/// What to adopt.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct AdoptArguments {
    /// The units; where none is named, every one that is loaded or installed here and starts `server` of a program called
    /// `numary`. One that is called otherwise must be named here.
    pub units: Vec<String>,
    /// The deployment they belong to: all instances that share their storage.
    #[arg(long)]
    pub deployment: DeploymentName,
    /// The instance's name, unique in the fleet; for one unit. Otherwise the agent's name and the unit's.
    #[arg(long)]
    pub name: Option<InstanceName>,
    /// Show all of it, and change nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Only look at it: the agent refuses every order that would change something of it.
    #[arg(long)]
    pub observe_only: bool,
    /// The agent's name, for a settings file that is not there yet.
    #[arg(long)]
    pub agent_name: Option<AgentName>,
    /// Where the coordinators listen, with commas between them, for a settings file that is not there yet.
    #[arg(long)]
    pub coordinator: Option<String>,
    /// The agent's own directory, for a settings file that is not there yet.
    #[arg(long, default_value = "/var/lib/cutover-agent")]
    pub state: PathBuf,
    /// The settings file.
    #[arg(long, env = "CUTOVER_AGENT_SETTINGS", default_value = "/etc/cutover/agent.toml")]
    pub settings: PathBuf,
}

/// Why a unit is not adopted, or does not leave.
#[derive(Debug, thiserror::Error)]
pub enum AdoptError {
    /// The settings file.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// The journal.
    #[error(transparent)]
    Journal(#[from] crate::journal::JournalError),
    /// The settings file cannot be changed as it is.
    #[error("{} was not changed: {why}", path.display())]
    Text {
        /// Which file.
        path: PathBuf,
        /// Why not, and what to write instead.
        why: String,
    },
    /// There is no settings file, and not enough was said to make one.
    #[error("there is no {}; add --agent-name NAME (unique in the fleet) and --coordinator unix:/PATH, and it is made", path.display())]
    NoSettings {
        /// Which file.
        path: PathBuf,
    },
    /// No unit runs the ledger.
    #[error(
        "no unit of this host starts `server` of a program called numary; name the unit if its program is called otherwise \
         (`systemctl list-units --all` has them)"
    )]
    NoUnits,
    /// One name for several units.
    #[error("--name is for one unit, and these are {count}: {units}; name one of them, or leave --name away")]
    OneName {
        /// How many.
        count: usize,
        /// Which.
        units: String,
    },
    /// A unit that was named cannot be adopted, or cannot leave.
    #[error("unit {unit}: {why}; nothing was changed")]
    Unit {
        /// Which unit.
        unit: String,
        /// Why not, and what to do.
        why: String,
    },
    /// systemd.
    #[error("{0}")]
    Systemd(String),
}

/// Adopts units and returns what to print. Idempotent: one that is adopted already is said so, and left as it is.
///
/// # Errors
/// [`AdoptError`]; then nothing was changed.
pub async fn adopt(arguments: &AdoptArguments) -> Result<String, AdoptError> {
    let path = &arguments.settings;
    let before = file::read(path)?;
    let base = match (&before, &arguments.agent_name, &arguments.coordinator) {
        (Some(text), _, _) => text.clone(),
        (None, Some(agent), Some(coordinator)) => entry::new_file(agent, coordinator, &arguments.state),
        (None, _, _) => return Err(AdoptError::NoSettings { path: path.clone() }),
    };
    let settings = if before.is_some() { Settings::load(path)? } else { Settings::parse(&base, path)? };
    let named = !arguments.units.is_empty();
    let units: Vec<String> = if named {
        arguments.units.iter().map(|unit| whole(unit)).collect()
    } else {
        ledger_units().await.map_err(AdoptError::Systemd)?
    };
    if units.is_empty() {
        return Err(AdoptError::NoUnits);
    }
    if let (Some(_), 2..) = (&arguments.name, units.len()) {
        return Err(AdoptError::OneName { count: units.len(), units: units.join(", ") });
    }
    let mut all = Vec::new();
    for unit in &units {
        all.push(consider(arguments, &settings, unit).await?);
    }
    // One unit under two names is one.
    all.sort_by(|one, other| one.described.unit.cmp(&other.described.unit));
    all.dedup_by(|one, other| one.described.unit == other.described.unit);
    if let Some(hindered) = all.iter().find(|one| named && one.hindered.is_some()) {
        let why = hindered.hindered.clone().unwrap_or_default();
        return Err(AdoptError::Unit { unit: hindered.described.unit.clone(), why });
    }
    let new: Vec<Entry> = all.iter().filter(|one| one.is_new()).map(|one| one.entry.clone()).collect();
    let text = entry::with(&base, &new).map_err(|why| AdoptError::Text { path: path.clone(), why })?;
    // Names that are there already, and all other rules.
    let mut whole = Settings::parse(&text, path)?;
    read_units(&mut whole).await;
    if let Some(two) =
        whole.instances.iter().find(|it| it.unreadable.is_some() && new.iter().any(|new| new.name == it.name))
    {
        let why = two.unreadable.clone().unwrap_or_default();
        return Err(AdoptError::Text { path: path.clone(), why });
    }
    let mut page = Page::default();
    for one in &all {
        page.unit(one, &whole).await;
    }
    page.lines(path, before.is_none().then_some(&*base), &new);
    if new.is_empty() {
        page.nothing(path);
    } else if arguments.dry_run {
        page.dry_run(path);
    } else {
        file::write(path, before.as_deref(), &text)?;
        page.written(path);
    }
    Ok(page.text())
}

/// A unit with what is to become of it.
struct Considered {
    described: Described,
    entry: Entry,
    /// As which instance it is in the settings already.
    adopted: Option<InstanceName>,
    /// Why it cannot be adopted, and what to do.
    hindered: Option<String>,
}

impl Considered {
    fn is_new(&self) -> bool {
        self.adopted.is_none() && self.hindered.is_none()
    }
}

async fn consider(arguments: &AdoptArguments, settings: &Settings, unit: &str) -> Result<Considered, AdoptError> {
    let refuse = |why: String| AdoptError::Unit { unit: unit.to_owned(), why };
    let known = |unit: &str| settings.instances.iter().find(|instance| instance.unit.as_deref() == Some(unit));
    let entry = |unit: &str| -> Result<Entry, AdoptError> {
        let name = match &arguments.name {
            Some(name) => name.clone(),
            None => default_name(&settings.name, unit).map_err(refuse)?,
        };
        let (deployment, unit) = (arguments.deployment.clone(), unit.to_owned());
        Ok(Entry { name, deployment, unit, observe_only: arguments.observe_only })
    };
    let mut asked = entry(unit)?;
    let mut described = describe(&own(&arguments.settings, &asked)?).await.map_err(refuse)?;
    if described.unit != asked.unit {
        // An alias: its own name is what drop-ins go by.
        asked = entry(&described.unit)?;
        described = describe(&own(&arguments.settings, &asked)?).await.map_err(refuse)?;
    }
    let mut hindered = described.settings.as_ref().err().cloned();
    if let (None, Ok(found)) = (&hindered, &described.settings)
        && found.command.file_name().is_none_or(|name| name != "numary")
        && page::version(found).await.is_none()
    {
        hindered = Some(format!(
            "its program {} is not called numary, and does not answer `version` as the ledger does",
            found.command.display()
        ));
    }
    let adopted = known(&described.unit).map(|instance| instance.name.clone());
    if let Some(other) = known(&described.unit).filter(|instance| instance.deployment != arguments.deployment) {
        return Err(refuse(format!(
            "it is adopted already, as instance {} of deployment {}; change the deployment in {}, or run `cutover-agent unadopt` first",
            other.name,
            other.deployment,
            arguments.settings.display()
        )));
    }
    Ok(Considered { described, entry: asked, adopted, hindered })
}

/// The settings that an entry would be, read as the agent would read them: only the form matters, so it stands alone.
fn own(path: &Path, wanted: &Entry) -> Result<InstanceSettings, AdoptError> {
    let text = |why: String| AdoptError::Text { path: path.to_owned(), why };
    let head =
        "name = \"alone\"\ncoordinator = \"unix:/run/cutover/coordinator.sock\"\nstate = \"/var/lib/cutover-agent\"\n";
    let alone = entry::with(head, std::slice::from_ref(wanted)).map_err(text)?;
    let instances = Settings::parse(&alone, path)?.instances;
    instances.into_iter().next().ok_or_else(|| text("it names no instance".to_owned()))
}

/// A unit as `systemctl` takes it: `numary` is `numary.service`.
fn whole(unit: &str) -> String {
    if unit.ends_with(".service") { unit.to_owned() } else { format!("{unit}.service") }
}

/// Agents' names are unique in the fleet, and units' on their host.
fn default_name(agent: &AgentName, unit: &str) -> Result<InstanceName, String> {
    let stem = unit.trim_end_matches(".service");
    let plain: String =
        stem.chars().map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' }).collect();
    let name = format!("{agent}-{plain}");
    InstanceName::new(&name).map_err(|error| format!("{error}; choose one with --name"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_is_named_after_its_host_and_its_unit() {
        let agent: AgentName = "h1".parse().unwrap();
        assert_eq!(default_name(&agent, "numary.service").unwrap().as_str(), "h1-numary");
        assert_eq!(default_name(&agent, "numary@eu.service").unwrap().as_str(), "h1-numary-eu");
        assert!(default_name(&agent, &"n".repeat(80)).unwrap_err().contains("--name"));
        assert_eq!(whole("numary@eu"), "numary@eu.service");
    }
}
