//! Which binary a unit starts. A command that is a link of this unit's alone is pointed elsewhere by one rename; any other path is
//! left as it is, for it may belong to a package or be started by others, and a drop-in has the unit start the release instead, with
//! the unit's own arguments.

use super::bus::Bus;
use super::closed::{change, line};
use super::{SystemdUnit, guard, inventory};
use crate::release::ReleaseError;
use crate::release::stage::digest_of;
use crate::release::switch::{self, Before, Was};
use crate::service::allowed::allow;
use cutover_vocabulary::{Digest, UpgradeId};
use std::path::{Path, PathBuf};

/// The drop-in that names the release.
pub(super) fn path(unit: &str) -> PathBuf {
    // The last by name wins, and `systemctl edit` makes an `override.conf`.
    guard::folder(unit).join("zzz-cutover-release.conf")
}

/// The unit's command with another binary: its flags (`-`, `:`, `+`…), its own name for itself and its arguments stay.
pub(super) fn command_line(program: &Path, argv: &[String], flags: &[String], extra: &[String]) -> String {
    let mut prefix: String = flags
        .iter()
        .filter_map(|flag| match flag.as_str() {
            "ignore-failure" => Some('-'),
            "privileged" => Some('+'),
            "no-setuid" => Some('!'),
            "no-env-expand" => Some(':'),
            _ => None,
        })
        .collect();
    if flags.iter().any(|flag| flag == "ambient") {
        prefix.push_str("!!");
    }
    line(&prefix, program, argv.iter().skip(1).chain(extra).cloned())
}

/// Makes `target` the binary that the unit starts, and the only one that its guard lets start. Idempotent.
///
/// Half done: the record of what was there before is on disk, or the drop-in is and systemd has not read it; again does the rest.
pub(super) async fn switch(unit: &SystemdUnit, target: &Path, upgrade: &UpgradeId) -> Result<(), ReleaseError> {
    let command = command(unit).await?;
    let refuse = |why: String| ReleaseError::Switch { command: command.clone(), why };
    // Again, in the way that it was begun.
    let by_link = match switch::before(&unit.dir, upgrade)? {
        Some(Before { was: Was::DropIn { .. }, .. }) => false,
        Some(Before { was: Was::Link(_) | Was::File(_), .. }) if is_link(&command) => true,
        Some(Before { was: Was::Link(link), .. }) => {
            let why = format!(
                "it was a link to {} when this upgrade began to switch it, and is none now: put that link back",
                link.display()
            );
            return Err(refuse(why));
        }
        Some(Before { was: Was::File(_), .. }) => false,
        // Moved already, for another instance on the same link, by an agent from before that was looked at.
        None if std::fs::read_link(&command).is_ok_and(|link| link == target) => true,
        None => moves_link(unit.name(), &command).await,
    };
    if by_link {
        switch::switch(&command, target, &unit.dir, upgrade)?;
    } else if command != target {
        let drop_in = path(unit.name());
        if switch::before(&unit.dir, upgrade)?.is_none() {
            let was = Was::DropIn { path: drop_in.clone(), text: std::fs::read_to_string(&drop_in).ok() };
            switch::keep_before(&unit.dir, &Before { upgrade: upgrade.clone(), was, binary: digest_of(&command)? })?;
        }
        let (_, service) = Bus.unit(unit.name()).await.map_err(|error| refuse(error.to_string()))?;
        let commands = service.exec_start_ex().await.map_err(|error| refuse(error.to_string()))?;
        let Some((_, argv, flags, ..)) = commands.first() else { return Err(refuse("it has no command".to_owned())) };
        let text = format!(
            "# By Cutover: the release that this unit starts. Without it the guard refuses the start.\n\
             [Service]\nExecStart=\nExecStart={}\n",
            command_line(target, argv, flags, &[])
        );
        change(&unit.dir, &drop_in, Some(&text)).await.map_err(refuse)?;
        let now = self::command(unit).await?;
        if now != target {
            let why = format!(
                "{} is there, and yet it starts {}: another drop-in comes after it",
                drop_in.display(),
                now.display()
            );
            return Err(ReleaseError::Switch { command, why });
        }
    }
    allow(&unit.dir, &self::command(unit).await?)?;
    Ok(())
}

/// Makes what was there before the upgrade the binary that starts. Idempotent.
pub(super) async fn switch_back(unit: &SystemdUnit, upgrade: &UpgradeId) -> Result<Digest, ReleaseError> {
    let command = command(unit).await?;
    let refuse = |why: String| ReleaseError::Switch { command: command.clone(), why };
    let before = switch::before(&unit.dir, upgrade)?;
    let binary = match before {
        Some(Before { was: Was::DropIn { path, text }, binary, .. }) => {
            change(&unit.dir, &path, text.as_deref()).await.map_err(&refuse)?;
            let now = digest_of(&self::command(unit).await?)?;
            if now != binary {
                return Err(refuse(format!("its SHA-256 is {now} now, before the upgrade it was {binary}")));
            }
            now
        }
        Some(Before { was: Was::Link(_) | Was::File(_), .. }) => switch::switch_back(&command, &unit.dir, upgrade)?,
        // Never switched: what lies there may be another's doing, and is not allowed by this.
        None => return switch::switch_back(&command, &unit.dir, upgrade),
    };
    allow(&unit.dir, &self::command(unit).await?)?;
    Ok(binary)
}

async fn command(unit: &SystemdUnit) -> Result<PathBuf, ReleaseError> {
    unit.now()
        .await
        .map(|now| now.command)
        .map_err(|why| ReleaseError::Switch { command: PathBuf::from(unit.name()), why })
}

/// Whether the command's path is a link that an upgrade of this unit may point elsewhere: no package's, and no other unit, adopted or
/// not, is started over it. That one would start the new release with its next start, on a storage that nobody has made ready.
/// Where that cannot be told it is not moved either: a drop-in of the unit's own does as well.
pub(super) async fn moves_link(unit: &str, command: &Path) -> bool {
    if !is_link(command) || is_a_packages(command) {
        return false;
    }
    match inventory::is_started_over_by_others(command, unit).await {
        Ok(shared) => !shared,
        Err(why) => {
            tracing::warn!(link = %command.display(), unit, why, "who else is started over this link cannot be told; it stays");
            false
        }
    }
}

/// Where only package managers put files (FHS 3.0, chapters 3 and 4), and where `update-alternatives` leads.
fn is_a_packages(link: &Path) -> bool {
    let folder = link.parent().and_then(|folder| folder.canonicalize().ok()).unwrap_or_default();
    let of_the_system = ["/usr", "/bin", "/sbin", "/lib", "/lib64"].iter().any(|place| folder.starts_with(place));
    of_the_system && !folder.starts_with("/usr/local")
        || std::fs::read_link(link).is_ok_and(|target| target.starts_with("/etc/alternatives"))
}

fn is_link(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|data| data.is_symlink())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_where_package_managers_put_files_is_not_moved() {
        assert!(is_a_packages(Path::new("/usr/bin/numary")) && is_a_packages(Path::new("/bin/numary")));
        assert!(!is_a_packages(Path::new("/usr/local/bin/numary")));
        let dir = tempfile::tempdir().unwrap();
        let (own, alternative) = (dir.path().join("numary"), dir.path().join("ledger"));
        std::os::unix::fs::symlink("/opt/numary/1.3.1/numary", &own).unwrap();
        std::os::unix::fs::symlink("/etc/alternatives/numary", &alternative).unwrap();
        assert!(!is_a_packages(&own) && is_a_packages(&alternative));
    }

    #[test]
    fn a_release_is_started_as_the_unit_started_its_own_binary() {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let argv = words(&["/usr/bin/numary", "server", "start", "--x=100%", "$OPTIONS"]);
        let flags = words(&["no-env-expand"]);
        assert_eq!(
            command_line(Path::new("/opt/r/1.4.6/numary"), &argv, &flags, &words(&["--y=1"])),
            r#":"/opt/r/1.4.6/numary" "server" "start" "--x=100%%" "$OPTIONS" "--y=1""#
        );
    }
}
