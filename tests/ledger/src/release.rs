//! What differs between the releases of the ledger, as data. The rest of the crate asks a [`Release`] what it does and never
//! compares version numbers, so another release is one more entry here (and, where it needs one, a new variant of these types).

use crate::flags::{self, Flag};

/// The behaviour of one release.
#[derive(Debug)]
pub struct Release {
    /// `1.4.6`, as in `numary version`.
    pub version: &'static str,
    /// The day of its tag.
    pub date: &'static str,
    /// The commit that `numary version` prints; made up.
    pub commit: &'static str,
    /// Its flags, in groups.
    pub flags: &'static [&'static [Flag]],
    /// What it says and does about `numary.yaml`.
    pub config: ConfigFile,
    /// Its commands under `numary storage`.
    pub storage: StorageCommands,
    /// The numbers of the SQLite migrations it knows, in order.
    pub migrations: &'static [Migration],
    /// What it knows of migrating PostgreSQL storages.
    pub postgres: PostgresMigrations,
    /// The layout it reads and writes.
    pub layout: Layout,
    /// The journal it asks SQLite for; without one a new file gets SQLite's own default, the rollback journal.
    pub journal: Option<&'static str>,
    /// Whether it keeps a system store of ledgers.
    pub system_store: bool,
    /// Its answers over HTTP.
    pub answers: Answers,
    /// How it guards its routes with a name and a password.
    pub basic_auth: BasicAuth,
    /// Whether errors of the storage end in ` [UNKNOWN]`, as from 1.3.2 to 1.6.1.
    pub error_codes: bool,
    /// Whether it complains about telemetry without a key at every command.
    pub telemetry_note: Option<&'static str>,
}

/// What a release does about its configuration file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConfigFile {
    /// Writes its whole effective configuration when it meets a ledger it does not remember (disaster 5).
    pub persists: bool,
    /// Prints `loading config file: …` when it finds none.
    pub announces_missing: bool,
}

/// The commands under `numary storage`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StorageCommands {
    /// Up to 1.3.1: only a silent `init` of the ledger `default`.
    InitOnly,
    /// From 1.3.2 on: init, list, scan, upgrade, delete.
    Full,
}

/// One migration of SQLite storages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Migration {
    /// Number 0: the tables of 1.0 to 1.3.1.
    Rows,
    /// Number 1: `log`, `accounts`, `volumes`, triggers; moves postings and metadata into `transactions`.
    Log,
}

impl Migration {
    /// The number it is recorded under.
    #[must_use]
    pub fn number(self) -> &'static str {
        match self {
            Self::Rows => "0",
            Self::Log => "1",
        }
    }
}

/// The migrations of PostgreSQL storages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PostgresMigrations {
    /// It knows, and records, all numbers from 0 to this one.
    pub highest: u8,
    /// Where migration 2 creates a function that all its ledgers share, if it does.
    pub meta_compare: MetaCompare,
    /// How it tells which statement failed.
    pub failure: Failure,
    /// How it writes when a migration was done.
    pub dates: DateText,
}

impl PostgresMigrations {
    /// Those of 1.3.0 and 1.3.1.
    pub(crate) const ROWS: Self =
        Self { highest: 0, meta_compare: MetaCompare::InLedger, failure: Failure::NamesStatement, dates: DateText::Go };
}

/// Where `meta_compare(jsonb, boolean, …)` is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetaCompare {
    /// 1.4.x: in `public`, where ledgers that migrate at once collide (disaster 8).
    WithoutSchema,
    /// In the ledger's schema.
    InLedger,
}

/// How a failed statement of a migration is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// `failed to run statement 11: …`
    NamesStatement,
    /// `statement: SQL: failed to run statement 11: …`, in one line of some 3 KB.
    ShowsStatement,
}

/// How a time is written where it is text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DateText {
    /// `2026-11-23 14:56:54.37 +0000 UTC m=+0.04`.
    Go,
    /// `2026-11-23T14:56:54Z`.
    Rfc3339,
}

/// The layout a release reads and writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Up to 1.3.1: one row a posting, one row a metadata entry, hashes on transactions.
    Rows,
    /// 1.3.2 to 1.7.8: everything goes through `log`, triggers do the rest.
    Log,
}

/// What differs in HTTP answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answers {
    /// Which ledgers `/_info` names.
    pub info: InfoLedgers,
    /// Transactions carry their hash.
    pub hash: bool,
    /// `conflict error on reference 'r1'`, with the prefix `processing tx 0: `; later without both.
    pub conflict_names_reference: bool,
    /// A batch with a conflict answers 400 with an error for each item; later 409.
    pub batch_errors_per_item: bool,
    /// An empty batch answers 200 with an empty list; later 500.
    pub empty_batch_is_fine: bool,
    /// A body that cannot be read counts as one without postings (400); later 500.
    pub bad_body_is_validation: bool,
    /// An amount that cannot be read is stored as 0; later it is a bad body.
    pub bad_amount_is_zero: bool,
    /// An unknown account answers with its own address and empty metadata; later with an empty address.
    pub unknown_account_echoes: bool,
    /// `accounts` in `/stats` counts those that have metadata alone.
    pub stats_count_metadata_accounts: bool,
    /// `/_health` says `{"sqlite":"OK"}` on SQLite, and not `{}`; on PostgreSQL it always names its driver.
    pub sqlite_in_health: bool,
    /// `page_size` of a list says how many rows there are, not how many there could be.
    pub page_size_is_row_count: bool,
    /// HEAD is answered.
    pub head: bool,
    /// The key under which a revert is noted on the new transaction holds the reverted id as text; up to 1.3.1 the last id as a
    /// number, and nothing is noted on the reverted one.
    pub revert_marks_both: bool,
}

/// Which ledgers `/_info` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InfoLedgers {
    /// The configured list.
    Configured,
    /// What the system store has registered.
    Registered,
}

/// How routes are guarded with a name and a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BasicAuth {
    /// `server.http.basic_auth`; 403 on everything.
    EverythingForbidden,
    /// `auth-basic-enabled` and `auth-basic-credentials`; 401 on the routes of ledgers.
    LedgersUnauthorised,
}

const V1_3_1: Release = Release {
    version: "1.3.1",
    date: "2022-03-28",
    commit: "0d131c1d131c1d131c1d131c1d131c1d131c1d13",
    flags: &[flags::CORE, flags::REMEMBERED_LEDGERS, flags::LOCKS_AND_PUBLISHERS],
    config: ConfigFile { persists: true, announces_missing: false },
    storage: StorageCommands::InitOnly,
    migrations: &[Migration::Rows],
    postgres: PostgresMigrations::ROWS,
    layout: Layout::Rows,
    journal: Some("WAL"),
    system_store: false,
    answers: Answers {
        info: InfoLedgers::Configured,
        hash: true,
        conflict_names_reference: true,
        batch_errors_per_item: true,
        empty_batch_is_fine: true,
        bad_body_is_validation: true,
        bad_amount_is_zero: true,
        unknown_account_echoes: true,
        stats_count_metadata_accounts: false,
        sqlite_in_health: true,
        page_size_is_row_count: false,
        head: false,
        revert_marks_both: false,
    },
    basic_auth: BasicAuth::EverythingForbidden,
    error_codes: false,
    telemetry_note: None,
};

const V1_4_6: Release = Release {
    version: "1.4.6",
    date: "2022-06-27",
    commit: "0d146c0d146c0d146c0d146c0d146c0d146c0d14",
    flags: &[flags::CORE, flags::LOCKS_AND_PUBLISHERS, flags::AUTH_AND_SEGMENT, flags::BEARER_SCOPES],
    config: ConfigFile { persists: false, announces_missing: true },
    storage: StorageCommands::Full,
    migrations: &[Migration::Rows, Migration::Log],
    postgres: PostgresMigrations {
        highest: 6,
        meta_compare: MetaCompare::WithoutSchema,
        failure: Failure::NamesStatement,
        dates: DateText::Go,
    },
    layout: Layout::Log,
    journal: None,
    system_store: true,
    answers: Answers {
        info: InfoLedgers::Registered,
        hash: false,
        conflict_names_reference: false,
        batch_errors_per_item: false,
        empty_batch_is_fine: false,
        bad_body_is_validation: false,
        bad_amount_is_zero: false,
        unknown_account_echoes: false,
        stats_count_metadata_accounts: true,
        sqlite_in_health: false,
        page_size_is_row_count: false,
        head: true,
        revert_marks_both: true,
    },
    basic_auth: BasicAuth::LedgersUnauthorised,
    error_codes: true,
    telemetry_note: Some("Segment enabled but no write key provided"),
};

/// A back-port of 1.4 that came after 1.4.6's migrations: it knows one more, and its ledgers share nothing.
const V1_3_3: Release = Release {
    version: "1.3.3",
    date: "2022-06-27",
    commit: "0d133c0d133c0d133c0d133c0d133c0d133c0d13",
    postgres: PostgresMigrations {
        highest: 7,
        meta_compare: MetaCompare::InLedger,
        failure: Failure::ShowsStatement,
        dates: DateText::Rfc3339,
    },
    answers: Answers { page_size_is_row_count: true, ..V1_4_6.answers },
    telemetry_note: None,
    ..V1_4_6
};

/// What the binary is without a trailer: the newest release it knows, under another name.
const DEVELOP: Release = Release { version: "develop", date: "-", commit: "-", ..V1_4_6 };

/// Every release that the simulator can be.
pub const RELEASES: &[Release] = &[V1_3_1, V1_3_3, V1_4_6];

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
    pub fn all_flags(&self) -> Vec<&'static Flag> {
        let mut all: Vec<&'static Flag> = self.flags.iter().flat_map(|group| group.iter()).collect();
        all.sort_by_key(|flag| flag.name);
        all
    }

    /// The flag of that name.
    pub fn flag(&self, name: &str) -> Option<&'static Flag> {
        self.flags.iter().flat_map(|group| group.iter()).find(|flag| flag.name == name)
    }
}
