//! Staging: having a release unpacked beside the present one, verified, and asked about itself.

use super::ReleaseError;
use super::archive::{self, sha256};
use super::asking::{Asking, is_script};
use super::needed::needed;
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
/// Half done: `numary.tmp` without a manifest, which the next run overwrites; `numary` appears complete and asked, or not at all.
///
/// # Errors
/// [`ReleaseError`]; the archive is refused before anything of it is unpacked, and a binary that is not what it must be, or that is
/// in the way of another instance, before what lies there is replaced.
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
    let (all, wanted, to) = (settings.clone(), wanted.clone(), binary(settings, version));
    let unpacked = tokio::task::spawn_blocking(move || unpack(&all, &wanted, &to));
    let unpacked = unpacked.await.map_err(|error| ReleaseError::NotStaged {
        version: version.clone(),
        why: format!("unpacking it broke off: {error}"),
    })??;
    let lies = unpacked.temporary.as_deref().unwrap_or(&unpacked.to);
    let placed = match ask(settings, lies, account, version).await {
        Ok((says, _)) if says != *version => Err(ReleaseError::OtherVersion { version: version.clone(), says }),
        Ok((_, storage_commands)) => place(settings, version, &unpacked).map(|()| storage_commands),
        Err(mute) => Err(mute),
    };
    let storage_commands = match placed {
        Ok(storage_commands) => storage_commands,
        Err(error) => {
            if let Some(temporary) = &unpacked.temporary {
                let _ = files::remove(temporary);
            }
            return Err(error);
        }
    };
    let staged = StagedRelease { release: unpacked.release, binary: unpacked.digest, storage_commands };
    files::write_json(&manifest(settings, version), &staged)?;
    Ok(staged)
}

/// A binary out of its archive.
struct Unpacked {
    release: Release,
    digest: Digest,
    /// Where it belongs.
    to: PathBuf,
    /// What lies there now.
    instead_of: Option<Digest>,
    /// Where it lies until it was asked; none where it lies in its place already.
    temporary: Option<PathBuf>,
}

fn unpack(settings: &Settings, wanted: &Release, to: &Path) -> Result<Unpacked, ReleaseError> {
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
    let instead_of = digest_of(to).ok();
    let temporary = if instead_of == Some(digest) {
        files::remove(&temporary)?;
        None
    } else {
        Some(temporary)
    };
    Ok(Unpacked { release: wanted.clone(), digest, to: to.to_owned(), instead_of, temporary })
}

/// Puts it in its place; refused where an instance needs what lies there.
fn place(settings: &Settings, version: &Version, unpacked: &Unpacked) -> Result<(), ReleaseError> {
    let Unpacked { digest, to, temporary, instead_of, .. } = unpacked;
    let Some(temporary) = temporary else { return Ok(()) };
    if let Some(lies) = *instead_of
        && let Some(needed) = needed(settings, to, lies, *digest)?
    {
        let (version, path, needed) = (version.clone(), to.clone(), Box::new(needed));
        return Err(ReleaseError::Needed { version, path, found: *digest, needed });
    }
    // A running service may have the old file open as its binary: a rename leaves that file alone.
    fs::rename(temporary, to).map_err(io_error("rename into place", to))?;
    files::sync_folder_of(to)?;
    Ok(())
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

/// Asks a binary for its version alone; none when it does not answer with one, and of a script, which is not run.
pub async fn version_of(settings: &Settings, path: &Path, account: Option<Account>) -> Option<Version> {
    if is_script(path) {
        return None;
    }
    let asking = Asking::new(settings, account).ok()?;
    asking.cli(path).version().await.ok()
}
