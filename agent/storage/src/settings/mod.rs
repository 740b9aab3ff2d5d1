//! Which storage a service really uses, from its arguments, environment, files and home, by the ledger's own precedence.
//!
//! A command that runs with one variable less than the service migrates another storage and says "migrated". So every value
//! is resolved here once, with where it came from, and ledger commands get each storage key explicitly.

pub mod file;
pub mod flags;
pub mod home;

use crate::StorageError;
use crate::sqlite::SqlitePlace;
use cutover_vocabulary::Digest;
use cutover_vocabulary::storage::Driver;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// A setting of the ledger that says where its data is or how it is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// `storage.driver`
    Driver,
    /// `storage.dir`
    Directory,
    /// `storage.sqlite.db_name`
    DbName,
    /// `storage.postgres.conn_string`
    ConnString,
    /// `server.http.bind_address`
    BindAddress,
    /// `lock-strategy`
    LockStrategy,
    /// `auth-basic-credentials`, from 1.3.2 on.
    BasicCredentials,
    /// `server.http.basic_auth`, up to 1.3.1.
    BasicAuth,
}

impl Key {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Driver,
        Self::Directory,
        Self::DbName,
        Self::ConnString,
        Self::BindAddress,
        Self::LockStrategy,
        Self::BasicCredentials,
        Self::BasicAuth,
    ];

    /// The name in the file, and of the flag behind `--`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Driver => "storage.driver",
            Self::Directory => "storage.dir",
            Self::DbName => "storage.sqlite.db_name",
            Self::ConnString => "storage.postgres.conn_string",
            Self::BindAddress => "server.http.bind_address",
            Self::LockStrategy => "lock-strategy",
            Self::BasicCredentials => "auth-basic-credentials",
            Self::BasicAuth => "server.http.basic_auth",
        }
    }

    /// The environment variable: prefix `NUMARY_`, `.` and `-` turned into `_`.
    pub fn variable(self) -> String {
        format!("NUMARY_{}", self.name().replace(['.', '-'], "_").to_ascii_uppercase())
    }

    fn default(self, home: &Path) -> String {
        match self {
            Self::Driver => "sqlite".to_owned(),
            Self::Directory => home.join(".numary/data").to_string_lossy().into_owned(),
            Self::DbName => "numary".to_owned(),
            Self::ConnString => "postgresql://localhost/postgres".to_owned(),
            Self::BindAddress => "localhost:3068".to_owned(),
            Self::LockStrategy => "memory".to_owned(),
            Self::BasicCredentials | Self::BasicAuth => String::new(),
        }
    }
}
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Where a value came from, the strongest first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// A flag of the service's command line; of a repeated one the last.
    Flag,
    /// A variable of its environment.
    Variable(String),
    /// A file.
    File(PathBuf),
    /// Nobody set it.
    Default,
}
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("command line"),
            Self::Variable(name) => write!(f, "environment variable {name}"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// What is known of a service, as its manager would start it.
#[derive(Debug, Clone, Copy)]
pub struct Service<'a> {
    /// Its arguments, without the program's name.
    pub args: &'a [SecretString],
    /// Its whole environment.
    pub environment: &'a BTreeMap<String, SecretString>,
    /// The home of its user by the user database; taken where `HOME` is empty or unset.
    pub user_home: Option<&'a Path>,
    /// Where it runs; a relative `storage.dir` begins there.
    pub working_directory: &'a Path,
    /// The folder of the second file: `/etc/numary`.
    pub system_folder: &'a Path,
}

/// One value with its origin. Never printed: connection strings hold passwords.
#[derive(Clone)]
struct Value {
    text: SecretString,
    from: Origin,
}

/// Every setting with where it came from. Debug and Display show origins only.
#[derive(Clone)]
pub struct Resolved {
    values: BTreeMap<Key, Value>,
    home: PathBuf,
    working_directory: PathBuf,
    /// The file that was found, and why the ledger ignores it if it does.
    pub file: Option<(PathBuf, Option<String>)>,
    /// Keys that lead to the storage, of which the file has another value than the service.
    overridden: Vec<Key>,
    /// Whether the file has a connection string with a password.
    password_in_file: bool,
    digest: Digest,
}

/// Resolves a service's settings. Reads files, changes nothing.
///
/// # Errors
/// [`StorageError::Settings`] when there is no home: neither `HOME` nor the user database names one.
/// [`StorageError::Io`] when a file is there and cannot be read: the service itself may be able to, so guessing is no way.
pub fn resolve(service: Service<'_>) -> Result<Resolved, StorageError> {
    let variable =
        |name: &str| service.environment.get(name).filter(|value| !value.expose_secret().is_empty()).cloned();
    let home = match (variable("HOME"), service.user_home) {
        (Some(home), _) => PathBuf::from(home.expose_secret()),
        (None, Some(home)) => home.to_owned(),
        (None, None) => {
            return Err(StorageError::Settings(
                "HOME is empty and the user database names no home for its user; set HOME in the service's settings"
                    .to_owned(),
            ));
        }
    };
    let found = file::find(&[home.join(".numary"), service.system_folder.to_owned()])?;
    let mut values = BTreeMap::new();
    for key in Key::ALL {
        let from_file =
            || found.as_ref().and_then(|file| Some((file.get(key.name())?, Origin::File(file.path.clone()))));
        let (text, from) = if let Some(text) = flags::last(service.args, key.name()) {
            (text, Origin::Flag)
        } else if let Some(text) = variable(&key.variable()) {
            (text, Origin::Variable(key.variable()))
        } else if let Some(from_file) = from_file() {
            from_file
        } else {
            (SecretString::from(key.default(&home)), Origin::Default)
        };
        values.insert(key, Value { text, from });
    }
    let digest = digest(&service, &values);
    let differs = |key: &Key| {
        let said = found.as_ref().and_then(|file| file.get(key.name()));
        let used = values.get(key).map(|value| value.text.expose_secret());
        said.is_some_and(|said| used.is_some_and(|used| said.expose_secret() != used))
    };
    let overridden = LEADING.into_iter().filter(differs).collect();
    Ok(Resolved {
        values,
        home,
        working_directory: service.working_directory.to_owned(),
        overridden,
        password_in_file: found
            .as_ref()
            .and_then(|file| file.get(Key::ConnString.name()))
            .is_some_and(|text| has_password(text.expose_secret())),
        file: found.map(|file| (file.path, file.ignored)),
        digest,
    })
}

/// Whether a connection string holds a password: `postgres://user:password@…`, or `password=…` in either form.
fn has_password(text: &str) -> bool {
    let user_info = text.split_once("://").and_then(|(_, rest)| rest.split_once('@')).map(|(user_info, _)| user_info);
    user_info.is_some_and(|user_info| user_info.contains(':')) || text.contains("password=")
}

/// Keys that lead to the storage.
const LEADING: [Key; 4] = [Key::Driver, Key::Directory, Key::DbName, Key::ConnString];

impl Resolved {
    fn text(&self, key: Key) -> &str {
        self.values.get(&key).map_or("", |value| value.text.expose_secret())
    }

    /// Where a value came from.
    pub fn origin(&self, key: Key) -> &Origin {
        self.values.get(&key).map_or(&Origin::Default, |value| &value.from)
    }

    /// Keys that lead to the storage, of which the file has another value than the service, each with where the service has
    /// its value from. A command that lacks what the service has works by the file.
    pub fn overridden(&self) -> impl Iterator<Item = (Key, &Origin)> {
        self.overridden.iter().map(|key| (*key, self.origin(*key)))
    }

    /// Whether the file that was found has a connection string with a password.
    pub fn password_in_file(&self) -> bool {
        self.password_in_file
    }

    /// Which kind of storage.
    pub fn driver(&self) -> Result<Driver, StorageError> {
        match self.text(Key::Driver) {
            "sqlite" => Ok(Driver::Sqlite),
            "postgres" => Ok(Driver::Postgres),
            other => Err(StorageError::Settings(format!(
                "storage.driver is {other:?} by the {}; the ledger knows sqlite and postgres",
                self.origin(Key::Driver)
            ))),
        }
    }

    /// The data directory, absolute; also used with PostgreSQL: every ledger command creates it.
    pub fn directory(&self) -> Result<PathBuf, StorageError> {
        let text = self.text(Key::Directory);
        if text.is_empty() {
            return Err(StorageError::Settings(format!("storage.dir is empty by the {}", self.origin(Key::Directory))));
        }
        Ok(self.working_directory.join(text))
    }

    /// The first part of SQLite files' names.
    pub fn db_name(&self) -> &str {
        self.text(Key::DbName)
    }

    /// PostgreSQL's connection string: a secret.
    pub fn conn_string(&self) -> SecretString {
        SecretString::from(self.text(Key::ConnString))
    }

    /// Where the service listens.
    pub fn bind_address(&self) -> &str {
        self.text(Key::BindAddress)
    }

    /// `NAME:PASSWORD`s with which the service may let us in, to be tried in this order: of each of the two settings the first
    /// one. A service that asks for none passes over them.
    pub fn credentials(&self) -> Vec<SecretString> {
        // The ledger cuts a variable at white space, a flag and a file at commas (measured).
        let first = |key: Key| {
            let cut = |letter: char| match self.origin(key) {
                Origin::Variable(_) => letter.is_whitespace(),
                Origin::Flag | Origin::File(_) | Origin::Default => letter == ',',
            };
            self.text(key).split(cut).find(|one| one.contains(':'))
        };
        [Key::BasicCredentials, Key::BasicAuth].into_iter().filter_map(first).map(SecretString::from).collect()
    }

    /// How instances keep from writing at once.
    pub fn lock_strategy(&self) -> &str {
        self.text(Key::LockStrategy)
    }

    /// The home that the service sees.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// SHA-256 over everything that was resolved from, secrets included; says only whether it changed.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The SQLite storage that these settings lead to.
    pub fn sqlite(&self) -> Result<SqlitePlace, StorageError> {
        SqlitePlace::find(&self.directory()?, self.db_name())
    }

    /// Every storage key as an environment variable, for a ledger command: by environment because arguments are visible to
    /// everybody in `ps`, and each key because a file or default must not fill a gap. Only the keys of the driver in use.
    pub fn storage_environment(&self) -> Result<Vec<(String, SecretString)>, StorageError> {
        let directory = self.directory()?.to_string_lossy().into_owned();
        let mut variables = vec![
            (Key::Driver.variable(), SecretString::from(self.text(Key::Driver))),
            (Key::Directory.variable(), SecretString::from(directory)),
        ];
        match self.driver()? {
            Driver::Sqlite => variables.push((Key::DbName.variable(), SecretString::from(self.db_name()))),
            Driver::Postgres => variables.push((Key::ConnString.variable(), self.conn_string())),
        }
        Ok(variables)
    }
}

impl fmt::Debug for Resolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.values.iter().map(|(key, value)| (key.name(), value.from.to_string()))).finish()
    }
}

/// For people: each key with its value and origin; of what may hold a password only the origin.
impl fmt::Display for Resolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (key, value)) in self.values.iter().enumerate() {
            let break_before = if index == 0 { "" } else { "\n" };
            let text = match key {
                Key::BasicCredentials | Key::BasicAuth if value.text.expose_secret().is_empty() => "",
                Key::ConnString | Key::BasicCredentials | Key::BasicAuth => "(not shown)",
                Key::Driver | Key::Directory | Key::DbName | Key::BindAddress | Key::LockStrategy => {
                    value.text.expose_secret()
                }
            };
            write!(f, "{break_before}{key} = {} ({})", cutover_vocabulary::name::shown(text), value.from)?;
        }
        Ok(())
    }
}

fn digest(service: &Service<'_>, values: &BTreeMap<Key, Value>) -> Digest {
    let mut hasher = Sha256::new();
    let mut field = |tag: u8, text: &str| {
        hasher.update([tag]);
        hasher.update(u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
        hasher.update(text.as_bytes());
    };
    for arg in service.args {
        field(b'a', arg.expose_secret());
    }
    for (name, value) in service.environment {
        field(b'n', name);
        field(b'v', value.expose_secret());
    }
    for (key, value) in values {
        // Unset, they would change what an older agent made of the same settings.
        let new = matches!(key, Key::BasicCredentials | Key::BasicAuth);
        if new && value.text.expose_secret().is_empty() {
            continue;
        }
        field(b'k', key.name());
        field(b'v', value.text.expose_secret());
    }
    Digest::from_bytes(hasher.finalize().into())
}
