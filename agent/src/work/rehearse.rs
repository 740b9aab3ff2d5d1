//! `Rehearse`: the whole migration on a copy, and the target started there with each instance's own arguments.
//!
//! Touches nothing but the copy, which lies in the agent's scratch folder or in a database of its own and is removed whatever
//! happens; afterwards it prepares what securing needs ([`super::tidy`]). It finds what no list of known facts holds: a flag that
//! the target no longer has, a row that makes it panic, data that it loses in a way nobody measured. A stop ends the running command. Half done: a scratch folder, which the next run removes first.
//!
//! A copy that was started talks to whatever else its arguments name (a publisher, a redis lock); nothing is written through
//! it, so nothing is published.

use super::bench::Bench;
use super::first_start::{self, On};
use super::place;
use super::tidy;
use super::trouble::Trouble;
use super::visit::{Visit, Words, visit};
use crate::files::{folder, io_error};
use crate::ledger::cli::{Cli, environment};
use crate::machine;
use crate::release::stage;
use crate::service::environment::Redactor;
use crate::settings::InstanceSettings;
use cutover_storage::settings::flags;
use cutover_storage::storage::{Copied, CopyAsk};
use cutover_vocabulary::outcome::{Effect, FailureKind, Rehearsal};
use cutover_vocabulary::release::StagedRelease;
use cutover_vocabulary::storage::LISTED_ROWS;
use cutover_vocabulary::{Elapsed, LedgerName, Version};
use secrecy::SecretString;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub(super) async fn rehearse(
    bench: &Bench<'_>,
    target: &StagedRelease,
    ledgers: &[LedgerName],
) -> Result<Rehearsal, Trouble> {
    let root = bench.settings.scratch().join(format!("rehearse-{}", bench.order.id.file_name()));
    remove(&root)?;
    let result = on_a_copy(bench, target, ledgers, &root).await;
    let removed = remove(&root);
    let rehearsal = result.map_err(|trouble| {
        trouble.while_trying(format_args!("rehearsing {} on a copy", target.release.version)).effect(Effect::None)
    })?;
    removed?;
    Ok(rehearsal)
}

fn remove(root: &Path) -> Result<(), Trouble> {
    match std::fs::remove_dir_all(root) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(io_error("remove", root)(error).into()),
    }
}

async fn on_a_copy(
    bench: &Bench<'_>,
    target: &StagedRelease,
    ledgers: &[LedgerName],
    root: &Path,
) -> Result<Rehearsal, Trouble> {
    let program = stage::check(bench.settings, target)?;
    let mut instances = bench.settings.of_deployment(&bench.order.deployment).peekable();
    let Some(first) = instances.peek() else {
        return Err(Trouble::refused(
            format!("no instance of deployment {} is on this host", bench.order.deployment),
            "let an agent rehearse that speaks for one",
        ));
    };
    let place = place::of(first)?;
    let copy = Copy { root, task: bench.order.id.file_name(), ledgers };
    for path in [copy.home(), copy.directory()] {
        folder(&path)?;
    }
    bench.unless_stopped("every ledger was copied")?;
    let ask = CopyAsk { upgrade: &bench.order.id.upgrade, ledgers, folder: root };
    let copied = place::apart(|| place.storage.copy(&ask)).map_err(Trouble::before_any_change)?;
    let rehearsed: Result<Rehearsal, Trouble> = async {
        let rehearsal = migrate_copies(bench, target, &*copied, &copy).await?;
        for instance in instances {
            bench.unless_stopped("the target was started on the copy")?;
            start_on_copy(bench, instance, &program, &target.release.version, &*copied, &copy).await?;
        }
        for (name, recorded) in &rehearsal.migrations {
            let now = place::apart(|| copied.storage().migrations(name, root))?;
            if now != *recorded {
                return Err(Trouble::new(
                    FailureKind::Failed,
                    format!(
                        "the target migrates ledger {name} further when it is started: its copy recorded {:?}, now {:?}",
                        recorded.0, now.0
                    ),
                    "choose another target: what its commands leave undone would be done with clients waiting, unproved",
                ));
            }
        }
        Ok(rehearsal)
    }
    .await;
    let removed = place::apart(|| copied.remove());
    let rehearsal = rehearsed?;
    removed?;
    tidy::prepare(bench.settings, bench.order, &*place.storage)?;
    Ok(rehearsal)
}

/// Where a copy's own files lie, and what is in it.
struct Copy<'a> {
    root: &'a Path,
    task: String,
    ledgers: &'a [LedgerName],
}

impl Copy<'_> {
    fn home(&self) -> PathBuf {
        self.root.join("home")
    }
    /// Every command of the ledger makes its storage directory, with PostgreSQL too.
    fn directory(&self) -> PathBuf {
        self.root.join("directory")
    }
    fn environment(&self, copied: &dyn Copied) -> Result<BTreeMap<String, SecretString>, Trouble> {
        let mut all = environment([
            ("HOME", self.home().to_string_lossy().into_owned()),
            ("NUMARY_STORAGE_DIR", self.directory().to_string_lossy().into_owned()),
        ]);
        all.extend(copied.storage().environment(&self.task)?);
        Ok(all)
    }
}

async fn migrate_copies(
    bench: &Bench<'_>,
    target: &StagedRelease,
    copied: &dyn Copied,
    copy: &Copy<'_>,
) -> Result<Rehearsal, Trouble> {
    let program = stage::check(bench.settings, target)?;
    let environment = copy.environment(copied)?;
    let took = if target.storage_commands {
        by_commands(bench, program, environment, copy).await?
    } else {
        // The copy lies in a folder that other users may not look into.
        let on = On { environment, credentials: Vec::new(), account: None };
        first_start::read_each(bench, target, &program, on, "the copy of ledger", copy.ledgers).await?
    };
    let mut rehearsal = Rehearsal { took, differences: Vec::new(), difference_count: 0, migrations: BTreeMap::new() };
    for name in copy.ledgers {
        let recorded = place::apart(|| copied.storage().migrations(name, copy.root))?;
        rehearsal.migrations.insert(name.clone(), recorded);
        let found = place::apart(|| copied.compare(name, copy.root))?;
        rehearsal.difference_count += found.unexplained;
        let room = LISTED_ROWS.saturating_sub(rehearsal.differences.len());
        let rows = found.unexplained_rows.into_iter().take(room);
        rehearsal.differences.extend(rows.map(|row| (name.clone(), row)));
    }
    Ok(rehearsal)
}

/// `storage scan`, `list` and `upgrade` of each copy; how long each took.
async fn by_commands(
    bench: &Bench<'_>,
    program: PathBuf,
    environment: BTreeMap<String, SecretString>,
    copy: &Copy<'_>,
) -> Result<Vec<(LedgerName, Elapsed)>, Trouble> {
    let cli = Cli::new(program, environment, bench.folder.path().to_owned()).holding_the_worker_lock();
    let stop = || bench.stop();
    cli.scan(&stop).await?;
    let listed = cli.list(&stop).await?;
    let mut took = Vec::new();
    for name in copy.ledgers {
        let begun = machine::uptime();
        cli.upgrade(name, &listed, &stop)
            .await
            .map_err(|error| Trouble::from(error).while_trying(format_args!("migrating the copy of ledger {name}")))?;
        took.push((name.clone(), machine::uptime().since(begun)));
    }
    Ok(took)
}

/// Starts the target with the instance's own arguments on the copy, reads every ledger, ends it.
async fn start_on_copy(
    bench: &Bench<'_>,
    instance: &InstanceSettings,
    program: &Path,
    version: &Version,
    copied: &dyn Copied,
    copy: &Copy<'_>,
) -> Result<(), Trouble> {
    let mut environment = instance.environment()?;
    let redactor = Redactor::of(&instance.args, &environment);
    let home = instance.home().join(".numary/numary.yaml");
    if home.exists() {
        // The same settings file, where the ledger may write its own without touching the real one.
        let to = copy.home().join(".numary/numary.yaml");
        folder(&copy.home().join(".numary"))?;
        std::fs::copy(&home, &to).map_err(io_error("copy", &home))?;
    }
    environment.extend(copy.environment(copied)?);
    let mut arguments = flags::without(&instance.args, copied.by_environment_only());
    // Flags win over everything else, and of a repeated one the last counts.
    arguments.extend(copied.flags().into_iter().map(SecretString::from));
    let home = copy.home();
    let asked = Visit {
        program,
        version,
        environment,
        arguments,
        directory: &home,
        // On a copy in a folder that other users may not look into.
        account: None,
        credentials: place::settings_of(instance)?.credentials(),
        patience: Elapsed::from_secs(instance.start_seconds),
        read: super::site::REQUEST,
        words: Words {
            started: format!("with the arguments of instance {}", instance.name),
            ledger: "the copy of ledger",
            redactor: &redactor,
        },
    };
    visit(bench, asked, copy.ledgers).await.map(drop)
}
