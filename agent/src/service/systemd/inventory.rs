//! Which units of this host run the ledger, and what each is, for people. Looks only.

use super::bus::Bus;
use super::{file, fit, guard, loaded, release};
use crate::settings::InstanceSettings;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What the ledger's binary is called in every release.
const BINARY: &str = "numary";

/// What closed copies of ours are called.
const CLOSED: &str = "cutover-closed-";

/// One command of a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// The program.
    pub program: PathBuf,
    /// Its arguments, variables in them not replaced. May hold secrets.
    pub args: Vec<String>,
}

/// A unit as systemd has it loaded.
#[derive(Debug, Clone)]
pub struct Described {
    /// Its own name, whichever alias was asked for.
    pub unit: String,
    /// `active`, `inactive`, `failed`…
    pub state: String,
    /// Its file, then its drop-ins in the order in which they are read.
    pub files: Vec<PathBuf>,
    /// What it starts.
    pub commands: Vec<Command>,
    /// Its `EnvironmentFile`s.
    pub environment_files: Vec<String>,
    /// What the agent makes of it; or why it cannot upgrade such a unit, and what to do.
    pub settings: Result<InstanceSettings, String>,
    /// Whether an upgrade points the command's link elsewhere, instead of naming a release in a drop-in.
    pub moves_link: bool,
    /// The drop-in that would name a release.
    pub release: PathBuf,
    /// The drop-in that would be its guard.
    pub guard: PathBuf,
}

/// Every loaded or installed unit of this host that runs the ledger's server, instances of templates too, by name. A program
/// is known by its file's name, or by that of the file that it leads to; none is run to find out.
///
/// # Errors
/// Why systemd does not tell.
pub async fn ledger_units() -> Result<Vec<String>, String> {
    let failed = |error: zbus::Error| format!("systemd does not tell which units there are: {error}");
    let mut ledgers = BTreeSet::new();
    for name in names().await?.0 {
        // One that cannot be loaded starts nothing.
        let Ok((general, service)) = Bus.unit(&name).await else { continue };
        let Ok(commands) = service.exec_start_ex().await else { continue };
        if commands.iter().any(|(program, argv, ..)| is_ledger(Path::new(program)) && serves(argv)) {
            ledgers.insert(general.id().await.map_err(failed)?);
        }
    }
    Ok(ledgers.into_iter().collect())
}

/// Whether a unit of this host but that one may be started over this link: by what systemd has loaded, and by every file of it, so
/// that one which a drop-in of ours has start elsewhere counts, and a template of which no instance is loaded. A path with a
/// specifier in it is not followed.
///
/// # Errors
/// Why that cannot be told: what is not known is not alone.
pub(super) async fn is_started_over_by_others(link: &Path, own: &str) -> Result<bool, String> {
    let link = in_its_folder(link);
    let over = |program: &Path| hops(program).contains(&link);
    let failed = |error: zbus::Error| format!("systemd does not tell what its units start: {error}");
    let (names, templates) = names().await?;
    for name in names.iter().filter(|name| *name != own) {
        let (general, service) = Bus.unit(name).await.map_err(failed)?;
        let (id, commands, fragment, drop_ins) =
            tokio::try_join!(general.id(), service.exec_start_ex(), general.fragment_path(), general.drop_in_paths())
                .map_err(failed)?;
        if id == own {
            continue;
        }
        if commands.iter().any(|(program, ..)| over(Path::new(program))) {
            return Ok(true);
        }
        for file in std::iter::once(fragment).chain(drop_ins) {
            if programs(&file)?.iter().any(|program| over(program)) {
                return Ok(true);
            }
        }
    }
    for file in templates {
        if programs(&file)?.iter().any(|program| over(program)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The programs of the `ExecStart=` lines of a unit's file. None of one that is gone by now.
fn programs(path: &str) -> Result<Vec<PathBuf>, String> {
    let text = match std::fs::read_to_string(path) {
        Err(error) if path.is_empty() || error.kind() == std::io::ErrorKind::NotFound => String::new(),
        text => text.map_err(|error| format!("cannot read {path}: {error}"))?,
    };
    Ok(file::starts(&text).iter().map(|value| PathBuf::from(file::program(value))).collect())
}

/// How many links a path may lead over (`MAXSYMLINKS` of Linux).
const MOST_HOPS: usize = 40;

/// A path and each further one that links lead it over.
fn hops(path: &Path) -> Vec<PathBuf> {
    let mut hops = vec![in_its_folder(path)];
    while let Some(last) = hops.last().filter(|_| hops.len() < MOST_HOPS)
        && let Ok(next) = std::fs::read_link(last)
    {
        let next = in_its_folder(&last.parent().unwrap_or(Path::new("/")).join(next));
        hops.push(next);
    }
    hops
}

/// The same place however its folder is spelled.
fn in_its_folder(path: &Path) -> PathBuf {
    let folder = path.parent().and_then(|folder| folder.canonicalize().ok());
    folder.zip(path.file_name()).map_or_else(|| path.to_owned(), |(folder, name)| folder.join(name))
}

/// The services of this host, loaded or installed, by name; and the files of templates.
async fn names() -> Result<(BTreeSet<String>, Vec<String>), String> {
    let failed = |error: zbus::Error| format!("systemd does not tell which units there are: {error}");
    let manager = Bus.manager().await.map_err(failed)?;
    let loaded = manager.list_units().await.map_err(failed)?.into_iter().map(|(name, ..)| name);
    let files = manager.list_unit_files().await.map_err(failed)?;
    let installed =
        files.iter().filter_map(|(path, _)| Some(Path::new(path).file_name()?.to_string_lossy().into_owned()));
    let service =
        |name: &String| name.ends_with(".service") && !name.ends_with("@.service") && !name.starts_with(CLOSED);
    let names = loaded.chain(installed).filter(service).collect();
    let templates = files.iter().map(|(path, _)| path.clone()).filter(|path| path.ends_with("@.service")).collect();
    Ok((names, templates))
}

pub(super) fn is_ledger(program: &Path) -> bool {
    let called = |path: &Path| path.file_name().is_some_and(|name| name == BINARY);
    called(program) || program.canonicalize().is_ok_and(|path| called(&path))
}

/// Whether it is the server that is started, and not one of the ledger's other commands. A word that is a variable may be it.
fn serves(argv: &[String]) -> bool {
    let args = argv.get(1..).unwrap_or_default();
    args.iter().any(|arg| arg == "server" || arg.starts_with('$'))
}

/// What a unit is; `own` is what the agent's settings say, or would say, of it.
///
/// # Errors
/// Why systemd does not tell.
pub async fn describe(own: &InstanceSettings) -> Result<Described, String> {
    let failed = |error: zbus::Error| format!("systemd does not tell about it: {error}");
    let (general, service) = Bus.unit(own.unit_name()).await.map_err(failed)?;
    let unit = general.id().await.map_err(failed)?;
    if general.load_state().await.map_err(failed)? == "not-found" {
        return Err("there is no such unit on this host; `systemctl list-units --all` has them".to_owned());
    }
    let fragment = general.fragment_path().await.map_err(failed)?;
    let drop_ins = general.drop_in_paths().await.map_err(failed)?;
    let files = std::iter::once(fragment).chain(drop_ins).filter(|path| !path.is_empty()).map(PathBuf::from).collect();
    let commands = service.exec_start_ex().await.map_err(failed)?;
    let commands = commands
        .into_iter()
        .map(|(program, argv, ..)| Command {
            program: program.into(),
            args: argv.get(1..).unwrap_or_default().to_vec(),
        })
        .collect();
    let environment_files = service.environment_files().await.map_err(failed)?;
    let settings = loaded::settings(own, own.unit_name()).await;
    let fit = fit::fit(&unit).await;
    let moves_link = match &settings {
        Ok(found) => release::moves_link(&unit, &found.command).await,
        Err(_) => false,
    };
    Ok(Described {
        state: general.active_state().await.map_err(failed)?,
        files,
        commands,
        environment_files: environment_files.into_iter().map(|(path, _)| path).collect(),
        settings: settings.and_then(|found| fit.map(|()| found)),
        moves_link,
        release: release::path(&unit),
        guard: guard::path(&unit),
        unit,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_leads_over_every_link_on_its_way_however_its_folder_is_spelled() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().canonicalize().unwrap();
        let at = |name: &str| real.join(name);
        std::fs::create_dir(at("bin")).unwrap();
        std::os::unix::fs::symlink("bin", at("sbin")).unwrap();
        std::os::unix::fs::symlink("numary", at("bin/ledger")).unwrap();
        std::os::unix::fs::symlink("../1.3.1/numary", at("bin/numary")).unwrap();
        assert_eq!(hops(&at("sbin/ledger")), [at("bin/ledger"), at("bin/numary"), at("bin/../1.3.1/numary")]);
        std::fs::create_dir(at("1.3.1")).unwrap();
        assert_eq!(hops(&at("sbin/ledger")), [at("bin/ledger"), at("bin/numary"), at("1.3.1/numary")]);
        std::os::unix::fs::symlink("loop", at("loop")).unwrap();
        assert_eq!(hops(&at("loop")).len(), MOST_HOPS, "and it ends");
    }

    #[test]
    fn the_ledger_is_known_by_its_files_name_and_only_where_it_serves() {
        let dir = tempfile::tempdir().unwrap();
        let (numary, link, other) = (dir.path().join("numary"), dir.path().join("ledger"), dir.path().join("sh"));
        std::fs::write(&numary, "").unwrap();
        std::os::unix::fs::symlink(&numary, &link).unwrap();
        std::fs::write(&other, "").unwrap();
        assert_eq!([&numary, &link, &other].map(|path| is_ledger(path)), [true, true, false]);
        let serves = |words: &[&str]| serves(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        assert!(serves(&["/usr/bin/numary", "server", "start"]));
        assert!(serves(&["/usr/bin/numary", "--debug", "server", "start"]));
        assert!(serves(&["/usr/bin/numary", "$OPTIONS"]));
        assert!(!serves(&["/usr/bin/numary", "storage", "scan"]));
    }
}
