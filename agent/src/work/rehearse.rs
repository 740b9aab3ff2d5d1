//! `Rehearse`: the whole migration on a copy, and the target started there with each instance's own arguments.
//!
//! Touches nothing but the copy, which lies in the agent's scratch folder and is removed whatever happens. It finds what no
//! list of known facts holds: a flag that the target no longer has, a row that makes it panic, data that it loses in a way
//! nobody measured. A stop ends the running command. Half done: a scratch folder, which the next run removes first.
//!
//! A copy that was started talks to whatever else its arguments name (a publisher, a redis lock); nothing is written through
//! it, so nothing is published.

use super::bench::Bench;
use super::closed::free_port;
use super::place::{self, Place};
use super::trouble::Trouble;
use crate::files::{folder, io_error};
use crate::ledger::cli::{Cli, environment};
use crate::ledger::http::Http;
use crate::ledger::message::error_message;
use crate::machine;
use crate::release::stage;
use crate::service::environment::Redactor;
use crate::settings::InstanceSettings;
use cutover_storage::digest;
use cutover_storage::sqlite::recovery::{Secure, secure};
use cutover_storage::sqlite::{Ledger, SqlitePlace};
use cutover_vocabulary::outcome::{Effect, FailureKind, Rehearsal};
use cutover_vocabulary::release::StagedRelease;
use cutover_vocabulary::storage::{LISTED_ROWS, RecoveryItem};
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

/// The copy's folders.
struct Copy {
    storage: PathBuf,
    points: PathBuf,
    home: PathBuf,
    db_name: String,
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
    let copy = Copy {
        storage: root.join("storage"),
        points: root.join("points"),
        home: root.join("home"),
        db_name: place.sqlite.db_name().to_owned(),
    };
    for path in [&copy.storage, &copy.points, &copy.home] {
        folder(path)?;
    }
    place.sqlite.refuse_inside(&copy.storage)?;
    let rehearsal = migrate_copies(bench, target, ledgers, &place, &copy).await?;
    for instance in instances {
        bench.unless_stopped("the target was started on the copy")?;
        start_on_copy(bench, instance, &program, &target.release.version, ledgers, &copy).await?;
    }
    Ok(rehearsal)
}

async fn migrate_copies(
    bench: &Bench<'_>,
    target: &StagedRelease,
    ledgers: &[LedgerName],
    place: &Place,
    copy: &Copy,
) -> Result<Rehearsal, Trouble> {
    let mut originals = Vec::new();
    let there = SqlitePlace::find(&copy.storage, &copy.db_name)?;
    for name in ledgers {
        bench.unless_stopped("every ledger was copied")?;
        let item = RecoveryItem::Ledger(name.clone());
        let point = secure(Secure {
            place: &place.sqlite,
            storage: &place.identity,
            item: &item,
            upgrade: &bench.order.id.upgrade,
            folder: &copy.points,
            lossy: false,
        })?;
        let original = PathBuf::from(point.place);
        let file = there.ledger(name)?;
        std::fs::copy(&original, &file).map_err(io_error("copy to", &file))?;
        originals.push((name, original, file));
    }
    let mut rehearsal = Rehearsal { took: Vec::new(), differences: Vec::new(), difference_count: 0 };
    if !target.storage_commands {
        // Such a target creates what it needs when it is started, which comes next.
        return Ok(rehearsal);
    }
    let mut environment = environment([("HOME", copy.home.to_string_lossy().into_owned())]);
    environment.extend(copy.environment());
    let program = stage::check(bench.settings, target)?;
    let cli = Cli::new(program, environment, bench.folder.path().to_owned()).holding_the_worker_lock();
    let stop = || bench.stop();
    cli.scan(&stop).await?;
    let listed = cli.list(&stop).await?;
    for (name, original, file) in &originals {
        let begun = machine::uptime();
        cli.upgrade(name, &listed, &stop)
            .await
            .map_err(|error| Trouble::from(error).while_trying(format_args!("migrating the copy of ledger {name}")))?;
        rehearsal.took.push(((*name).clone(), machine::uptime().since(begun)));
        let found = digest::compare(&Ledger::open(original, &copy.points)?, &Ledger::open(file, &copy.points)?)?;
        rehearsal.difference_count += found.unexplained;
        let room = LISTED_ROWS.saturating_sub(rehearsal.differences.len());
        let rows = found.unexplained_rows.into_iter().take(room);
        rehearsal.differences.extend(rows.map(|row| ((*name).clone(), row)));
    }
    Ok(rehearsal)
}

impl Copy {
    fn keys(&self) -> [(&'static str, String); 3] {
        [
            ("storage.driver", "sqlite".to_owned()),
            ("storage.dir", self.storage.to_string_lossy().into_owned()),
            ("storage.sqlite.db_name", self.db_name.clone()),
        ]
    }
    fn environment(&self) -> impl Iterator<Item = (String, SecretString)> {
        self.keys()
            .into_iter()
            .map(|(key, value)| (format!("NUMARY_{}", key.replace('.', "_").to_uppercase()), value.into()))
    }
    /// Flags win over everything else, and of a repeated one the last counts.
    fn flags(&self, address: SocketAddr) -> Vec<String> {
        let mut flags: Vec<String> = self.keys().into_iter().map(|(key, value)| format!("--{key}={value}")).collect();
        flags.push(format!("--server.http.bind_address={address}"));
        flags
    }
}

/// Starts the target with the instance's own arguments on the copy, reads every ledger, ends it.
async fn start_on_copy(
    bench: &Bench<'_>,
    instance: &InstanceSettings,
    program: &Path,
    version: &Version,
    ledgers: &[LedgerName],
    copy: &Copy,
) -> Result<(), Trouble> {
    let mut environment = instance.environment()?;
    let redactor = Redactor::of(&instance.args, &environment);
    let home = instance.home().join(".numary/numary.yaml");
    if home.exists() {
        // The same settings file, where the ledger may write its own without touching the real one.
        let to = copy.home.join(".numary/numary.yaml");
        folder(&copy.home.join(".numary"))?;
        std::fs::copy(&home, &to).map_err(io_error("copy", &home))?;
    }
    environment.insert("HOME".to_owned(), copy.home.to_string_lossy().into_owned().into());
    environment.extend(copy.environment());
    let address = free_port()?;
    let stderr_path = bench.folder.path().join(format!("rehearsal-{}.stderr", instance.name));
    let stderr = std::fs::File::create(&stderr_path).map_err(io_error("create", &stderr_path))?;
    let mut child = spawn(instance, program, &environment, &copy.flags(address), stderr, &copy.home)?;
    let seen = look_at_copy(bench, instance, &mut child, address, version, ledgers).await;
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
    instance: &InstanceSettings,
    program: &Path,
    environment: &BTreeMap<String, SecretString>,
    flags: &[String],
    stderr: std::fs::File,
    directory: &Path,
) -> Result<Child, Trouble> {
    Command::new(program)
        .args(instance.args.iter().map(ExposeSecret::expose_secret))
        .args(flags)
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
