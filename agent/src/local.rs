//! Break glass: what can be done on this host without any coordinator.
//!
//! `status` shows what is fenced, which orders were given last, where the recovery points are, and the exact commands that put
//! everything back by hand. `takeover` is written to the journal and freezes the upgrade for good: the agent refuses every
//! further order of it. `fence` keeps the agent from starting an instance, `unfence` lets it start again, `start` starts it, `stop`
//! stops it.

mod upgrades;
mod way_back;

use crate::files::FileError;
use crate::journal::{Journal, JournalError};
use crate::release::ReleaseError;
use crate::run::journal_file;
use crate::service::fence::By;
use crate::service::{Role, Service, ServiceError, Stopped};
use crate::settings::{InstanceSettings, Settings};
use crate::work;
use crate::worker::Program;
use cutover_desk::Entry;
use cutover_storage::StorageError;
use cutover_storage::points::Manifest;
use cutover_vocabulary::instance::RunState;
use cutover_vocabulary::{DeploymentName, Elapsed, InstanceName, Order, OrderId, Outcome, UpgradeId};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use upgrades::{Latest, Upgrades, folders};
use way_back::Back;

/// How many orders `status` lists.
const LISTED_ORDERS: usize = 20;

/// How long `stop` waits for an instance.
const STOPS_WITHIN: Elapsed = Elapsed::from_secs(60);

/// What to do on this host.
#[derive(Debug, Clone, PartialEq, Eq, clap::Subcommand)]
pub enum LocalCommand {
    /// Show fences, last orders, recovery points, and the commands to go back by hand.
    Status {
        /// Only what concerns this upgrade; everything where none is named.
        upgrade: Option<UpgradeId>,
    },
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
    /// Stop an instance, and a closed copy of it, and wait until both are down. Fence it first: its manager may start it again.
    Stop {
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
    /// Put the guard of a unit back where it is gone. Lets nothing start that it would not have let start.
    Guard {
        /// Which instance.
        instance: InstanceName,
    },
    /// Take the guard of a unit away, on a host that Cutover leaves; refused while it is fenced.
    Unguard {
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
    #[error("nothing of upgrade {upgrade} is on this host, so nothing was done; known here: {known}")]
    UnknownUpgrade {
        /// Which was named.
        upgrade: UpgradeId,
        /// Which there are.
        known: String,
    },
    /// It may only be looked at.
    #[error(
        "instance {name} may only be looked at: take observe_only out of {} first, and restart the agent",
        settings.display()
    )]
    ObserveOnly {
        /// Which instance.
        name: InstanceName,
        /// Whose settings say so.
        settings: PathBuf,
    },
    /// Its fence is there, and nothing but the agent goes by it.
    #[error(
        "instance {name} is fenced (generation {generation}), and yet it can be started: its guard is not in force: {why}; mend that, \
         then run `cutover-agent local guard {name}`"
    )]
    NotHeld {
        /// Which instance.
        name: InstanceName,
        /// The fence's generation.
        generation: u64,
        /// What is wrong with the guard.
        why: String,
    },
    /// SIGTERM had no effect; nothing harder was sent.
    #[error(
        "instance {name} (process {pid}) still runs {STOPS_WITHIN} after SIGTERM: find out what it is doing; a kill may cut a write \
         that a client waits for"
    )]
    StillRuns {
        /// Which instance.
        name: InstanceName,
        /// Its process.
        pid: u32,
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
        LocalCommand::Status { upgrade } => status(settings, upgrade.as_ref()).await,
        LocalCommand::Fence { instance } => {
            let service = service(settings, instance)?;
            let fence = service.fence().set(By::Person)?;
            let held = match service.hold().await {
                Ok(true) => "",
                Ok(false) => {
                    "It is a plain process, which has no guard: whoever starts its program by hand still can.\n"
                }
                Err(why) => {
                    let why = why.to_string();
                    return Err(LocalError::NotHeld { name: instance.clone(), generation: fence.generation, why });
                }
            };
            Ok(format!("{instance} is fenced (generation {}) by {}\n{held}", fence.generation, fence.by))
        }
        LocalCommand::Unfence { instance } => {
            let service = service(settings, instance)?;
            let fence = service.fence().lift(By::Person)?;
            work::return_to_rotation(&service)?;
            Ok(format!(
                "{instance} is not fenced (generation {}). Start it: {} start {instance}\n",
                fence.generation,
                way_back::agent(settings)
            ))
        }
        LocalCommand::Stop { instance } => {
            let service = service(settings, instance)?;
            for role in [Role::Closed, Role::Service] {
                if let Stopped::StillRunning { pid } = service.stop(role, STOPS_WITHIN).await? {
                    return Err(LocalError::StillRuns { name: instance.clone(), pid });
                }
            }
            Ok(format!("{instance} is down\n"))
        }
        LocalCommand::Start { instance } => {
            let service = service(settings, instance)?;
            // One that a verification left: nothing else of Cutover ends it once a person has taken over.
            if let Stopped::StillRunning { pid } = service.stop(Role::Closed, STOPS_WITHIN).await? {
                return Err(LocalError::StillRuns { name: instance.clone(), pid });
            }
            service.permit(&By::Person.to_string()).await?;
            service.start().await?;
            service.forget_refusal().await?;
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
        LocalCommand::Guard { instance } => {
            let held = service(settings, instance)?.hold().await?;
            let what = if held { "has its guard" } else { "is a plain process, which has none" };
            Ok(format!("{instance} {what}\n"))
        }
        LocalCommand::Unguard { instance } => {
            let service = service(settings, instance)?;
            let fence = service.fence().read()?;
            if fence.standing {
                let (instance, generation) = (instance.clone(), fence.generation);
                return Err(ServiceError::Fenced { instance, generation }.into());
            }
            service.unguard().await?;
            Ok(format!("{instance} has no guard any more: any binary is started, by anybody\n"))
        }
        LocalCommand::Takeover { upgrade, note } => {
            let (mut journal, entries) = Journal::beside(&journal_file(&settings.state)).await?;
            let kept = folders(&settings.recovery()).into_keys();
            must_be_known(upgrade, kept.chain(entries.iter().filter_map(Entry::upgrade).map(ToString::to_string)))?;
            journal.take_over(upgrade.clone(), note.clone()).await?;
            Ok(format!(
                "upgrade {upgrade} is in your hands: this agent refuses every further order of it, for good.\n\
                 Work that runs now still ends by itself, and a closed copy with `local start` or `local stop`; `{} status`\n\
                 shows both and how to go back.\n",
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
    if instance.observe_only {
        return Err(LocalError::ObserveOnly { name: name.clone(), settings: settings.file.clone() });
    }
    Ok(Service::new(settings, instance, &Program::current().map_err(LocalError::Program)?))
}

/// That an upgrade is among those of which something is here.
fn must_be_known(upgrade: &UpgradeId, known: impl Iterator<Item = String>) -> Result<(), LocalError> {
    let known: BTreeSet<String> = known.collect();
    if known.contains(upgrade.as_str()) {
        return Ok(());
    }
    let known = if known.is_empty() { "none".to_owned() } else { Vec::from_iter(known).join(", ") };
    Err(LocalError::UnknownUpgrade { upgrade: upgrade.clone(), known })
}

async fn status(settings: &Settings, wanted: Option<&UpgradeId>) -> Result<String, LocalError> {
    let journal = journal_file(&settings.state);
    let entries = if journal.exists() { Journal::beside(&journal).await?.1 } else { Vec::new() };
    let upgrades = Upgrades::look(settings, &entries)?;
    if let Some(wanted) = wanted {
        let heard = entries.iter().filter_map(Entry::upgrade).map(ToString::to_string);
        must_be_known(wanted, upgrades.names().cloned().chain(heard))?;
    }
    let deployment = wanted.and_then(|wanted| upgrades.deployment(wanted.as_str()));
    let mut text = format!("agent {}, state in {}\n", settings.name, settings.state.display());
    for instance in settings.instances.iter().filter(|it| deployment.is_none_or(|wanted| it.deployment == *wanted)) {
        one_instance(&mut text, settings, instance).await?;
    }
    orders(&mut text, &entries, wanted);
    let shown = |upgrade: &str| wanted.is_none_or(|wanted| wanted.as_str() == upgrade);
    for (upgrade, manifests) in upgrades.points.iter().filter(|(upgrade, _)| shown(upgrade)) {
        points(&mut text, settings, &upgrades, upgrade, manifests).await?;
    }
    let mut deployments: BTreeSet<&DeploymentName> = settings.instances.iter().map(|it| &it.deployment).collect();
    deployments.retain(|it| deployment.is_none_or(|wanted| *it == wanted));
    for deployment in deployments {
        let instances: Vec<_> = settings.of_deployment(deployment).collect();
        if let Some(Latest::Here(upgrade)) = upgrades.latest(deployment)
            && shown(upgrade)
            && !upgrades.points.contains_key(upgrade)
            && upgrades::changed(settings, &instances, upgrade)?
        {
            let back = Back { settings, upgrade, instances };
            match upgrades.rejoins(upgrade) {
                true => back.rejoin(&mut text),
                false => back.without_points(&mut text),
            }
        }
    }
    Ok(text)
}

async fn one_instance(text: &mut String, settings: &Settings, instance: &InstanceSettings) -> Result<(), LocalError> {
    let service = Service::new(settings, instance, &Program::current().map_err(LocalError::Program)?);
    let fence = service.fence().read()?;
    let fenced = if fence.standing {
        format!("FENCED since {} by {} (generation {})", fence.since, fence.by, fence.generation)
    } else {
        "not fenced".to_owned()
    };
    line(
        text,
        format_args!(
            "\ninstance {} of {}: {}, {fenced}",
            instance.name,
            instance.deployment,
            service.run_state().await
        ),
    );
    match service.running(Role::Closed).await {
        Ok(None) => {}
        Ok(Some(closed)) => line(
            text,
            format_args!("  a closed copy runs as process {} at {}", closed.pid, closed.address.unwrap_or_default()),
        ),
        Err(error) => line(text, format_args!("  whether a closed copy runs is not known: {error}")),
    }
    line(text, format_args!("  starts {}", leads_to(&instance.command)));
    Ok(())
}

/// What is kept of an upgrade, and the way back to it.
async fn points(
    text: &mut String,
    settings: &Settings,
    upgrades: &Upgrades,
    upgrade: &str,
    manifests: &[Manifest],
) -> Result<(), LocalError> {
    line(text, format_args!("\nrecovery points of upgrade {upgrade}:"));
    for manifest in manifests {
        let point = &manifest.point;
        let what = point
            .sha256
            .map_or_else(|| "did not exist".to_owned(), |digest| format!("{} (sha256 {digest})", point.place));
        line(text, format_args!("  {}: {what}, taken {}", point.item, point.taken));
    }
    let Some(deployment) = upgrades.deployment(upgrade) else {
        line(
            text,
            format_args!(
                "nothing on this host says whose they are, and it serves several deployments: no way back is printed"
            ),
        );
        return Ok(());
    };
    let instances: Vec<_> = settings.of_deployment(deployment).collect();
    match upgrades.latest(deployment) {
        // Nothing would be stopped before it is restored.
        None => line(
            text,
            format_args!("no instance of deployment {deployment} is in these settings: no way back is printed"),
        ),
        Some(Latest::WentBack(id)) if id == upgrade => {
            line(text, format_args!("it went back already: there is nothing to go back from"));
        }
        Some(Latest::Here(id) | Latest::WentBack(id)) if id != upgrade => {
            line(text, format_args!("upgrade {id} came after it here: these are kept, and no way back leads there"));
        }
        Some(Latest::Here(_) | Latest::WentBack(_)) if upgrades.rolls(upgrade) => {
            Back { settings, upgrade, instances }.rolling(text);
        }
        Some(Latest::Here(_) | Latest::WentBack(_)) => {
            Back { settings, upgrade, instances }.with_points(text, manifests)?;
        }
    }
    Ok(())
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
fn orders(text: &mut String, entries: &[Entry], wanted: Option<&UpgradeId>) {
    let mut accepted: Vec<&Order> = Vec::new();
    let mut said: BTreeMap<&OrderId, String> = BTreeMap::new();
    let mut taken = Vec::new();
    let shown = |entry: &&Entry| wanted.is_none_or(|wanted| entry.upgrade() == Some(wanted));
    for entry in entries.iter().filter(shown) {
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
