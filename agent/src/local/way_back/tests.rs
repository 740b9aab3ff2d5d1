//! The commands for PostgreSQL, run on a real server; those for SQLite are run by `tests/effects/storage.rs`.

#[path = "../../../storage/tests/support/postgres.rs"]
mod support;

use super::put_schema_back;
use cutover_storage::points::{Manifest, manifest};
use cutover_storage::storage::{Secure, Storage as _};
use cutover_vocabulary::storage::RecoveryItem;
use cutover_vocabulary::{LedgerName, UpgradeId};
use std::path::Path;
use std::process::Command;

#[test]
fn what_a_print_put_back_it_leaves_alone_and_what_it_moved_aside_keeps_its_name() {
    let Some(cluster) = support::cluster() else { return };
    let database = support::sample(cluster, "shop");
    support::run(cluster, &database, "shop", support::SYSTEM);
    let (storage, folder) = (support::open(cluster, &database), tempfile::tempdir().unwrap());
    let secure = |item: RecoveryItem| -> Manifest {
        let (identity, upgrade) = (storage.identity().clone(), UpgradeId::new("u1").unwrap());
        let (folder, upgrade) = (folder.path(), &upgrade);
        let ask = Secure { item: &item, storage: &identity, upgrade, folder, lossy: true, serving: false };
        manifest(Path::new(&storage.secure(&ask).unwrap().place)).unwrap().unwrap()
    };
    let points = [secure(RecoveryItem::Ledger(LedgerName::new("shop").unwrap())), secure(RecoveryItem::System)];
    let change = || {
        support::run(cluster, &database, "shop", support::MIGRATE);
        support::run(cluster, &database, "shop", "INSERT INTO _system.ledgers VALUES ('shop', '2026-11-23')");
    };
    let run = |number, points: &[Manifest]| {
        let mut script = String::new();
        points.iter().for_each(|point| put_schema_back(&mut script, folder.path(), number, point));
        let port = cluster.port().to_string();
        let to = [("PGHOST", "127.0.0.1"), ("PGPORT", &port), ("PGUSER", support::ROLE)];
        let ran = Command::new("sh")
            .args(["-e", "-c", &script])
            .envs(to)
            .envs([("PGPASSWORD", support::PASSWORD), ("PGDATABASE", &database)])
            .output()
            .unwrap();
        assert!(ran.status.success(), "{script}\n{}", String::from_utf8_lossy(&ran.stderr));
    };
    let sql = |sql: &str| cluster.sql(&database, sql).unwrap();
    let schemas = || {
        let ours = "SELECT string_agg(nspname, ' ' ORDER BY nspname) FROM pg_namespace WHERE nspname ~ 'shop|_system'";
        sql(ours)
    };
    change();
    // It ended behind the first; then all of it, twice, clients having come back in between.
    run(17, &points[..1]);
    run(17, &points);
    sql("INSERT INTO _system.ledgers VALUES ('later', '2026-11-24')");
    run(17, &points);
    assert_eq!(schemas(), "_system by_hand_17__system by_hand_17_shop shop");
    assert_eq!(sql("SELECT ledger FROM _system.ledgers"), "later");
    assert_eq!(sql("SELECT count(*) FROM shop.migrations"), "1");
    assert_eq!(sql("SELECT count(*) FROM by_hand_17_shop.migrations"), "2");
    // Another upgrade that has to be gone back from in the same way.
    change();
    run(23, &points);
    assert_eq!(
        schemas(),
        "_system by_hand_17__system by_hand_17_shop by_hand_23__system by_hand_23_shop shop",
        "each print has names of its own"
    );
}
