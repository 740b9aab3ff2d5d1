//! One cluster for a test binary and a database for a test; storages on it as the ledger's releases leave them, by SQL
//! written here.
#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "shared by several test binaries; none uses all of it"
)]

use cutover_storage::StorageError;
use cutover_storage::postgres::PostgresStorage;
use cutover_storage::settings::{Resolved, Service, resolve};
use cutover_trial_postgres::{Cluster, Programs};
use secrecy::SecretString;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// The ledger's role in every database here, and its password: no superuser, owner of its database only.
pub const ROLE: &str = "led";
pub const PASSWORD: &str = "led-secret";

struct Shared {
    cluster: Cluster,
    /// Ends the server when this process has ended, however it did: statics are not dropped.
    _watch: Child,
}

/// The cluster of this test binary; none where PostgreSQL is not installed, which is said, and fails in CI.
pub fn cluster() -> Option<&'static Cluster> {
    static SHARED: OnceLock<Option<Shared>> = OnceLock::new();
    let shared = SHARED.get_or_init(|| {
        let cluster = create("max_prepared_transactions = 5\nmax_connections = 60")?;
        cluster.sql("postgres", &format!("CREATE ROLE {ROLE} LOGIN PASSWORD '{PASSWORD}'")).unwrap();
        let folder = cluster.data().parent().unwrap().parent().unwrap();
        let watch = Command::new("sh")
            .arg("-c")
            .arg("cat >/dev/null; pid=$(head -n1 \"$0/postgres/data/postmaster.pid\") && kill -QUIT $pid; while kill -0 $pid; do sleep 0.1; done; rm -rf \"$0\"")
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Some(Shared { cluster, _watch: watch })
    });
    shared.as_ref().map(|shared| &shared.cluster)
}

/// A cluster of its own, for a test that ends the server. Its folder stays until the machine's temporary files are cleaned,
/// unless the caller removes it.
pub fn create(settings: &str) -> Option<Cluster> {
    if let Err(missing) = Programs::find() {
        let _ = writeln!(std::io::stderr(), "SKIPPED {missing}");
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "a test cannot run in CI: {missing}");
        return None;
    }
    let folder = tempfile::Builder::new().prefix("cutover-storage-").tempdir().unwrap().keep();
    std::fs::set_permissions(&folder, std::os::unix::fs::PermissionsExt::from_mode(0o711)).unwrap();
    Some(Cluster::create(&folder.join("postgres"), settings).unwrap())
}

/// A new database that the ledger's role owns, as managed databases are usually set up, pgcrypto included.
pub fn database(cluster: &Cluster) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!("fleet{}", NEXT.fetch_add(1, Ordering::Relaxed));
    cluster.sql("postgres", &format!("CREATE DATABASE {name} OWNER {ROLE}")).unwrap();
    cluster.sql(&name, &format!("CREATE EXTENSION pgcrypto; GRANT CREATE ON SCHEMA public TO {ROLE}")).unwrap();
    name
}

/// A service's settings with this connection string.
pub fn resolved(url: &str) -> Resolved {
    let environment = BTreeMap::new();
    let args = ["--storage.driver=postgres".to_owned(), format!("--storage.postgres.conn_string={url}")];
    let args: Vec<SecretString> = args.into_iter().map(SecretString::from).collect();
    resolve(Service {
        args: &args,
        environment: &environment,
        user_home: Some(Path::new("/nonexistent")),
        working_directory: Path::new("/"),
        system_folder: Path::new("/nonexistent"),
    })
    .unwrap()
}

pub fn open_url(url: &str) -> Result<PostgresStorage, StorageError> {
    PostgresStorage::open(&resolved(url), &BTreeMap::new())
}

pub fn open(cluster: &Cluster, database: &str) -> PostgresStorage {
    open_url(&cluster.url(ROLE, PASSWORD, database)).unwrap()
}
