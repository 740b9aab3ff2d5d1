//! A storage with the small sample in it, whichever the driver, and what a ledger or somebody else may do to it.

use crate::{files, server};
use cutover_storage::StorageError;
use cutover_storage::sqlite::{SqlitePlace, SqliteStorage};
use cutover_storage::storage::{Secure, Storage};
use cutover_trial_postgres::Cluster;
use cutover_vocabulary::storage::{RecoveryItem, RecoveryPoint};
use cutover_vocabulary::{LedgerName, UpgradeId};
use rusqlite::Connection;
use std::path::{Path, PathBuf};

/// The sample's name.
pub const SAMPLE: &str = "sample";

pub fn ledger() -> LedgerName {
    LedgerName::new(SAMPLE).unwrap()
}

pub fn sample() -> RecoveryItem {
    RecoveryItem::Ledger(ledger())
}

/// Runs a promise on every driver that can be run here.
pub fn on_every_driver(promise: impl Fn(&dyn Bed)) {
    promise(&Sqlite::new());
    if let Some(bed) = Postgres::new() {
        promise(&bed);
    }
}

/// One storage.
pub trait Bed {
    /// For messages.
    fn name(&self) -> &'static str;
    fn storage(&self) -> Box<dyn Storage>;
    /// A folder of the test's own.
    fn root(&self) -> &Path;
    /// How many of the known rows a migration of the sample loses here.
    fn lost(&self) -> u64;
    /// What the ledger's own migration does; `storage` is the bed's own, or a copy.
    fn migrate(&self, storage: &dyn Storage);
    /// Statements on the ledger's tables, in a dialect that both understand; `{L}` before a table's name.
    fn run(&self, sql: &str);
    /// A system store with this ledger registered.
    fn register(&self, ledger: &str);
    /// What `storage scan` would take for ledgers.
    fn scanned(&self) -> Vec<String>;
    /// What was made elsewhere for this storage and is still there, each with what it holds of ledgers.
    fn elsewhere(&self) -> Vec<(String, Vec<String>)>;
    /// Leaves half of the sample in such a place.
    fn leave(&self, place: &str);

    fn points(&self) -> PathBuf {
        self.root().join("points")
    }
    fn aside(&self) -> PathBuf {
        self.root().join("aside")
    }
    fn secure(&self, item: &RecoveryItem, lossy: bool) -> Result<RecoveryPoint, StorageError> {
        let (storage, upgrade) = (self.storage(), UpgradeId::new("u1").unwrap());
        let identity = storage.identity().clone();
        storage.secure(&Secure {
            item,
            storage: &identity,
            upgrade: &upgrade,
            folder: &self.points(),
            lossy,
            serving: false,
        })
    }
    fn restore(&self, point: &RecoveryPoint) -> Result<cutover_vocabulary::outcome::Restored, StorageError> {
        self.storage().restore(point, &self.aside(), false)
    }
    fn prove(&self, point: &RecoveryPoint) -> cutover_vocabulary::outcome::Proof {
        std::fs::create_dir_all(self.root().join("scratch")).unwrap();
        self.storage().prove(point, &self.root().join("scratch")).unwrap()
    }
}

/// Files in a directory.
pub struct Sqlite {
    root: tempfile::TempDir,
}

impl Sqlite {
    pub fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("data")).unwrap();
        files::sample(&root.path().join("data/numary_sample.db"));
        Self { root }
    }
    fn data(&self) -> PathBuf {
        self.root.path().join("data")
    }
}

impl Bed for Sqlite {
    fn name(&self) -> &'static str {
        "sqlite"
    }
    fn storage(&self) -> Box<dyn Storage> {
        Box::new(SqliteStorage::at(SqlitePlace::find(&self.data(), "numary").unwrap(), "machine").unwrap())
    }
    fn root(&self) -> &Path {
        self.root.path()
    }
    fn lost(&self) -> u64 {
        2
    }
    fn migrate(&self, storage: &dyn Storage) {
        let cutover_vocabulary::storage::StorageIdentity::Sqlite { directory, .. } = storage.identity() else {
            panic!("not a directory")
        };
        files::migrate(&Connection::open(Path::new(directory).join("numary_sample.db")).unwrap());
    }
    fn run(&self, sql: &str) {
        let connection = Connection::open(self.data().join("numary_sample.db")).unwrap();
        connection.execute_batch(&sql.replace("{L}", "")).unwrap();
    }
    fn register(&self, ledger: &str) {
        let connection = Connection::open(self.data().join("numary__system.db")).unwrap();
        let sql = "CREATE TABLE IF NOT EXISTS ledgers (ledger varchar(255) primary key, addedAt timestamp);";
        connection.execute_batch(sql).unwrap();
        connection.execute("INSERT INTO ledgers VALUES (?1, '2026-11-23')", [ledger]).unwrap();
    }
    fn scanned(&self) -> Vec<String> {
        let names = std::fs::read_dir(self.data()).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let ledger = |name: String| Some(name.strip_prefix("numary_")?.strip_suffix(".db")?.to_owned());
        let mut names: Vec<String> = names.filter_map(ledger).filter(|name| name != "_system").collect();
        names.sort();
        names
    }
    fn elsewhere(&self) -> Vec<(String, Vec<String>)> {
        Vec::new()
    }
    fn leave(&self, _place: &str) {}
}

/// A database of a cluster.
pub struct Postgres {
    root: tempfile::TempDir,
    cluster: &'static Cluster,
    database: String,
}

impl Postgres {
    pub fn new() -> Option<Self> {
        let cluster = server::cluster()?;
        let database = server::sample(cluster, SAMPLE);
        Some(Self { root: tempfile::tempdir().unwrap(), cluster, database })
    }
}

impl Bed for Postgres {
    fn name(&self) -> &'static str {
        "postgres"
    }
    fn storage(&self) -> Box<dyn Storage> {
        Box::new(server::open(self.cluster, &self.database))
    }
    fn root(&self) -> &Path {
        self.root.path()
    }
    fn lost(&self) -> u64 {
        1
    }
    fn migrate(&self, storage: &dyn Storage) {
        let cutover_vocabulary::storage::StorageIdentity::Postgres { database, .. } = storage.identity() else {
            panic!("not a database")
        };
        server::run(self.cluster, database, SAMPLE, server::MIGRATE);
    }
    fn run(&self, sql: &str) {
        server::run(self.cluster, &self.database, SAMPLE, &sql.replace("{L}", "{L}."));
    }
    fn register(&self, ledger: &str) {
        let there =
            self.cluster.sql(&self.database, "SELECT count(*) FROM pg_namespace WHERE nspname = '_system'").unwrap();
        if there == "0" {
            server::run(self.cluster, &self.database, SAMPLE, server::SYSTEM);
        }
        let sql = format!("INSERT INTO _system.ledgers VALUES ('{ledger}', '2026-11-23')");
        server::run(self.cluster, &self.database, SAMPLE, &sql);
    }
    fn scanned(&self) -> Vec<String> {
        let sql = "SELECT table_schema FROM information_schema.tables WHERE table_name = 'transactions' ORDER BY 1";
        self.cluster.sql(&self.database, sql).unwrap().lines().map(str::to_owned).collect()
    }
    fn elsewhere(&self) -> Vec<(String, Vec<String>)> {
        // Other tests work in this cluster too.
        let name = format!("cutover_proof_{}", cutover_vocabulary::Digest::of(self.database.as_bytes()).short());
        let there =
            self.cluster.sql("postgres", &format!("SELECT datname FROM pg_database WHERE datname LIKE '{name}%'"));
        let there = there.unwrap();
        let schemas =
            "SELECT nspname FROM pg_namespace WHERE nspname !~ '^(pg_|information_schema$|public$)' ORDER BY 1";
        let held = |name: &str| self.cluster.sql(name, schemas).unwrap().lines().map(str::to_owned).collect();
        there.lines().map(|name| (name.to_owned(), held(name))).collect()
    }
    fn leave(&self, place: &str) {
        self.cluster
            .sql(place, &format!("CREATE SCHEMA {SAMPLE}; CREATE TABLE {SAMPLE}.transactions (id int)"))
            .unwrap();
        self.cluster.sql(place, &format!("ALTER SCHEMA {SAMPLE} OWNER TO {}", server::ROLE)).unwrap();
        self.cluster.sql(place, &format!("ALTER TABLE {SAMPLE}.transactions OWNER TO {}", server::ROLE)).unwrap();
    }
}
