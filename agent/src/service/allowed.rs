//! Which binary an instance may start: what Cutover last switched it to, or a person allowed. A unit's guard goes by it, and what
//! is not as it says is reported as drift.

use crate::files::{self, FileError};
use crate::release::stage::digest_of;
use cutover_vocabulary::Digest;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// What may be started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allowed {
    /// The path that the service starts.
    pub command: PathBuf,
    /// SHA-256 of what may lie there.
    pub binary: Digest,
}

fn path(instance_dir: &Path) -> PathBuf {
    instance_dir.join("allowed.json")
}

/// What an instance may start; none where nothing was named yet.
///
/// # Errors
/// When the file cannot be read.
pub fn read(instance_dir: &Path) -> Result<Option<Allowed>, FileError> {
    files::read_json(&path(instance_dir))
}

/// From now on the instance may start what lies at this path now, and nothing else.
///
/// # Errors
/// When that binary cannot be read, or the word cannot be written.
pub fn allow(instance_dir: &Path, command: &Path) -> Result<(), FileError> {
    files::folder(instance_dir)?;
    let binary = digest_of(command)?;
    files::write_json(&path(instance_dir), &Allowed { command: command.to_owned(), binary })
}
