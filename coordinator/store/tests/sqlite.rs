//! The SQLite store keeps every promise, on real files.
#![expect(clippy::unwrap_used, reason = "a test: what is not as expected panics")]

use cutover_store::conformance::Fixture;
use cutover_store::conformance::facts::{Writer, all_known, load_in_pages};
use cutover_store::{CoordinatorName, SqliteStore, Store, StoreError};
use cutover_vocabulary::{Digest, Epoch, UpgradeId};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _};
use std::path::PathBuf;
use std::sync::Arc;

struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    fn database(&self) -> PathBuf {
        self.folder.path().join("store.db")
    }
    /// A connection of its own, as a person with the `sqlite3` program has.
    async fn by_hand(&self) -> SqliteConnection {
        let options = SqliteConnectOptions::new().filename(self.database()).create_if_missing(true);
        options.connect().await.unwrap()
    }
    async fn run(&self, sql: &'static str) -> Result<(), sqlx::Error> {
        let mut connection = self.by_hand().await;
        let done = sqlx::raw_sql(sql).execute(&mut connection).await;
        connection.close().await.unwrap();
        done.map(|_rows| ())
    }
    async fn store(&self) -> Result<SqliteStore, StoreError> {
        SqliteStore::open(self.database()).await
    }
}

#[async_trait::async_trait]
impl Fixture for Files {
    async fn open(&self) -> Arc<dyn Store> {
        Arc::new(self.store().await.unwrap())
    }
    /// Somebody removes the lock file, so that it excludes nobody any more. The epochs in the file must do.
    async fn depose(&self) {
        std::fs::remove_file(self.folder.path().join("store.db.leader")).unwrap();
    }
    async fn plant(&self, upgrade: &UpgradeId, seq: u64, text: &[u8]) {
        let mut connection = self.by_hand().await;
        sqlx::raw_sql("DROP TRIGGER IF EXISTS fact_is_never_changed").execute(&mut connection).await.unwrap();
        let seq = i64::try_from(seq).unwrap();
        sqlx::query(
            "INSERT INTO fact VALUES (?1, ?2, CAST(?3 AS TEXT))
             ON CONFLICT DO UPDATE SET json = CAST(?3 AS TEXT)",
        )
        .bind(upgrade.as_str())
        .bind(seq)
        .bind(text)
        .execute(&mut connection)
        .await
        .unwrap();
        sqlx::query("UPDATE upgrade SET last_seq = ?2, last_hash = ?3 WHERE id = ?1 AND last_seq <= ?2")
            .bind(upgrade.as_str())
            .bind(seq)
            .bind(Digest::of(text).as_bytes().as_slice())
            .execute(&mut connection)
            .await
            .unwrap();
        connection.close().await.unwrap();
    }
}

async fn fixture() -> Files {
    Files { folder: tempfile::tempdir().unwrap() }
}

cutover_store::conformance!();

fn name(text: &str) -> CoordinatorName {
    CoordinatorName::new(text).unwrap()
}

fn upgrade() -> UpgradeId {
    UpgradeId::new("u").unwrap()
}

/// A store with three facts of one upgrade, closed.
async fn with_three_facts() -> (Files, Epoch) {
    let files = fixture().await;
    let store = files.store().await.unwrap();
    let epoch = store.lead(&name("a")).await.unwrap().unwrap();
    Writer::new(epoch).append(&store, &upgrade(), 3).await;
    store.close().await;
    (files, epoch)
}

#[tokio::test]
async fn everything_is_there_after_closing_and_opening() {
    let (files, epoch) = with_three_facts().await;
    let store = files.store().await.unwrap();
    assert_eq!(all_known(load_in_pages(&store, &upgrade(), 2).await).len(), 3);
    assert!(store.lead(&name("a")).await.unwrap().unwrap() > epoch);
}

#[tokio::test]
async fn many_may_open_a_new_file_at_once() {
    let files = Arc::new(fixture().await);
    let mut opening = Vec::new();
    for _handle in 0..8 {
        let files = Arc::clone(&files);
        opening.push(tokio::spawn(async move { files.store().await.map(drop) }));
    }
    for one in opening {
        one.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_newer_schema_is_refused_and_left_as_it_is() {
    let (files, _epoch) = with_three_facts().await;
    files.run("PRAGMA user_version = 99").await.unwrap();
    let before = std::fs::read(files.database()).unwrap();
    match files.store().await {
        Err(StoreError::NewerSchema { found: 99, .. }) => {}
        other => panic!("{other:?}"),
    }
    assert!(std::fs::read(files.database()).unwrap() == before, "the file was changed");
}

#[tokio::test]
async fn another_programs_database_is_refused_and_left_as_it_is() {
    let files = fixture().await;
    files.run("CREATE TABLE theirs (x)").await.unwrap();
    let before = std::fs::read(files.database()).unwrap();
    assert!(matches!(files.store().await, Err(StoreError::NotOurs { .. })));
    assert!(std::fs::read(files.database()).unwrap() == before, "the file was changed");
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_with_what_to_do() {
    let files = fixture().await;
    std::fs::write(files.database(), "this is not a database, but it is longer than a header".repeat(10)).unwrap();
    let refused = files.store().await.unwrap_err().to_string();
    assert!(refused.contains("restore the store from its backup"), "{refused}");
}

#[tokio::test]
async fn a_missing_folder_is_named() {
    let files = fixture().await;
    let inside = files.folder.path().join("none").join("store.db");
    let refused = SqliteStore::open(&inside).await.unwrap_err().to_string();
    assert!(refused.contains("none/store.db") && refused.contains("folder"), "{refused}");
}

#[tokio::test]
async fn the_file_is_readable_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let (files, _epoch) = with_three_facts().await;
    let _store = files.store().await.unwrap();
    for entry in std::fs::read_dir(files.folder.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{:?} has mode {mode:o}", entry.file_name());
    }
}

#[tokio::test]
async fn stored_facts_are_neither_changed_nor_removed_by_hand() {
    let (files, _epoch) = with_three_facts().await;
    for sql in ["UPDATE fact SET json = '{}'", "DELETE FROM fact WHERE seq = 3", "DELETE FROM fact"] {
        let refused = files.run(sql).await.unwrap_err().to_string();
        assert!(refused.contains("never"), "{sql}: {refused}");
    }
}

#[tokio::test]
async fn facts_that_went_missing_are_told_one_by_one() {
    let (files, _epoch) = with_three_facts().await;
    files.run("DROP TRIGGER fact_is_never_removed; DELETE FROM fact WHERE seq IN (1, 3)").await.unwrap();
    let store = files.store().await.unwrap();
    for limit in 1..5 {
        let shown: Vec<String> =
            load_in_pages(&store, &upgrade(), limit).await.iter().map(|s| format!("{s:?}")).collect();
        assert!(shown[0].contains("missing; the upgrade has 3 facts"), "{shown:?}");
        assert!(shown[1].contains("the fact before it is missing"), "{shown:?}");
        assert!(shown[2].contains("missing; the upgrade has 3 facts"), "{shown:?}");
        assert_eq!(shown.len(), 3);
    }
}

#[tokio::test]
async fn a_damaged_chunk_is_an_error_not_evidence() {
    let files = fixture().await;
    let store = files.store().await.unwrap();
    let epoch = store.lead(&name("a")).await.unwrap().unwrap();
    let digest = store.put_chunk(epoch, b"evidence").await.unwrap();
    files.run("UPDATE chunk SET bytes = x'00'").await.unwrap();
    assert!(matches!(store.get_chunk(&digest).await, Err(StoreError::Damaged { .. })));
}

#[tokio::test]
async fn after_a_restored_backup_epochs_go_on_above_what_agents_have_seen() {
    let (files, epoch) = with_three_facts().await;
    let store = files.store().await.unwrap();
    store.raise_epochs(Epoch(1_000)).await.unwrap();
    store.raise_epochs(Epoch(10)).await.unwrap();
    let next = store.lead(&name("a")).await.unwrap().unwrap();
    assert_eq!(next, Epoch(1_001));
    assert!(next > epoch);
}

#[test]
fn every_promise_of_the_suite_is_in_its_list() {
    macro_rules! names {
        ($($module:ident :: $promise:ident)*) => { [$((stringify!($module), stringify!($promise))),*] };
    }
    let listed = cutover_store::for_each_promise!(names);
    let sources = [
        ("leadership", include_str!("../src/conformance/leadership.rs")),
        ("appending", include_str!("../src/conformance/appending.rs")),
        ("loading", include_str!("../src/conformance/loading.rs")),
        ("registry", include_str!("../src/conformance/registry.rs")),
        ("chunks", include_str!("../src/conformance/chunks.rs")),
    ];
    for (module, source) in sources {
        for line in source.lines() {
            let Some(rest) = line.strip_prefix("pub async fn ") else { continue };
            let promise = rest.split('(').next().unwrap();
            assert!(
                listed.contains(&(module, promise)),
                "{module}::{promise} is in no list, so no store is held to it"
            );
        }
    }
}
