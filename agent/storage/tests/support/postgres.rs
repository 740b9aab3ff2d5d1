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

use cutover_storage::postgres::PostgresStorage;
use cutover_storage::settings::{Resolved, Service, resolve};
use cutover_storage::{StorageError, clock};
use cutover_trial_postgres::{Cluster, Programs};
use cutover_vocabulary::Elapsed;
use secrecy::SecretString;
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// The ledger's role in every database here, and its password: no superuser, owner of its database only. It may make
/// databases from its birth, as proofs and rehearsals do: two tests that alter one role at the same moment fail each other.
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
        cluster.sql("postgres", &format!("CREATE ROLE {ROLE} LOGIN CREATEDB PASSWORD '{PASSWORD}'")).unwrap();
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

/// Tables of 1.3.1; `migrations` is there from 1.3 on.
pub const SPLIT: &str = r#"
CREATE SCHEMA {L};
CREATE TABLE {L}.transactions ("id" bigint, "timestamp" varchar, "reference" varchar, "hash" varchar, UNIQUE("id"), UNIQUE("reference"));
CREATE TABLE {L}.postings ("id" smallint, "txid" bigint, "source" varchar, "destination" varchar, "amount" bigint, "asset" varchar, UNIQUE("id", "txid"));
CREATE INDEX ON {L}.postings ("txid" DESC, "source", "destination");
CREATE TABLE {L}.metadata ("meta_id" bigint, "meta_target_type" varchar NOT NULL, "meta_target_id" varchar NOT NULL, "meta_key" varchar NOT NULL, "meta_value" varchar, "timestamp" varchar NOT NULL, UNIQUE("meta_id"));
CREATE INDEX ON {L}.metadata ("meta_target_type", "meta_target_id");
CREATE TABLE {L}.contract ("contract_id" integer, "contract_account" varchar, "contract_expr" varchar);
CREATE TABLE {L}.mapping ("mapping_id" varchar, "mapping" varchar, UNIQUE("mapping_id"));
CREATE TABLE {L}.migrations ("version" varchar, "date" varchar, UNIQUE("version"));
CREATE VIEW {L}.addresses AS SELECT address FROM (SELECT source AS address FROM {L}.postings GROUP BY source UNION SELECT destination FROM {L}.postings GROUP BY destination) agg GROUP BY address;
INSERT INTO {L}.migrations VALUES ('0', '2026-11-23 14:56:54.37 +0000 UTC m=+0.04');
"#;

/// The small ledger that the golden vectors of digest v1 are of; the same as on SQLite.
pub const SAMPLE: &str = r#"
INSERT INTO {L}.transactions VALUES (0, '2026-11-23T14:12:58Z', 'r-0', 'h'), (1, '2026-11-23T14:12:58Z', NULL, 'h'), (2, '2026-11-23T14:12:58Z', 'r-2', 'h');
INSERT INTO {L}.postings(txid, id, source, destination, asset, amount) VALUES
  (0, 0, 'world', 'bank', 'USD/2', 100), (0, 1, 'world', 'fees', 'USD/2', 3), (1, 0, 'bank', 'users:é', 'USD/2', 40), (2, 0, 'world', 'bank', 'JPY', 9000000000000000000);
INSERT INTO {L}.metadata SELECT id, kind, target, key, value, '2026-11-23T14:12:58Z' FROM (VALUES
  (0, 'transaction', '0', 'order', '"o0"'), (1, 'transaction', '0', 'note', '"caf\u00e9 \"q\""'),
  (2, 'account', 'bank', 'kyc', '{"level": 1, "by": null}'), (3, 'account', 'bank', 'kyc', '{"level": 2}'),
  (4, 'account', 'nobody', 'kyc', '"none"'), (5, 'transaction', '2', 'rate', '1.50')) m(id, kind, target, key, value);
"#;

/// What the ledger's own migration to 1.3.2 or later does, its one known loss on PostgreSQL included.
pub const MIGRATE: &str = r#"
ALTER TABLE {L}.transactions ADD COLUMN postings jsonb, ADD COLUMN metadata jsonb DEFAULT '{}';
CREATE TABLE {L}.volumes ("account" varchar, "asset" varchar, "input" bigint, "output" bigint, UNIQUE("account", "asset"));
CREATE TABLE {L}.accounts ("address" varchar NOT NULL, "metadata" jsonb DEFAULT '{}', UNIQUE("address"));
CREATE TABLE {L}.log ("id" bigint, "type" varchar, "hash" varchar, "date" timestamptz, "data" jsonb, UNIQUE("id"));
UPDATE {L}.transactions t SET postings = (SELECT jsonb_agg(jsonb_build_object('amount', amount, 'asset', asset, 'destination', destination, 'source', source) ORDER BY id) FROM {L}.postings WHERE txid = t.id),
  metadata = coalesce((SELECT jsonb_object_agg(meta_key, meta_value::jsonb ORDER BY meta_id) FROM {L}.metadata WHERE meta_target_type = 'transaction' AND meta_target_id = t.id::text), '{}');
INSERT INTO {L}.accounts SELECT address, (SELECT jsonb_object_agg(meta_key, meta_value::jsonb ORDER BY meta_id) FROM {L}.metadata WHERE meta_target_type = 'account' AND meta_target_id = address) FROM {L}.addresses;
INSERT INTO {L}.volumes SELECT account, asset, sum(i), sum(o) FROM (SELECT destination account, asset, amount i, 0 o FROM {L}.postings UNION ALL SELECT source, asset, 0, amount FROM {L}.postings) m GROUP BY 1, 2;
INSERT INTO {L}.log SELECT id, 'NEW_TRANSACTION', 'x', timestamp::timestamptz, jsonb_build_object('txid', id, 'postings', postings, 'reference', coalesce(reference, ''), 'timestamp', timestamp, 'metadata', '{}'::jsonb) FROM {L}.transactions;
DROP TABLE {L}.postings, {L}.metadata, {L}.contract CASCADE;
INSERT INTO {L}.migrations VALUES ('1', '');
"#;

/// What 1.7.5 and 1.8.0 change beyond: another table `postings`, dates as dates, amounts without limit.
pub const MIGRATE_FURTHER: &str = r#"
CREATE TABLE {L}.postings ("txid" bigint, "posting_index" integer, "source" jsonb, "destination" jsonb);
INSERT INTO {L}.postings SELECT t.id, p.n - 1, to_jsonb(string_to_array(p.j ->> 'source', ':')), to_jsonb(string_to_array(p.j ->> 'destination', ':')) FROM {L}.transactions t, jsonb_array_elements(t.postings) WITH ORDINALITY p(j, n);
ALTER TABLE {L}.transactions ALTER COLUMN timestamp TYPE timestamptz USING timestamp::timestamptz, ADD COLUMN pre_commit_volumes jsonb, ADD COLUMN post_commit_volumes jsonb;
ALTER TABLE {L}.volumes ALTER COLUMN input TYPE numeric, ALTER COLUMN output TYPE numeric, ADD COLUMN account_json jsonb;
CREATE TABLE {L}.idempotency ("key" varchar, "date" varchar, "status_code" int, "headers" varchar, "body" varchar, "request_hash" varchar);
"#;

/// The system store, from 1.3.2 on.
pub const SYSTEM: &str = r#"
CREATE SCHEMA _system;
CREATE TABLE _system.ledgers ("ledger" varchar PRIMARY KEY, "addedat" timestamp);
"#;

/// Runs SQL as the ledger's role in one transaction, `{L}` being this ledger's quoted name.
pub fn run(cluster: &Cluster, database: &str, ledger: &str, sql: &str) {
    let quoted = format!("\"{}\"", ledger.replace('"', "\"\""));
    cluster.sql(database, &format!("SET ROLE {ROLE}; SET timezone = 'UTC'; {}", sql.replace("{L}", &quoted))).unwrap();
}

/// A database with the sample as this ledger, in the old layout.
pub fn sample(cluster: &Cluster, ledger: &str) -> String {
    let name = database(cluster);
    run(cluster, &name, ledger, SPLIT);
    run(cluster, &name, ledger, SAMPLE);
    name
}

/// A session of somebody else, in a `psql` of its own, in a transaction until it is ended.
pub struct Session {
    child: Child,
    out: BufReader<ChildStdout>,
    /// The server's process for it; none once it has been seen to be gone.
    backend: Option<String>,
}

impl Session {
    /// As the superuser; returns once `sql` was run.
    pub fn begin(cluster: &Cluster, database: &str, sql: &str) -> Self {
        Self::start(&cluster.superuser_url(database), &format!("BEGIN;\n{sql};"))
    }

    /// By any connection string, without a transaction.
    pub fn start(url: &str, sql: &str) -> Self {
        let mut child = Command::new("psql")
            .args(["-XqAt", "-v", "ON_ERROR_STOP=1", url])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let mut session = Self { child, out, backend: None };
        session.backend = Some(session.ask("SELECT pg_backend_pid();"));
        session.ask(sql);
        session
    }

    /// Runs statements and gives what they said.
    pub fn ask(&mut self, sql: &str) -> String {
        writeln!(self.child.stdin.as_mut().unwrap(), "{sql}\n\\echo ready").unwrap();
        let mut said = String::new();
        loop {
            let before = said.len();
            assert_ne!(self.out.read_line(&mut said).unwrap(), 0, "psql ended: {sql}");
            if said[before..].trim() == "ready" {
                return said[..before].trim_end().to_owned();
            }
        }
    }

    /// Ends it and waits until the server's side is gone too: it ends after `psql`. It is a process of this host's, which is asked
    /// for itself because the server may have ended, and the role may not be let in any more.
    pub fn end(&mut self) {
        drop(self.child.stdin.take());
        self.child.wait().unwrap();
        let Some(backend) = self.backend.take() else { return };
        let process = Path::new("/proc").join(&backend);
        wait_until(&format!("session {backend} to end"), || !process.exists());
    }
}

/// Waits for a condition, for no longer than any test needs on a busy machine.
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = clock::since_boot().plus(Elapsed::from_secs(20));
    while !holds() {
        if clock::since_boot() >= deadline {
            // A second panic would end the process and hide the first.
            assert!(std::thread::panicking(), "waited 20 s for {what}");
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until what tests asked this database as the superuser has gone from it: `psql` ends before its session does.
pub fn settled(cluster: &Cluster, database: &str) {
    let sessions = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = '{database}' AND usename = 'postgres' AND backend_type = 'client backend'"
    );
    wait_until("the superuser's sessions to end", || cluster.sql("postgres", &sessions).unwrap() == "0");
}

impl Drop for Session {
    fn drop(&mut self) {
        self.end();
    }
}

/// Rows of a ledger with `{N}` transactions: as many accounts, metadata for every second transaction and every tenth account.
pub const BIG: &str = r#"
INSERT INTO {L}.transactions SELECT n, '2026-11-23T14:12:58Z', CASE WHEN n % 3 = 0 THEN 'ref-' || n END, 'a64-digit-hash' FROM generate_series(0, {N} - 1) n;
INSERT INTO {L}.postings(txid, id, source, destination, asset, amount) SELECT n, 0, 'world', 'users:' || lpad((n * 7919 % 999999937)::text, 9, '0'), 'USD/2', n % 1000 FROM generate_series(0, {N}::bigint - 1) n;
INSERT INTO {L}.metadata SELECT n, 'transaction', (2 * n)::text, 'order', '"o1"', '2026-11-23T14:12:58Z' FROM generate_series(0, {N} / 2 - 1) n;
INSERT INTO {L}.metadata SELECT {N} + n, 'account', 'users:' || lpad((10 * n * 7919 % 999999937)::text, 9, '0'), 'kyc', '{"level": 2}', '2026-11-23T14:12:58Z' FROM generate_series(0, {N}::bigint / 10 - 1) n;
"#;

/// The new layout of the same ledger; the ledger's own migration is quadratic.
pub const BIG_MIGRATED: &str = r#"
ALTER TABLE {L}.transactions ADD COLUMN postings jsonb, ADD COLUMN metadata jsonb DEFAULT '{}';
CREATE TABLE {L}.volumes ("account" varchar, "asset" varchar, "input" bigint, "output" bigint, UNIQUE("account", "asset"));
CREATE TABLE {L}.accounts ("address" varchar NOT NULL, "metadata" jsonb DEFAULT '{}', UNIQUE("address"));
CREATE TABLE {L}.log ("id" bigint, "type" varchar, "hash" varchar, "date" timestamptz, "data" jsonb, UNIQUE("id"));
UPDATE {L}.transactions t SET postings = jsonb_build_array(jsonb_build_object('amount', p.amount, 'asset', p.asset, 'destination', p.destination, 'source', p.source)), metadata = CASE WHEN t.id % 2 = 0 THEN '{"order": "o1"}'::jsonb ELSE '{}' END FROM {L}.postings p WHERE p.txid = t.id;
INSERT INTO {L}.accounts SELECT destination, CASE WHEN txid % 10 = 0 THEN '{"kyc": {"level": 2}}'::jsonb END FROM {L}.postings;
INSERT INTO {L}.volumes SELECT destination, asset, amount, 0 FROM {L}.postings UNION ALL SELECT 'world', asset, 0, sum(amount) FROM {L}.postings GROUP BY asset;
INSERT INTO {L}.log SELECT id, 'NEW_TRANSACTION', 'x', timestamp::timestamptz, jsonb_build_object('txid', id, 'postings', postings, 'reference', coalesce(reference, ''), 'timestamp', timestamp) FROM {L}.transactions;
DROP TABLE {L}.postings, {L}.metadata, {L}.contract CASCADE;
"#;

/// The most memory that this process ever had, in KiB.
pub fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse().unwrap()
}
