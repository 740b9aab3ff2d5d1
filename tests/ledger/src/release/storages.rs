//! What differs in what is read from storages and written into them.

use serde::Deserialize;

/// How failures of the storage are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Errors {
    /// A failed statement of a migration.
    pub migration: Failure,
    /// Messages end in ` [UNKNOWN]` or ` [CONSTRAINT_FAILED]`, and a failed migration is logged first.
    pub codes: bool,
    /// The table `migrations` is created before the migration's transaction, so that a failed one leaves it behind.
    pub table_outside: bool,
}

/// How a failed statement of a migration is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Failure {
    /// `failed to run statement 11: …`
    NamesStatement,
    /// `statement: SQL: failed to run statement 11: …`, in one line of some 3 KB.
    ShowsStatement,
    /// `ERROR: … (SQLSTATE …)` alone.
    Plain,
}

/// What a release does with files.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sqlite {
    /// What each migration does, from number 0 on.
    pub migrations: Vec<Migration>,
    /// The journal it asks for; empty: a new file gets SQLite's own default, the rollback journal.
    pub journal: String,
    /// Ledger files stay open between requests.
    pub files_stay_open: bool,
    /// From this number on each migration of a file with a rollback journal that outgrew SQLite's cache costs five seconds.
    pub slow_from: usize,
}

/// What a release does with schemas.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Postgres {
    /// What each migration does, from number 0 on.
    pub migrations: Vec<Migration>,
    /// How it writes when a migration was done.
    pub dates: DateText,
    /// The extensions its system store creates in `public`.
    pub extensions: Vec<String>,
}

/// What one migration does. Those of which nothing was measured outside do nothing here; their numbers are recorded all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Migration {
    /// Nothing that shows.
    Nothing,
    /// The tables of 1.0 to 1.3.1.
    Rows,
    /// `log`, `accounts`, `volumes`, triggers; moves postings and metadata into `transactions`.
    Log,
    /// A function that all ledgers of a database share, where those that migrate at once collide (disaster 8).
    MetaCompareInPublic,
    /// The same function in the ledger's schema.
    MetaCompare,
    /// Drops the tables of 1.3.1, and what others built on `postings` (disaster 6).
    DropRows,
    /// The sequence `log_seq`.
    Sequence,
    /// Columns for the volumes before and after each transaction.
    CommitVolumes,
    /// Fills them for the transactions that are there.
    FillCommitVolumes,
    /// The new `postings`, filled by the triggers; 1.7.5 to 1.7.8 alone.
    PostingsByTrigger,
    /// No triggers any more: the release writes the tables itself.
    WithoutTriggers,
    /// Volumes of any size.
    WideVolumes,
    /// Times that are no text; on PostgreSQL read in the session's time zone (disaster 9), on SQLite in a new table.
    Timestamps,
    /// The new `postings` and its indices, which must not be there (disaster 12).
    Postings,
    /// The same, which may be there: its rows are written once more.
    PostingsIfMissing,
    /// The table `idempotency`.
    Idempotency,
    /// Addresses in parts, for the filters.
    AddressSegments,
}

/// How a time is written where it is text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DateText {
    /// `2026-11-23 14:56:54.37 +0000 UTC m=+0.04`.
    Go,
    /// `2026-11-23T14:56:54Z`.
    Rfc3339,
}

/// How a release reads and writes a ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    /// Up to 1.3.1: one row a posting, one row a metadata entry, hashes on transactions.
    Rows,
    /// 1.3.2 to 1.7.8: everything goes through `log`, triggers do the rest.
    Log,
    /// From 1.8.0 on: the release writes every table itself.
    Direct,
}

/// How the list of accounts is narrowed by an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AddressFilter {
    /// Not at all.
    None,
    /// By the address.
    Pattern,
    /// On PostgreSQL by a column that only releases with this filter fill, so accounts first used through another one are missed.
    Segments,
}

/// What is kept in memory between requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    /// The last transaction and the last entry of the log.
    pub last: KeepsLast,
    /// Volumes are counted from zero since the process began (disaster 11).
    pub volumes_from_zero: bool,
}

/// Whether the last transaction is kept in memory, which makes two instances conflict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeepsLast {
    /// Read anew for each write.
    Never,
    /// 1.10.6 to 1.10.10.
    Always,
    /// From 1.10.11 on: not where `lock-strategy` is `redis`.
    UnlessLockedByRedis,
}

/// The store of which ledgers are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SystemTables {
    /// Up to 1.3.1.
    None,
    /// `ledgers`.
    Ledgers,
    /// `ledgers` and `configuration`.
    LedgersAndConfiguration,
}
