//! Promises of a restore that PostgreSQL alone has to keep, on a real server.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, reason = "tests")]

#[path = "support/postgres.rs"]
mod support;

use cutover_storage::postgres::PostgresStorage;
use cutover_storage::storage::Secure;
use cutover_storage::{Storage as _, clock};
use cutover_trial_postgres::Cluster;
use cutover_vocabulary::outcome::Restored;
use cutover_vocabulary::storage::{RecoveryItem, RecoveryPoint};
use cutover_vocabulary::{Digest, Elapsed, LedgerName, UpgradeId};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use support::{MIGRATE, ROLE, Session};

struct Bed {
    cluster: &'static Cluster,
    database: String,
    storage: PostgresStorage,
    root: tempfile::TempDir,
}

impl Bed {
    fn new() -> Option<Self> {
        let cluster = support::cluster()?;
        let database = support::sample(cluster, "shop");
        let storage = support::open(cluster, &database);
        Some(Self { cluster, database, storage, root: tempfile::tempdir().unwrap() })
    }
    fn secure(&self) -> RecoveryPoint {
        let (item, identity) =
            (RecoveryItem::Ledger(LedgerName::new("shop").unwrap()), self.storage.identity().clone());
        let (upgrade, folder) = (UpgradeId::new("u1").unwrap(), self.root.path().join("points"));
        let ask =
            Secure { item: &item, storage: &identity, upgrade: &upgrade, folder: &folder, lossy: true, serving: false };
        self.storage.secure(&ask).unwrap()
    }
    fn aside(&self) -> PathBuf {
        self.root.path().join("aside")
    }
    fn restore(&self, point: &RecoveryPoint) -> Restored {
        self.storage.restore(point, &self.aside(), false).unwrap()
    }
    /// As the superuser.
    fn sql(&self, sql: &str) -> String {
        self.cluster.sql(&self.database, sql).unwrap()
    }
    fn migrate(&self) {
        support::run(self.cluster, &self.database, "shop", MIGRATE);
    }
    /// A role of this test alone; roles belong to the cluster.
    fn role(&self, name: &str) -> String {
        let role = format!("{name}_{}", self.database);
        self.sql(&format!("CREATE ROLE {role} LOGIN"));
        role
    }
}

#[test]
fn what_a_restore_makes_again_lets_nobody_read_more_than_before() {
    let Some(bed) = Bed::new() else { return };
    let reader = bed.role("reader");
    bed.sql(&format!(
        "CREATE SCHEMA report; GRANT USAGE, CREATE ON SCHEMA report TO {ROLE}; GRANT USAGE ON SCHEMA report, shop TO {reader}; SET ROLE {ROLE};
         CREATE VIEW report.mine WITH (security_invoker = true, security_barrier = true, check_option = local) AS SELECT id, reference FROM shop.transactions WHERE id >= 0;
         CREATE VIEW report.plain AS SELECT id FROM shop.transactions;
         CREATE VIEW report.moved WITH (security_invoker = true) AS SELECT asset, amount FROM shop.postings;
         CREATE MATERIALIZED VIEW report.keys WITH (fillfactor = 70, autovacuum_enabled = false) AS SELECT meta_key FROM shop.metadata;
         CREATE FUNCTION report.newest(n int) RETURNS bigint SECURITY DEFINER BEGIN ATOMIC SELECT amount FROM shop.postings ORDER BY 1 DESC LIMIT n; END;
         CREATE FUNCTION report.open() RETURNS bigint BEGIN ATOMIC SELECT amount FROM shop.postings LIMIT 1; END;
         REVOKE ALL ON FUNCTION report.newest FROM PUBLIC; GRANT SELECT ON report.mine TO {reader}"
    ));
    let options = "SELECT relname, reloptions FROM pg_class WHERE relnamespace = 'report'::regnamespace ORDER BY 1";
    let may = || {
        let run = "SELECT proname, has_function_privilege('{reader}', oid, 'EXECUTE') FROM pg_proc WHERE pronamespace = 'report'::regnamespace ORDER BY 1";
        let read = bed.cluster.sql(&bed.database, &format!("SET ROLE {reader}; SELECT count(*) FROM report.mine"));
        (read.map_err(|_| "refused"), bed.sql(&run.replace("{reader}", &reader)))
    };
    let before = (bed.sql(options), may());
    assert_eq!(before.1.0, Err("refused"), "who reads the view needs a right on the table");
    let point = bed.secure();
    bed.migrate();
    let restored = bed.restore(&point);
    assert_eq!((restored.changed, restored.notes), (true, Vec::new()));
    assert_eq!((bed.sql(options), may()), before);
}

#[test]
fn a_second_run_tells_what_is_still_to_be_made_again_by_others() {
    let Some(bed) = Bed::new() else { return };
    let owner = bed.role("reports");
    let view = "CREATE OR REPLACE VIEW report.flows AS SELECT id FROM shop.transactions";
    bed.sql(&format!(
        "CREATE SCHEMA report AUTHORIZATION {owner}; GRANT USAGE ON SCHEMA shop TO {owner}; GRANT SELECT ON shop.transactions TO {owner};
         GRANT USAGE ON SCHEMA report TO {ROLE}; SET ROLE {owner}; {view}"
    ));
    let point = bed.secure();
    bed.migrate();
    let first = bed.restore(&point);
    assert_eq!(first.notes.len(), 1, "{first:?}");
    assert!(first.notes[0].contains(&format!("view report.flows of role {owner} is to be made again")), "{first:?}");
    let again = bed.restore(&point);
    assert_eq!((again.changed, again.moved_to, again.notes), (false, first.moved_to, first.notes));
    bed.sql(&format!("SET ROLE {owner}; {view}"));
    assert_eq!(bed.restore(&point).notes, Vec::<String>::new(), "its owner did");
}

#[test]
fn what_a_publication_lost_by_a_restore_is_told_until_it_is_added_again() {
    let Some(bed) = Bed::new() else { return };
    // Of updates a table without a primary key may not be published: no migration would pass.
    let only = "WITH (publish = 'insert')";
    bed.sql(&format!("CREATE PUBLICATION feed FOR TABLE shop.transactions, shop.postings {only}; CREATE PUBLICATION \"all of it\" FOR TABLES IN SCHEMA shop {only}; CREATE PUBLICATION every FOR ALL TABLES {only}"));
    let point = bed.secure();
    bed.migrate();
    let first = bed.restore(&point);
    let owner = bed.sql("SELECT pubowner::regrole FROM pg_publication LIMIT 1");
    let lost: Vec<&str> =
        first.notes.iter().map(|note| note.split_once("; as it was restored, it is not").unwrap().0).collect();
    assert_eq!(
        lost,
        [
            format!("of shop as it was kept, table postings is in publication feed of role {owner}"),
            format!("of shop as it was kept, table transactions is in publication feed of role {owner}"),
            format!("of shop as it was kept, every table is in publication \"all of it\" of role {owner}"),
        ]
    );
    assert_eq!(bed.restore(&point).notes, first.notes, "a second run tells it too");
    bed.sql("ALTER PUBLICATION feed ADD TABLE shop.transactions, shop.postings; ALTER PUBLICATION \"all of it\" ADD TABLES IN SCHEMA shop");
    assert_eq!(bed.restore(&point).notes, Vec::<String>::new());
}

/// They hold every row of the ledger in plain text.
#[test]
fn what_a_restore_writes_for_psql_is_for_nobody_elses_eyes_and_is_never_left() {
    let Some(bed) = Bed::new() else { return };
    let point = bed.secure();
    bed.migrate();
    let beginning = format!("restore-{}-", Digest::of(b"shop").short());
    std::fs::create_dir_all(bed.aside()).unwrap();
    let leave = || {
        for name in [format!("{beginning}1.dump.sql"), format!("{beginning}1.before.sql")] {
            std::fs::write(bed.aside().join(name), "a row").unwrap();
        }
        std::fs::write(bed.aside().join("restore-ofanotherone-1.dump.sql"), "a lane beside").unwrap();
    };
    let there = || {
        let mut names: Vec<String> = std::fs::read_dir(bed.aside())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    leave();
    let mut reader = Session::begin(bed.cluster, &bed.database, "SELECT count(*) FROM shop.transactions");
    std::thread::scope(|scope| {
        let restored = scope.spawn(|| bed.restore(&point));
        let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'shop.transactions'::regclass";
        let deadline = clock::since_boot().plus(Elapsed::from_secs(20));
        while bed.sql(waits) != "1" {
            assert!(clock::since_boot() < deadline, "psql never waited for the reader");
        }
        let written: Vec<String> = there().into_iter().filter(|name| name.starts_with(&beginning)).collect();
        let modes = written.iter().map(|name| {
            let data = std::fs::metadata(bed.aside().join(name)).unwrap();
            format!("{} {:o}", name.split_once('.').unwrap().1, data.permissions().mode() & 0o777)
        });
        assert_eq!(modes.collect::<Vec<_>>(), ["after.sql 600", "before.sql 600", "dump.sql 600"]);
        reader.end();
        assert!(restored.join().unwrap().changed);
    });
    let others = ["restore-ofanotherone-1.dump.sql"];
    assert_eq!(there(), others, "of a lane beside it");
    leave();
    assert!(!bed.restore(&point).changed);
    assert_eq!(there(), others, "nor where the killed run had restored it");

    // One that fails in the middle leaves nothing either.
    bed.migrate();
    bed.sql("CREATE FUNCTION public.no() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not now'; END $$; CREATE EVENT TRIGGER no ON ddl_command_start EXECUTE FUNCTION public.no()");
    let failed = bed.storage.restore(&point, &bed.aside(), false).unwrap_err().to_string();
    assert!(failed.contains("not now"), "{failed}");
    assert_eq!(there(), others);
}
