//! The releases that a sandbox upgrades between, and whether they are the real ledger or the simulator.

use crate::render::words::quoted;
use crate::trouble::Trouble;
use cutover_agent::release::archive::{VerifiedArchive, verify};
use cutover_agent::settings::{Place, ReleasesSettings};
use cutover_vocabulary::{Digest, Version};
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use tokio::process::Command;

/// Ends every binary that the simulator's packer made.
const SIMULATOR_MARK: &[u8] = b"\0numary-release\n";

/// How to get releases, for messages.
pub(crate) const HOW_TO_GET: &str = "in the workspace, build the simulator: `cargo build -p cutover-ledger-simulator`; or fetch real releases \
     into a folder vVERSION each, archive and checksums_linux.txt, from https://github.com/numary/ledger/releases, and \
     name the folder above them with --releases";

/// A folder with releases, from what `--releases` says; packs the simulator's below `dir` when it says nothing.
///
/// # Errors
/// When there are none, with how to get some.
pub(super) async fn place(named: Option<&str>, versions: [&Version; 2], dir: &Path) -> Result<PathBuf, Trouble> {
    match named {
        Some(text) => {
            let absolute = match text.contains("://") || text.starts_with("file:") {
                true => text.to_owned(),
                false => std::path::absolute(text).map_or_else(|_| text.to_owned(), |path| path.display().to_string()),
            };
            let place = Place::try_from(absolute).map_err(|why| Trouble::usage(why).next(HOW_TO_GET))?;
            match place {
                Place::Folder(folder) => Ok(folder),
                Place::Mirror(_) => Err(Trouble::usage("the sandbox downloads nothing").next(HOW_TO_GET)),
            }
        }
        None => pack_simulator(versions, dir).await,
    }
}

/// The simulator and its packer, where both lie in a folder.
pub(crate) fn simulator_beside(folder: &Path) -> Option<(PathBuf, PathBuf)> {
    let there = |name: &str| Some(folder.join(name)).filter(|path| path.is_file());
    there("numary").zip(there("pack-release"))
}

async fn pack_simulator(versions: [&Version; 2], dir: &Path) -> Result<PathBuf, Trouble> {
    let own = std::env::current_exe().ok();
    let Some((binary, packer)) = own.as_deref().and_then(Path::parent).and_then(simulator_beside) else {
        return Err(Trouble::usage("there is no release to try: the simulator does not lie beside this program")
            .next(HOW_TO_GET));
    };
    let place = dir.join("releases");
    let output = Command::new(&packer)
        .arg(&place)
        .args(versions.map(ToString::to_string))
        .arg("--binary")
        .arg(&binary)
        .output()
        .await
        .map_err(|error| Trouble::failed(format!("cannot run {}", packer.display()), error))?;
    if output.status.success() {
        return Ok(place);
    }
    let said = cutover_vocabulary::name::shown(String::from_utf8_lossy(&output.stderr).trim()).to_string();
    Err(Trouble::usage(format!("the simulator cannot be packed: {said}"))
        .next("choose other versions, or real releases with --releases"))
}

/// A release, verified.
#[derive(Debug)]
pub(super) struct Found {
    archive: VerifiedArchive,
    max_binary_bytes: u64,
}

/// Finds and verifies a release.
///
/// # Errors
/// When it is missing or corrupt.
pub(super) fn find(place: &Path, version: &Version) -> Result<Found, Trouble> {
    let settings = ReleasesSettings::default();
    let archive = verify(place, &settings, version).map_err(|problem| {
        Trouble::failed(
            format!("release {version} in {} cannot be used", quoted(&place.display().to_string())),
            problem,
        )
        .next(HOW_TO_GET)
    })?;
    Ok(Found { archive, max_binary_bytes: settings.max_binary_bytes })
}

impl Found {
    /// SHA-256 of its archive.
    pub(super) fn digest(&self) -> Digest {
        self.archive.release().archive
    }

    /// Unpacks its binary. Answers whether it is the simulator.
    ///
    /// # Errors
    /// When the archive is refused, or the file cannot be written.
    pub(super) fn unpack(&mut self, to: &Path) -> Result<bool, Trouble> {
        self.archive
            .unpack(to, self.max_binary_bytes)
            .map_err(|problem| Trouble::failed(format!("cannot install the release at {}", to.display()), problem))?;
        simulated(to).map_err(|error| Trouble::failed(format!("cannot read {}", to.display()), error))
    }
}

fn simulated(binary: &Path) -> io::Result<bool> {
    let mut file = File::open(binary)?;
    let mark = SIMULATOR_MARK.len() as u64;
    if file.metadata()?.len() < mark {
        return Ok(false);
    }
    file.seek(SeekFrom::End(-(SIMULATOR_MARK.len() as i64)))?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail)?;
    Ok(tail == SIMULATOR_MARK)
}
