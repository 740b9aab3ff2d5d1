//! Where an entry of the catalogue comes from.

use cutover_vocabulary::finding::Source;
use serde::Deserialize;
use std::fmt;

/// Where an entry of the catalogue comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// The release's own source, at its tag.
    ReleaseTag,
    /// The ledger's manual, first edition: targets 1.1 to 1.4.
    ManualFirstEdition,
    /// Its later edition: targets 1.5 to 1.9.
    ManualLaterEdition,
    /// Measured with the real binaries.
    Measured,
    /// A rule of this program's own.
    Cutover,
    /// A company's own file. Not written there: what states no source is a company's.
    #[default]
    #[serde(skip)]
    Company,
}
impl Origin {
    /// The same as a finding says it.
    pub fn source(self) -> Source {
        match self {
            Self::ManualFirstEdition | Self::ManualLaterEdition | Self::Cutover => Source::Manual,
            Self::ReleaseTag | Self::Measured => Source::Measured,
            Self::Company => Source::CompanyFile,
        }
    }
}
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ReleaseTag => "the release's tag",
            Self::ManualFirstEdition => "manual, first edition",
            Self::ManualLaterEdition => "manual, later edition",
            Self::Measured => "measured",
            Self::Cutover => "Cutover's own rule",
            Self::Company => "company file",
        })
    }
}
