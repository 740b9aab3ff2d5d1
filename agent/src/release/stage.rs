//! Staging: having a release unpacked beside the present one, verified, and asked about itself.

use super::ReleaseError;
use super::archive::{self, sha256};
use crate::files::{self, folder, io_error, open_folder};
use crate::ledger::cli::{Cli, harmless_environment};
use crate::settings::Settings;
use cutover_vocabulary::release::{Release, StagedRelease};
use cutover_vocabulary::{Digest, Version};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// Where a version's binary lies once it is staged.
pub fn binary(settings: &Settings, version: &Version) -> PathBuf {
    settings.unpacked().join(version.to_string()).join("numary")
}

fn manifest(settings: &Settings, version: &Version) -> PathBuf {
    settings.unpacked().join(version.to_string()).join("release.json")
}

/// Stages a release. Idempotent: one that is there with the right digests is only looked at. One at a time: the caller sees to
/// that, for two would write one file.
///
/// Half done: `numary.tmp` without a manifest, which the next run overwrites; `numary` appears complete or not at all.
///
/// # Errors
/// [`ReleaseError`]; the archive is refused before anything of it is unpacked.
pub async fn stage(settings: &Settings, wanted: &Release) -> Result<StagedRelease, ReleaseError> {
    let version = &wanted.version;
    if let Some(staged) = files::read_json::<StagedRelease>(&manifest(settings, version))?
        && staged.release == *wanted
        && check(settings, &staged).is_ok()
    {
        return Ok(staged);
    }
    let settings = settings.clone();
    let (to, wanted) = (binary(&settings, version), wanted.clone());
    let unpacked =
        tokio::task::spawn_blocking(move || unpack(&settings, &wanted, &to).map(|digest| (settings, wanted, digest)));
    let (settings, wanted, digest) = unpacked.await.map_err(|error| ReleaseError::NotStaged {
        version: version.clone(),
        why: format!("unpacking it broke off: {error}"),
    })??;
    let path = binary(&settings, version);
    let (says, storage_commands) = ask(&path, &settings.scratch(), version).await?;
    if says != *version {
        return Err(ReleaseError::OtherVersion { version: version.clone(), says });
    }
    let staged = StagedRelease { release: wanted, binary: digest, storage_commands };
    files::write_json(&manifest(&settings, version), &staged)?;
    Ok(staged)
}

fn unpack(settings: &Settings, wanted: &Release, to: &Path) -> Result<Digest, ReleaseError> {
    let mut archive = archive::verify(&settings.releases, &wanted.version)?;
    if archive.release() != wanted {
        return Err(ReleaseError::Replaced {
            version: wanted.version.clone(),
            found: archive.release().archive,
            planned: wanted.archive,
        });
    }
    open_folder(&settings.unpacked())?;
    if let Some(parent) = to.parent() {
        open_folder(parent)?;
    }
    let temporary = to.with_extension("tmp");
    let digest = archive.unpack(&temporary, settings.releases.max_binary_bytes)?;
    // A running service may have the old file open as its binary: a rename leaves that file alone.
    fs::rename(&temporary, to).map_err(io_error("rename into place", to))?;
    files::sync_folder_of(to)?;
    Ok(digest)
}

/// That a staged release still is what the order names: nobody replaced its binary since.
///
/// # Errors
/// [`ReleaseError::NotStaged`].
pub fn check(settings: &Settings, staged: &StagedRelease) -> Result<PathBuf, ReleaseError> {
    let version = &staged.release.version;
    let path = binary(settings, version);
    let not = |why: String| ReleaseError::NotStaged { version: version.clone(), why };
    let found = digest_of(&path).map_err(|error| not(format!("{error}; order it to be staged again")))?;
    if found != staged.binary {
        return Err(not(format!("{} has SHA-256 {found}, ordered was {}", path.display(), staged.binary)));
    }
    Ok(path)
}

/// SHA-256 of a file.
pub fn digest_of(path: &Path) -> Result<Digest, files::FileError> {
    File::open(path).and_then(|mut file| sha256(&mut file)).map_err(io_error("read", path))
}

/// Asks a binary for its version and whether it has storage commands, in a scratch folder: every command of the ledger, even
/// `version`, creates its storage directory first.
///
/// # Errors
/// [`ReleaseError::Mute`]; `version` is only named in errors.
pub async fn ask(path: &Path, scratch: &Path, version: &Version) -> Result<(Version, bool), ReleaseError> {
    let (cli, place) = asking(path, scratch)?;
    let mute = |source| ReleaseError::Mute { version: version.clone(), source };
    let says = cli.version().await.map_err(mute)?;
    let storage_commands = cli.has_storage_commands().await.map_err(mute)?;
    drop(place);
    Ok((says, storage_commands))
}

/// Asks a binary for its version alone; none when it does not answer with one.
pub async fn version_of(path: &Path, scratch: &Path) -> Option<Version> {
    let (cli, place) = asking(path, scratch).ok()?;
    let version = cli.version().await.ok();
    drop(place);
    version
}

fn asking(path: &Path, scratch: &Path) -> Result<(Cli, tempfile::TempDir), ReleaseError> {
    folder(scratch)?;
    let place =
        tempfile::Builder::new().prefix("ask-").tempdir_in(scratch).map_err(io_error("make a folder in", scratch))?;
    let cli = Cli::new(path.to_owned(), harmless_environment(place.path()), place.path().to_owned());
    Ok((cli, place))
}
