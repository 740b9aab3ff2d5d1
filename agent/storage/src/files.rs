//! Files that survive a power cut: copy, sync, rename, sync the folder.

use crate::StorageError;
use cutover_vocabulary::Digest;
use sha2::{Digest as _, Sha256};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// What SQLite may keep beside a database.
pub(crate) const SIDECARS: [&str; 3] = ["-wal", "-shm", "-journal"];

/// The path with something appended to its last name.
pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Flushes a file's content.
pub(crate) fn sync(path: &Path) -> Result<(), StorageError> {
    File::open(path).and_then(|file| file.sync_all()).map_err(StorageError::io("sync", path))
}

/// Flushes a folder, so that names made or changed in it survive.
pub(crate) fn sync_folder_of(path: &Path) -> Result<(), StorageError> {
    match path.parent() {
        Some(folder) => sync(folder),
        None => Ok(()),
    }
}

/// SHA-256 of a file. Never call it for a database that this process has open: closing the file here would drop SQLite's
/// POSIX locks on it.
pub(crate) fn sha256(path: &Path) -> Result<Digest, StorageError> {
    let failed = || StorageError::io("read", path);
    let mut file = File::open(path).map_err(failed())?;
    let mut hasher = Sha256::new();
    let mut block = vec![0_u8; 128 * 1024];
    loop {
        match file.read(&mut block) {
            Ok(0) => return Ok(Digest::from_bytes(hasher.finalize().into())),
            Ok(read) => hasher.update(&block[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed()(error)),
        }
    }
}

/// Copies a file's bytes to a new name, with its mode, and flushes them. The folder is not flushed yet; the caller renames first.
///
/// Half done: `to` holds a part. Again: it is made anew.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<(), StorageError> {
    let file = copy_open(from, to)?;
    let mode = fs::metadata(from).map_err(StorageError::io("look at", from))?.permissions();
    file.set_permissions(mode).map_err(StorageError::io("set the mode of", to))?;
    file.sync_all().map_err(StorageError::io("sync", to))
}

/// As [`copy`], into a folder that may be somebody else's: the file is made anew, so that no link is followed, may be read by us
/// alone, and is given open, so that whatever comes next is done to this file and not to what its name leads to by then.
pub(crate) fn copy_open(from: &Path, to: &Path) -> Result<File, StorageError> {
    remove(to)?;
    let mut source = File::open(from).map_err(StorageError::io("read", from))?;
    let writing = || StorageError::io("write a copy to", to);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to).map_err(|error| {
        if error.kind() == io::ErrorKind::AlreadyExists {
            let why =
                "it was removed to be made anew, and somebody put another there at once; find out who does".to_owned();
            return StorageError::Refused { path: to.to_owned(), why };
        }
        writing()(error)
    })?;
    io::copy(&mut source, &mut file).map_err(writing())?;
    Ok(file)
}

/// Renames and flushes the folder.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<(), StorageError> {
    fs::rename(from, to).map_err(StorageError::io("put in place", to))?;
    sync_folder_of(to)
}

/// Removes a file; one that is not there is fine.
pub(crate) fn remove(path: &Path) -> Result<(), StorageError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StorageError::io("remove", path)(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Removes a database of ours with everything beside it.
pub(crate) fn remove_database(path: &Path) -> Result<(), StorageError> {
    for suffix in SIDECARS {
        remove(&beside(path, suffix))?;
    }
    remove(path)
}

/// Writes a small file so that it is either wholly there or not at all.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), StorageError> {
    let partial = beside(path, ".partial");
    fs::write(&partial, bytes).map_err(StorageError::io("write", &partial))?;
    sync(&partial)?;
    rename(&partial, path)
}

/// Makes a folder of ours that nobody else can read: it holds other people's money.
pub(crate) fn private_folder(path: &Path) -> Result<(), StorageError> {
    use std::os::unix::fs::DirBuilderExt as _;
    let failed = StorageError::io("make the folder", path);
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)
}

/// Bytes of a database on disk, its log and journal included; 0 for what is not there.
pub(crate) fn bytes(path: &Path) -> u64 {
    let size = |path: &Path| fs::metadata(path).map_or(0, |data| data.len());
    size(path) + size(&beside(path, "-wal")) + size(&beside(path, "-journal"))
}
