//! The catalogue's tables as types. Every key is known; an unknown one is an error that names it.

use cutover_vocabulary::Version;
use cutover_vocabulary::storage::{Driver, LossClass};
use semver::VersionReq;
use serde::Deserialize;

/// Everything that is known of the releases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Catalogue {
    /// Every release, in the order of the file.
    pub releases: Vec<ReleaseFacts>,
    /// The manual's table of paths.
    pub paths: Vec<PathRow>,
    /// Old and new instances on one storage, measured.
    pub side_by_side: Vec<SideBySide>,
    /// Upgrades that fail or leave a broken ledger, measured.
    pub broken_upgrades: Vec<BrokenUpgrade>,
    /// Releases that nobody should run.
    pub bad_releases: Vec<BadRelease>,
    /// Releases of which only one instance may write.
    pub single_writers: Vec<SingleWriter>,
    /// Releases whose migrations of two ledgers at once can collide, measured.
    pub lane_collisions: Vec<LaneCollision>,
    /// What migrations lose, measured.
    pub losses: Vec<Loss>,
    /// What migrations do to what others built on a ledger's tables.
    pub dependents: Vec<DependentFate>,
    /// What makes a migration faster, measured.
    pub accelerators: Vec<Accelerator>,
}

/// One release.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseFacts {
    /// Its version.
    pub version: Version,
    /// When it was released.
    pub date: String,
    /// Whether `storage scan|list|upgrade` exist.
    pub storage_commands: bool,
    /// The highest migration it knows on PostgreSQL; it knows all from 0 up to it. None: it keeps no table of them.
    pub postgres: Option<u32>,
    /// The same on SQLite.
    pub sqlite: Option<u32>,
    /// Numbers that mean another migration than in the releases around it.
    #[serde(default)]
    pub renumbered: Vec<u32>,
}

/// Edition of the manual.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Edition {
    /// Targets 1.1 to 1.4.
    First,
    /// Targets 1.5 to 1.9.
    Later,
}

/// One row of the manual's table.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PathRow {
    /// Target, like `1.4.x`.
    pub to: VersionReq,
    /// Minimum current version.
    pub from: Version,
    /// Whether downtime is required.
    pub downtime: bool,
    /// Where it stands.
    pub edition: Edition,
}

/// An old and a new instance on one PostgreSQL, alternating writes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SideBySide {
    /// The older.
    pub old: Version,
    /// The newer.
    pub new: Version,
    /// What happened.
    pub result: SideBySideResult,
}

/// What happened when two versions ran side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SideBySideResult {
    /// It works.
    Works,
    /// The old one answers 503 on migrated ledgers.
    OldDead,
    /// The old one answers 200, and nothing but `log` is written.
    OldLosesWrites,
    /// Accounts first used through the old one are missing from address filters.
    AddressFiltersMissAccounts,
    /// 409 between the instances for good.
    Conflict,
}

/// An upgrade that fails or leaves a broken ledger.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BrokenUpgrade {
    /// From these versions.
    pub from: VersionReq,
    /// To these.
    pub to: VersionReq,
    /// On this kind of storage.
    pub driver: Driver,
    /// What happens.
    pub result: String,
    /// What to do instead.
    pub way_around: Option<String>,
}

/// Releases that nobody should run.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BadRelease {
    /// Which.
    pub versions: VersionReq,
    /// Why not.
    pub reason: String,
}

/// Releases of which only one instance may write.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SingleWriter {
    /// Which.
    pub versions: VersionReq,
    /// Why.
    pub reason: String,
    /// What makes several safe.
    pub unless: Option<String>,
}

/// Releases whose migrations of two ledgers at once can make each other fail.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LaneCollision {
    /// Which.
    pub versions: VersionReq,
    /// On which driver.
    pub driver: Driver,
    /// Why.
    pub reason: String,
}

/// What a migration loses.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Loss {
    /// Which class.
    #[serde(rename = "class")]
    pub code: String,
    /// The storage was written by a release below this.
    pub from_below: Version,
    /// The target is this or later.
    pub to_from: Version,
    /// On which kinds of storage.
    pub drivers: Vec<Driver>,
    /// What prevents it.
    pub prevented_by: Option<String>,
}
impl Loss {
    /// The class whose rows can be told beforehand; none for the shift of time zones, which a setting prevents.
    pub fn class(&self) -> Option<LossClass> {
        [LossClass::AccountMetadataWithoutPosting, LossClass::SqliteFirstMetadata]
            .into_iter()
            .find(|class| class.code() == self.code)
    }
}

/// What a migration does to what others built on a ledger's tables. PostgreSQL only.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DependentFate {
    /// On which tables or columns, as `table` or `table.column`.
    pub on: Vec<String>,
    /// By which migration.
    pub migration: u32,
    /// What becomes of it.
    pub effect: DependentEffect,
    /// Whether it holds of views alone; of anything that depends otherwise.
    #[serde(default)]
    pub views_only: bool,
    /// Why, for people.
    pub because: String,
}

/// What becomes of something that depends on a ledger's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DependentEffect {
    /// It vanishes; the migration ends well.
    Dropped,
    /// The migration fails.
    Stops,
}

/// What makes a migration faster.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accelerator {
    /// Its name.
    pub name: String,
    /// On which kind of storage.
    pub driver: Driver,
    /// The storage was written by a release below this.
    pub from_below: Version,
    /// The target is this or later.
    pub to_from: Version,
    /// How it is built.
    pub build: String,
    /// And then.
    pub then: String,
}

/// Why a catalogue cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the catalogue of releases cannot be read: {0}")]
pub struct CatalogueError(String);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    release: Vec<ReleaseFacts>,
    #[serde(default)]
    path: Vec<PathRow>,
    #[serde(default)]
    side_by_side: Vec<SideBySide>,
    #[serde(default)]
    broken_upgrade: Vec<BrokenUpgrade>,
    #[serde(default)]
    bad_release: Vec<BadRelease>,
    #[serde(default)]
    single_writer: Vec<SingleWriter>,
    lane_collision: Vec<LaneCollision>,
    #[serde(default)]
    loss: Vec<Loss>,
    #[serde(default)]
    dependent: Vec<DependentFate>,
    #[serde(default)]
    accelerator: Vec<Accelerator>,
}

impl Catalogue {
    /// Parses a catalogue; the error names the place and the key.
    pub fn parse(text: &str) -> Result<Self, CatalogueError> {
        let file: File = toml::from_str(text).map_err(|error| CatalogueError(error.to_string()))?;
        Ok(Self {
            releases: file.release,
            paths: file.path,
            side_by_side: file.side_by_side,
            broken_upgrades: file.broken_upgrade,
            bad_releases: file.bad_release,
            single_writers: file.single_writer,
            lane_collisions: file.lane_collision,
            losses: file.loss,
            dependents: file.dependent,
            accelerators: file.accelerator,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_catalogue_is_complete() {
        let catalogue = crate::catalogue::shipped().unwrap();
        assert_eq!(catalogue.releases.len(), 64);
        assert_eq!(catalogue.paths.len(), 17);
        assert_eq!(catalogue.side_by_side.len(), 40);
        assert!(catalogue.losses.iter().filter_map(Loss::class).count() == 2);
        assert_eq!(catalogue.dependents.len(), 4);
    }

    #[test]
    fn an_unknown_key_is_named() {
        let error =
            Catalogue::parse("[[release]]\nversion = \"1.4.6\"\ndate = \"\"\nstorage_comands = true").unwrap_err();
        assert!(error.to_string().contains("storage_comands"), "{error}");
    }
}
