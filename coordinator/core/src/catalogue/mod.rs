//! What is known of the ledger's releases: the manual's table, what was measured, what breaks. Data with its source, in
//! `releases.toml`; no number of it stands in code.

mod beside;
mod data;
mod file;
mod migrations;
mod origin;
mod path;

pub use beside::{Beside, Locks};
pub use data::{
    BadRelease, BrokenUpgrade, Catalogue, DependentEffect, DependentFate, Loss, PathRow, Preparation, ReleaseFacts,
    SeenTo, SideBySide, SideBySideResult, SideBySideRule, SingleWriter, Unless, UnnamedPath,
};
pub use file::CatalogueError;
pub use origin::Origin;
pub use path::PathVerdict;

use cutover_vocabulary::Version;
use cutover_vocabulary::storage::Driver;

/// The catalogue that ships with this program.
///
/// A test parses it, so that the error can only be met by somebody who changes the file.
pub fn shipped() -> Result<Catalogue, CatalogueError> {
    Catalogue::parse(include_str!("releases.toml"), "the program itself")
}

impl Catalogue {
    /// What is known of one release; none if it was never listed.
    pub fn release(&self, version: &Version) -> Option<&ReleaseFacts> {
        self.releases.iter().find(|facts| facts.version == *version)
    }
    /// Whether migrations of two ledgers to that version can make each other fail.
    pub fn lanes_collide(&self, version: &Version, driver: Driver) -> bool {
        self.lane_collisions.iter().any(|known| known.driver == driver && known.versions.matches(version.semver()))
    }
    /// Why only one instance of a release may write; nothing where several may.
    pub fn bears_one_writer(&self, version: &Version) -> impl Iterator<Item = &SingleWriter> {
        self.single_writers.iter().filter(|single| single.versions.matches(version.semver()))
    }
    /// Why nobody should run a release, if so.
    pub fn bad_release(&self, version: &Version) -> Option<&BadRelease> {
        self.bad_releases.iter().find(|bad| bad.versions.matches(version.semver()))
    }
}
