//! Break glass: what can be done on this host without any coordinator.
//!
//! `status` shows what is fenced, which orders were given last, where the recovery points are, and the exact commands that put
//! everything back by hand. `takeover` is written to the journal and freezes the upgrade for good: the agent refuses every
//! further order of it. `unfence` lets an instance start again; `start` starts it.

use crate::files::FileError;
use crate::journal::{Journal, JournalError};
use crate::release::switch::{self, Was};
use crate::run::journal_file;
use crate::service::process::ProcessService;
use crate::service::{Role, ServiceError};
use crate::settings::{InstanceSettings, Settings};
use crate::worker::Program;
use cutover_desk::Entry;
use cutover_storage::StorageError;
use cutover_storage::sqlite::SqlitePlace;
use cutover_storage::sqlite::recovery::{Manifest, manifest};
use cutover_vocabulary::instance::RunState;
use cutover_vocabulary::storage::StorageIdentity;
use cutover_vocabulary::{InstanceName, Order, OrderId, Outcome, UpgradeId};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How many orders `status` lists.
const LISTED_ORDERS: usize = 20;

/// What to do on this host.
#[derive(Debug, Clone, PartialEq, Eq, clap::Subcommand)]
pub enum LocalCommand {
    /// Show fences, last orders, recovery points, and the commands to go back by hand.
    Status,
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
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A file of the agent's own.
    #[error(transparent)]
    File(#[from] FileError),
    /// A service.
    #[error(transparent)]
    Service(#[from] ServiceError),
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
        LocalCommand::Unfence { instance } => {
            let service = service(settings, instance)?;
            let fence = service.fence().lift("a person on this host")?;
            Ok(format!(
                "{instance} is not fenced (generation {}). Start it: {} local start {instance}\n",
                fence.generation,
                agent(settings)
            ))
        }
        LocalCommand::Start { instance } => {
            let service = service(settings, instance)?;
            service.start(Role::Service, service.settings().command.clone(), Vec::new(), None).await?;
            Ok(match service.run_state() {
                RunState::Running { pid } => format!("{instance} runs as process {pid}\n"),
                RunState::Stopped => format!("{instance} ended at once: {}\n", service.last_words(Role::Service)),
                RunState::Unknown { why } => format!("{instance} was started; {why}\n"),
            })
        }
        LocalCommand::Takeover { upgrade, note } => {
            let (mut journal, _) = Journal::beside(&journal_file(&settings.state)).await?;
            journal.take_over(upgrade.clone(), note.clone()).await?;
            Ok(format!(
                "upgrade {upgrade} is in your hands: this agent refuses every further order of it, for good.\n\
                 What runs now still ends by itself; `{} local status` shows it and how to go back.\n",
                agent(settings)
            ))
        }
    }
}

fn service(settings: &Settings, name: &InstanceName) -> Result<ProcessService, LocalError> {
    let Some(instance) = settings.instance(name) else {
        let known: Vec<&str> = settings.instances.iter().map(|instance| instance.name.as_str()).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        return Err(LocalError::UnknownInstance { name: name.clone(), settings: settings.file.clone(), known });
    };
    Ok(process(settings, instance, Program::current().map_err(LocalError::Program)?))
}

fn process(settings: &Settings, instance: &InstanceSettings, launcher: Program) -> ProcessService {
    let dir = settings.instance_dir(&instance.name);
    ProcessService::new(Arc::new(instance.clone()), dir, settings.file.clone(), launcher)
}

async fn status(settings: &Settings) -> Result<String, LocalError> {
    let mut text = format!("agent {}, state in {}\n", settings.name, settings.state.display());
    let journal = journal_file(&settings.state);
    let entries = if journal.exists() { Journal::beside(&journal).await?.1 } else { Vec::new() };
    let launcher = Program::current().map_err(LocalError::Program)?;
    for instance in &settings.instances {
        let service = process(settings, instance, launcher.clone());
        let fence = service.fence().read()?;
        let fenced = if fence.standing {
            format!("FENCED since {} by {} (generation {})", fence.since, fence.by, fence.generation)
        } else {
            "not fenced".to_owned()
        };
        line(
            &mut text,
            format_args!("\ninstance {} of {}: {}, {fenced}", instance.name, instance.deployment, service.run_state()),
        );
        if let Some(closed) = service.running(Role::Closed)? {
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
    for (upgrade, manifests) in recovery_points(settings)? {
        line(&mut text, format_args!("\nrecovery points of upgrade {upgrade}:"));
        for manifest in &manifests {
            let point = &manifest.point;
            let what = point
                .sha256
                .map_or_else(|| "did not exist".to_owned(), |digest| format!("{} (sha256 {digest})", point.place));
            line(&mut text, format_args!("  {}: {what}, taken {}", point.item, point.taken));
        }
        way_back(&mut text, settings, &upgrade, &manifests)?;
    }
    Ok(text)
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

/// Every recovery point on this host, by upgrade.
fn recovery_points(settings: &Settings) -> Result<BTreeMap<String, Vec<Manifest>>, LocalError> {
    let mut all: BTreeMap<String, Vec<Manifest>> = BTreeMap::new();
    let Ok(upgrades) = std::fs::read_dir(settings.recovery()) else { return Ok(all) };
    for upgrade in upgrades.flatten() {
        let Ok(files) = std::fs::read_dir(upgrade.path()) else { continue };
        for file in files.flatten() {
            let name = file.file_name().to_string_lossy().into_owned();
            if let Some(copy) = name.strip_suffix(".manifest.json")
                && let Some(manifest) = manifest(&upgrade.path().join(copy))?
            {
                all.entry(upgrade.file_name().to_string_lossy().into_owned()).or_default().push(manifest);
            }
        }
    }
    for manifests in all.values_mut() {
        manifests.sort_by(|a, b| a.point.item.cmp(&b.point.item));
    }
    Ok(all)
}

/// The commands that put everything back by hand, in order.
fn way_back(text: &mut String, settings: &Settings, upgrade: &str, manifests: &[Manifest]) -> Result<(), LocalError> {
    let agent = agent(settings);
    line(text, format_args!("to go back by hand, as the service's user or root (this loses what was written since):"));
    line(text, format_args!("  {agent} local takeover {upgrade} --note 'WHY'"));
    let launcher = Program::current().map_err(LocalError::Program)?;
    for instance in &settings.instances {
        if let Some(record) = process(settings, instance, launcher.clone()).running(Role::Service)? {
            line(text, format_args!("  kill {}   # instance {}; wait until it is gone", record.pid, instance.name));
        }
    }
    for manifest in manifests {
        let StorageIdentity::Sqlite { directory, db_name, .. } = &manifest.storage else { continue };
        let Ok(place) = SqlitePlace::find(Path::new(directory), db_name) else {
            line(text, format_args!("  # {} is gone: put it back first", quoted(Path::new(directory))));
            continue;
        };
        put_back(text, settings, upgrade, manifest, &place.file(&manifest.point.item)?);
    }
    for instance in &settings.instances {
        let dir = settings.instance_dir(&instance.name);
        let Ok(id) = UpgradeId::new(upgrade) else { continue };
        if let Some(before) = switch::before(&dir, &id)? {
            let (Was::Link(target) | Was::File(target)) = before.was;
            line(text, format_args!("  ln -sfn {} {}", quoted(&target), quoted(&instance.command)));
        }
        line(text, format_args!("  {agent} local unfence {}", instance.name));
        line(text, format_args!("  {agent} local start {}", instance.name));
    }
    Ok(())
}

/// One item: what is there is moved aside with its log and journal, and the copy takes its name by a rename.
fn put_back(text: &mut String, settings: &Settings, upgrade: &str, manifest: &Manifest, file: &Path) {
    let aside = settings.recovery().join(upgrade).join("aside-by-hand");
    line(text, format_args!("  # {}", manifest.point.item));
    line(text, format_args!("  mkdir -p {}", quoted(&aside)));
    let mut both = file.as_os_str().to_owned();
    both.push(".restored");
    let new = PathBuf::from(both);
    if let Some(digest) = manifest.point.sha256 {
        let copy = Path::new(&manifest.point.place);
        line(
            text,
            format_args!("  echo '{digest}  '{} | sha256sum -c && cp {} {}", quoted(copy), quoted(copy), quoted(&new)),
        );
        line(
            text,
            format_args!("  chown --reference={0} {1} && chmod --reference={0} {1}", quoted(file), quoted(&new)),
        );
    }
    line(text, format_args!("  mv {0} {0}-wal {0}-shm {0}-journal {1}/ 2>/dev/null", quoted(file), quoted(&aside)));
    if manifest.point.sha256.is_some() {
        line(text, format_args!("  mv {} {}", quoted(&new), quoted(file)));
    }
}

/// How this program is called with these settings.
fn agent(settings: &Settings) -> String {
    format!("cutover-agent --settings {}", quoted(&settings.file))
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.to_string_lossy().replace('\'', "'\\''"))
}
