//! Who may write what an agent that runs as root obeys: its settings file, and the programs and files that it names.
//!
//! Orders name instances, never paths: what an instance is, only that file says. So whoever may write it, or replace it in its
//! folder, commands root.

use super::{InstanceSettings, Settings, SettingsError};
use cutover_vocabulary::instance::Manager;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// The sticky bit: in such a folder nobody renames or removes what is another's.
const STICKY: u32 = 0o1000;

/// Refuses settings that others than root may change, where this program is root. What is not there is left to those who need
/// it: nothing is run that is not there.
pub(super) fn check(settings: &Settings) -> Result<(), SettingsError> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    root_only(&settings.file)?;
    for instance in &settings.instances {
        for path in obeyed(instance) {
            root_only(&path)?;
        }
    }
    Ok(())
}

/// The same for one program, right before it is run: it may have been changed since.
pub(crate) fn check_program(program: &str) -> Result<(), SettingsError> {
    match found(program).filter(|_| rustix::process::geteuid().is_root()) {
        Some(path) => root_only(&path),
        None => Ok(()),
    }
}

/// What an instance's settings have the agent run, or read as if it stood there.
fn obeyed(instance: &InstanceSettings) -> Vec<PathBuf> {
    let hooks = [&instance.out_of_rotation, &instance.into_rotation];
    let mut all: Vec<PathBuf> = hooks.into_iter().filter_map(|words| found(words.first()?)).collect();
    all.extend(instance.env_file.clone());
    match instance.manager {
        Manager::Process => all.push(instance.command.clone()),
        // systemd starts it, as the unit's own user.
        Manager::Systemd => {}
    }
    all
}

/// Where a program lies: a name with a slash as it is, any other along `PATH`.
fn found(program: &str) -> Option<PathBuf> {
    if program.contains('/') {
        return Some(PathBuf::from(program));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

fn root_only(path: &Path) -> Result<(), SettingsError> {
    let unreadable = |source| SettingsError::Unreadable { path: path.to_owned(), source };
    let named = std::path::absolute(path).map_err(unreadable)?;
    // Both what it is called and what that leads to: either could be exchanged.
    let meant = fs::canonicalize(&named).unwrap_or_else(|_| named.clone());
    for whole in [named, meant] {
        for part in whole.ancestors() {
            let Ok(data) = fs::symlink_metadata(part) else { continue };
            if let Some(mend) = wrong(data.uid(), data.gid(), data.mode(), data.is_dir(), data.is_symlink()) {
                let what = if part == whole { "it" } else { "a folder above it" };
                let owner = |number: u32| match nix::unistd::User::from_uid(number.into()) {
                    Ok(Some(user)) => user.name,
                    Ok(None) | Err(_) => number.to_string(),
                };
                return Err(SettingsError::Trust {
                    path: path.to_owned(),
                    what,
                    part: part.to_owned(),
                    owner: owner(data.uid()),
                    group: data.gid(),
                    mode: data.mode() & 0o7777,
                    mend: mend.join(OsStr::new(part)),
                });
            }
        }
    }
    Ok(())
}

/// How a file or folder is mended that others than root may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mend {
    Owner,
    Mode,
}

impl Mend {
    fn join(self, part: &OsStr) -> String {
        let part = part.to_string_lossy();
        match self {
            Self::Owner => format!("chown -h root:root '{part}' && chmod go-w '{part}'"),
            Self::Mode => format!("chmod go-w '{part}'"),
        }
    }
}

fn wrong(user: u32, group: u32, mode: u32, folder: bool, link: bool) -> Option<Mend> {
    if user != 0 {
        return Some(Mend::Owner);
    }
    // What a link's own mode says means nothing.
    let others = mode & 0o002 != 0 || (mode & 0o020 != 0 && group != 0);
    let kept = link || (folder && mode & STICKY != 0);
    (others && !kept).then_some(Mend::Mode)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_nobody_but_root_may_change_is_obeyed() {
        for (user, group, mode, folder, link, expected) in [
            (0, 0, 0o100_600, false, false, None),
            (0, 0, 0o100_664, false, false, None),
            (0, 50, 0o100_664, false, false, Some(Mend::Mode)),
            (0, 0, 0o100_646, false, false, Some(Mend::Mode)),
            (33, 0, 0o100_600, false, false, Some(Mend::Owner)),
            (0, 0, 0o041_777, true, false, None),
            (0, 0, 0o040_777, true, false, Some(Mend::Mode)),
            (0, 0, 0o101_666, false, false, Some(Mend::Mode)),
            (0, 0, 0o120_777, false, true, None),
            (33, 0, 0o120_777, false, true, Some(Mend::Owner)),
        ] {
            assert_eq!(wrong(user, group, mode, folder, link), expected, "{user} {group} {mode:o}");
        }
    }

    #[test]
    fn a_refusal_names_the_file_its_mode_its_owner_and_the_command() {
        use std::os::unix::fs::PermissionsExt as _;
        if !rustix::process::geteuid().is_root() {
            // Everything is another user's than root: refused for that.
            let dir = tempfile::tempdir().unwrap();
            assert!(root_only(dir.path()).unwrap_err().to_string().contains("chown -h root:root"));
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let (folder, file) = (dir.path().join("open"), dir.path().join("open/agent.toml"));
        fs::create_dir(&folder).unwrap();
        fs::write(&file, "").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        root_only(&file).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o606)).unwrap();
        let said = root_only(&file).unwrap_err().to_string();
        let command = format!("chmod go-w '{}'", file.display());
        assert!(said.contains("owner root") && said.contains("mode 0606") && said.contains(&command), "{said}");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
        let said = root_only(&file).unwrap_err().to_string();
        assert!(said.contains(&format!("chmod go-w '{}'", folder.display())), "{said}");
        // A link in a good place to a file in a bad one.
        let link = dir.path().join("link.toml");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert!(root_only(&link).is_err());
    }
}
