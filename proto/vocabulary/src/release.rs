//! Releases of the ledger as they lie on a host.

use crate::{Digest, Version};
use serde::{Deserialize, Serialize};

/// A release whose file was looked at: what it is called and what exactly it holds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Release {
    /// The version, as asked for.
    pub version: Version,
    /// SHA-256 of the archive, as its checksum file names it; nothing is unpacked before it matches.
    pub archive: Digest,
}

/// What a release binary answered when it was asked about itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct StagedRelease {
    /// Which release it is.
    pub release: Release,
    /// SHA-256 of the unpacked binary; the guard compares it before every start.
    pub binary: Digest,
    /// Whether `storage --help` of this binary names scan, list and upgrade. 1.1 to 1.3.1 have none, and a missing
    /// subcommand exits 0, so the binary is asked and its number never guessed from.
    pub storage_commands: bool,
}
