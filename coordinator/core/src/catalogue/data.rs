//! The catalogue's tables as types.

use super::origin::Origin;
use cutover_vocabulary::Version;
use cutover_vocabulary::finding::FindingCode;
use cutover_vocabulary::plan::PreparationId;
use cutover_vocabulary::storage::{Driver, LossClass};
use semver::VersionReq;
use serde::Deserialize;

/// Everything that is known of the releases.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Catalogue {
    /// Every release, in the order of the file.
    pub releases: Vec<ReleaseFacts>,
    /// The manual's table of paths.
    pub paths: Vec<PathRow>,
    /// What holds for paths that it does not name.
    pub unnamed_paths: Vec<UnnamedPath>,
    /// Old and new instances on one storage, measured.
    pub side_by_side: Vec<SideBySide>,
    /// The rules behind it, by range.
    pub side_by_side_rules: Vec<SideBySideRule>,
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
    /// Release notes that ask for something beforehand.
    pub preparations: Vec<Preparation>,
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
    /// Where it comes from.
    #[serde(default)]
    pub source: Origin,
}

/// What holds for paths that the table does not name.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnnamedPath {
    /// From these versions on a person may approve them; from others they are blocked.
    pub from: VersionReq,
    /// Where it comes from.
    #[serde(default)]
    pub source: Origin,
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
    #[serde(default)]
    pub source: Origin,
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
    /// What made the same pair work.
    pub unless: Option<Unless>,
    /// Where it comes from.
    #[serde(default)]
    pub source: Origin,
}

/// What holds for every old and new instance of these versions on one storage.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SideBySideRule {
    /// Versions of the older.
    pub old: VersionReq,
    /// Versions of the newer.
    pub new: VersionReq,
    /// What happens.
    pub result: SideBySideResult,
    /// What makes it work.
    pub unless: Option<Unless>,
    /// Why, for people.
    pub because: String,
    /// Where it comes from.
    #[serde(default)]
    pub source: Origin,
}

/// What makes instances work side by side that otherwise do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unless {
    /// `lock-strategy: redis` on every instance.
    RedisLock,
}

/// What happened when two versions ran side by side. The later in this list, the worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SideBySideResult {
    /// It works.
    Works,
    /// Accounts first used through the old one are missing from address filters.
    AddressFiltersMissAccounts,
    /// 409 between the instances for good.
    Conflict,
    /// The old one answers 503 on migrated ledgers.
    OldDead,
    /// The old one answers 200, and nothing but `log` is written.
    OldLosesWrites,
}
impl SideBySideResult {
    /// What people are told; nothing where it works.
    pub fn harm(self) -> Option<&'static str> {
        match self {
            Self::Works => None,
            Self::AddressFiltersMissAccounts => {
                Some("accounts first used through the old one are missing from address filters for good")
            }
            Self::Conflict => Some("each refuses the other's writes with 409 for good"),
            Self::OldDead => Some("the old one answers 503 on migrated ledgers"),
            Self::OldLosesWrites => Some("the old one answers 200 and its transactions reach nothing but `log`"),
        }
    }
}

/// An upgrade that fails or leaves a broken or damaged ledger. Where a ledger records what the present release does not know, or not
/// all that it knows, it goes by the release that knows exactly that.
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
    /// Whether the ledger works afterwards, so that a person may approve it.
    #[serde(default)]
    pub may_be_approved: bool,
    /// Where it comes from.
    #[serde(default)]
    pub source: Origin,
}

/// Releases that nobody should run.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BadRelease {
    /// Which.
    pub versions: VersionReq,
    /// Why not.
    pub reason: String,
    /// Where it comes from.
    #[serde(default)]
    pub source: Origin,
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
    pub unless: Option<Unless>,
    /// Where it comes from.
    #[serde(default)]
    pub source: Origin,
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
    /// Where it comes from.
    #[serde(default)]
    pub source: Origin,
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
    /// Where it comes from.
    #[serde(default)]
    pub source: Origin,
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
    /// Where it comes from.
    #[serde(default)]
    pub source: Origin,
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

/// A release note that asks for something to be done or looked at before an upgrade.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preparation {
    /// Its name.
    pub id: PreparationId,
    /// It applies to an upgrade from these versions
    pub from: VersionReq,
    /// to these: what changed lies between.
    pub to: VersionReq,
    /// On this kind of storage alone; none: on any.
    pub driver: Option<Driver>,
    /// What changed.
    pub note: String,
    /// Who sees to it.
    pub how: SeenTo,
    /// What to do.
    pub remedy: String,
    /// Where it comes from.
    #[serde(default)]
    pub source: Origin,
}

/// Who sees to a preparation.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SeenTo {
    /// A check: done where there is no finding of these codes.
    CheckedBy(Vec<FindingCode>),
    /// A person, who answers in their own words.
    Question(String),
    /// This program itself; the text says how.
    ByCutover(String),
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
    /// Where it comes from.
    #[serde(default)]
    pub source: Origin,
}
