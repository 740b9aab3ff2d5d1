//! What differs in the command line and the process.

use serde::Deserialize;

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

/// How routes are guarded with a name and a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BasicAuth {
    /// `server.http.basic_auth`; 403 on everything.
    EverythingForbidden,
    /// `auth-basic-enabled` and `auth-basic-credentials`; 401 on the routes of ledgers.
    LedgersUnauthorised,
}
