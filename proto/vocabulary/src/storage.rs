//! What a storage is, what is in it, what was kept of it, and what a migration did to it.

mod identity;

pub use identity::{Driver, StorageIdentity};

use crate::{Digest, Elapsed, LedgerName, Subject, Timestamp, Version};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// The migrations that a ledger's table `migrations` records. Releases before 1.3 keep no such table.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Migrations(pub Option<Vec<u32>>);
impl Migrations {
    /// Whether there is none that those are not.
    pub fn are_among(&self, those: &Self) -> bool {
        self.0.iter().flatten().all(|number| those.0.iter().flatten().any(|other| other == number))
    }
}
impl fmt::Display for Migrations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(numbers) = &self.0 else { return f.write_str("no table of them") };
        f.write_str(&numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
    }
}

/// The parts of a ledger's digest. Each has a digest of its own, so that a difference is found without a second pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Section {
    /// Id, instant and reference of every transaction.
    Transactions,
    /// Every posting in its transaction's order.
    Postings,
    /// Sum of inputs and outputs per account and asset, from the postings.
    Balances,
    /// Metadata of transactions, the latest value per key.
    TransactionMetadata,
    /// Metadata of accounts, the latest value per key.
    AccountMetadata,
}

/// Rows and SHA-256 of one section in digest v1's canonical form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SectionDigest {
    /// How many rows went in.
    pub rows: u64,
    /// SHA-256 over the rows in canonical order and form.
    pub sha256: Digest,
}

/// What a ledger holds, independent of the layout of its tables. Equal digests mean equal content.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LedgerDigest {
    /// Version of the canonical form; digests of different versions never compare equal.
    pub version: u16,
    /// All five sections.
    pub sections: BTreeMap<Section, SectionDigest>,
}
impl LedgerDigest {
    /// One digest over all sections.
    pub fn root(&self) -> Digest {
        Digest::of_json(self)
    }
    /// Rows of one section; none if the section is missing.
    pub fn rows(&self, section: Section) -> u64 {
        self.sections.get(&section).map_or(0, |digest| digest.rows)
    }
}

/// A known way in which the ledger's own migration loses data, measured with the real binaries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LossClass {
    /// Metadata of an account that appears in no posting. Both drivers, from below 1.3.2 to 1.3.2 or later.
    AccountMetadataWithoutPosting,
    /// The first metadata entry ever written in a ledger (`meta_id` 0). SQLite, from below 1.3.2 to 1.3.2 or later.
    SqliteFirstMetadata,
}
impl LossClass {
    /// The name in data files, findings and on the command line.
    pub fn code(self) -> &'static str {
        match self {
            Self::AccountMetadataWithoutPosting => "account-metadata-without-posting",
            Self::SqliteFirstMetadata => "sqlite-first-metadata",
        }
    }
}
impl fmt::Display for LossClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// What a metadata entry belongs to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MetadataTarget {
    /// An account, by address.
    Account(String),
    /// A transaction, by id as the storage spells it.
    Transaction(String),
}
impl fmt::Display for MetadataTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Account(address) => write!(f, "account {}", crate::name::shown(address)),
            Self::Transaction(id) => write!(f, "transaction {}", crate::name::shown(id)),
        }
    }
}

/// One metadata entry that a migration would lose, or has lost.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LostRow {
    /// Which known class it belongs to.
    pub class: LossClass,
    /// What it belonged to.
    pub target: MetadataTarget,
    /// The key.
    pub key: String,
    /// The value as canonical JSON, so that it can be written again afterwards.
    pub value: String,
}

/// All that one ledger would lose: how many rows, a digest over all of them, and the rows up to a cap.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Losses {
    /// How many rows, listed or not.
    pub count: u64,
    /// SHA-256 over every row in canonical order; what an approval is bound to. None when nothing is lost.
    pub sha256: Option<Digest>,
    /// The rows, at most [`LISTED_ROWS`].
    pub rows: Vec<LostRow>,
    /// How many rows of each class, listed or not. A class that is not here loses nothing.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub by_class: BTreeMap<LossClass, u64>,
}

/// How many rows a survey, an outcome or a fact lists; all of them are in the recovery point's folder.
pub const LISTED_ROWS: usize = 200;

/// A difference between a ledger before and after that no approved loss explains.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Difference {
    /// In which section.
    pub section: Section,
    /// What identifies the row: a transaction id, an account and asset, a metadata target and key.
    pub row: String,
    /// The row's content before; none when it was added.
    pub before: Option<String>,
    /// The row's content after; none when it is missing.
    pub after: Option<String>,
    /// The known class that explains it, if any.
    pub class: Option<LossClass>,
}

/// A row that makes the ledger's migration fail.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BadRow {
    /// What it is: a reference of a transaction or a metadata key.
    pub what: String,
    /// The offending text.
    pub text: String,
}

/// One ledger as a look at the storage shows it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LedgerSurvey {
    /// Its name.
    pub name: LedgerName,
    /// Which migrations it records.
    pub migrations: Migrations,
    /// Whether its tables are those of 1.3.1 or earlier.
    pub legacy_layout: bool,
    /// How many transactions.
    pub transactions: u64,
    /// Bytes on disk, write-ahead log included.
    pub bytes: u64,
    /// What a migration to 1.3.2 or later would lose.
    pub losses: Losses,
    /// Rows that would make a migration fail, at most [`LISTED_ROWS`].
    pub bad_rows: Vec<BadRow>,
    /// Where the storage disagrees with itself (volumes with postings, log with transactions), at most [`LISTED_ROWS`].
    pub inconsistencies: Vec<String>,
    /// What depends on the ledger's tables and is not the ledger's. PostgreSQL only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dependents: Vec<Dependent>,
    /// Past damage by its kind, of all that `inconsistencies` lists and what is beyond its cap. Empty where nothing is wrong,
    /// and from an older agent.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub damage: BTreeMap<DamageKind, Damage>,
}

/// Ways in which a storage was damaged before anybody planned an upgrade, told by which tables disagree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DamageKind {
    /// `log` and `transactions` have the same transaction at different times. Measured: a migration to 1.8 or later in a
    /// session whose time zone is not UTC.
    Times,
    /// `log` has a transaction that `transactions` does not have. Measured: an instance of 1.3.2 to 1.7.8 beside one of 1.8
    /// or later.
    OnlyInLog,
    /// `volumes` and the sums over the postings differ. Measured: 1.10.6 and 1.10.7 after each start.
    Balances,
    /// Anything else that disagrees.
    Other,
}

/// How much of one kind there is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Damage {
    /// How many places.
    pub count: u64,
    /// The first of them, in words.
    pub some: Vec<String>,
}

/// One setting that sessions of a role on a database begin with.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SessionSetting {
    /// Its name, as PostgreSQL spells it.
    pub name: String,
    /// Its value, with its unit where it has one.
    pub value: String,
    /// Where it comes from, in PostgreSQL's word: `user`, `database`, `database user`, `client`, `configuration file`.
    pub source: String,
}

/// Who else has the storage open.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Opener {
    /// Process id on the storage's host.
    pub pid: u32,
    /// Its command's name.
    pub command: String,
    /// What it has open.
    pub file: String,
}

/// What a session on a PostgreSQL database is to an upgrade, the strongest first. Sessions of our own and declared
/// exceptions are never listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SessionKind {
    /// It is under the role that the ledger uses: an instance, or a command of the ledger, somewhere.
    Ledger,
    /// It holds a lock on a ledger's table, or has a prepared transaction: a migration would wait for it.
    LockHolder,
    /// Its role may write to a ledger's tables.
    Writer,
    /// Its role may only read, and it holds no lock.
    Reader,
}
impl fmt::Display for SessionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ledger => "the ledger's role",
            Self::LockHolder => "holds a lock",
            Self::Writer => "may write",
            Self::Reader => "may read only",
        })
    }
}

/// A session on a PostgreSQL database that is neither ours nor declared as an exception. Never with its query: that may
/// hold customers' data.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StorageSession {
    /// Process id of its backend on the database's host; `pg_terminate_backend` takes it. 0: a prepared transaction.
    pub pid: u32,
    /// Its role.
    pub role: String,
    /// From where: address and port, or that it is local.
    pub client: String,
    /// Its `application_name`; empty for the ledger's own.
    pub application: String,
    /// What it is to an upgrade.
    pub kind: SessionKind,
    /// Since when it is there, by the database's clock. Nothing from an older agent, or where the server keeps it from us.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
}
impl StorageSession {
    /// The statement that ends it, and loses what it has not committed: of a prepared transaction, its rollback.
    pub fn ending(&self) -> String {
        match self.pid {
            0 => format!("ROLLBACK PREPARED '{}';", self.application.replace('\'', "''")),
            pid => format!("SELECT pg_terminate_backend({pid});"),
        }
    }
}
impl fmt::Display for StorageSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pid, role, client, application, kind, since } = self;
        match pid {
            0 => write!(
                f,
                "prepared transaction {} of role {}",
                crate::name::shown(application),
                crate::name::shown(role)
            )?,
            pid => {
                write!(f, "session {pid} of role {} from {}", crate::name::shown(role), crate::name::shown(client))?;
                if !application.is_empty() {
                    write!(f, " ({})", crate::name::shown(application))?;
                }
            }
        }
        if let Some(since) = since {
            write!(f, " since {}", since.0.strftime("%Y-%m-%d %H:%M:%SZ"))?;
        }
        write!(f, ": {kind}")
    }
}

/// Something that is not the ledger's and depends on a ledger's tables: a migration drops it, or fails on it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Dependent {
    /// What it is: view, materialized view, foreign key, function.
    pub what: String,
    /// Its schema and name.
    pub name: String,
    /// Its owner.
    pub owner: String,
    /// The table of the ledger that it depends on, without schema.
    pub on: String,
    /// The SQL that makes it again.
    pub definition: String,
}

/// What keeps a storage from being upgraded here, that a person must change before.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Obstacle {
    /// Which kind.
    pub kind: ObstacleKind,
    /// What was seen.
    pub what: String,
    /// What to do, where possible as the very command.
    pub remedy: String,
    /// The first target for which it is one; none: it is one for each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Version>,
}

/// Kinds of obstacles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ObstacleKind {
    /// The role lacks a right.
    MissingGrant,
    /// A program is missing on the runner's host, or is too old for the server.
    MissingTool,
    /// The server is not one that may be changed: in recovery, or read-only.
    NotWritable,
    /// An extension that the target needs is neither there nor can be created.
    MissingExtension,
}

/// What is kept of one ledger, or of the system store, so that it can be restored.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecoveryItem {
    /// One ledger.
    Ledger(LedgerName),
    /// The system store. Where it did not exist, that it did not is what is kept.
    System,
}
impl RecoveryItem {
    /// What steps about it are about.
    pub fn subject(&self) -> Subject {
        match self {
            Self::Ledger(name) => Subject::Ledger(name.clone()),
            Self::System => Subject::Storage,
        }
    }
    /// What a step about this keeps, changes or restores; none for an instance.
    pub fn of(subject: &Subject) -> Option<Self> {
        match subject {
            Subject::Ledger(name) => Some(Self::Ledger(name.clone())),
            Subject::Storage => Some(Self::System),
            Subject::Instance(_) => None,
        }
    }
}
impl fmt::Display for RecoveryItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ledger(name) => write!(f, "ledger {name}"),
            Self::System => f.write_str("system store"),
        }
    }
}

/// What a rollback restores one item from. Counts only after it was shown to restore with equal digests.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RecoveryPoint {
    /// What it restores.
    pub item: RecoveryItem,
    /// Path of the copy on the runner's host; of its manifest beside it with `.manifest.json` appended.
    pub place: String,
    /// SHA-256 of the copy. None: the item did not exist when the point was taken.
    pub sha256: Option<Digest>,
    /// Bytes of the copy.
    pub bytes: u64,
    /// What the ledger held; none for the system store.
    pub digest: Option<LedgerDigest>,
    /// What the ledger must hold after a migration that loses exactly the rows in `losses`; none for the system store.
    pub expected: Option<LedgerDigest>,
    /// What the migration will lose, by the copy's own rows.
    pub losses: Losses,
    /// Which migrations the ledger recorded.
    pub migrations: Migrations,
    /// When it was taken.
    pub taken: Timestamp,
    /// How long a restore from it took when it was proved.
    pub restore_took: Elapsed,
    /// Where writing to the ledger stood when the point was taken, as the driver sees it; only ever compared for equality.
    /// None: the driver cannot tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<String>,
}
