//! Promises about a ledger that instances write to while it is kept, migrated and compared, on a real server.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, reason = "tests")]

#[path = "support/postgres.rs"]
mod support;

use cutover_storage::Storage as _;
use cutover_storage::postgres::PostgresStorage;
use cutover_storage::storage::Secure;
use cutover_trial_postgres::Cluster;
use cutover_vocabulary::outcome::Proof;
use cutover_vocabulary::storage::{RecoveryItem, RecoveryPoint};
use cutover_vocabulary::{LedgerName, UpgradeId};
use support::MIGRATE;

/// What clients may do in the meantime: a transaction, metadata of an old and of a new account and of an old transaction.
const WRITTEN: &str = r#"
INSERT INTO {L}.transactions(id, timestamp, reference, hash, postings, metadata) SELECT max(id) + 1, '2026-11-23T15:00:00Z', 'late', 'h',
  '[{"amount": 5, "asset": "EUR", "destination": "fresh", "source": "world"}]', '{"order": "o9"}' FROM {L}.transactions;
INSERT INTO {L}.volumes VALUES ('fresh', 'EUR', 5, 0), ('world', 'EUR', 0, 5) ON CONFLICT (account, asset) DO UPDATE
  SET input = {L}.volumes.input + excluded.input, output = {L}.volumes.output + excluded.output;
INSERT INTO {L}.accounts VALUES ('fresh', '{"kyc": 1}') ON CONFLICT DO NOTHING;
UPDATE {L}.accounts SET metadata = coalesce(metadata, '{}') || '{"tier": "gold"}' WHERE address = 'bank';
UPDATE {L}.transactions SET metadata = metadata || '{"reverted": true}' WHERE id = 0;
INSERT INTO {L}.log SELECT max(t.id), 'NEW_TRANSACTION', 'x', now(), jsonb_build_object('txid', max(t.id), 'postings',
  '[{"amount": 5, "asset": "EUR", "destination": "fresh", "source": "world"}]'::jsonb, 'reference', 'late', 'timestamp', '2026-11-23T15:00:00Z') FROM {L}.transactions t;
INSERT INTO {L}.log SELECT max(id) + 1, 'SET_METADATA', 'x', now(), '{"targetType": "ACCOUNT", "targetId": "fresh", "metadata": {"kyc": 1}}' FROM {L}.log;
INSERT INTO {L}.log SELECT max(id) + 1, 'SET_METADATA', 'x', now(), '{"targetType": "ACCOUNT", "targetId": "bank", "metadata": {"tier": "gold"}}' FROM {L}.log;
INSERT INTO {L}.log SELECT max(id) + 1, 'SET_METADATA', 'x', now(), '{"targetType": "TRANSACTION", "targetId": 0, "metadata": {"reverted": true}}' FROM {L}.log;
"#;

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
        support::run(cluster, &database, "shop", MIGRATE);
        let storage = support::open(cluster, &database);
        Some(Self { cluster, database, storage, root: tempfile::tempdir().unwrap() })
    }
    fn secure(&self, serving: bool) -> Result<RecoveryPoint, cutover_storage::StorageError> {
        let (item, identity) =
            (RecoveryItem::Ledger(LedgerName::new("shop").unwrap()), self.storage.identity().clone());
        let (upgrade, folder) = (UpgradeId::new("u1").unwrap(), self.root.path().join("points"));
        let upgrade = &upgrade;
        self.storage.secure(&Secure {
            item: &item,
            storage: &identity,
            upgrade,
            folder: &folder,
            lossy: false,
            serving,
        })
    }
    fn run(&self, sql: &str) {
        support::run(self.cluster, &self.database, "shop", sql);
    }
    fn proof(&self, point: &RecoveryPoint) -> Proof {
        self.storage.prove_since(point, self.root.path()).unwrap()
    }
}

#[test]
fn what_clients_wrote_since_is_no_difference_and_the_ledger_agrees_with_itself() {
    let Some(bed) = Bed::new() else { return };
    let point = bed.secure(true).unwrap();
    let untouched = bed.proof(&point);
    assert_eq!((untouched.difference_count, untouched.inconsistencies.len()), (0, 0), "{untouched:?}");
    bed.run(WRITTEN);
    let proof = bed.proof(&point);
    assert_eq!(proof.difference_count, 0, "{:?}", proof.differences);
    assert_eq!(proof.inconsistencies, Vec::<String>::new());
    assert_ne!(proof.digest, untouched.digest, "the digest is of what is there now");
}

#[test]
fn a_row_from_before_that_is_gone_or_another_is_a_difference_whatever_was_written_since() {
    let changes = [
        ("UPDATE {L}.transactions SET reference = 'other' WHERE id = 0", "transaction 0"),
        ("DELETE FROM {L}.transactions WHERE id = 1", "transaction 1"),
        // The last one from before: what comes after it was written since.
        ("UPDATE {L}.transactions SET reference = 'other' WHERE id = 2", "transaction 2"),
        ("UPDATE {L}.transactions SET timestamp = '2020-01-01T00:00:00Z' WHERE id = 1", "transaction 1"),
        ("UPDATE {L}.accounts SET metadata = '{\"kyc\": \"none\"}' WHERE address = 'bank'", "account bank"),
        ("UPDATE {L}.transactions SET postings = jsonb_set(postings, '{0,amount}', '1') WHERE id = 0", "transaction 0"),
    ];
    for (change, row) in changes {
        let Some(bed) = Bed::new() else { return };
        let point = bed.secure(true).unwrap();
        bed.run(WRITTEN);
        bed.run(change);
        let proof = bed.proof(&point);
        assert!(proof.difference_count > 0, "{change}: nothing was noticed");
        assert!(proof.differences[0].row.starts_with(row), "{change}: {:?}", proof.differences);
    }
}

#[test]
fn a_point_that_is_there_stays_one_while_instances_serve_and_is_refused_where_none_may() {
    let Some(bed) = Bed::new() else { return };
    let point = bed.secure(true).unwrap();
    bed.run(WRITTEN);
    assert_eq!(bed.secure(true).unwrap(), point);
    let refused = bed.secure(false).unwrap_err().to_string();
    assert!(refused.contains("written to since"), "{refused}");
}
