//! Downloads from a mirror of the ledger's release pages, in a worker process: first the checksum file, then the archive that
//! it names, into a folder of the agent's that is laid out as the mirror is. Whoever uses a release verifies it there once more,
//! as one that a person put into a folder.
//!
//! The checksum file is asked for anew each time, so that a release that was withdrawn or replaced is noticed; an archive that
//! is here with the right digest is not.

use super::archive::{named, sha256};
use crate::files::{self, FileError, folder};
use crate::settings::releases::{is_loopback, names};
use crate::settings::{Place, Settings};
use cutover_vocabulary::survey::ReleaseProblem;
use cutover_vocabulary::{Digest, Version};
use reqwest::{Client, Response, Url};
use rustix::fs::{FlockOperation, flock};
use sha2::Digest as _;
use std::error::Error;
use std::fs::{File, remove_file};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::Duration;
use tempfile::{Builder, NamedTempFile};

/// How long a mirror may take to take a connection.
const CONNECT: Duration = Duration::from_secs(10);

/// How long it may be silent while it answers.
const SILENCE: Duration = Duration::from_secs(30);

/// The ledger's have some 1,500 bytes.
const CHECKSUMS_BYTES: u64 = 1 << 20;

/// How the file begins that a download writes to.
const UNDER_WAY: &str = ".download-";

/// Has a release's files in the folder of downloads; nothing to do where releases lie in a folder. Half done: a file with a
/// name of its own, which is never used, and which the next download of any release removes. Again: what is there and right stays.
///
/// # Errors
/// [`ReleaseProblem`], with the address, what came of it, and what to do.
pub async fn download(settings: &Settings, version: &Version) -> Result<(), ReleaseProblem> {
    let Place::Mirror(mirror) = &settings.releases.place else { return Ok(()) };
    let no_checksum = |why: String| ReleaseProblem::NoChecksum { version: version.clone(), why };
    let missing = |place: String| ReleaseProblem::Missing { version: version.clone(), place };
    let client = client(mirror).map_err(missing)?;
    let (name, text) = checksums(&client, settings, mirror, version).await.map_err(missing)?;
    let archives: Vec<String> = names(&settings.releases.archives, version).collect();
    let wanted = archives.iter().find_map(|path| Some((path, named(&text, path.rsplit('/').next()?)?)));
    let Some((archive, digest)) = wanted else {
        return Err(no_checksum(format!("{mirror}/{name} has no line for {}", archives.join(" or "))));
    };
    let to = settings.release_folder();
    let here = |error: &dyn std::fmt::Display| ReleaseProblem::BadArchive {
        version: version.clone(),
        why: format!("it cannot be kept in {}: {error}", to.display()),
    };
    folder(&to).map_err(|error| here(&error))?;
    sweep(&to).map_err(|error| here(&error))?;
    let path = to.join(archive);
    if File::open(&path).and_then(|mut file| sha256(&mut file)).ok() != Some(digest) {
        let above = path.parent().unwrap_or(&to);
        folder(above).map_err(|error| here(&error))?;
        let url = format!("{mirror}/{archive}");
        let answer = get(&client, &url).await.map_err(|failure| missing(failure.0))?;
        let mut file = begin(&to).map_err(|error| here(&error))?;
        let found = stream(answer, &url, settings.releases.max_binary_bytes, &mut file).await;
        let found = found.map_err(|why| ReleaseProblem::BadArchive { version: version.clone(), why })?;
        if found != digest {
            return Err(ReleaseProblem::Corrupt { version: version.clone(), found, named: digest });
        }
        file.persist(&path).map_err(|error| here(&error))?;
    }
    keep(&to.join(&name), &text).map_err(|error| here(&error))?;
    // What the mirror had under its other names, which would be found first.
    let others = archives.iter().filter(|other| *other != archive).cloned();
    let mut others = others.chain(names(&settings.releases.checksums, version).filter(|other| *other != name));
    others.try_for_each(|other| files::remove(&to.join(other))).map_err(|error| here(&error))
}

/// Removes what downloads left that were killed. A living one holds the lock of its file.
fn sweep(all: &Path) -> io::Result<()> {
    let _alone = alone(all)?;
    for entry in all.read_dir()? {
        let entry = entry?;
        if !entry.file_name().as_bytes().starts_with(UNDER_WAY.as_bytes()) {
            continue;
        }
        let path = entry.path();
        let removed = File::options().write(true).open(&path).and_then(|file| {
            let living = flock(&file, FlockOperation::NonBlockingLockExclusive).is_err();
            if living { Ok(()) } else { remove_file(&path) }
        });
        match removed {
            // Or it came to its end meanwhile.
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

/// A file to download to, locked. Beside the folders of releases, so that whichever release is downloaded next finds it.
fn begin(all: &Path) -> io::Result<NamedTempFile> {
    let _alone = alone(all)?;
    let file = Builder::new().prefix(UNDER_WAY).tempfile_in(all)?;
    flock(&file, FlockOperation::LockExclusive)?;
    Ok(file)
}

/// Held while a file is made and not locked yet, and while somebody looks which ones are not: for moments.
fn alone(all: &Path) -> io::Result<File> {
    let folder = File::open(all)?;
    flock(&folder, FlockOperation::LockExclusive)?;
    Ok(folder)
}

fn keep(path: &Path, text: &str) -> Result<(), FileError> {
    if let Some(above) = path.parent() {
        folder(above)?;
    }
    files::write(path, text.as_bytes())
}

fn client(mirror: &str) -> Result<Client, String> {
    // Fails where somebody chose one before, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let loopback = Url::parse(mirror).is_ok_and(|url| is_loopback(&url));
    let builder = Client::builder()
        .user_agent(concat!("cutover-agent/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT)
        .read_timeout(SILENCE)
        // Whoever is asked over https:// may not lead elsewhere.
        .https_only(mirror.starts_with("https://"));
    let builder = if loopback { builder.no_proxy() } else { builder };
    builder.build().map_err(|error| format!("{mirror}: {}", in_words(&error)))
}

/// Why a file did not come, and whether the mirror said that it has none.
struct Failure(String, bool);

/// The first checksum file that is there: its name below the mirror, and what it says.
async fn checksums(
    client: &Client,
    settings: &Settings,
    mirror: &str,
    version: &Version,
) -> Result<(String, String), String> {
    let mut failures = Vec::new();
    for name in names(&settings.releases.checksums, version) {
        let url = format!("{mirror}/{name}");
        match get(client, &url).await {
            Ok(answer) => {
                let mut text = Vec::new();
                stream(answer, &url, CHECKSUMS_BYTES, &mut text).await?;
                return Ok((name, String::from_utf8_lossy(&text).into_owned()));
            }
            Err(Failure(why, not_there)) => {
                failures.push(why);
                if !not_there {
                    break;
                }
            }
        }
    }
    Err(failures.join("; "))
}

async fn get(client: &Client, url: &str) -> Result<Response, Failure> {
    let unreached = |error: reqwest::Error| {
        let why = in_words(&error.without_url());
        Failure(
            format!(
                "{url} ({why}; see whether this host reaches it, or name a proxy with HTTPS_PROXY in the environment of \
                 cutover-agent.service)"
            ),
            false,
        )
    };
    let answer = client.get(url).send().await.map_err(unreached)?;
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    // Some stores of files answer 403 for what they do not have.
    let not_there = matches!(status.as_u16(), 403 | 404 | 410);
    let next = if not_there {
        "correct `releases` in the agent's settings, or choose a version that is there"
    } else {
        "try again"
    };
    Err(Failure(format!("{url} (it answers {status}; {next})"), not_there))
}

/// Writes a body as it comes, and gives its digest.
async fn stream(
    mut answer: Response,
    url: &str,
    max_bytes: u64,
    to: &mut impl std::io::Write,
) -> Result<Digest, String> {
    let mut hasher = sha2::Sha256::new();
    let mut left = max_bytes;
    loop {
        let chunk = answer.chunk().await;
        let chunk =
            chunk.map_err(|error| format!("{url} breaks off ({}); try again", in_words(&error.without_url())))?;
        let Some(chunk) = chunk else { break };
        left = left.checked_sub(chunk.len() as u64).ok_or_else(|| {
            format!("{url} has more than {max_bytes} bytes; see `max_binary_bytes` in the agent's settings")
        })?;
        hasher.update(&chunk);
        to.write_all(&chunk).map_err(|error| format!("{url} cannot be kept: {error}"))?;
    }
    Ok(Digest::from_bytes(hasher.finalize().into()))
}

/// An error with its causes: reqwest's own words are "error sending request".
fn in_words(error: &dyn Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| (*cause).source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
