//! Promises about which storage a service really uses.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use cutover_storage::settings::{Key, Origin, Resolved, Service, home, resolve};
use cutover_vocabulary::storage::Driver;
use secrecy::{ExposeSecret as _, SecretString};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

struct Host {
    root: tempfile::TempDir,
    args: Vec<SecretString>,
    environment: BTreeMap<String, SecretString>,
    user_home: Option<PathBuf>,
}

impl Host {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        for folder in ["home/.numary", "etc", "user"] {
            std::fs::create_dir_all(root.path().join(folder)).unwrap();
        }
        let home = root.path().join("home").to_string_lossy().into_owned();
        let environment = BTreeMap::from([("HOME".to_owned(), SecretString::from(home))]);
        Self { user_home: Some(root.path().join("user")), root, args: Vec::new(), environment }
    }
    fn args(mut self, args: &[&str]) -> Self {
        self.args = args.iter().map(|arg| SecretString::from(*arg)).collect();
        self
    }
    fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), SecretString::from(value));
        self
    }
    fn file(self, path: &str, text: &str) -> Self {
        std::fs::write(self.root.path().join(path), text).unwrap();
        self
    }
    fn resolve(&self) -> Resolved {
        resolve(Service {
            args: &self.args,
            environment: &self.environment,
            user_home: self.user_home.as_deref(),
            working_directory: Path::new("/run-dir"),
            system_folder: &self.root.path().join("etc"),
        })
        .unwrap()
    }
}

const HOME_FILE: &str = "home/.numary/numary.yaml";

#[test]
fn nothing_set_means_the_ledgers_own_defaults() {
    let host = Host::new();
    let settings = host.resolve();
    assert_eq!(settings.driver().unwrap(), Driver::Sqlite);
    assert_eq!(settings.directory().unwrap(), host.root.path().join("home/.numary/data"));
    assert_eq!(
        (settings.db_name(), settings.bind_address(), settings.lock_strategy()),
        ("numary", "localhost:3068", "memory")
    );
    assert!(Key::ALL.iter().all(|key| *settings.origin(*key) == Origin::Default));
}

#[test]
fn flags_win_over_the_environment_and_the_environment_over_the_file() {
    let host = Host::new()
        .file(HOME_FILE, "storage:\n  driver: postgres\n  dir: /file\n  sqlite:\n    db_name: file\n")
        .variable("NUMARY_STORAGE_DIR", "/variable")
        .variable("NUMARY_STORAGE_SQLITE_DB_NAME", "variable")
        .args(&["server", "start", "--storage.sqlite.db_name", "flag"]);
    let settings = host.resolve();
    assert_eq!(settings.driver().unwrap(), Driver::Postgres);
    assert_eq!(*settings.origin(Key::Driver), Origin::File(host.root.path().join(HOME_FILE)));
    assert_eq!(settings.directory().unwrap(), Path::new("/variable"));
    assert_eq!(*settings.origin(Key::Directory), Origin::Variable("NUMARY_STORAGE_DIR".into()));
    assert_eq!((settings.db_name(), settings.origin(Key::DbName)), ("flag", &Origin::Flag));
}

#[test]
fn the_last_of_a_repeated_flag_wins_in_both_spellings_and_nothing_behind_two_dashes_counts() {
    for (args, directory) in [
        (&["--storage.dir", "/a", "--storage.dir=/b"][..], "/b"),
        (&["--storage.dir=/b", "--storage.dir", "/a"], "/a"),
        (&["--storage.dir=/a=b"], "/a=b"),
        (&["--storage.dir=/a", "--", "--storage.dir=/b"], "/a"),
        (&["--storage.dir=/a", "--storage.directory=/b"], "/a"),
        (&["--debug", "--storage.dir", "relative"], "/run-dir/relative"),
    ] {
        assert_eq!(Host::new().args(args).resolve().directory().unwrap(), Path::new(directory), "{args:?}");
    }
}

#[test]
fn an_empty_variable_counts_as_unset() {
    let host = Host::new().file(HOME_FILE, "storage.driver: postgres\n").variable("NUMARY_STORAGE_DRIVER", "");
    assert_eq!(host.resolve().driver().unwrap(), Driver::Postgres);
}

#[test]
fn keys_may_be_nested_or_dotted_or_both() {
    for text in [
        "storage:\n  sqlite:\n    db_name: x\n",
        "storage.sqlite.db_name: x\n",
        "storage.sqlite:\n  db_name: x\n",
        "storage:\n  sqlite.db_name: x\n",
        "STORAGE:\n  Sqlite:\n    DB_Name: x\n",
        "storage.sqlite.db_name: x\nstorage:\n  sqlite:\n    db_name: y\n",
    ] {
        assert_eq!(Host::new().file(HOME_FILE, text).resolve().db_name(), "x", "{text}");
    }
}

#[test]
fn the_first_file_counts_alone_even_if_it_is_broken() {
    let both = Host::new()
        .file(HOME_FILE, "storage.dir: /home-file\n")
        .file("etc/numary.yaml", "storage.dir: /etc-file\nlock-strategy: none\n");
    let settings = both.resolve();
    assert_eq!(settings.directory().unwrap(), Path::new("/home-file"));
    assert_eq!(settings.lock_strategy(), "memory", "the second file adds nothing");

    let broken =
        Host::new().file(HOME_FILE, "storage: [secret-word\n: }").file("etc/numary.yaml", "storage.dir: /etc-file\n");
    let settings = broken.resolve();
    assert_eq!(*settings.origin(Key::Directory), Origin::Default);
    let (_, ignored) = settings.file.unwrap();
    assert!(!ignored.unwrap().contains("secret-word"));

    let system = Host::new().file("etc/numary.yaml", "storage.dir: /etc-file\n");
    assert_eq!(system.resolve().directory().unwrap(), Path::new("/etc-file"));
}

#[test]
fn an_empty_home_means_the_users_home_by_the_user_database() {
    let host = Host::new().variable("HOME", "");
    assert_eq!(host.resolve().directory().unwrap(), host.root.path().join("user/.numary/data"));
    let database = host.root.path().join("passwd");
    std::fs::write(&database, "root:x:0:0:root:/root:/bin/sh\nledger:x:998:998::/var/lib/ledger:/bin/false\n").unwrap();
    assert_eq!(home::of_user(&database, "ledger").unwrap(), Some("/var/lib/ledger".into()));
    assert_eq!(home::of_user(&database, "998").unwrap(), Some("/var/lib/ledger".into()));
    assert_eq!(home::of_user(&database, "nobody").unwrap(), None);
}

#[test]
fn a_connection_string_is_never_shown() {
    let secret = "postgresql://u:s3cret@db/x";
    let host = Host::new()
        .args(&["--storage.postgres.conn_string", secret])
        .variable("NUMARY_STORAGE_DRIVER", "postgres")
        .variable("NUMARY_STORAGE_POSTGRES_CONN_STRING", "postgresql://u:0ther@db/x");
    let settings = host.resolve();
    assert_eq!(settings.conn_string().expose_secret(), secret);
    let shown = format!("{settings} {settings:?} {:#?}", settings.storage_environment().unwrap());
    assert!(!shown.contains("s3cret") && !shown.contains("0ther"), "{shown}");
    assert!(shown.contains("storage.postgres.conn_string = (not shown) (command line)"), "{shown}");
}

#[test]
fn an_unknown_driver_is_named_with_where_it_came_from() {
    let error = Host::new().variable("NUMARY_STORAGE_DRIVER", "mysql").resolve().driver().unwrap_err().to_string();
    assert!(error.contains("\"mysql\" by the environment variable NUMARY_STORAGE_DRIVER"), "{error}");
}

#[test]
fn a_changed_secret_changes_the_digest() {
    let one = Host::new().variable("NUMARY_STORAGE_POSTGRES_CONN_STRING", "a");
    let first = one.resolve().digest();
    assert_eq!(first, one.resolve().digest());
    assert_ne!(first, one.variable("NUMARY_STORAGE_POSTGRES_CONN_STRING", "b").resolve().digest());
}
