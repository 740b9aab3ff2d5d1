//! Versions of the ledger.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A version of the ledger: exactly `MAJOR.MINOR.PATCH`, with or without a leading `v`.
/// Pre-releases and build tags are refused: the ledger never shipped one, so such a text is a typing error.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Version(semver::Version);

/// A text that is no version of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a version of the ledger: write it as 1.4.6")]
pub struct InvalidVersion {
    /// The text as given.
    pub text: String,
}

impl Version {
    /// A version from its three numbers.
    pub fn new(major: u64, minor: u64, patch: u64) -> Self {
        Self(semver::Version::new(major, minor, patch))
    }
    /// Parses `1.4.6` or `v1.4.6`.
    pub fn parse(text: &str) -> Result<Self, InvalidVersion> {
        let invalid = || InvalidVersion { text: text.to_owned() };
        let version = semver::Version::parse(text.strip_prefix('v').unwrap_or(text)).map_err(|_| invalid())?;
        if !version.pre.is_empty() || !version.build.is_empty() {
            return Err(invalid());
        }
        Ok(Self(version))
    }
    /// The same version for requirement matching.
    pub fn semver(&self) -> &semver::Version {
        &self.0
    }
    /// Whether both have the same major and minor number; says nothing about whether they can run side by side.
    pub fn same_minor(&self, other: &Self) -> bool {
        (self.0.major, self.0.minor) == (other.0.major, other.0.minor)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
impl std::str::FromStr for Version {
    type Err = InvalidVersion;
    fn from_str(text: &str) -> Result<Self, InvalidVersion> {
        Self::parse(text)
    }
}
impl TryFrom<String> for Version {
    type Error = InvalidVersion;
    fn try_from(text: String) -> Result<Self, InvalidVersion> {
        Self::parse(&text)
    }
}
impl From<Version> for String {
    fn from(version: Version) -> String {
        version.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_three_numbers_and_nothing_else() {
        assert_eq!(Version::parse("v1.4.6"), Ok(Version::new(1, 4, 6)));
        for text in ["", "1.4", "1.4.6-rc1", "1.4.6+x", "latest", "1.4.6 ", "01.4.6"] {
            assert!(Version::parse(text).is_err(), "{text:?}");
        }
        assert!(Version::new(1, 10, 0) > Version::new(1, 9, 6));
    }
}
