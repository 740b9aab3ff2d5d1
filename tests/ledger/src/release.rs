//! What differs between the releases of the ledger. The rest of the crate asks a [`Release`] what it does and never compares version
//! numbers: which release does what is data, in `releases.toml` beside this crate's manifest, so another release is one more entry
//! there (and, where it does something new, a new variant of these types).

use crate::flags::{Flag, Flags};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::LazyLock;
use toml::{Table, Value};

/// The behaviour of one release.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// `1.4.6`, as in `numary version`.
    pub version: String,
    /// The day of its tag.
    pub date: String,
    /// The commit that `numary version` prints; made up from the version.
    #[serde(skip)]
    pub commit: String,
    /// Its groups of flags, by name.
    #[serde(rename = "flags")]
    groups: Vec<String>,
    /// Its flags, by name.
    #[serde(skip)]
    flags: Vec<Flag>,
    /// What it says and does about `numary.yaml`.
    pub config: ConfigFile,
    /// Its commands.
    pub commands: Commands,
    /// Where its logger writes.
    pub logger: Logger,
    /// What it says where usage data is to be sent and no key is given.
    pub telemetry: Telemetry,
    /// How it tells what failed in a storage.
    pub errors: Errors,
    /// Whether it keeps a table `migrations`; without one it creates what is missing at each start.
    pub records_migrations: bool,
    /// What it does with files.
    pub sqlite: Sqlite,
    /// What it does with schemas.
    pub postgres: Postgres,
    /// How it reads and writes a ledger.
    pub layout: Layout,
    /// Whether transactions carry the volumes before and after them.
    pub commit_volumes: bool,
    /// How the list of accounts is narrowed by an address.
    pub address_filter: AddressFilter,
    /// What it keeps in memory between requests.
    pub memory: Memory,
    /// Its store of ledgers.
    pub system_store: SystemTables,
    /// Its answers over HTTP.
    pub answers: Answers,
    /// How it guards its routes with a name and a password.
    pub basic_auth: BasicAuth,
    /// What it does when its port is in use.
    pub port_in_use: PortInUse,
}

/// What a release does about its configuration file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfigFile {
    /// Writes its whole effective configuration when it meets a ledger it does not remember (disaster 5).
    pub persists: bool,
    /// Prints `loading config file: …` when it finds none.
    pub announces_missing: bool,
    /// What becomes of the request when that file cannot be written.
    pub unwritable: Unwritable,
}

/// What becomes of a committed request when the configuration cannot be written after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unwritable {
    /// It is answered with 500.
    #[serde(rename = "answers-500")]
    AnswersFailure,
    /// A line in the log.
    Logs,
}

/// The command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Commands {
    /// Its commands under `numary storage`.
    pub storage: StorageCommands,
    /// What `storage delete` does.
    pub delete: Delete,
    /// What `storage init` says of a ledger that is there.
    pub repeated_init: RepeatedInit,
    /// How long every start and every storage command sleeps.
    pub sleep_millis: u64,
    /// Warns, on standard error, of SQLite.
    pub sqlite_deprecated: bool,
}

/// The commands under `numary storage`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StorageCommands {
    /// Up to 1.3.1: only a silent `init` of the ledger `default`.
    InitOnly,
    /// From 1.3.2 on: init, list, scan, upgrade, delete.
    Full,
}

/// What `storage delete` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Delete {
    /// Fails for a schema that is not empty, and for a name that does not exist.
    KeepsWhatOthersNeed,
    /// As before, but a name that does not exist counts as deleted.
    ForgivesWhatIsMissing,
    /// With all that is in it.
    Cascades,
}

/// What `storage init` says of a ledger that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RepeatedInit {
    /// `Already initialized!`
    AlreadyInitialized,
    /// ` OK`, as for a new one.
    Ok,
}

/// Where the logger writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Logger {
    /// Up to 1.9.6.
    Stderr,
    /// From 1.10.0 on, between the lines that a command prints.
    Stdout,
}

/// What is said where usage data is to be sent and no key is given.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Telemetry {
    /// The setting that turns it on.
    pub enabled: String,
    /// The setting that holds the key.
    pub key: String,
    /// The words; empty for none.
    pub note: String,
    /// Through the logger, and not as a plain line on standard error.
    pub logged: bool,
}

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

/// What differs in HTTP answers.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answers {
    /// Which ledgers `/_info` names.
    pub info: InfoLedgers,
    /// The routes of health.
    pub health: Vec<String>,
    /// Health says `{"sqlite":"OK"}` on SQLite, and not `{}`; on PostgreSQL it always names its driver.
    pub sqlite_in_health: bool,
    /// The keys of a transaction, in their order.
    pub transaction: Vec<TransactionKey>,
    /// The keys of an account, in their order.
    pub account: Vec<AccountKey>,
    /// The keys of a list, in their order.
    pub cursor: Vec<CursorKey>,
    /// The parameters that say how many rows a page has.
    pub page_size_parameters: Vec<String>,
    /// `page_size` of a list says how many rows there are, not how many there could be.
    pub page_size_is_row_count: bool,
    /// The keys of an error, in their order.
    pub error: Vec<ErrorKey>,
    /// `processing tx 0: conflict error on reference 'r1'`; later without the prefix and the reference.
    pub conflict_names_reference: bool,
    /// `processing tx 0: balance.insufficient.USD/2`; later without the prefix.
    pub missing_funds_names_index: bool,
    /// A batch with a conflict answers 400 with an error for each item; later 409.
    pub batch_errors_per_item: bool,
    /// The status of an empty batch.
    pub empty_batch: u16,
    /// What a body is answered with that cannot be read.
    pub bad_body: BadBody,
    /// An amount that cannot be read is stored as 0; later it is a bad body.
    pub bad_amount_is_zero: bool,
    /// What an account is answered with of which nothing is known.
    pub unknown_account: UnknownAccount,
    /// 404 for a transaction has a body.
    pub unknown_transaction_has_body: bool,
    /// HEAD is answered.
    pub head: bool,
    /// The status of a revert.
    pub revert: u16,
    /// What the second revert of a transaction is answered with.
    pub second_revert: SecondRevert,
    /// The key under which a revert is noted on the new transaction holds the reverted id as text; up to 1.3.1 the last id as a
    /// number, and nothing is noted on the reverted one.
    pub revert_marks_both: bool,
    /// The status of a failure of the storage.
    pub storage_error: u16,
    /// The status of metadata that another instance's write stands in the way of.
    pub metadata_conflict: u16,
    /// `/balances` and `/aggregate/balances` are answered.
    pub balances: bool,
    /// `/{ledger}/_info` and `/{ledger}/logs` are answered.
    pub ledger_info_and_logs: bool,
    /// `Idempotency-Key` is minded.
    pub idempotency: bool,
}

/// Which ledgers `/_info` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InfoLedgers {
    /// The configured list.
    Configured,
    /// What the system store has registered.
    Registered,
}

/// A key of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "each is the key of its name")]
pub enum TransactionKey {
    Postings,
    Reference,
    Metadata,
    Txid,
    Timestamp,
    Hash,
    PreCommitVolumes,
    PostCommitVolumes,
}

/// A key of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "each is the key of its name")]
pub enum AccountKey {
    Address,
    Balances,
    Volumes,
    Metadata,
}

/// A key of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[expect(missing_docs, reason = "each is the key of its name")]
pub enum CursorKey {
    #[serde(rename = "page_size")]
    PageSizeSnake,
    #[serde(rename = "pageSize")]
    PageSizeCamel,
    #[serde(rename = "has_more")]
    HasMoreSnake,
    #[serde(rename = "hasMore")]
    HasMoreCamel,
    #[serde(rename = "total")]
    Total,
    #[serde(rename = "remaining_results")]
    RemainingResults,
    #[serde(rename = "previous")]
    Previous,
    #[serde(rename = "next")]
    Next,
    #[serde(rename = "data")]
    Data,
}

/// A key of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[expect(missing_docs, reason = "each is the key of its name")]
pub enum ErrorKey {
    #[serde(rename = "errorCode")]
    CodeCamel,
    #[serde(rename = "errorMessage")]
    MessageCamel,
    #[serde(rename = "error_code")]
    CodeSnake,
    #[serde(rename = "error_message")]
    MessageSnake,
}

/// What a body is answered with that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BadBody {
    /// 400, as a body without postings.
    Validation,
    /// 500.
    Fails,
}

/// What an account is answered with of which nothing is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UnknownAccount {
    /// Its address and no metadata.
    Echoed,
    /// No address, and `null` for its metadata.
    Empty,
    /// Its address, and everything empty.
    EmptyMaps,
}

/// What the second revert of a transaction is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SecondRevert {
    /// Whatever the funds allow.
    InsufficientFund,
    /// `already reverted`.
    AlreadyReverted,
}

/// How routes are guarded with a name and a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BasicAuth {
    /// `server.http.basic_auth`; 403 on everything.
    EverythingForbidden,
    /// `auth-basic-enabled` and `auth-basic-credentials`; 401 on the routes of ledgers.
    LedgersUnauthorised,
}

/// What a server does when its port is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PortInUse {
    /// Ends 1 without a word.
    Silent,
    /// Neither serves nor ends until SIGTERM, then ends 1.
    Hangs,
    /// Ends 1 and says why.
    Told,
}

/// The data.
const TEXT: &str = include_str!("../releases.toml");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    flags: Flags,
    release: Vec<Table>,
}

/// Every release that the simulator can be, oldest number first.
#[expect(clippy::panic, reason = "the data is part of the program, and a test reads it")]
pub static RELEASES: LazyLock<Vec<Release>> =
    LazyLock::new(|| read(TEXT).unwrap_or_else(|why| panic!("cannot read releases.toml: {why}")));

/// What the binary is without a trailer: 1.4.6 under another name.
static DEVELOP: LazyLock<Release> = LazyLock::new(|| {
    let like = RELEASES.iter().find(|release| release.version == "1.4.6").unwrap_or(&RELEASES[0]);
    Release { version: "develop".to_owned(), date: "-".to_owned(), commit: "-".to_owned(), ..like.clone() }
});

fn read(text: &str) -> Result<Vec<Release>, String> {
    let file: File = toml::from_str(text).map_err(|error| error.to_string())?;
    let mut whole: BTreeMap<String, Table> = BTreeMap::new();
    let mut releases = Vec::new();
    for mut own in file.release {
        let version = own.get("version").and_then(Value::as_str).unwrap_or_default().to_owned();
        let said = |why: String| format!("release {version:?}: {why}");
        if let Some(like) = own.remove("like") {
            let like = like.as_str().unwrap_or_default();
            let base =
                whole.get(like).ok_or_else(|| said(format!("is like {like:?}, which does not stand above it")))?;
            own = over(base.clone(), own);
        }
        whole.insert(version.clone(), own.clone());
        let mut release: Release = own.try_into().map_err(|error| said(error.to_string()))?;
        release.commit = commit(&release.version);
        for group in &release.groups {
            let flags = file.flags.get(group).ok_or_else(|| said(format!("has no group of flags {group:?}")))?;
            release.flags.extend(flags.iter().cloned());
        }
        release.flags.sort_by(|one, other| one.name.cmp(&other.name));
        releases.push(release);
    }
    releases.sort_by_key(|release| numbers(&release.version));
    Ok(releases)
}

/// What a release says goes before what the one says that it is like, key by key.
fn over(mut base: Table, own: Table) -> Table {
    for (key, value) in own {
        let merged = match (base.remove(&key), value) {
            (Some(Value::Table(base)), Value::Table(own)) => Value::Table(over(base, own)),
            (_, own) => own,
        };
        base.insert(key, merged);
    }
    base
}

fn numbers(version: &str) -> Vec<u32> {
    version.split('.').filter_map(|part| part.parse().ok()).collect()
}

/// Forty digits that tell their version.
fn commit(version: &str) -> String {
    let part = format!("0d{}c", version.replace('.', ""));
    part.repeat(40).chars().take(40).collect()
}

impl Release {
    /// The release of that version; none if the simulator does not know it.
    #[must_use]
    pub fn find(version: &str) -> Option<&'static Self> {
        RELEASES.iter().find(|release| release.version == version)
    }

    /// What a binary without a trailer is.
    #[must_use]
    pub fn develop() -> &'static Self {
        &DEVELOP
    }

    /// All its flags, by name.
    #[must_use]
    pub fn all_flags(&self) -> &[Flag] {
        &self.flags
    }

    /// The flag of that name.
    #[must_use]
    pub fn flag(&self, name: &str) -> Option<&Flag> {
        self.flags.iter().find(|flag| flag.name == name)
    }

    /// Whether it keeps a store of ledgers, which it opens when it starts.
    #[must_use]
    pub fn has_system_store(&self) -> bool {
        match self.system_store {
            SystemTables::None => false,
            SystemTables::Ledgers | SystemTables::LedgersAndConfiguration => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_says_only_what_differs_from_the_one_it_is_like() {
        let (old, new) = (Release::find("1.3.3").unwrap(), Release::find("1.4.6").unwrap());
        assert_eq!(old.answers.info, new.answers.info);
        assert_ne!(old.postgres.migrations, new.postgres.migrations);
        assert_eq!(old.flags.len(), new.flags.len());
        assert_eq!(RELEASES.len(), 64);
    }

    #[test]
    fn a_release_that_is_like_none_above_it_is_refused() {
        let error = read("flags = {}\n[[release]]\nversion = \"2.0.0\"\nlike = \"1.0.0\"\n").unwrap_err();
        assert!(error.contains("does not stand above it"), "{error}");
    }
}
