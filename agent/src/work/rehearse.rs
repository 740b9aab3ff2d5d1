//! `Rehearse`: the whole migration on a copy, and the target started there with each instance's own arguments.
//!
//! Touches nothing but the copy, which lies in the agent's scratch folder or in a database of its own and is removed whatever
//! happens; afterwards it prepares what securing needs ([`super::tidy`]). It finds what no list of known facts holds: a flag that
//! the target no longer has, a row that makes it panic, data that it loses in a way nobody measured. A stop ends the running command. Half done: a scratch folder, which the next run removes first.
//!
//! A copy that was started talks to whatever else its arguments name (a publisher, a redis lock); nothing is written through
//! it, so nothing is published.

use super::bench::Bench;
use super::closed::free_port;
use super::place;
use super::tidy;
use super::trouble::Trouble;
use crate::files::{folder, io_error};
use crate::ledger::cli::{Cli, environment};
use crate::ledger::http::Http;
use crate::ledger::message::error_message;
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
use rustix::process::{Pid, Signal, kill_process};
use secrecy::{ExposeSecret, SecretString};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::{Child, Command};

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
    let copied = place::apart(|| place.storage.copy(&ask))?;
    let rehearsed: Result<Rehearsal, Trouble> = async {
        let rehearsal = migrate_copies(bench, target, &*copied, &copy).await?;
        for instance in instances {
            bench.unless_stopped("the target was started on the copy")?;
            start_on_copy(bench, instance, &program, &target.release.version, &*copied, &copy).await?;
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
    let mut rehearsal = Rehearsal { took: Vec::new(), differences: Vec::new(), difference_count: 0 };
    if !target.storage_commands {
        // Such a target creates what it needs when it is started, which comes next.
        return Ok(rehearsal);
    }
    let program = stage::check(bench.settings, target)?;
    let cli = Cli::new(program, copy.environment(copied)?, bench.folder.path().to_owned()).holding_the_worker_lock();
    let stop = || bench.stop();
    cli.scan(&stop).await?;
    let listed = cli.list(&stop).await?;
    for name in copy.ledgers {
        let begun = machine::uptime();
        cli.upgrade(name, &listed, &stop)
            .await
            .map_err(|error| Trouble::from(error).while_trying(format_args!("migrating the copy of ledger {name}")))?;
        rehearsal.took.push((name.clone(), machine::uptime().since(begun)));
        let found = place::apart(|| copied.compare(name, copy.root))?;
        rehearsal.difference_count += found.unexplained;
        let room = LISTED_ROWS.saturating_sub(rehearsal.differences.len());
        let rows = found.unexplained_rows.into_iter().take(room);
        rehearsal.differences.extend(rows.map(|row| (name.clone(), row)));
    }
    Ok(rehearsal)
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
    let address = free_port()?;
    let stderr_path = bench.folder.path().join(format!("rehearsal-{}.stderr", instance.name));
    let stderr = std::fs::File::create(&stderr_path).map_err(io_error("create", &stderr_path))?;
    let mut arguments = flags::without(&instance.args, copied.by_environment_only());
    // Flags win over everything else, and of a repeated one the last counts.
    arguments.extend(copied.flags().into_iter().map(SecretString::from));
    arguments.push(format!("--server.http.bind_address={address}").into());
    let mut child = spawn(program, &environment, &arguments, stderr, &copy.home())?;
    let seen = look_at_copy(bench, instance, &mut child, address, version, copy.ledgers).await;
    let ended = end(&mut child, instance).await;
    let words = redactor.clean(&std::fs::read_to_string(&stderr_path).unwrap_or_default());
    // Its output may hold secrets; what matters of it is in the failure.
    let _ = std::fs::remove_file(&stderr_path);
    seen.map_err(|mut trouble| {
        if let Some(message) = error_message(&words) {
            trouble.0.message = format!("{}: {message}", trouble.0.message);
        }
        trouble
    })?;
    ended
}

fn spawn(
    program: &Path,
    environment: &BTreeMap<String, SecretString>,
    arguments: &[SecretString],
    stderr: std::fs::File,
    directory: &Path,
) -> Result<Child, Trouble> {
    Command::new(program)
        .args(arguments.iter().map(ExposeSecret::expose_secret))
        .env_clear()
        .envs(environment.iter().map(|(key, value)| (key, value.expose_secret())))
        .current_dir(directory)
        // The worker's lock: a copy that outlives the worker is still something of it.
        .stdin(Stdio::inherit())
        .stdout(Stdio::null())
        .stderr(stderr)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| {
            Trouble::refused(format!("{} cannot be started: {error}", program.display()), "stage the release again")
        })
}

async fn look_at_copy(
    bench: &Bench<'_>,
    instance: &InstanceSettings,
    child: &mut Child,
    address: SocketAddr,
    version: &Version,
    ledgers: &[LedgerName],
) -> Result<(), Trouble> {
    let http = Http::new(address, super::site::REQUEST);
    let name = &instance.name;
    let patience = Elapsed::from_secs(instance.start_seconds);
    let deadline = machine::uptime().plus(patience);
    let found = loop {
        if let Ok(found) = http.version().await {
            break found;
        }
        let gone = child.try_wait().ok().flatten();
        if let Some(status) = gone {
            return Err(Trouble::new(
                FailureKind::Failed,
                format!("the target does not start with the arguments of instance {name} ({status})"),
                "correct the instance's arguments for the target: an unknown flag is one that it no longer has",
            ));
        }
        bench.unless_stopped("the target answered on the copy")?;
        if machine::uptime() >= deadline {
            return Err(Trouble::new(
                FailureKind::TimedOut,
                format!("the target, started with the arguments of instance {name}, does not answer within {patience}"),
                "look at what its arguments name; start_seconds in the settings gives it longer",
            ));
        }
        tokio::time::sleep(super::site::LOOKING).await;
    };
    if found != *version {
        return Err(Trouble::refused(
            format!("the target answers as {found}, ordered was {version}"),
            "stage the release again",
        ));
    }
    for ledger in ledgers {
        http.read(ledger).await.map_err(|error| {
            let kind = FailureKind::Failed;
            Trouble::new(
                kind,
                format!("the target cannot read the copy of ledger {ledger}: {error}"),
                "choose another target",
            )
        })?;
    }
    Ok(())
}

/// A copy of a copy: SIGTERM, and SIGKILL if that does not help; nothing of it is kept.
async fn end(child: &mut Child, instance: &InstanceSettings) -> Result<(), Trouble> {
    if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw) {
        let _ = kill_process(pid, Signal::TERM);
    }
    if tokio::time::timeout(Duration::from_secs(10), child.wait()).await.is_ok() {
        return Ok(());
    }
    let _ = child.kill().await;
    Err(Trouble::new(
        FailureKind::Failed,
        format!("the target, started with the arguments of instance {}, does not end on SIGTERM", instance.name),
        "a service that cannot be stopped cleanly cannot be drained next time; choose another target",
    ))
}
