//! Small files that must survive a power cut: written beside themselves, synced, renamed, and the folder synced.

use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// A file of the agent's own that cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The operating system refused.
    #[error("cannot {doing} {}: {source}; check the disk below the agent's state directory", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It holds something else than it should.
    #[error(
        "{} is not what this agent writes there ({source}): a newer version wrote it, or the disk is damaged. Install the version that \
         wrote it; do not take the file away before you know what it said, for without it the agent believes that nothing was noted",
        path.display()
    )]
    Content {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
}

/// For `map_err`.
pub fn io_error(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FileError {
    let path = path.to_owned();
    move |source| FileError::Io { doing, path, source }
}

/// Makes a folder (mode 0700) and those above it; one that exists is left alone.
pub fn folder(path: &Path) -> Result<(), FileError> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io_error("create", path))
}

/// Makes a folder and those above it, for everybody to look into (mode 0755).
pub fn open_folder(path: &Path) -> Result<(), FileError> {
    fs::create_dir_all(path).map_err(io_error("create", path))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).map_err(io_error("open for everybody", path))
}

/// Writes a value as JSON so that a reader sees the old content or the new, whatever happens meanwhile; returns once it
/// is on disk. Mode 0600.
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<(), FileError> {
    let bytes =
        serde_json::to_vec_pretty(value).map_err(|source| FileError::Content { path: path.to_owned(), source })?;
    write(path, &bytes)
}

/// [`write_json`] for bytes.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let temporary = temporary_beside(path);
    let mut file = fs::OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)
        .map_err(io_error("create", &temporary))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(io_error("write", &temporary))?;
    fs::rename(&temporary, path).map_err(io_error("rename into place", path))?;
    sync_folder_of(path)
}

/// A name beside `path` for what is not complete yet. It has the process id: two processes may write the same file.
pub fn temporary_beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    path.with_file_name(name)
}

/// Makes a rename, link or removal of `path` survive a power cut.
pub fn sync_folder_of(path: &Path) -> Result<(), FileError> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(io_error("sync", folder))
}

/// Reads what [`write_json`] wrote; `None` when there is no such file.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, FileError> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|source| FileError::Content { path: path.to_owned(), source }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(FileError::Io { doing: "read", path: path.to_owned(), source }),
    }
}

/// Removes a file for good; one that is not there is no error.
pub fn remove(path: &Path) -> Result<(), FileError> {
    match fs::remove_file(path) {
        Ok(()) => sync_folder_of(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(FileError::Io { doing: "remove", path: path.to_owned(), source }),
    }
}
