//! Which instance needs what lies at a release's path: two deployments may share a host, and one path is one version's.

use super::switch::{self, Was};
use crate::files::FileError;
use crate::service::allowed;
use crate::settings::Settings;
use cutover_vocabulary::Digest;
use std::fs;
use std::path::{Path, PathBuf};

/// An instance that needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needed {
    /// Its name.
    pub instance: String,
    /// SHA-256 of what must lie there for it.
    pub binary: Digest,
    /// The record by which it goes back there; none where it starts from there now.
    pub back: Option<PathBuf>,
}

/// An instance of this agent that something else at `path` would be in the way of; none where each may have `other` there.
/// `lies` is what lies there now.
///
/// # Errors
/// What is noted of an instance cannot be read.
pub fn needed(settings: &Settings, path: &Path, lies: Digest, other: Digest) -> Result<Option<Needed>, FileError> {
    // Also of one that the settings do not name any more: its unit may start all the same.
    for folder in fs::read_dir(settings.instances_folder()).into_iter().flatten().flatten() {
        let (dir, instance) = (folder.path(), folder.file_name().to_string_lossy().into_owned());
        let allowed = allowed::read(&dir)?;
        if let Some(allowed) = &allowed
            && leads(&allowed.command, path)
            && allowed.binary != other
        {
            return Ok(Some(Needed { instance, binary: allowed.binary, back: None }));
        }
        let beside = allowed.as_ref().and_then(|allowed| allowed.command.parent()).unwrap_or(Path::new("/"));
        for (record, before) in switch::all_before(&dir)? {
            let goes_back = match &before.was {
                Was::Link(link) => leads(&beside.join(link), path),
                Was::DropIn { text: Some(text), .. } => text.contains(&*path.to_string_lossy()),
                // The unit's own path, which no record names.
                Was::DropIn { text: None, .. } => before.binary == lies,
                // Kept aside under a name of its own.
                Was::File(_) => false,
            };
            if goes_back && before.binary != other {
                return Ok(Some(Needed { instance, binary: before.binary, back: Some(record) }));
            }
        }
    }
    Ok(None)
}

/// Whether what is started at `command` lies at `path`.
fn leads(command: &Path, path: &Path) -> bool {
    command == path || matches!((command.canonicalize(), path.canonicalize()), (Ok(one), Ok(other)) if one == other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files;
    use crate::release::switch::{Before, keep_before};
    use cutover_vocabulary::UpgradeId;

    #[test]
    fn who_starts_from_a_path_or_goes_back_there_needs_what_lies_there_and_nobody_else_does() {
        let dir = tempfile::tempdir().unwrap();
        let text = format!("name = \"a\"\ncoordinator = \"unix:/c\"\nstate = \"{}\"\n", dir.path().display());
        let settings = Settings::parse(&text, Path::new("agent.toml")).unwrap();
        let (path, command) = (dir.path().join("numary"), dir.path().join("eu"));
        fs::write(&path, "old").unwrap();
        std::os::unix::fs::symlink(&path, &command).unwrap();
        let (old, new) = (Digest::of(b"old"), Digest::of(b"new"));
        let own = settings.instances_folder().join("eu");
        let now = |other| needed(&settings, &path, old, other).unwrap();
        assert_eq!(now(new), None, "there is no instance");
        allowed::allow(&own, &command).unwrap();
        assert_eq!(now(new), Some(Needed { instance: "eu".to_owned(), binary: old, back: None }));
        assert_eq!(now(old), None, "it is what it starts");

        // By now it starts something else.
        files::remove(&command).unwrap();
        fs::write(&command, "later").unwrap();
        allowed::allow(&own, &command).unwrap();
        assert_eq!(now(new), None);
        let (upgrade, drop_in) = (UpgradeId::new("u1").unwrap(), PathBuf::from("/etc/x.conf"));
        let ours = format!("[Service]\nExecStart=\nExecStart=\"{}\" \"server\"\n", path.display());
        for (was, needs) in [
            (Was::Link("numary".into()), true),
            (Was::Link("other".into()), false),
            (Was::File(dir.path().join("eu.before-u1")), false),
            (Was::DropIn { path: drop_in.clone(), text: Some(ours) }, true),
            (Was::DropIn { path: drop_in.clone(), text: Some("[Service]\n".to_owned()) }, false),
            (Was::DropIn { path: drop_in, text: None }, true),
        ] {
            let record = own.join("before-u1.json");
            files::remove(&record).unwrap();
            keep_before(&own, &Before { upgrade: upgrade.clone(), was: was.clone(), binary: old }).unwrap();
            let wanted = needs.then(|| Needed { instance: "eu".to_owned(), binary: old, back: Some(record) });
            assert_eq!(now(new), wanted, "{was:?}");
            assert_eq!(now(old), None, "{was:?}");
        }
    }
}
