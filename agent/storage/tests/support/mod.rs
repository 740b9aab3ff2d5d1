//! Builds storages as the ledger's releases leave them, by SQL written here.
#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "shared by several test binaries; none uses all of it"
)]

use rusqlite::{Connection, params};
use std::path::Path;

/// Tables of 1.0 to 1.3.1; `migrations` is there from 1.3 on.
pub const SPLIT: &str = r#"
PRAGMA journal_mode = WAL;
CREATE TABLE transactions ("id" integer, "timestamp" varchar, "reference" varchar, "hash" varchar, UNIQUE("id"), UNIQUE("reference"));
CREATE TABLE migrations ("version" varchar, "date" varchar, UNIQUE ("version"));
CREATE TABLE postings ("id" integer, "txid" integer, "source" varchar, "destination" varchar, "amount" integer, "asset" varchar, UNIQUE("id", "txid"));
CREATE INDEX 'p_c0' ON "postings" ("txid" DESC, "source", "destination");
CREATE INDEX 'posting_source' ON "postings" ("source");
CREATE INDEX 'posting_destination' ON "postings" ("destination");
CREATE INDEX 'posting_asset' ON "postings" ("asset");
CREATE TABLE metadata ("meta_id" integer, "meta_target_type" varchar, "meta_target_id" varchar, "meta_key" varchar, "meta_value" varchar, "timestamp" varchar, UNIQUE("meta_id"));
CREATE INDEX 'm_i0' ON "metadata" ("meta_target_type", "meta_target_id");
CREATE TABLE mapping ("mapping_id" varchar, "mapping" varchar, UNIQUE("mapping_id"));
CREATE VIEW addresses AS SELECT address FROM (SELECT source as address FROM postings GROUP BY source UNION SELECT destination as address FROM postings GROUP BY destination) GROUP BY address;
"#;

/// What a migration to 1.3.2 or later adds.
pub const DOCUMENTS: &str = r#"
ALTER TABLE transactions ADD COLUMN postings varchar;
ALTER TABLE transactions ADD COLUMN metadata varchar;
CREATE TABLE volumes ("account" varchar, "asset" varchar, "input" integer, "output" integer, UNIQUE ("account", "asset"));
CREATE TABLE accounts ("address" varchar NOT NULL, "metadata" varchar DEFAULT '{}', UNIQUE ("address"));
CREATE TABLE log ("id" integer primary key, "type" varchar, "hash" varchar, "date" date, "data" varchar);
"#;

pub const POSTING: &str =
    "INSERT INTO postings(txid, id, source, destination, asset, amount) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";

pub fn create_split(path: &Path) -> Connection {
    let connection = Connection::open(path).unwrap();
    connection.execute_batch(SPLIT).unwrap();
    connection.execute("INSERT INTO migrations VALUES ('0', '2026-11-23 14:12:58.33+00:00')", []).unwrap();
    connection
}

pub fn transaction(ledger: &Connection, id: i64, reference: Option<&str>, postings: &[(&str, &str, &str, i64)]) {
    ledger
        .execute(
            "INSERT INTO transactions(id, timestamp, reference, hash) VALUES (?1, '2026-11-23T14:12:58Z', ?2, 'h')",
            params![id, reference],
        )
        .unwrap();
    for (index, (source, destination, asset, amount)) in (0_i64..).zip(postings) {
        ledger.execute(POSTING, params![id, index, source, destination, asset, amount]).unwrap();
    }
}

pub fn metadata(ledger: &Connection, meta_id: i64, kind: &str, target: &str, key: &str, value: &str) {
    ledger
        .execute(
            "INSERT INTO metadata VALUES (?1, ?2, ?3, ?4, ?5, '2026-11-23T14:12:58Z')",
            params![meta_id, kind, target, key, value],
        )
        .unwrap();
}

/// A small ledger of the old layout with both known classes of loss, a reference, several assets and an overridden key.
pub fn sample(path: &Path) -> Connection {
    let ledger = create_split(path);
    transaction(&ledger, 0, Some("r-0"), &[("world", "bank", "USD/2", 100), ("world", "fees", "USD/2", 3)]);
    transaction(&ledger, 1, None, &[("bank", "users:é", "USD/2", 40)]);
    transaction(&ledger, 2, Some("r-2"), &[("world", "bank", "JPY", 9_000_000_000_000_000_000)]);
    metadata(&ledger, 0, "transaction", "0", "order", r#""o0""#);
    metadata(&ledger, 1, "transaction", "0", "note", r#""caf\u00e9 \"q\"""#);
    metadata(&ledger, 2, "account", "bank", "kyc", r#"{"level": 1, "by": null}"#);
    metadata(&ledger, 3, "account", "bank", "kyc", r#"{"level": 2}"#);
    metadata(&ledger, 4, "account", "nobody", "kyc", r#""none""#);
    metadata(&ledger, 5, "transaction", "2", "rate", "1.50");
    ledger
}

/// What the ledger's own migration to 1.3.2 or later does to a file of the old layout, its known losses included.
pub fn migrate(ledger: &Connection) {
    let body = format!(
        r#"BEGIN; {DOCUMENTS}
        UPDATE transactions SET
          postings = (SELECT json_group_array(json(o)) FROM (SELECT json_object('amount', amount, 'asset', asset, 'destination', destination, 'source', source) o FROM postings WHERE txid = transactions.id ORDER BY id)),
          metadata = '{{}}';
        INSERT INTO accounts(address) SELECT address FROM addresses;
        INSERT INTO volumes SELECT account, asset, sum(i), sum(o) FROM
          (SELECT destination account, asset, amount i, 0 o FROM postings UNION ALL SELECT source, asset, 0, amount FROM postings) GROUP BY 1, 2;
        INSERT INTO log SELECT id, 'NEW_TRANSACTION', 'x', timestamp, json_object('txid', id, 'postings', json(postings), 'reference', coalesce(reference, ''), 'timestamp', timestamp, 'metadata', json('{{}}')) FROM transactions ORDER BY id;
        INSERT OR IGNORE INTO migrations VALUES ('0', ''), ('1', '');
        COMMIT;"#
    );
    ledger.execute_batch(&body).unwrap();
    let mut rows = ledger
        .prepare("SELECT meta_target_type, meta_target_id, meta_key, meta_value FROM metadata WHERE meta_id <> 0 ORDER BY meta_id")
        .unwrap();
    let entries: Vec<[String; 4]> =
        rows.query_map([], |r| Ok([r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?])).unwrap().map(Result::unwrap).collect();
    for [kind, target, key, value] in entries {
        let sql = if kind == "account" {
            "UPDATE accounts SET metadata = json_set(metadata, '$.\"' || ?2 || '\"', json(?3)) WHERE address = ?1"
        } else {
            "UPDATE transactions SET metadata = json_set(metadata, '$.\"' || ?2 || '\"', json(?3)) WHERE id = CAST(?1 AS INTEGER)"
        };
        ledger.execute(sql, params![target, key, value]).unwrap();
    }
}

/// Says that a test did not run, past the test runner's capture, so that `make test` can count it.
pub fn skipped(why: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "SKIPPED {why}");
    assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "a test cannot run in CI: {why}");
}
