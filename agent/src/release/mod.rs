//! Releases of the ledger on this host: found in a folder or downloaded, verified before anything is unpacked, unpacked side by side as
//! `releases/VERSION/numary`, asked about themselves, and switched by one rename.

pub mod archive;
pub mod asking;
pub mod download;
pub mod needed;
pub mod stage;
pub mod switch;

use self::needed::Needed;
use crate::files::FileError;
use crate::ledger::cli::CliError;
use cutover_vocabulary::survey::ReleaseProblem;
use cutover_vocabulary::{Digest, Version};
use std::path::PathBuf;

/// Something that went wrong with a release, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// Its files cannot be used.
    #[error(transparent)]
    Problem(#[from] ReleaseProblem),
    /// Its archive is another one than the plan was made with.
    #[error(
        "the archive of release {version} has SHA-256 {found}, but the plan was made with {planned}; make a new plan"
    )]
    Replaced {
        /// Which version.
        version: Version,
        /// What was found.
        found: Digest,
        /// What was planned with.
        planned: Digest,
    },
    /// Its binary says that it is something else.
    #[error("the binary in the archive of release {version} says it is {says}; this archive is misnamed")]
    OtherVersion {
        /// Which version was wanted.
        version: Version,
        /// What the binary says.
        says: Version,
    },
    /// An instance needs another binary at its path.
    #[error(
        "release {version} is not put to {}: its binary has SHA-256 {found}, and instance {} {}. {}",
        path.display(),
        needed.instance,
        match &needed.back {
            None => format!("starts the one with {} from there", needed.binary),
            Some(_) => format!("goes back to the one with {} there", needed.binary),
        },
        match &needed.back {
            None => "Publish what was built anew as a version of its own, or bring that instance to another version first".to_owned(),
            Some(record) => format!(
                "Publish what was built anew as a version of its own; or, once nobody will take that instance back, remove {}",
                record.display()
            ),
        }
    )]
    Needed {
        /// Which version.
        version: Version,
        /// Where it would lie.
        path: PathBuf,
        /// What was found in its archive.
        found: Digest,
        /// Whom that would be in the way of.
        needed: Box<Needed>,
    },
    /// It is not unpacked here, or what is there was changed since.
    #[error("release {version} is not staged on this host as ordered: {why}")]
    NotStaged {
        /// Which version.
        version: Version,
        /// What is missing or different.
        why: String,
    },
    /// The binary would not answer.
    #[error("the binary of release {version} does not answer: {source}")]
    Mute {
        /// Which version.
        version: Version,
        /// What happened.
        source: CliError,
    },
    /// What the service starts is not what it must be.
    #[error("{} cannot be switched: {why}", command.display())]
    Switch {
        /// The instance's command.
        command: PathBuf,
        /// Why not.
        why: String,
    },
    /// A file of the agent's own.
    #[error(transparent)]
    File(#[from] FileError),
}
