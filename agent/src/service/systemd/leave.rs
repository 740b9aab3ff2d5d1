//! A unit that Cutover leaves: what of ours is there, what it would start without that, and taking it away.

use super::bus::Bus;
use super::closed;
use super::file;
use super::guard;
use super::release;
use crate::files;
use crate::release::stage::digest_of;
use crate::service::allowed;
use cutover_vocabulary::Digest;
use std::path::PathBuf;

/// What a release's drop-in is called that stays. It comes before ours by name, so that ours wins if there is one again.
pub const KEPT: &str = "zzz-administrator-release.conf";

/// A unit on its way out.
#[derive(Debug, Clone)]
pub struct Leaving {
    unit: String,
    /// The instance's folder in the agent's state directory.
    dir: PathBuf,
    /// Whether the release's drop-in stays, as the administrator's.
    keep_release: bool,
}

impl Leaving {
    /// Of a unit whose files lie in `dir`.
    pub fn new(unit: &str, dir: PathBuf, keep_release: bool) -> Self {
        Self { unit: unit.to_owned(), dir, keep_release }
    }

    /// Every file of ours that is there for it now.
    pub fn files(&self) -> Vec<PathBuf> {
        let all = [guard::path(&self.unit), release::path(&self.unit), closed::path(&self.unit), self.dir.clone()];
        all.into_iter().filter(|path| path.exists()).collect()
    }

    /// Where the release's drop-in is kept, if it is.
    pub fn kept(&self) -> Option<PathBuf> {
        let there = self.keep_release && release::path(&self.unit).exists();
        there.then(|| guard::folder(&self.unit).join(KEPT))
    }

    /// Whether a closed copy of it runs.
    ///
    /// # Errors
    /// Why systemd does not tell.
    pub async fn closed_runs(&self) -> Result<bool, String> {
        if !closed::path(&self.unit).exists() {
            return Ok(false);
        }
        let failed = |error: zbus::Error| format!("systemd does not tell whether a closed copy runs: {error}");
        let (general, _) = Bus.unit(&closed::name(&self.unit)).await.map_err(failed)?;
        let state = general.active_state().await.map_err(failed)?;
        Ok(!matches!(state.as_str(), "inactive" | "failed"))
    }

    /// Whether the unit starts the same binary afterwards as it may start now; none where Cutover never named one, and where it
    /// starts none at all.
    ///
    /// # Errors
    /// Why that cannot be told.
    pub async fn starts(&self) -> Result<Option<Starts>, String> {
        let words = |error: files::FileError| error.to_string();
        let Some(allowed) = allowed::read(&self.dir).map_err(words)?.map(|allowed| allowed.binary) else {
            return Ok(None);
        };
        let failed = |error: zbus::Error| format!("systemd does not tell what it starts: {error}");
        let (general, service) = Bus.unit(&self.unit).await.map_err(failed)?;
        // Its file is gone: it starts nothing, with ours or without.
        if general.load_state().await.map_err(failed)? == "not-found" {
            return Ok(None);
        }
        // What is taken away is followed by a reload, which would have in force what nobody looked at.
        if general.need_daemon_reload().await.map_err(failed)? {
            return Err(
                "its files were changed since systemd read them; run `systemctl daemon-reload`, then again".to_owned()
            );
        }
        let commands = service.exec_start_ex().await.map_err(failed)?;
        let Some((present, ..)) = commands.first() else { return Err("it has no command".to_owned()) };
        let present = PathBuf::from(present);
        let ours = release::path(&self.unit);
        let then = if self.keep_release || !ours.exists() {
            present.clone()
        } else {
            let fragment = general.fragment_path().await.map_err(failed)?;
            let drop_ins = general.drop_in_paths().await.map_err(failed)?;
            let files = std::iter::once(fragment).chain(drop_ins).map(PathBuf::from).filter(|file| *file != ours);
            let mut texts = Vec::new();
            for file in files {
                let text = std::fs::read_to_string(&file);
                texts.push(text.map_err(|error| format!("cannot read {}: {error}", file.display()))?);
            }
            command(&texts)?
        };
        let found = digest_of(&then).map_err(words)?;
        Ok(Some(Starts { present, then, found, allowed }))
    }

    /// Takes everything of ours away and has systemd read its files. Idempotent; half done, again does the rest. The unit itself
    /// is neither stopped nor started.
    ///
    /// # Errors
    /// What cannot be removed, or that systemd does not read its files again.
    pub async fn take(&self) -> Result<(), String> {
        let words = |error: files::FileError| error.to_string();
        let ours = release::path(&self.unit);
        if let Some(kept) = self.kept() {
            let text = std::fs::read_to_string(&ours);
            let text = text.map_err(|error| format!("cannot read {}: {error}", ours.display()))?;
            closed::write(&kept, &as_administrators(&text)).map_err(words)?;
        }
        for path in [&ours, &guard::path(&self.unit), &closed::path(&self.unit)] {
            files::remove(path).map_err(words)?;
        }
        let folder = guard::folder(&self.unit);
        // Somebody else's drop-ins keep it.
        if std::fs::read_dir(&folder).is_ok_and(|mut entries| entries.next().is_none()) {
            std::fs::remove_dir(&folder).map_err(|error| format!("cannot remove {}: {error}", folder.display()))?;
        }
        closed::reload().await?;
        if self.dir.exists() {
            std::fs::remove_dir_all(&self.dir)
                .map_err(|error| format!("cannot remove {}: {error}", self.dir.display()))?;
        }
        Ok(())
    }
}

/// Which binary starts, before and after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Starts {
    /// What it starts now.
    pub present: PathBuf,
    /// What it starts once our files are gone.
    pub then: PathBuf,
    /// What lies there.
    pub found: Digest,
    /// What its guard lets start.
    pub allowed: Digest,
}

/// The drop-in's text with another word on whose it is.
fn as_administrators(text: &str) -> String {
    let settings = text.lines().filter(|line| !line.starts_with('#'));
    let first = "# The administrator's: left here by `cutover-agent unadopt --keep-release`. Cutover does not look at it any more.";
    std::iter::once(first).chain(settings).map(|line| format!("{line}\n")).collect()
}

/// The program of the last `ExecStart=` of a unit's files, in the order in which systemd reads them: an empty one takes those
/// before it away.
fn command(texts: &[String]) -> Result<PathBuf, String> {
    let last = texts.iter().flat_map(|text| file::starts(text)).next_back().filter(|value| !value.is_empty());
    let line = last.ok_or("without Cutover's drop-in it starts nothing: its own ExecStart= is missing")?;
    let word = file::program(&line);
    if word.starts_with('/') && !word.contains(['%', '\\', '$', '\'']) {
        Ok(PathBuf::from(word))
    } else {
        Err(format!(
            "what it starts without Cutover's drop-in cannot be told from {word:?}; write that path out in the unit"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn of(texts: &[&str]) -> Result<PathBuf, String> {
        command(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn what_a_unit_starts_is_told_from_its_files_and_what_cannot_be_told_is_refused() {
        let unit = "[Unit]\nDescription=x\n[Service]\nUser=ledger\nExecStart=/usr/bin/numary server start\nExecStartPre=/bin/x\n";
        assert_eq!(of(&[unit]).unwrap(), Path::new("/usr/bin/numary"));
        let edited = "[Service]\nExecStart=\nExecStart = -:\"/opt/my numary\" server \\\n  start\n";
        assert_eq!(of(&[unit, edited]).unwrap(), Path::new("/opt/my numary"));
        assert!(of(&["[Service]\nExecStart=/opt/%i/numary server start\n"]).unwrap_err().contains("cannot be told"));
        assert!(of(&[unit, "[Service]\nExecStart=\n"]).is_err());
        assert!(of(&["[Unit]\nExecStart=/usr/bin/numary\n"]).is_err());
    }

    #[test]
    fn a_drop_in_that_stays_says_whose_it_is() {
        let ours = "# By Cutover: the release that this unit starts.\n[Service]\nExecStart=\nExecStart=\"/opt/r/numary\" \"server\"\n";
        let theirs = as_administrators(ours);
        assert!(theirs.starts_with("# The administrator's") && !theirs.contains("By Cutover"), "{theirs}");
        assert!(theirs.ends_with("[Service]\nExecStart=\nExecStart=\"/opt/r/numary\" \"server\"\n"), "{theirs}");
    }
}
