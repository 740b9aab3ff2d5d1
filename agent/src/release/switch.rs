//! Switching: which binary an instance starts from now on, by one rename.

use super::ReleaseError;
use super::stage::digest_of;
use crate::files::{self, FileError, io_error, temporary_beside};
use cutover_vocabulary::{Digest, UpgradeId};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What an instance's command was before an upgrade touched it. Written before it is touched, and never overwritten, so
/// the way back is known after a crash at any moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Before {
    /// Which upgrade.
    pub upgrade: UpgradeId,
    /// What lay at the command's path.
    pub was: Was,
    /// SHA-256 of the binary it led to.
    pub binary: Digest,
}

/// What lies at a command's path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Was {
    /// A link to this.
    Link(PathBuf),
    /// A plain file, which is kept here.
    File(PathBuf),
    /// A path that was not touched: a drop-in of the unit names the release instead.
    DropIn {
        /// Where that lies.
        path: PathBuf,
        /// What it said before; nothing where there was none.
        text: Option<String>,
    },
}

fn record(instance_dir: &Path, upgrade: &UpgradeId) -> PathBuf {
    instance_dir.join(format!("before-{upgrade}.json"))
}

/// What the command was before that upgrade; none when the upgrade never switched it.
pub fn before(instance_dir: &Path, upgrade: &UpgradeId) -> Result<Option<Before>, FileError> {
    files::read_json(&record(instance_dir, upgrade))
}

/// What the command was before each upgrade that switched it, with the file that says so.
///
/// # Errors
/// When one of them cannot be read.
pub fn all_before(instance_dir: &Path) -> Result<Vec<(PathBuf, Before)>, FileError> {
    let mut all = Vec::new();
    for entry in fs::read_dir(instance_dir).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("before-")
            && name.ends_with(".json")
            && let Some(before) = files::read_json(&entry.path())?
        {
            all.push((entry.path(), before));
        }
    }
    Ok(all)
}

/// Writes down what the command was before an upgrade, unless that was done.
pub fn keep_before(instance_dir: &Path, kept: &Before) -> Result<(), FileError> {
    if before(instance_dir, &kept.upgrade)?.is_some() {
        return Ok(());
    }
    files::folder(instance_dir)?;
    files::write_json(&record(instance_dir, &kept.upgrade), kept)
}

/// Makes `target` the binary that `command` starts. Idempotent.
///
/// Half done: the record is there and the command is still the old one, or a `.tmp` link lies beside it; again does the rest.
///
/// # Errors
/// [`ReleaseError::Switch`] when nothing lies at the command's path or it cannot be replaced.
pub fn switch(command: &Path, target: &Path, instance_dir: &Path, upgrade: &UpgradeId) -> Result<(), ReleaseError> {
    if fs::read_link(command).is_ok_and(|link| link == target) {
        return Ok(());
    }
    if before(instance_dir, upgrade)?.is_none() {
        let was = look(command)?;
        let kept =
            Before { upgrade: upgrade.clone(), binary: digest_of(command)?, was: kept_name(was, command, upgrade) };
        keep_before(instance_dir, &kept)?;
    }
    if let Some(Before { was: Was::File(aside), .. }) = before(instance_dir, upgrade)?
        && !aside.exists()
    {
        keep(command, &aside)?;
    }
    point(command, target)
}

/// Makes what was there before the upgrade the binary that `command` starts. Idempotent; nothing is done where the upgrade
/// never switched it. The file that was kept aside stays.
///
/// # Errors
/// [`ReleaseError::Switch`] when what was kept is gone or was changed since.
pub fn switch_back(command: &Path, instance_dir: &Path, upgrade: &UpgradeId) -> Result<Digest, ReleaseError> {
    let refuse = |why: String| ReleaseError::Switch { command: command.to_owned(), why };
    let Some(before) = before(instance_dir, upgrade)? else { return Ok(digest_of(command)?) };
    let source = match &before.was {
        Was::Link(link) => command.parent().unwrap_or(Path::new("/")).join(link),
        Was::File(aside) if aside.exists() => aside.clone(),
        // Switched never got as far as keeping it aside, or it was never touched: it still lies in its place.
        Was::File(_) | Was::DropIn { .. } => command.to_owned(),
    };
    let found = digest_of(&source).map_err(|error| refuse(format!("what it was before is gone: {error}")))?;
    if found != before.binary {
        return Err(refuse(format!(
            "{} was changed since: its SHA-256 is {found}, before the upgrade it was {}",
            source.display(),
            before.binary
        )));
    }
    match &before.was {
        Was::Link(link) => {
            if !fs::read_link(command).is_ok_and(|now| now == *link) {
                point(command, link)?;
            }
        }
        Was::File(aside) => {
            if fs::symlink_metadata(command).is_ok_and(|data| data.is_symlink()) {
                put_back(aside, command)?;
            }
        }
        Was::DropIn { .. } => {}
    }
    let now = digest_of(command)?;
    if now != before.binary {
        return Err(refuse(format!("its SHA-256 is {now} now, before the upgrade it was {}", before.binary)));
    }
    Ok(now)
}

fn look(command: &Path) -> Result<Was, ReleaseError> {
    let refuse = |why: String| ReleaseError::Switch { command: command.to_owned(), why };
    let data =
        fs::symlink_metadata(command).map_err(|error| refuse(format!("nothing that starts lies there: {error}")))?;
    if data.is_symlink() {
        Ok(Was::Link(fs::read_link(command).map_err(|error| refuse(error.to_string()))?))
    } else if data.is_file() {
        Ok(Was::File(command.to_owned()))
    } else {
        Err(refuse("it is neither a file nor a link".to_owned()))
    }
}

fn kept_name(was: Was, command: &Path, upgrade: &UpgradeId) -> Was {
    match was {
        Was::Link(_) | Was::DropIn { .. } => was,
        Was::File(_) => {
            let mut name = command.file_name().unwrap_or_default().to_owned();
            name.push(format!(".before-{upgrade}"));
            Was::File(command.with_file_name(name))
        }
    }
}

/// Gives the file a second name; where the file system has no hard links, copies it.
fn keep(command: &Path, aside: &Path) -> Result<(), ReleaseError> {
    match fs::hard_link(command, aside) {
        Ok(()) => {}
        Err(error) if matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::PermissionDenied) => {
            copy(command, aside)?;
        }
        Err(error) => return Err(io_error("keep aside", command)(error).into()),
    }
    Ok(files::sync_folder_of(aside)?)
}

fn put_back(aside: &Path, command: &Path) -> Result<(), ReleaseError> {
    let temporary = temporary_beside(command);
    files::remove(&temporary)?;
    keep(aside, &temporary)?;
    fs::rename(&temporary, command).map_err(io_error("rename into place", command))?;
    Ok(files::sync_folder_of(command)?)
}

fn copy(from: &Path, to: &Path) -> Result<(), ReleaseError> {
    let temporary = temporary_beside(to);
    fs::copy(from, &temporary).map_err(io_error("copy to", &temporary))?;
    fs::File::open(&temporary).and_then(|file| file.sync_all()).map_err(io_error("sync", &temporary))?;
    fs::rename(&temporary, to).map_err(io_error("rename into place", to))?;
    Ok(())
}

/// Makes `command` a link to `target`, in one rename.
fn point(command: &Path, target: &Path) -> Result<(), ReleaseError> {
    let temporary = temporary_beside(command);
    files::remove(&temporary)?;
    std::os::unix::fs::symlink(target, &temporary).map_err(io_error("link", &temporary))?;
    fs::rename(&temporary, command).map_err(io_error("rename into place", command))?;
    Ok(files::sync_folder_of(command)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upgrade() -> UpgradeId {
        UpgradeId::new("u1").unwrap()
    }

    #[test]
    fn a_link_and_a_plain_file_are_both_switched_and_switched_back_to_the_letter() {
        for plain in [true, false] {
            let dir = tempfile::tempdir().unwrap();
            let (old, new, command) = (dir.path().join("old"), dir.path().join("new"), dir.path().join("numary"));
            fs::write(&old, "old").unwrap();
            fs::write(&new, "new").unwrap();
            if plain {
                fs::write(&command, "old").unwrap()
            } else {
                std::os::unix::fs::symlink("old", &command).unwrap()
            }
            let own = dir.path().join("instance");
            for _ in 0..2 {
                switch(&command, &new, &own, &upgrade()).unwrap();
                assert_eq!(digest_of(&command).unwrap(), Digest::of(b"new"));
            }
            for _ in 0..2 {
                assert_eq!(switch_back(&command, &own, &upgrade()).unwrap(), Digest::of(b"old"));
            }
            assert_eq!(fs::symlink_metadata(&command).unwrap().is_symlink(), !plain);
            switch(&command, &new, &own, &upgrade()).unwrap();
            assert_eq!(digest_of(&command).unwrap(), Digest::of(b"new"), "forward again");
        }
    }

    #[test]
    fn a_switch_that_only_wrote_its_record_is_undone_by_doing_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let command = dir.path().join("numary");
        fs::write(&command, "old").unwrap();
        let own = dir.path().join("instance");
        files::folder(&own).unwrap();
        let was = kept_name(Was::File(command.clone()), &command, &upgrade());
        let kept = Before { upgrade: upgrade(), was, binary: Digest::of(b"old") };
        files::write_json(&record(&own, &upgrade()), &kept).unwrap();
        assert_eq!(switch_back(&command, &own, &upgrade()).unwrap(), Digest::of(b"old"));
        assert!(!fs::symlink_metadata(&command).unwrap().is_symlink());
    }

    #[test]
    fn an_old_binary_that_was_replaced_meanwhile_is_not_switched_back_to() {
        let dir = tempfile::tempdir().unwrap();
        let (new, command) = (dir.path().join("new"), dir.path().join("numary"));
        fs::write(&new, "new").unwrap();
        fs::write(&command, "old").unwrap();
        let own = dir.path().join("instance");
        switch(&command, &new, &own, &upgrade()).unwrap();
        fs::write(dir.path().join("numary.before-u1"), "other").unwrap();
        assert!(switch_back(&command, &own, &upgrade()).unwrap_err().to_string().contains("was changed since"));
    }
}
