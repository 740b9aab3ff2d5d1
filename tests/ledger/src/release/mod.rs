//! What differs between the releases of the ledger. The rest of the crate asks a [`Release`] what it does and never compares version
//! numbers: which release does what is data, in `releases.toml` beside this crate's manifest, so another release is one more entry
//! there (and, where it does something new, a new variant of these types).

mod answers;
mod program;
mod storages;

pub use answers::{
    AccountKey, Answers, BadBody, CursorKey, ErrorKey, InfoLedgers, SecondRevert, TransactionKey, UnknownAccount,
};
pub use program::{
    BasicAuth, Commands, ConfigFile, Delete, Logger, PortInUse, RepeatedInit, StorageCommands, Telemetry, Unwritable,
};
pub use storages::{
    AddressFilter, DateText, Errors, Failure, KeepsLast, Layout, Memory, Migration, Postgres, Sqlite, SystemTables,
};

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

/// The data.
const TEXT: &str = include_str!("../../releases.toml");

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

/// A release that never was, for tests of what is done about one that nobody knows: 1.5.0 under another name.
static UNHEARD_OF: LazyLock<Release> = LazyLock::new(|| {
    let like = RELEASES.iter().find(|release| release.version == "1.5.0").unwrap_or(&RELEASES[0]);
    let version = "1.5.90".to_owned();
    Release { commit: commit(&version), version, date: "-".to_owned(), ..like.clone() }
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
        RELEASES.iter().chain([&*UNHEARD_OF]).find(|release| release.version == version)
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
