//! Staging: having a release unpacked beside the present one, verified, and asked about itself.

use super::ReleaseError;
use super::archive::{self, sha256};
use super::asking::Asking;
use crate::files::{self, io_error, open_folder};
use crate::settings::{Account, Settings};
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

/// Stages a release, and asks it as `account` about itself. Idempotent: one that is there with the right digests is only looked
/// at. One at a time: the caller sees to that, for two would write one file.
///
/// Half done: `numary.tmp` without a manifest, which the next run overwrites; `numary` appears complete or not at all.
///
/// # Errors
/// [`ReleaseError`]; the archive is refused before anything of it is unpacked.
pub async fn stage(
    settings: &Settings,
    wanted: &Release,
    account: Option<Account>,
) -> Result<StagedRelease, ReleaseError> {
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
    let (says, storage_commands) = ask(&settings, &path, account, version).await?;
    if says != *version {
        return Err(ReleaseError::OtherVersion { version: version.clone(), says });
    }
    let staged = StagedRelease { release: wanted, binary: digest, storage_commands };
    files::write_json(&manifest(&settings, version), &staged)?;
    Ok(staged)
}

fn unpack(settings: &Settings, wanted: &Release, to: &Path) -> Result<Digest, ReleaseError> {
    let mut archive = archive::verify(&settings.release_folder(), &settings.releases, &wanted.version)?;
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

/// Asks a binary for its version and whether it has storage commands.
///
/// # Errors
/// [`ReleaseError::Mute`]; `version` is only named in errors.
pub async fn ask(
    settings: &Settings,
    path: &Path,
    account: Option<Account>,
    version: &Version,
) -> Result<(Version, bool), ReleaseError> {
    let asking = Asking::new(settings, account)?;
    let cli = asking.cli(path);
    let mute = |source| ReleaseError::Mute { version: version.clone(), source };
    Ok((cli.version().await.map_err(mute)?, cli.has_storage_commands().await.map_err(mute)?))
}

/// Asks a binary for its version alone; none when it does not answer with one.
pub async fn version_of(settings: &Settings, path: &Path, account: Option<Account>) -> Option<Version> {
    let asking = Asking::new(settings, account).ok()?;
    asking.cli(path).version().await.ok()
}
