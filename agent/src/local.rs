//! Break glass: what can be done on this host without any coordinator.
//!
//! `status` shows what is fenced, which orders were given last, where the recovery points are, and the exact commands that put
//! everything back by hand. `takeover` is written to the journal and freezes the upgrade for good: the agent refuses every
//! further order of it. `fence` keeps the agent from starting an instance, `unfence` lets it start again, `start` starts it.

mod way_back;

use crate::files::FileError;
use crate::journal::{Journal, JournalError};
use crate::release::{ReleaseError, switch};
use crate::run::journal_file;
use crate::service::fence::FenceFile;
use crate::service::{Role, Service, ServiceError};
use crate::settings::Settings;
use crate::worker::Program;
use cutover_desk::Entry;
use cutover_storage::StorageError;
use cutover_storage::points::{Manifest, manifest};
use cutover_vocabulary::instance::RunState;
use cutover_vocabulary::storage::RecoveryItem;
use cutover_vocabulary::{InstanceName, Order, OrderId, Outcome, Phase, UpgradeId};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// How many orders `status` lists.
const LISTED_ORDERS: usize = 20;

/// What to do on this host.
#[derive(Debug, Clone, PartialEq, Eq, clap::Subcommand)]
pub enum LocalCommand {
    /// Show fences, last orders, recovery points, and the commands to go back by hand.
    Status,
    /// Fence an instance, so that the agent does not start it. Does not stop it.
    Fence {
        /// Which instance.
        instance: InstanceName,
    },
    /// Lift an instance's fence, so that it may be started.
    Unfence {
        /// Which instance.
        instance: InstanceName,
    },
    /// Start an instance with its own arguments; refused while it is fenced.
    Start {
        /// Which instance.
        instance: InstanceName,
    },
    /// Have an instance start what it started before an upgrade. Starts and stops nothing.
    SwitchBack {
        /// Before which upgrade.
        upgrade: UpgradeId,
        /// Which instance.
        instance: InstanceName,
    },
    /// Let a unit start the binary that lies at its command's path now; its guard refuses any other.
    Allow {
        /// Which instance.
        instance: InstanceName,
    },
    /// Take an upgrade out of Cutover's hands on this host, for good.
    Takeover {
        /// Which upgrade.
        upgrade: UpgradeId,
        /// Why; stored with the upgrade's facts.
        #[arg(long)]
        note: String,
    },
}

/// Why a command on this host failed, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// An instance of that name is not on this host.
    #[error("instance {name} is not in {}; known here: {known}", settings.display())]
    UnknownInstance {
        /// Which name.
        name: InstanceName,
        /// Which settings.
        settings: PathBuf,
        /// Which there are.
        known: String,
    },
    /// Nothing of such an upgrade is on this host, neither an order nor a recovery point: a slip of the pen would leave the real one in our hands.
    #[error("nothing of upgrade {upgrade} is on this host, so nothing was taken over; known here: {known}")]
    UnknownUpgrade {
        /// Which was named.
        upgrade: UpgradeId,
        /// Which there are.
        known: String,
    },
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A file of the agent's own.
    #[error(transparent)]
    File(#[from] FileError),
    /// A service.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// Its binary.
    #[error(transparent)]
    Release(#[from] ReleaseError),
    /// A recovery point.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The program itself.
    #[error("cannot tell which program this is: {0}")]
    Program(std::io::Error),
}

/// Carries out a command and returns what to print. `unfence`, `start` and `takeover` are idempotent.
///
/// # Errors
/// [`LocalError`].
pub async fn run(settings: &Settings, command: &LocalCommand) -> Result<String, LocalError> {
    match command {
        LocalCommand::Status => status(settings).await,
        LocalCommand::Fence { instance } => {
            let fence = service(settings, instance)?.fence().set("a person on this host")?;
            Ok(format!("{instance} is fenced (generation {}) by {}\n", fence.generation, fence.by))
        }
        LocalCommand::Unfence { instance } => {
            let service = service(settings, instance)?;
            let fence = service.fence().lift("a person on this host")?;
            Ok(format!(
                "{instance} is not fenced (generation {}). Start it: {} start {instance}\n",
                fence.generation,
                way_back::agent(settings)
            ))
        }
        LocalCommand::Start { instance } => {
            let service = service(settings, instance)?;
            service.start().await?;
            Ok(match service.run_state().await {
                RunState::Running { pid } => format!("{instance} runs as process {pid}\n"),
                RunState::Stopped => format!("{instance} ended at once: {}\n", service.last_words(Role::Service).await),
                RunState::Unknown { why } => format!("{instance} was started; {why}\n"),
            })
        }
        LocalCommand::SwitchBack { upgrade, instance } => {
            let binary = service(settings, instance)?.switch_back(upgrade).await?;
            Ok(format!("{instance} starts what it started before upgrade {upgrade} (sha256 {binary})\n"))
        }
        LocalCommand::Allow { instance } => {
            let service = service(settings, instance)?;
            service.allow().await?;
            Ok(format!("{instance} may start what lies at {} now\n", service.settings().command.display()))
        }
        LocalCommand::Takeover { upgrade, note } => {
            let (mut journal, entries) = Journal::beside(&journal_file(&settings.state)).await?;
            let mut known: BTreeSet<String> = folders(&settings.recovery()).into_keys().collect();
            known.extend(entries.iter().filter_map(Entry::upgrade).map(ToString::to_string));
            if !known.contains(upgrade.as_str()) {
                let known = if known.is_empty() { "none".to_owned() } else { Vec::from_iter(known).join(", ") };
                return Err(LocalError::UnknownUpgrade { upgrade: upgrade.clone(), known });
            }
            journal.take_over(upgrade.clone(), note.clone()).await?;
            Ok(format!(
                "upgrade {upgrade} is in your hands: this agent refuses every further order of it, for good.\n\
                 What runs now still ends by itself; `{} status` shows it and how to go back.\n",
                way_back::agent(settings)
            ))
        }
    }
}

fn service(settings: &Settings, name: &InstanceName) -> Result<Service, LocalError> {
    let Some(instance) = settings.instance(name) else {
        let known: Vec<&str> = settings.instances.iter().map(|instance| instance.name.as_str()).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        return Err(LocalError::UnknownInstance { name: name.clone(), settings: settings.file.clone(), known });
    };
    Ok(Service::new(settings, instance, &Program::current().map_err(LocalError::Program)?))
}

async fn status(settings: &Settings) -> Result<String, LocalError> {
    let mut text = format!("agent {}, state in {}\n", settings.name, settings.state.display());
    let journal = journal_file(&settings.state);
    let entries = if journal.exists() { Journal::beside(&journal).await?.1 } else { Vec::new() };
    let launcher = Program::current().map_err(LocalError::Program)?;
    for instance in &settings.instances {
        let service = Service::new(settings, instance, &launcher);
        let fence = service.fence().read()?;
        let fenced = if fence.standing {
            format!("FENCED since {} by {} (generation {})", fence.since, fence.by, fence.generation)
        } else {
            "not fenced".to_owned()
        };
        line(
            &mut text,
            format_args!(
                "\ninstance {} of {}: {}, {fenced}",
                instance.name,
                instance.deployment,
                service.run_state().await
            ),
        );
        if let Some(closed) = service.running(Role::Closed).await? {
            line(
                &mut text,
                format_args!(
                    "  a closed copy runs as process {} at {}",
                    closed.pid,
                    closed.address.unwrap_or_default()
                ),
            );
        }
        line(&mut text, format_args!("  starts {}", leads_to(&instance.command)));
    }
    orders(&mut text, &entries);
    let points = recovery_points(settings)?;
    let latest = latest(&entries, &points);
    let elsewhere = match &latest {
        Latest::Here(id) if !points.contains_key(id) => Some(id),
        Latest::Here(_) | Latest::WentBack(_) => None,
    };
    for (upgrade, manifests) in &points {
        line(&mut text, format_args!("\nrecovery points of upgrade {upgrade}:"));
        for manifest in manifests {
            let point = &manifest.point;
            let what = point
                .sha256
                .map_or_else(|| "did not exist".to_owned(), |digest| format!("{} (sha256 {digest})", point.place));
            line(&mut text, format_args!("  {}: {what}, taken {}", point.item, point.taken));
        }
        match &latest {
            Latest::WentBack(id) if id == upgrade => {
                line(&mut text, format_args!("it went back already: there is nothing to go back from"));
            }
            Latest::Here(id) | Latest::WentBack(id) if id != upgrade => {
                line(
                    &mut text,
                    format_args!("upgrade {id} came after it here: these are kept, and no way back leads there"),
                );
            }
            Latest::Here(_) | Latest::WentBack(_) => {
                way_back::with_points(&mut text, settings, upgrade, manifests).await?
            }
        }
    }
    if let Some(upgrade) = elsewhere
        && changed_here(settings, upgrade)?
    {
        way_back::without_points(&mut text, settings, upgrade).await?;
    }
    Ok(text)
}

/// The last upgrade that this host heard of. Going back to a point from before an older one would undo what came after it.
enum Latest {
    /// It may be gone back from.
    Here(String),
    /// It has let the former version in again.
    WentBack(String),
}

/// By the journal; where that is lost, by the recovery points themselves.
fn latest(entries: &[Entry], points: &BTreeMap<String, Vec<Manifest>>) -> Latest {
    let accepted = entries.iter().rev().find_map(|entry| match entry {
        Entry::Accepted(order) => Some(order.id.upgrade.to_string()),
        Entry::Epoch(_)
        | Entry::Revoked(_)
        | Entry::Finished { .. }
        | Entry::Acknowledged(_)
        | Entry::TakenOver { .. }
        | Entry::Forgotten(_) => None,
    });
    let taken_last = || {
        let taken = |manifests: &Vec<Manifest>| manifests.iter().map(|manifest| manifest.point.taken).max();
        points.iter().max_by_key(|(_, manifests)| taken(manifests)).map(|(upgrade, _)| upgrade.clone())
    };
    let id = accepted.or_else(taken_last).unwrap_or_default();
    let went_back = entries.iter().any(|entry| match entry {
        Entry::Finished { order, outcome } => {
            order.phase == Phase::Reopen && order.upgrade.as_str() == id && matches!(**outcome, Outcome::Done(_))
        }
        Entry::Accepted(_)
        | Entry::Epoch(_)
        | Entry::Revoked(_)
        | Entry::Acknowledged(_)
        | Entry::TakenOver { .. }
        | Entry::Forgotten(_) => false,
    });
    if went_back { Latest::WentBack(id) } else { Latest::Here(id) }
}

/// Whether an instance here was fenced or switched by that upgrade.
fn changed_here(settings: &Settings, upgrade: &str) -> Result<bool, LocalError> {
    let Ok(upgrade) = UpgradeId::new(upgrade) else { return Ok(false) };
    for instance in &settings.instances {
        let dir = settings.instance_dir(&instance.name);
        if FenceFile::of(&dir).read()?.standing || switch::before(&dir, &upgrade)?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{arguments}");
}

fn leads_to(command: &Path) -> String {
    match std::fs::read_link(command) {
        Ok(target) => format!("{} -> {}", command.display(), target.display()),
        Err(_) => command.display().to_string(),
    }
}

/// The last orders and what came of each.
fn orders(text: &mut String, entries: &[Entry]) {
    let mut accepted: Vec<&Order> = Vec::new();
    let mut said: BTreeMap<&OrderId, String> = BTreeMap::new();
    let mut taken = Vec::new();
    for entry in entries {
        match entry {
            Entry::Epoch(_) | Entry::Forgotten(_) => {}
            Entry::Accepted(order) => accepted.push(order),
            Entry::Revoked(order) => _ = said.entry(order).or_insert_with(|| "revoked".to_owned()),
            Entry::Finished { order, outcome } => {
                let what = match &**outcome {
                    Outcome::Done(_) => "done".to_owned(),
                    Outcome::Failed(failure) => format!("failed: {failure}; {}", failure.remedy),
                };
                said.insert(order, what);
            }
            Entry::Acknowledged(order) => {
                if let Some(what) = said.get_mut(order) {
                    what.push_str(" (the coordinator knows)");
                }
            }
            Entry::TakenOver { upgrade, note } => taken.push((upgrade, note)),
        }
    }
    line(text, format_args!("\nlast orders:"));
    if accepted.is_empty() {
        line(text, format_args!("  none"));
    }
    for order in accepted.iter().skip(accepted.len().saturating_sub(LISTED_ORDERS)) {
        line(text, format_args!("  {}: {}", order.id, said.get(&order.id).map_or("in hand", String::as_str)));
    }
    for (upgrade, note) in taken {
        line(
            text,
            format_args!("\nupgrade {upgrade} was taken over on this host: {}", cutover_vocabulary::name::shown(note)),
        );
    }
}

/// Every recovery point on this host, by upgrade: of each item the one that was taken last.
fn recovery_points(settings: &Settings) -> Result<BTreeMap<String, Vec<Manifest>>, LocalError> {
    let mut all: BTreeMap<String, BTreeMap<RecoveryItem, Manifest>> = BTreeMap::new();
    for (upgrade, folder) in folders(&settings.recovery()) {
        for (_, run) in folders(&folder) {
            let Ok(files) = std::fs::read_dir(&run) else { continue };
            for file in files.flatten() {
                let name = file.file_name().to_string_lossy().into_owned();
                if let Some(copy) = name.strip_suffix(".manifest.json")
                    && let Some(manifest) = manifest(&run.join(copy))?
                {
                    let points = all.entry(upgrade.clone()).or_default();
                    let earlier = points.get(&manifest.point.item);
                    if earlier.is_none_or(|earlier| earlier.point.taken <= manifest.point.taken) {
                        points.insert(manifest.point.item.clone(), manifest);
                    }
                }
            }
        }
    }
    Ok(all.into_iter().map(|(upgrade, points)| (upgrade, points.into_values().collect())).collect())
}

/// The folders in a folder, by name.
fn folders(path: &Path) -> BTreeMap<String, PathBuf> {
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.path().is_dir())
        .map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path()))
        .collect()
}
