//! A user's home by the user database.

use crate::StorageError;
use std::fs;
use std::path::{Path, PathBuf};

/// The home of a user, by name or by number, in a file like `/etc/passwd`; `None` for an unknown user.
/// Users that only a directory service knows are not found: set `HOME` for their services.
pub fn of_user(database: &Path, user: &str) -> Result<Option<PathBuf>, StorageError> {
    let text = fs::read_to_string(database).map_err(StorageError::io("read the user database", database))?;
    Ok(text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, _, number) = (fields.next()?, fields.next()?, fields.next()?);
        let home = fields.nth(2)?;
        ((name == user || number == user) && !home.is_empty()).then(|| PathBuf::from(home))
    }))
}
