//! `unadopt`: a unit leaves Cutover, and nothing of ours stays for it.

use super::entry::Entry;
use super::{AdoptError, entry, file, whole};
use crate::files::FileError;
use crate::journal::Journal;
use crate::run::journal_file;
use crate::service::fence::FenceFile;
use crate::service::systemd::Leaving;
use crate::settings::{InstanceSettings, Settings};
use crate::work::folder_of;
use cutover_desk::Entry as Journalled;
use cutover_vocabulary::instance::Manager;
use cutover_vocabulary::{Order, OrderId, Outcome, Phase, Subject, UpgradeId};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::PathBuf;

/// What is to leave.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct UnadoptArguments {
    /// The units.
    #[arg(required = true)]
    pub units: Vec<String>,
    /// Show what would be taken away, and change nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Keep the drop-in that names the release, as the administrator's own, under another name.
    #[arg(long)]
    pub keep_release: bool,
    /// The settings file.
    #[arg(long, env = "CUTOVER_AGENT_SETTINGS", default_value = "/etc/cutover/agent.toml")]
    pub settings: PathBuf,
}

/// Takes away everything that Cutover has put on the host for these units: their drop-ins, fences, closed copies, the instances'
/// folders and their `[[instance]]`s. The units themselves are neither stopped nor started. All are looked at before any is
/// touched; cut short, running it again does the rest.
///
/// # Errors
/// [`AdoptError`]; where it would be dangerous, with what to do first.
pub async fn unadopt(arguments: &UnadoptArguments) -> Result<String, AdoptError> {
    let settings = Settings::load(&arguments.settings)?;
    let journal = journal_file(&settings.state);
    // The agent would go on with what it read when it started, and put the guard back.
    let (_off, journalled) = if journal.exists() {
        let Some(lock) = Journal::hold_off(&journal).await? else {
            let why = "the agent runs, and would go on with the settings that it has read: run `systemctl stop cutover-agent` \
                       first, and start it again afterwards if other instances stay";
            return Err(AdoptError::Unit { unit: arguments.units.join(", "), why: why.to_owned() });
        };
        (Some(lock), Journal::beside(&journal).await?.1)
    } else {
        (None, Vec::new())
    };
    let mut all = Vec::new();
    for unit in &arguments.units {
        all.push(ready(arguments, &settings, &journalled, &whole(unit)).await?);
    }
    let mut text = String::new();
    let mut say = |line: String| _ = writeln!(text, "{line}");
    for (instance, leaving) in &all {
        say(format!("{} (instance {} of deployment {})", instance.unit_name(), instance.name, instance.deployment));
        let (doing, kept) = if arguments.dry_run { ("would remove", "would keep") } else { ("removed", "kept") };
        if let Some(kept_as) = leaving.kept() {
            say(format!("  {kept} its release, as {}", kept_as.display()));
        }
        for path in leaving.files() {
            say(format!("  {doing} {}", path.display()));
        }
        say(format!("  {doing} its [[instance]] in {}", arguments.settings.display()));
        if !arguments.dry_run {
            let refuse = |why| AdoptError::Unit { unit: instance.unit_name().to_owned(), why };
            leaving.take().await.map_err(refuse)?;
            forget(arguments, instance)?;
        }
    }
    if arguments.dry_run {
        say("Nothing was changed (--dry-run).".to_owned());
    } else {
        say(format!(
            "The units run on as they did. Recovery points in {} and releases in {} are left; remove them when nobody needs them.",
            settings.recovery().display(),
            settings.unpacked().display()
        ));
    }
    Ok(text)
}

fn forget(arguments: &UnadoptArguments, instance: &InstanceSettings) -> Result<(), AdoptError> {
    let path = &arguments.settings;
    let text = file::read(path)?.unwrap_or_default();
    let entry = Entry {
        name: instance.name.clone(),
        deployment: instance.deployment.clone(),
        unit: instance.unit_name().to_owned(),
        observe_only: instance.observe_only,
    };
    let after = entry::without(&text, &entry).map_err(|why| AdoptError::Text { path: path.clone(), why })?;
    Ok(file::write(path, Some(&text), &after)?)
}

/// A unit that may leave; refused where that would be dangerous.
async fn ready(
    arguments: &UnadoptArguments,
    settings: &Settings,
    journalled: &[Journalled],
    unit: &str,
) -> Result<(InstanceSettings, Leaving), AdoptError> {
    let refuse = |why: String| AdoptError::Unit { unit: unit.to_owned(), why };
    let of_unit = |it: &&InstanceSettings| it.manager == Manager::Systemd && it.unit_name() == unit;
    let Some(instance) = settings.instances.iter().find(of_unit) else {
        let known: Vec<&str> = settings.instances.iter().filter_map(|it| it.unit.as_deref()).collect();
        return Err(refuse(format!("it is not adopted; {} has: {}", settings.file.display(), known.join(", "))));
    };
    let dir = settings.instance_dir(&instance.name);
    let leaving = Leaving::new(unit, dir.clone(), arguments.keep_release);
    let unfence = format!("`cutover-agent local unfence {}`", instance.name);
    if fenced(&dir)? {
        return Err(refuse(format!(
            "it is fenced: an upgrade keeps it from starting, and without its guard anybody could. End that upgrade (`cutover status`), \
             or lift the fence by hand with {unfence}"
        )));
    }
    if let Some(upgrade) = under_way(journalled, instance) {
        return Err(refuse(format!(
            "upgrade {upgrade} of deployment {} is under way here. Wait for its end, or abort it (`cutover status`); if it has ended \
             and this host did not hear of it, run `cutover-agent local takeover {upgrade} --note WHY`",
            instance.deployment
        )));
    }
    if let Some(order) = at_work(journalled, settings, instance) {
        return Err(refuse(format!(
            "work on order {order} of deployment {} still runs in a process of its own. It ends by itself: try again then",
            instance.deployment
        )));
    }
    if leaving.closed_runs().await.map_err(refuse)? {
        return Err(refuse(format!("a closed copy of it still runs; run `systemctl stop cutover-closed-{unit}`")));
    }
    if let Some(starts) = leaving.starts().await.map_err(refuse)?
        && starts.found != starts.allowed
    {
        let why = if starts.present == starts.then {
            format!(
                "{} has SHA-256 {}, and its guard lets start {} only: somebody replaced it. Put the right release back there, or \
                 accept this one with `cutover-agent local allow {}`",
                starts.then.display(),
                starts.found,
                starts.allowed,
                instance.name
            )
        } else {
            format!(
                "it starts {} by Cutover's drop-in, and without that {} would start, which is another release (SHA-256 {}, allowed is \
                 {}) on a storage that is migrated. Put the allowed one at the unit's own path first, by its package or with `install \
                 -m 0755 {} {}`; or keep the drop-in as your own, with --keep-release",
                starts.present.display(),
                starts.then.display(),
                starts.found,
                starts.allowed,
                starts.present.display(),
                starts.then.display()
            )
        };
        return Err(refuse(why));
    }
    Ok((instance.clone(), leaving))
}

fn fenced(dir: &std::path::Path) -> Result<bool, FileError> {
    let fence = FenceFile::of(dir);
    Ok(fence.read()?.standing || fence.marker().exists())
}

/// An order for the instance's deployment whose worker runs, whoever has the upgrade in hand: it may be migrating.
fn at_work<'a>(journalled: &'a [Journalled], settings: &Settings, instance: &InstanceSettings) -> Option<&'a OrderId> {
    journalled.iter().find_map(|journalled| match journalled {
        Journalled::Accepted(order) if order.deployment == instance.deployment => {
            folder_of(settings, &order.id).is_alive().then_some(&order.id)
        }
        Journalled::Accepted(_)
        | Journalled::Finished { .. }
        | Journalled::TakenOver { .. }
        | Journalled::Forgotten(_)
        | Journalled::Epoch(_)
        | Journalled::Revoked(_)
        | Journalled::Acknowledged(_) => None,
    })
}

/// The upgrade of an instance's deployment that has not ended here, by the agent's journal: an order of it is in hand, or the last
/// one for this instance did not let clients in again. What a person took over has ended here.
fn under_way(journalled: &[Journalled], instance: &InstanceSettings) -> Option<UpgradeId> {
    let mut ended = BTreeSet::new();
    let mut done = BTreeSet::new();
    let mut settled = BTreeSet::new();
    let mut orders: Vec<&Order> = Vec::new();
    for journalled in journalled {
        match journalled {
            Journalled::Accepted(order) if order.deployment == instance.deployment => orders.push(order),
            Journalled::Finished { order, outcome } => {
                settled.insert(order);
                match **outcome {
                    Outcome::Done(_) => _ = done.insert(order),
                    Outcome::Failed(_) => {}
                }
            }
            Journalled::TakenOver { upgrade, .. } | Journalled::Forgotten(upgrade) => _ = ended.insert(upgrade),
            Journalled::Accepted(_) | Journalled::Epoch(_) | Journalled::Revoked(_) | Journalled::Acknowledged(_) => {}
        }
    }
    orders.retain(|order| !ended.contains(&order.id.upgrade));
    if let Some(open) = orders.iter().find(|order| !settled.contains(&order.id)) {
        return Some(open.id.upgrade.clone());
    }
    let latest = &orders.last()?.id.upgrade;
    let concerns = |order: &&&Order| {
        order.id.upgrade == *latest && order.id.step.subject == Subject::Instance(instance.name.clone())
    };
    let serves =
        |order: &Order| matches!(order.id.phase, Phase::Open | Phase::Reopen | Phase::Bake) && done.contains(&order.id);
    match orders.iter().rfind(concerns) {
        Some(last) if serves(last) => None,
        Some(_) | None => Some(latest.clone()),
    }
}
