//! A release's archive: which file it is, whether its bytes are those that its checksum file names, and what is in it.

use crate::settings::ReleasesSettings;
use crate::settings::releases::names;
use cutover_vocabulary::release::Release;
use cutover_vocabulary::survey::ReleaseProblem;
use cutover_vocabulary::{Digest, Version};
use flate2::read::GzDecoder;
use sha2::Digest as _;
use std::fs::{self, File};
use std::io::{self, Read, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Component, Path, PathBuf};

/// The one entry that is unpacked.
const BINARY: &str = "numary";

/// More entries than a release ever had; an archive with more is refused rather than walked.
const MOST_ENTRIES: usize = 1_000;

/// An archive whose bytes were compared with its checksum file. Holds the file open: what is unpacked is what was verified,
/// also when the name is given to another file meanwhile.
#[derive(Debug)]
pub struct VerifiedArchive {
    release: Release,
    file: File,
}

/// Finds a release's archive in a folder and verifies it. Unpacks nothing, changes nothing.
///
/// # Errors
/// [`ReleaseProblem`]: missing, without a usable checksum, or corrupt.
pub fn verify(
    folder: &Path,
    settings: &ReleasesSettings,
    version: &Version,
) -> Result<VerifiedArchive, ReleaseProblem> {
    let candidates = |templates| -> Vec<PathBuf> { names(templates, version).map(|name| folder.join(name)).collect() };
    let (archives, checksum_files) = (candidates(&settings.archives), candidates(&settings.checksums));
    let Some(path) = archives.iter().find(|path| path.is_file()) else {
        return Err(ReleaseProblem::Missing { version: version.clone(), place: list(&archives) });
    };
    let no_checksum = |why| ReleaseProblem::NoChecksum { version: version.clone(), why };
    let Some(checksums) = checksum_files.iter().find(|path| path.is_file()) else {
        return Err(no_checksum(format!("there is no {}", list(&checksum_files))));
    };
    let text =
        fs::read_to_string(checksums).map_err(|error| no_checksum(format!("{}: {error}", checksums.display())))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let named =
        named(&text, &name).ok_or_else(|| no_checksum(format!("{} has no line for {name}", checksums.display())))?;
    let unreadable = |error: io::Error| ReleaseProblem::BadArchive {
        version: version.clone(),
        why: format!("{} cannot be read: {error}", path.display()),
    };
    let mut file = File::open(path).map_err(unreadable)?;
    let found = sha256(&mut file).map_err(unreadable)?;
    if found != named {
        return Err(ReleaseProblem::Corrupt { version: version.clone(), found, named });
    }
    Ok(VerifiedArchive { release: Release { version: version.clone(), archive: found }, file })
}

/// The digest that a checksum file in `sha256sum` format names for a file; none if two lines disagree.
pub(super) fn named(text: &str, name: &str) -> Option<Digest> {
    let mut found = None;
    for line in text.lines() {
        let Some((digest, file)) = line.trim().split_once(char::is_whitespace) else { continue };
        if file.trim_start().trim_start_matches('*') != name {
            continue;
        }
        let digest = digest.parse().ok()?;
        if found.is_some_and(|found| found != digest) {
            return None;
        }
        found = Some(digest);
    }
    found
}

fn list(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" or ")
}

/// SHA-256 of what is left to read.
pub fn sha256(reader: &mut impl Read) -> io::Result<Digest> {
    let mut hasher = sha2::Sha256::new();
    let mut block = vec![0; 64 << 10];
    loop {
        match reader.read(&mut block) {
            Ok(0) => return Ok(Digest::from_bytes(hasher.finalize().into())),
            Ok(count) => hasher.update(&block[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

impl VerifiedArchive {
    /// Which release it is.
    pub fn release(&self) -> &Release {
        &self.release
    }

    /// Writes the archive's one entry `numary` to `to`, executable and synced, and returns its digest. Every entry is
    /// looked at before: an archive that holds a path outside itself, an absolute path or a link is refused as a whole,
    /// because whoever packed it meant harm or made a mistake.
    ///
    /// Half done: `to` is incomplete; the caller names it so. Again: it is written anew.
    ///
    /// # Errors
    /// [`ReleaseProblem::BadArchive`].
    pub fn unpack(&mut self, to: &Path, max_bytes: u64) -> Result<Digest, ReleaseProblem> {
        let version = self.release.version.clone();
        let bad = |why: String| ReleaseProblem::BadArchive { version: version.clone(), why };
        self.look_at_every_entry(max_bytes).map_err(|why| bad(why.to_string()))?;
        self.write_binary(to, max_bytes).map_err(|error| bad(format!("cannot unpack it to {}: {error}", to.display())))
    }

    fn entries(&mut self, max_bytes: u64) -> io::Result<tar::Archive<io::Take<GzDecoder<&File>>>> {
        self.file.rewind()?;
        // Of a gzip stream a few bytes can become very many: what is decoded is capped too.
        let limit = max_bytes.saturating_add(64 << 20);
        Ok(tar::Archive::new(GzDecoder::new(&self.file).take(limit)))
    }

    fn look_at_every_entry(&mut self, max_bytes: u64) -> io::Result<()> {
        let refuse = |why: String| Err(io::Error::other(why));
        let mut binaries = 0;
        let mut archive = self.entries(max_bytes)?;
        for (index, entry) in archive.entries()?.enumerate() {
            let entry = entry?;
            if index >= MOST_ENTRIES {
                return refuse(format!("it holds more than {MOST_ENTRIES} entries"));
            }
            let path = entry.path()?.into_owned();
            let shown = cutover_vocabulary::name::shown(&path.to_string_lossy()).to_string();
            if path.is_absolute() || path.components().any(|part| matches!(part, Component::ParentDir)) {
                return refuse(format!("its entry {shown} leads out of it"));
            }
            let kind = entry.header().entry_type();
            if kind.is_symlink() || kind.is_hard_link() {
                return refuse(format!("its entry {shown} is a link"));
            }
            if !kind.is_file() && !kind.is_dir() {
                return refuse(format!("its entry {shown} is neither a file nor a folder"));
            }
            if is_binary(&path) {
                if !kind.is_file() {
                    return refuse(format!("its entry {shown} is no file"));
                }
                binaries += 1;
                if entry.size() > max_bytes {
                    return refuse(format!(
                        "its entry {shown} has {} bytes, more than max_binary_bytes = {max_bytes}",
                        entry.size()
                    ));
                }
            }
        }
        match binaries {
            1 => Ok(()),
            0 => refuse(format!("it holds no entry {BINARY}")),
            _ => refuse(format!("it holds {binaries} entries named {BINARY}")),
        }
    }

    fn write_binary(&mut self, to: &Path, max_bytes: u64) -> io::Result<Digest> {
        let mut archive = self.entries(max_bytes)?;
        for entry in archive.entries()? {
            let entry = entry?;
            if !is_binary(&entry.path()?) {
                continue;
            }
            let size = entry.size();
            // A new file, whatever lies there: a link that somebody laid would lead elsewhere.
            match fs::remove_file(to) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
            let mut out = fs::OpenOptions::new().create_new(true).write(true).mode(0o755).open(to)?;
            let mut hasher = sha2::Sha256::new();
            let mut entry = entry.take(max_bytes);
            let mut block = vec![0; 64 << 10];
            let mut written = 0;
            loop {
                let count = entry.read(&mut block)?;
                if count == 0 {
                    break;
                }
                hasher.update(&block[..count]);
                out.write_all(&block[..count])?;
                written += count as u64;
            }
            if written != size {
                return Err(io::Error::other(format!("its entry {BINARY} breaks off after {written} of {size} bytes")));
            }
            out.sync_all()?;
            return Ok(Digest::from_bytes(hasher.finalize().into()));
        }
        Err(io::Error::other(format!("it holds no entry {BINARY}")))
    }
}

fn is_binary(path: &Path) -> bool {
    let mut parts = path.components().filter(|part| !matches!(part, Component::CurDir));
    matches!((parts.next(), parts.next()), (Some(Component::Normal(name)), None) if name == BINARY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_file_that_names_a_file_twice_with_different_digests_names_it_not() {
        let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
        assert_eq!(named(&format!("{a}  x.tar.gz\n{b} *y.tar.gz\n"), "y.tar.gz"), Some(b));
        assert_eq!(named(&format!("{a}  x\n{b}  x\n"), "x"), None);
        assert_eq!(named(&format!("{a}  other-x\n"), "x"), None);
    }
}
