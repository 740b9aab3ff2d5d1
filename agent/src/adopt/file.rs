//! Writing the settings file: whole or not at all, with the mode and the owner that it had.

use crate::files::{self, FileError, io_error};
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::Path;

/// Its text; none where there is no such file.
///
/// # Errors
/// When it is there and cannot be read.
pub(super) fn read(path: &Path) -> Result<Option<String>, FileError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io_error("read", path)(error)),
    }
}

/// Writes it, where it was read as `before` and still says that. A new file has mode 0600. A link stays one.
///
/// # Errors
/// When it was changed meanwhile, or cannot be written; then it is as it was.
pub(super) fn write(path: &Path, before: Option<&str>, text: &str) -> Result<(), FileError> {
    let path = &path.canonicalize().unwrap_or_else(|_| path.to_owned());
    if read(path)?.as_deref() != before {
        return Err(io_error("change", path)(io::Error::other(
            "somebody else changed it at the same time; run it again",
        )));
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(io_error("create", folder))?;
    }
    let temporary = files::temporary_beside(path);
    files::write(&temporary, text.as_bytes())?;
    if before.is_some() {
        let was = fs::metadata(path).map_err(io_error("look at", path))?;
        chown(&temporary, Some(was.uid()), Some(was.gid())).map_err(io_error("give its owner to", &temporary))?;
        let mode = Permissions::from_mode(was.mode() & 0o7777);
        fs::set_permissions(&temporary, mode).map_err(io_error("give its mode to", &temporary))?;
    }
    fs::rename(&temporary, path).map_err(io_error("rename into place", path))?;
    files::sync_folder_of(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_keeps_its_mode_a_link_stays_one_and_a_new_file_is_closed_to_others() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link, new) = (dir.path().join("a"), dir.path().join("l"), dir.path().join("sub/n"));
        fs::write(&file, "old").unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink("a", &link).unwrap();
        write(&link, Some("old"), "text").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "text");
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o7777, 0o640);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert!(write(&file, Some("old"), "other").unwrap_err().to_string().contains("at the same time"));
        assert!(write(&file, None, "other").is_err(), "it was not there when it was looked at");
        assert_eq!(fs::read_to_string(&file).unwrap(), "text");
        write(&new, None, "text").unwrap();
        assert_eq!(fs::metadata(&new).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3, "nothing is left beside");
    }
}
