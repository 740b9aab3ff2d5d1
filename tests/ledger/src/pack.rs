//! Packs the simulator like a page of release files: `DIR/vVERSION/numary_VERSION_Linux-64bit.tar.gz` with `numary`,
//! `README.md` and `LICENSE`, and beside it `checksums_linux.txt` in the format of `sha256sum`.

use crate::release::Release;
use crate::trailer;
use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Why packing failed.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// The simulator is no such release.
    #[error("cannot pack release {version}: the simulator knows {known}")]
    UnknownVersion {
        /// What was asked for.
        version: String,
        /// What there is.
        known: String,
    },
    /// A file could not be read, written or started.
    #[error("cannot {what} {path}: {source}")]
    File {
        /// read, create, write, start.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// What packing made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed {
    /// The archive.
    pub archive: PathBuf,
    /// The checksum file.
    pub checksums: PathBuf,
    /// SHA-256 of the archive, in hex.
    pub archive_digest: String,
    /// SHA-256 of the binary inside, in hex.
    pub binary_digest: String,
}

/// Packs `binary` (a build of the simulator, packed or not) as release `version` under `dir`. The same input gives the same
/// bytes, and packing again overwrites.
///
/// # Errors
/// When the simulator does not know the version, or a file cannot be read or written.
pub fn pack(binary: &Path, version: &str, dir: &Path) -> Result<Packed, PackError> {
    let bytes = release_binary(binary, version)?;
    let folder = dir.join(format!("v{version}"));
    fs::create_dir_all(&folder).map_err(file("create", &folder))?;
    let name = format!("numary_{version}_Linux-64bit.tar.gz");
    let archive = folder.join(&name);
    let content = archive_bytes(&bytes).map_err(file("write", &archive))?;
    fs::write(&archive, &content).map_err(file("write", &archive))?;
    let archive_digest = hex::encode(Sha256::digest(&content));
    let checksums = folder.join("checksums_linux.txt");
    fs::write(&checksums, format!("{archive_digest}  {name}\n")).map_err(file("write", &checksums))?;
    Ok(Packed { archive, checksums, archive_digest, binary_digest: hex::encode(Sha256::digest(&bytes)) })
}

/// Writes the binary of release `version` to `to`, executable, without an archive around it, and [settles](settle) it.
///
/// # Errors
/// As [`pack`] and [`settle`].
pub fn install(binary: &Path, version: &str, to: &Path) -> Result<(), PackError> {
    use std::os::unix::fs::OpenOptionsExt;
    let bytes = release_binary(binary, version)?;
    let mut out = fs::OpenOptions::new();
    let mut out = out.create(true).write(true).truncate(true).mode(0o755).open(to).map_err(file("create", to))?;
    out.write_all(&bytes).map_err(file("write", to))?;
    drop(out);
    settle(to)
}

/// Waits until a binary that this process wrote can be started: a child that another thread began meanwhile has the file open for
/// writing until it is the program that it will be.
///
/// # Errors
/// When it cannot be started, or is still busy after 20 s.
pub fn settle(binary: &Path) -> Result<(), PackError> {
    let mut tries = 4000;
    loop {
        let mut command = Command::new(binary);
        match command.arg("--help").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status() {
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy && tries > 0 => tries -= 1,
            Err(error) => return Err(file("start", binary)(error)),
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn release_binary(binary: &Path, version: &str) -> Result<Vec<u8>, PackError> {
    if Release::find(version).is_none() {
        let known: Vec<_> = crate::release::RELEASES.iter().map(|release| release.version.as_str()).collect();
        return Err(PackError::UnknownVersion { version: version.to_owned(), known: known.join(", ") });
    }
    let mut bytes = fs::read(binary).map_err(file("read", binary))?;
    if let Some(old) = trailer::version_of(binary).map_err(file("read", binary))? {
        bytes.truncate(bytes.len() - trailer::trailer(&old).len());
    }
    bytes.extend(trailer::trailer(version));
    Ok(bytes)
}

fn archive_bytes(binary: &[u8]) -> io::Result<Vec<u8>> {
    // Level 1: a debug build is large, and nobody downloads it.
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    let files: [(&str, &[u8], u32); 3] = [
        ("LICENSE", b"A simulator's archive carries no licence of the ledger.\n", 0o644),
        ("README.md", b"# numary\n\nA simulated release of the ledger, for tests.\n", 0o644),
        ("numary", binary, 0o755),
    ];
    for (name, content, mode) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(mode);
        header.set_mtime(0);
        archive.append_data(&mut header, name, content)?;
    }
    archive.into_inner()?.finish()
}

fn file<'a>(what: &'static str, path: &'a Path) -> impl Fn(io::Error) -> PackError + 'a {
    move |source| PackError::File { what, path: path.to_owned(), source }
}
